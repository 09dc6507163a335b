//! What the objects of all families share: counters, configuration, the common ring.
//!
//! The maps are those of an object without programs, which is loaded first; each family's object is
//! lent them by their descriptors before it is loaded itself.

use std::cell::{Cell, OnceCell};
use std::os::fd::AsFd as _;
use std::rc::Rc;

use anyhow::{Context, Result, anyhow};
use bpf::abi;
use libbpf_rs::{MapCore as _, MapFlags, MapHandle, ObjectBuilder, OpenObject};
use zerocopy::IntoBytes as _;

use super::object::map;
use super::scope::Scope;
use crate::config::Config;
use crate::host::refusal;
use crate::plan::Transport;
use crate::records::{Inbox, Records, Ring};

/// The maps that objects share, by their names in C.
const COUNTERS: &str = "counters";
const CONFIG: &str = "config";
const RECORDS: &str = "records";

/// The shared maps. The kernel keeps each for as long as somebody here or one of its programs has it.
#[derive(Debug)]
pub struct Core {
    /// Per-CPU counters.
    pub counters: MapHandle,
    config: MapHandle,
    /// Every ring that is read, of this object or of a family's own.
    pub records: Records,
    common_ring: MapHandle,
    is_mapped: Cell<bool>,
    transport: Transport,
    ring_bytes: u64,
    scope: Scope,
    /// What every program is told.
    told: Cell<abi::wb_config>,
}

/// The shared maps, made for the first family that asks for them.
#[derive(Debug, Default)]
pub struct CoreOnDemand(OnceCell<Rc<Core>>);

impl CoreOnDemand {
    /// The maps, as [`Core::load`] makes them the first time.
    ///
    /// # Errors
    /// As [`Core::load`].
    pub fn core(&self, config: &Config, transport: Transport) -> Result<Rc<Core>> {
        if let Some(core) = self.0.get() {
            return Ok(Rc::clone(core));
        }
        let scope = Scope::named(&config.scope.cgroup);
        let bytes = config.limits.ring_bytes.bytes();
        let core = Rc::new(Core::load(transport, bytes, scope)?);
        Ok(Rc::clone(self.0.get_or_init(|| core)))
    }

    /// What families still use.
    #[must_use]
    pub fn in_use(self) -> Option<Rc<Core>> {
        let core = self.0.into_inner()?;
        (Rc::strong_count(&core) > 1).then_some(core)
    }
}

impl Core {
    /// Makes the maps, with a ring of so many bytes, or perf buffers of as many for each CPU, and tells
    /// whatever will use them the scope.
    ///
    /// # Errors
    /// The kernel refuses a map, or the scope's cgroup cannot be looked at.
    pub fn load(transport: Transport, ring_bytes: u64, scope: Scope) -> Result<Self> {
        let bytes = match transport {
            Transport::PerfBuffer => bpf::CORE_PERF,
            Transport::RingBuffer => bpf::CORE_RING,
        };
        let mut builder = ObjectBuilder::default();
        let mut object = builder
            .name("waybill_core")
            .and_then(|builder| builder.open_memory(bytes))
            .context("open the shared tables")?;
        if transport == Transport::RingBuffer {
            size_ring(&mut object, RECORDS, ring_bytes)?;
        }
        refusal::forget();
        let object = object
            .load()
            .map_err(|error| anyhow!(refusal::explain(&error)))
            .context("make the shared tables")?;
        let handle = |name: &str| -> Result<MapHandle> {
            MapHandle::try_from(&map(&object, name)?).with_context(|| format!("keep map {name}"))
        };
        let core = Self {
            counters: handle(COUNTERS)?,
            config: handle(CONFIG)?,
            records: Records::default(),
            common_ring: handle(RECORDS)?,
            is_mapped: Cell::new(false),
            transport,
            ring_bytes,
            scope,
            told: Cell::default(),
        };
        core.tell(core.scope.config()?)?;
        Ok(core)
    }

    /// Tells every program where the scope's cgroup is now, if that is another one than they know.
    ///
    /// # Errors
    /// The kernel refuses, or the cgroup cannot be looked at.
    pub fn follow_scope(&self) -> Result<()> {
        let config = self.scope.config()?;
        if config.scope_cgroup_id == self.told().scope_cgroup_id {
            return Ok(());
        }
        self.tell(config)
    }

    /// Has an object use these maps for its own of the same names, once it is loaded.
    ///
    /// # Errors
    /// The kernel does not tell of a map, or no more files can be opened.
    pub fn lend(&self, object: &mut OpenObject) -> Result<()> {
        for mut map in object.maps_mut() {
            let shared = match map.name().to_str() {
                Some(COUNTERS) => &self.counters,
                Some(CONFIG) => &self.config,
                Some(RECORDS) => &self.common_ring,
                _ => continue,
            };
            // Its name may be gone from now on: kernels before 4.15 keep none.
            map.reuse_fd(shared.as_fd())
                .context("lend a shared table")?;
        }
        Ok(())
    }

    /// How records come from the kernel.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        self.transport
    }

    /// Where the records of a family (`WB_FAMILY_*`) in the common ring go from now on; what `decode`
    /// refuses is counted and dropped. Maps the ring for the first one, which must be before the agent
    /// is confined.
    ///
    /// # Errors
    /// As [`Records::add`].
    pub fn subscribe<T: 'static>(
        &self,
        family: u32,
        decode: fn(&[u8]) -> Option<T>,
    ) -> Result<Inbox<T>> {
        if !self.is_mapped.get() {
            self.records.add(Ring {
                map: &self.common_ring,
                transport: self.transport,
                bytes: self.ring_bytes,
            })?;
            self.is_mapped.set(true);
        }
        Ok(self.records.subscribe(family, decode))
    }

    /// What every program is told.
    #[must_use]
    pub fn told(&self) -> abi::wb_config {
        self.told.get()
    }

    /// Tells every program; they see it with the next event.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn tell(&self, config: abi::wb_config) -> Result<()> {
        self.config
            .update(&0_u32.to_ne_bytes(), config.as_bytes(), MapFlags::ANY)
            .context("write the configuration into the kernel")?;
        self.told.set(config);
        Ok(())
    }
}

/// Sets the size of a ring, in bytes, before its object is loaded.
///
/// # Errors
/// The object has no such ring, or it is larger than libbpf takes.
pub fn size_ring(object: &mut OpenObject, name: &str, bytes: u64) -> Result<()> {
    let bytes = u32::try_from(bytes).context("limits.ring_bytes")?;
    let mut ring = object
        .maps_mut()
        .find(|map| map.name() == name)
        .with_context(|| format!("the object has no ring {name}"))?;
    ring.set_max_entries(bytes).context("size a ring")
}

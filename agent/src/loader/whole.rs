//! An object of which no program can be done without: it is loaded, and attached, as a whole.

use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result, anyhow};
use libbpf_rs::{Link, MapCore as _, MapFlags, MapHandle, Object, ObjectBuilder};

use super::core::Core;
use super::object::map;
use super::types;
use crate::host::refusal;
use crate::plan::Types;

/// Programs at work, and their tables. The kernel detaches them when this is dropped.
#[derive(Debug)]
pub struct Whole {
    _links: Vec<Link>,
    object: Object,
}

/// One of their tables.
#[derive(Debug)]
pub struct Table(MapHandle);

impl Whole {
    /// Loads an object, fitted to these types and with the maps of the core for its own, and attaches
    /// each program to what its section names.
    ///
    /// # Errors
    /// The kernel refuses it.
    pub fn load((name, bytes): (&str, &[u8]), types: &Types, core: &Core) -> Result<Self> {
        let mut builder = ObjectBuilder::default();
        builder.name(name).context("name the object")?;
        if let Some(types) = types::file(types)? {
            builder
                .btf_custom_path(types)
                .context("name the BTF pack")?;
        }
        let mut object = builder.open_memory(bytes).context("open the programs")?;
        core.lend(&mut object)?;
        refusal::forget();
        let loaded = object.load();
        let object = loaded.map_err(|error| anyhow!(refusal::explain(&error)))?;
        let attach = |program: libbpf_rs::ProgramMut<'_>| {
            let name = program.name().to_string_lossy().into_owned();
            program.attach().with_context(|| format!("attach {name}"))
        };
        Ok(Self {
            _links: object.progs_mut().map(attach).collect::<Result<_>>()?,
            object,
        })
    }

    /// A table by its name.
    ///
    /// # Errors
    /// There is none, or no more files can be opened.
    pub fn table(&self, name: &str) -> Result<Table> {
        let handle = MapHandle::try_from(&map(&self.object, name)?);
        Ok(Table(handle.with_context(|| format!("keep map {name}"))?))
    }

    /// Runs of its programs that the kernel left out.
    ///
    /// # Errors
    /// The kernel refuses to tell.
    pub fn missed_runs(&self) -> Result<u64> {
        let missed = |program: libbpf_rs::Program<'_>| bpf::query::missed_runs(program.as_fd());
        let missed: Result<Vec<u64>, _> = self.object.progs().map(missed).collect();
        Ok(missed.context("ask for runs of programs")?.iter().sum())
    }
}

impl Table {
    /// The value of a key; `None` where there is none, or it cannot be read.
    #[must_use]
    pub fn look_up(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.lookup(key, MapFlags::ANY).ok()?
    }

    /// Takes out keys and values, as many as there is room for, however many come meanwhile.
    #[must_use]
    pub fn take(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        let room = usize::try_from(self.0.max_entries()).unwrap_or(usize::MAX);
        let keys: Vec<_> = self.0.keys().take(room).collect();
        let taken = keys.into_iter().filter_map(|key| {
            let value = self.look_up(&key)?;
            self.0.delete(&key).ok()?;
            Some((key, value))
        });
        taken.collect()
    }
}

//! Carries out the plan: loads, fills and attaches the family's programs.

use std::fs::File;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use bpf::abi;
use libbpf_rs::{Link, MapCore, MapHandle, Object, OpenObject, TracepointCategory};

use super::co_attached::CoAttachedPrograms;
use super::scope::Scope;
use super::tables::{beat, clone_flags, fill, late_below, settings, write_settings};

use crate::config::Config;
use crate::family::connection::plan::{Accept, Connection, ConnectionVariant, DumpMethod};
use crate::filters::{Filters, Programs};
use crate::host::probe;
use crate::keeper::Keeper;
use crate::loader::{Accepted, Core, CoreOnDemand, Fitting, Probes, map, program, read_iterator};
use crate::orders::InForce;
use crate::plan::{HelperNeeds, Outcome, Transport};

/// Without this one there is no family.
const REQUIRED: &str = "wb_conn_state";
/// Runs behind it and does what it missed.
const AGAIN: &str = "wb_conn_state_again";
/// Runs behind both and does what both missed.
const THIRD: &str = "wb_conn_state_third";
/// Takes note of listeners, where changes of state do not tell of them.
const LISTENING: &str = "wb_conn_listening";
/// Tell who accepts: when it does, or when it reads.
const ACCEPT: &str = "wb_conn_accept";
const READER: &str = "wb_conn_reader";
/// Writes and reads the option.
pub(super) const SOCKOPS: &str = "wb_conn_option";
/// Packet filters that write and read the option, by device: Ethernet, ports, tunnels.
const OUT: &str = "wb_clone_out";
const IN: &str = "wb_clone_in";
const IN_PORT: &str = "wb_clone_in_pt";
const OUT_IP: &str = "wb_clone_out_ip";
const IN_IP: &str = "wb_clone_in_ip";
/// Each of these costs only itself, dearest first, with what is lost without it.
const OPTIONAL: &[(&str, &str)] = &[
    // Attached right behind the required one.
    (
        AGAIN,
        "changes of state that come while another is handled are missed",
    ),
    (
        THIRD,
        "changes of state that come while two others are handled are missed",
    ),
    (SOCKOPS, "the option is neither written nor read"),
    (
        LISTENING,
        "accepted connections have no owner until they are accepted",
    ),
    (
        "wb_conn_rst_in",
        "received resets are not told from other ends",
    ),
    (
        "wb_conn_rst_out",
        "sent resets are not told from other ends",
    ),
    (
        "wb_conn_live",
        "open connections are counted only when they close",
    ),
    (
        "wb_conn_listen",
        "listeners older than the agent have no owner until they accept",
    ),
    (
        "wb_conn_adopt",
        "connections older than the agent are not measured",
    ),
    (
        ACCEPT,
        "accepted connections belong to the process that listens",
    ),
    (
        READER,
        "accepted connections belong to the process that listens, or closes them",
    ),
    ("wb_conn_window", "zero windows are not counted"),
    (OUT, "the option is not written"),
    (IN, "the option is not read"),
    (
        IN_PORT,
        "the option is not carried on ports of bridges and switches",
    ),
    (OUT_IP, "the option is not carried by tunnels"),
    (IN_IP, "the option is not carried by tunnels"),
];
/// What runs in the kernel, and the handles to it.
#[derive(Debug)]
pub struct Loaded {
    /// What all objects share.
    pub core: Rc<Core>,
    /// Keeps programs and maps alive.
    pub object: Object,
    /// Keeps them attached.
    pub links: Vec<Link>,
    /// The cgroup that they are for.
    pub scope: Scope,
    pub(super) has_sockops: bool,
    /// What some of them hang on, to be removed after them.
    pub probes: Option<Probes>,
    /// Snapshot of the connections table.
    pub live: Option<Link>,
    /// Records of the connections that were there before, `RECORD_BYTES` each.
    pub adopted: Vec<u8>,
    /// Tables the event loop reads.
    pub maps: Maps,
    /// Who else has sockops programs, where we have one.
    pub co_attached: Option<CoAttachedPrograms>,
    /// Packet filters on devices, in mode `tc-clone`.
    pub filters: Option<Keeper>,
    /// What the family's programs were told, to be changed while running.
    pub settings: abi::wb_connection_config,
    /// Program and what is lost without it, for each that the kernel refused.
    pub refused: Vec<(String, String)>,
}

/// Handles to the tables.
#[derive(Debug)]
pub struct Maps {
    /// Negative cache.
    pub paths: MapHandle,
    /// Settings.
    pub config: MapHandle,
    /// Connections.
    pub connections: MapHandle,
    /// Listeners.
    pub listeners: MapHandle,
    /// The agent's heartbeat.
    pub heartbeat: MapHandle,
    /// Where the option may be written to.
    pub destinations: MapHandle,
    /// What it is signed with.
    pub keys: MapHandle,
}

/// Loads and attaches what the plan says; `None` when the plan runs no family. `keeper` is what is left
/// to the process that keeps packet filters.
///
/// # Errors
/// The kernel refuses what the family cannot do without.
pub fn apply(
    core: Rc<Core>,
    (plan, keeper): (&Connection, Option<&HelperNeeds>),
    config: &Config,
    in_force: &InForce,
) -> Result<Option<Loaded>> {
    let Outcome::Run(choice) = &plan.variant else {
        return Ok(None);
    };
    // libbpf reads the CPU list once and keeps it; later the path may be out of sight.
    let cpus = libbpf_rs::num_possible_cpus().context("count the CPUs")?;
    let wanted = wanted(plan, choice.value);
    let size = |object: &mut OpenObject| size_table(object, config);
    let Accepted {
        object,
        loaded,
        mut refused,
    } = fitting(plan, choice.value, &core, &size).load(REQUIRED, &wanted)?;
    let mut scope = Scope::new(config);
    let cgroup = open_scope(&scope, config, choice.value).context("open the scope's cgroup")?;
    core.follow_scope()?;
    let mut settings = settings((config, plan), in_force);
    let maps = Maps::of(&object)?;
    fill(&object, config, in_force)?;

    let mut links = Vec::new();
    let mut live = None;
    let has_sockops = loaded.iter().any(|name| name == SOCKOPS);
    let co_attached =
        has_sockops.then(|| CoAttachedPrograms::open(cgroup.as_ref(), sockops_id(&object)));
    settings.keep_cb_flags = u8::from(
        co_attached
            .as_ref()
            .is_some_and(CoAttachedPrograms::may_share),
    );
    write_settings(&maps.config, &settings)?;
    let filters = match choice.value.has_filters() {
        true => attach_filters((keeper, &object, &loaded), &maps, &mut refused),
        false => None,
    };
    if let Some(filters) = &filters {
        settings.clone = clone_flags(filters.state());
        write_settings(&maps.config, &settings)?;
    }
    let mut probes = match choice.value.has_probes() {
        true => Some(Probes::open().context("make probes")?),
        false => None,
    };
    for name in loaded.iter().filter(|name| is_attached_alone(name)) {
        if name == SOCKOPS && cgroup.is_none() {
            // Attached when it is there.
            continue;
        }
        match attach(&object, name, cgroup.as_ref(), probes.as_mut()) {
            Ok(link) if name == SOCKOPS => scope.link = Some(link),
            Ok(link) => links.push(link),
            Err(error) if name.as_str() == REQUIRED => return Err(error),
            Err(error) => refused.push((name.clone(), format!("cannot attach: {error:#}"))),
        }
    }
    let has = |name: &str| loaded.iter().any(|loaded| loaded == name);
    if has("wb_conn_live") {
        match program(&object, "wb_conn_live")?.attach_iter(maps.connections.as_fd()) {
            Ok(link) => live = Some(link),
            Err(error) => {
                refused.push(("wb_conn_live".into(), format!("cannot attach: {error:#}")))
            }
        }
    }
    let (adopted, complete) = adopt(&object, &loaded, &mut refused);
    if complete {
        // From here on what is not in the table began under the programs' eyes.
        settings.late_below = late_below(maps.connections.max_entries(), cpus);
        write_settings(&maps.config, &settings)?;
    }
    Ok(Some(Loaded {
        core,
        object,
        links,
        scope,
        has_sockops,
        probes,
        live,
        adopted,
        maps,
        co_attached,
        filters,
        settings,
        refused,
    }))
}

/// What was open before, as records, and whether that is all of it. After the tracepoints, so that
/// nothing falls between them; listeners first, because a connection whose local port is listened
/// on is an accepted one.
fn adopt(
    object: &Object,
    loaded: &[String],
    refused: &mut Vec<(String, String)>,
) -> (Vec<u8>, bool) {
    let mut adopted = Vec::new();
    let mut complete = false;
    for name in ["wb_conn_listen", "wb_conn_adopt"] {
        if !loaded.iter().any(|loaded| loaded == name) {
            complete = false;
            continue;
        }
        let read = run_iterator(object, name, &mut adopted);
        complete = read.is_ok();
        if let Err(error) = read {
            refused.push((name.into(), format!("cannot run: {error:#}")));
        }
    }
    (adopted, complete)
}

impl Maps {
    fn of(object: &Object) -> Result<Self> {
        let handle = |name: &str| -> Result<MapHandle> {
            MapHandle::try_from(&map(object, name)?).with_context(|| format!("keep map {name}"))
        };
        Ok(Self {
            paths: handle("paths")?,
            config: handle("conn_config")?,
            connections: handle("connections")?,
            listeners: handle("listeners")?,
            heartbeat: handle("heartbeat")?,
            destinations: handle("destinations")?,
            keys: handle("keys")?,
        })
    }
}

/// Runs of our programs that the kernel left out, as far as nothing made up for them.
///
/// # Errors
/// The kernel refuses to tell.
pub fn missed_runs(object: &Object) -> Result<u64> {
    let has = |name: &str| {
        let mut programs = object.progs();
        programs.any(|program| program.name() == name && is_loaded(&program))
    };
    let (again, third) = (has(AGAIN), has(THIRD));
    let mut missed = 0;
    for program in object.progs().filter(is_loaded) {
        // What the first program misses is the reason for the second, and so on; a read that was
        // missed is made up for by the next one.
        let made_up = (again && program.name() == REQUIRED)
            || (third && program.name() == AGAIN)
            || program.name() == READER;
        if made_up {
            continue;
        }
        missed += bpf::query::missed_runs(program.as_fd())
            .with_context(|| format!("ask for {}", program.name().display()))?;
    }
    Ok(missed)
}

fn is_loaded(program: &libbpf_rs::Program<'_>) -> bool {
    program.as_fd().as_raw_fd() >= 0
}

/// Id of our sock_ops program, if it was loaded.
fn sockops_id(object: &Object) -> Option<u32> {
    let program = object.progs().find(|program| program.name() == SOCKOPS)?;
    libbpf_rs::Program::id_from_fd(program.as_fd()).ok()
}

fn wanted(plan: &Connection, variant: ConnectionVariant) -> Vec<(&'static str, &'static str)> {
    OPTIONAL
        .iter()
        .filter(|(name, _)| match *name {
            SOCKOPS => variant == ConnectionVariant::RawTracepointAndSockops,
            OUT | IN | IN_PORT | OUT_IP | IN_IP => variant.has_filters(),
            // Probes miss what comes while another one runs, and nothing can make up for it.
            AGAIN | THIRD | "wb_conn_window" => !variant.has_probes(),
            LISTENING => variant.has_probes(),
            "wb_conn_live" => plan.snapshot.value == DumpMethod::Iterator,
            "wb_conn_listen" | "wb_conn_adopt" => plan.discovery.value == DumpMethod::Iterator,
            ACCEPT => plan.accept.value == Accept::Probe,
            READER => plan.accept.value == Accept::Reader,
            _ => true,
        })
        .copied()
        .collect()
}

/// Loads the programs of this plan and lets go of them; what the kernel says to them, for people who
/// cannot try it on such a kernel. Nothing is attached.
///
/// # Errors
/// No program is planned, or they cannot be opened.
pub fn try_once(plan: &Connection, config: &Config) -> Result<String> {
    let choice = match &plan.variant {
        Outcome::Run(choice) if !plan.is_by_sockets() => choice,
        _ => bail!("no program is planned"),
    };
    let wanted = wanted(plan, choice.value);
    let names: Vec<_> = wanted.iter().map(|(name, _)| *name).collect();
    let names = [&[REQUIRED], names.as_slice()].concat();
    let size = |object: &mut OpenObject| size_table(object, config);
    let load = || {
        let core = CoreOnDemand::default().core(config, plan.transport.value)?;
        fitting(plan, choice.value, &core, &size).load_these(&names)
    };
    Ok(match load() {
        Ok(_) => format!("all {} programs are taken\n", names.len()),
        Err(error) => format!("refused: {error:#}\n"),
    })
}

/// What the family's object is opened for.
fn fitting<'a>(
    plan: &'a Connection,
    variant: ConnectionVariant,
    core: &'a Core,
    size: &'a dyn Fn(&mut OpenObject) -> Result<()>,
) -> Fitting<'a> {
    Fitting {
        bytes: match plan.transport.value {
            Transport::PerfBuffer if variant.has_probes() => bpf::CONNECTION_KPROBE,
            Transport::PerfBuffer => bpf::CONNECTION_PERF,
            Transport::RingBuffer => bpf::CONNECTION_RING,
        },
        does: "follow connections",
        core,
        types: &plan.types,
        size,
    }
}

fn size_table(object: &mut OpenObject, config: &Config) -> Result<()> {
    let mut tables = object.maps_mut();
    let table = tables.find(|map| map.name() == "connections");
    let mut table = table.context("the object has no table of connections")?;
    table
        .set_max_entries(config.limits.connections)
        .context("size a table")
}

/// Iterators and packet filters are attached to something.
fn is_attached_alone(name: &str) -> bool {
    !matches!(
        name,
        "wb_conn_live" | "wb_conn_listen" | "wb_conn_adopt" | OUT | IN | IN_PORT | OUT_IP | IN_IP
    )
}

/// Attaches the packet filters that were loaded to every device, and hands them to a process that
/// keeps them; without them nothing is written.
fn attach_filters(
    (needs, object, loaded): (Option<&HelperNeeds>, &Object, &[String]),
    maps: &Maps,
    refused: &mut Vec<(String, String)>,
) -> Option<Keeper> {
    let open = || -> Result<Keeper> {
        let descriptor = |name: &str| -> Result<Option<OwnedFd>> {
            if !loaded.iter().any(|loaded| loaded == name) {
                return Ok(None);
            }
            let descriptor = program(object, name)?.as_fd().try_clone_to_owned();
            descriptor.map(Some).context("keep a program")
        };
        let needed = |name| descriptor(name)?.with_context(|| format!("{name} is not loaded"));
        beat(&maps.heartbeat)?;
        let mut filters = Filters::open(Programs {
            out: needed(OUT)?,
            arriving: needed(IN)?,
            port: descriptor(IN_PORT)?,
            raw_ip: descriptor(OUT_IP)?.zip(descriptor(IN_IP)?),
        })?;
        filters.follow(true)?;
        let reason = filters.refusal().unwrap_or_default();
        anyhow::ensure!(
            filters.sizes().0 > 0 || reason.is_empty(),
            "every device refuses packet filters, as {reason}"
        );
        crate::fault::before("filters").context("make the keeper")?;
        Keeper::start(filters, needs.context("no keeper was planned")?)
    };
    match open() {
        Ok(filters) => Some(filters),
        Err(error) => {
            refused.push((OUT.into(), format!("cannot attach: {error:#}")));
            None
        }
    }
}

fn attach(
    object: &Object,
    name: &str,
    cgroup: Option<&File>,
    probes: Option<&mut Probes>,
) -> Result<Link> {
    let program = program(object, name)?;
    let function = program.section().to_string_lossy().into_owned();
    let link = match (function.strip_prefix("kprobe/"), probes) {
        (Some(function), Some(probes)) => {
            probes.add(function)?;
            let group = TracepointCategory::Custom(probes.group().to_owned());
            program.attach_tracepoint(group, function)
        }
        (Some(_), None) => {
            return probe::attach(&program).with_context(|| format!("attach {name}"));
        }
        _ if name == SOCKOPS => {
            let cgroup = cgroup.context("there is no cgroup to attach to")?;
            program.attach_cgroup(cgroup.as_raw_fd())
        }
        _ => program.attach(),
    };
    link.with_context(|| format!("attach {name}"))
}

fn run_iterator(object: &Object, name: &str, into: &mut Vec<u8>) -> Result<()> {
    let link = program(object, name)?
        .attach()
        .with_context(|| format!("attach {name}"))?;
    read_iterator(&link, into).with_context(|| format!("run {name}"))
}

/// The scope's cgroup; `None` where it is not there yet, or out of reach and nothing hangs on it.
fn open_scope(scope: &Scope, config: &Config, variant: ConnectionVariant) -> Result<Option<File>> {
    let everything = config.scope.cgroup == "/";
    match scope.open() {
        Ok(cgroup) => Ok(Some(cgroup)),
        Err(error) if error.kind() == ErrorKind::NotFound && !everything => Ok(None),
        Err(_) if everything && variant != ConnectionVariant::RawTracepointAndSockops => Ok(None),
        Err(error) => Err(error).with_context(|| format!("open cgroup {}", config.scope.cgroup)),
    }
}

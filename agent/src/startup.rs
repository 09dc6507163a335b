//! The control path on one screen: each step returns the input of the next.

mod identity;
mod lock;
mod machine;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use notify::Notifier;
use wire::HostRow;

use crate::config::{Config, SeccompSetting};
use crate::event_loop::{self, Parts};
use crate::exit::{Exit, Failure, OrExit as _};
use crate::family::host::Host;
use crate::family::process::{HostProcFs, Identities, Processes};
use crate::family::{Opening, Report, Shared};
use crate::fleet::Fleet;
use crate::followed::{self, Followed, OpenFiles, Reader, Settings};
use crate::governor::Governor;
use crate::host::HostFacts;
use crate::jail::{self, Entered, Jailed};
use crate::loader::CoreOnDemand;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::paths::{CGROUP_DIR, LOCK_FILE, LOG_FILE, PROC_DIR, RUN_DIR, SPOOL_FILE, STATE_DIR};
use crate::plan::Plan;
use crate::status::{Helper, Kept};
use crate::writer::{Places, Writer};
use crate::{VERSION, clock, delivery, family, fault, host, loader, log, setup, spool};
use machine::Machine;

/// Runs the agent until it is told to end, then drains.
///
/// # Errors
/// The step that failed, with the exit code for it.
pub fn run(file: &Path, seccomp: Option<SeccompSetting>) -> Result<(), Failure> {
    jail::close_inherited().or_exit(Exit::Jail)?;
    let mut config = setup::load(file).or_exit(Exit::Usage)?;
    config.jail.seccomp = seccomp.unwrap_or(config.jail.seccomp);
    let output = log::Output::stderr();
    log::init(config.log.level, Box::new(output.clone())).or_exit(Exit::Runtime)?;
    let notifier = Notifier::from_environment();
    // Blocked before the first thread, so that only the event loop's descriptor takes them.
    let signals = event_loop::Signals::block().or_exit(Exit::Runtime)?;
    fault::at("config.loaded");
    let facts = host::probe(&config);
    let machine = Machine::read(Path::new("/"));
    fault::at("host.probed");
    let mut plan = family::decide(&facts, &config);
    announce(&config, &plan);

    // What a killed agent left; one that makes probes itself does this on the way.
    if let Err(error) = loader::clean_probes() {
        ::log::debug!(error = format!("{error:#}").as_str(); "probes not looked for");
    }
    let meter = Meter::open().or_exit(Exit::Jail)?;
    let (entered, reader) = enter(&plan, &config).or_exit(Exit::Jail)?;
    let _lock = lock::lock(Path::new(LOCK_FILE), plan.jail.user.value).or_exit(Exit::Runtime)?;
    fault::at("lock.held");
    let host_id = identity::host_id(Path::new(STATE_DIR), &machine).or_exit(Exit::Store)?;
    fault::at("identity.known");
    let metrics = Arc::new(Metrics::default());
    // Before the programs run, so that a restart does not write what is forbidden.
    let fleet = open_fleet(&config, &facts, &plan, host_id, &metrics);
    let core = CoreOnDemand::default();
    let kept = plan.jail.keeper.clone();
    let opening = Opening {
        facts: &facts,
        config: &config,
        in_force: fleet.in_force(),
        core: &core,
        keeper: kept.as_ref(),
    };
    let families = family::open(&mut plan, &opening);
    fault::at("sockets.opened");
    let jailed = confine(entered, &plan, || use_log_file(&config, &output))?;
    fault::at("agent.confined");
    let run_id = identity::random_id().or_exit(Exit::Runtime)?;
    let threads = start_threads(&jailed, &config, &fleet, &metrics)?;
    let (_log, writer) = in_background(&jailed, &output, &metrics).or_exit(Exit::Runtime)?;
    fault::at("threads.started");
    let drained = event_loop::run(Parts {
        keeper: keeper(&plan, families.iter().find_map(|one| one.keeper())),
        families,
        shared: Shared {
            processes: processes(&config, &facts),
            host: Host::new(host_row(&config, &facts, &plan)),
            report: Report::default(),
            metrics,
            core: core.in_use(),
        },
        meter,
        governor: Governor::new(config.budget, config.agent.interval, family::shed),
        seen: jailed.seen().clone(),
        kept: Kept::of(&plan.jail),
        reader: reader_helper(&plan, reader.as_ref()),
        followed: follow(&config, reader),
        reach: setup::reach,
        ids: (host_id, run_id),
        interval: config.agent.interval,
        writer,
        log: output,
        spool: threads,
        fleet,
        signals,
        notifier,
    })
    .or_exit(Exit::Runtime)?;
    if drained.stored {
        Ok(())
    } else {
        not_stored().or_exit(Exit::Store)
    }
}

/// From here on nothing but these threads writes to a disk or to standard error.
fn in_background(
    jailed: &Jailed,
    output: &log::Output,
    metrics: &Arc<Metrics>,
) -> Result<(log::Background, Writer)> {
    let lines = output
        .in_background()
        .context("start the thread of the log")?;
    let places = Places {
        run: RUN_DIR.into(),
        state: STATE_DIR.into(),
    };
    let writer = Writer::start(jailed, places, Arc::clone(metrics));
    Ok((lines, writer.context("start the thread of files")?))
}

/// Opens the spool, and starts what writes to it and what uploads.
fn start_threads(
    jailed: &Jailed,
    config: &Config,
    fleet: &Fleet,
    metrics: &Arc<Metrics>,
) -> Result<delivery::Handle, Failure> {
    let queue = spool::open(jailed, Path::new(SPOOL_FILE), spool_bounds(config))
        .context("open the spool")
        .or_exit(Exit::Store)?;
    fault::at("spool.opened");
    let upload = config.upload.as_ref().map(setup::reach);
    let metrics = Arc::clone(metrics);
    delivery::Handle::start(jailed, queue, upload, fleet.mailbox(), metrics).or_exit(Exit::Runtime)
}

fn keeper(plan: &Plan, process: Option<i32>) -> Option<Helper> {
    Some(Helper::of(plan.jail.keeper.as_ref()?, process?))
}

fn reader_helper(plan: &Plan, reader: Option<&Reader>) -> Option<Helper> {
    Some(Helper::of(&plan.jail.reader, reader?.process()))
}

/// Enters the jail, and leaves who reads the operator's files again outside of it.
fn enter(plan: &Plan, config: &Config) -> Result<(Entered, Option<Reader>)> {
    let outside = |rootfs: &Path| start_reader(rootfs, config, plan);
    jail::enter(&plan.jail, config, outside).context("enter the jail")
}

/// Leaves a process outside of the jail that reads the operator's files again.
fn start_reader(rootfs: &Path, config: &Config, plan: &Plan) -> Option<Reader> {
    match Reader::start(rootfs, followed::files(config), &plan.jail.reader) {
        Ok(reader) => Some(reader),
        Err(error) => {
            ::log::warn!(error = format!("{error:#}").as_str(); "files are not followed");
            None
        }
    }
}

fn follow(config: &Config, reader: Option<Reader>) -> Followed {
    let settings = Settings::new(Path::new(PROC_DIR), config.agent.hostname.is_none());
    let open_files = OpenFiles::new(Path::new(PROC_DIR));
    Followed::new(config, reader, (settings, open_files), |config| {
        let checked = config.upload.as_ref().map_or(Ok(()), setup::check);
        checked.map_err(|error| format!("upload: {:#}", anyhow::Error::from(error)))
    })
}

fn processes(config: &Config, facts: &HostFacts) -> Processes {
    let identities = Identities::new(
        config.limits.processes as usize,
        config.services.clone(),
        facts.clocks.boottime_zero_ns,
    );
    let procfs = HostProcFs::new(Path::new(PROC_DIR), Path::new(CGROUP_DIR));
    Processes::new(identities, Box::new(procfs))
}

/// Gives up what the running agent must not have, and says what is left.
fn confine(entered: Entered, plan: &Plan, log_elsewhere: impl FnOnce()) -> Result<Jailed, Failure> {
    for left_out in entered.left_out() {
        ::log::warn!(error = left_out.as_str(); "left out");
    }
    let how = entered.how();
    let jailed = entered
        .confine(&plan.jail)
        .context("confine the agent")
        .or_exit(Exit::Jail)?;
    let capabilities = jailed.capabilities().to_string();
    let seccomp = plan.jail.seccomp.mode.value.name();
    let user = plan.jail.user.value;
    log_elsewhere();
    ::log::info!(
        root = how, user = user, capabilities = capabilities.as_str(), seccomp = seccomp; "confined"
    );
    Ok(jailed)
}

fn spool_bounds(config: &Config) -> spool::Bounds {
    spool::Bounds {
        max_bytes: config.spool.max_bytes.bytes(),
        max_age: config.spool.max_age,
    }
}

/// Says once what was decided; the reasons go out with the host row and `doctor`.
fn announce(config: &Config, plan: &Plan) {
    for warning in &config.warnings {
        ::log::warn!(warning = warning.as_str(); "configuration");
    }
    if let Some(warning) = shared_user(plan) {
        ::log::warn!(warning = warning.as_str(); "configuration");
    }
    for warning in &plan.warnings {
        ::log::warn!(warning = warning.as_str(); "plan");
    }
    for (name, decision) in plan.rows() {
        ::log::info!(name = name.as_str(), decision = decision.as_str(); "planned");
    }
}

/// What is wrong with the agent's user, if an account of the host has the same number.
#[must_use]
pub fn shared_user(plan: &Plan) -> Option<String> {
    let uid = plan.jail.user.value;
    let account = (uid != 0).then(|| host::account(uid)).flatten()?;
    Some(format!(
        "account {account} has the agent's user number {uid} and can read and change its spool: \
         give jail.uid a number that no account has"
    ))
}

/// Leaves standard error, where the configuration says so.
fn use_log_file(config: &Config, output: &log::Output) {
    if config.log.file
        && let Err(error) = output.use_file(Path::new(LOG_FILE))
    {
        ::log::warn!(error:% = error; "log file not used");
    }
}

fn host_row(config: &Config, facts: &HostFacts, plan: &Plan) -> HostRow {
    HostRow {
        hostname: hostname(config, facts),
        kernel: facts.kernel.clone(),
        agent: VERSION.to_owned(),
        mode: plan.mode().name().to_owned(),
        plan: plan.rows(),
        facts: facts.rows(),
        paths_off: Vec::new(),
        counters: Vec::new(),
        started_ms: clock::unix_ms(),
    }
}

fn hostname(config: &Config, facts: &HostFacts) -> String {
    let own = config.agent.hostname.clone();
    own.unwrap_or_else(|| facts.hostname.clone())
}

/// Reads the orders that this host had.
fn open_fleet(
    config: &Config,
    facts: &HostFacts,
    plan: &Plan,
    host_id: [u8; 16],
    metrics: &Arc<Metrics>,
) -> Fleet {
    let id = format!("{:032x}", u128::from_be_bytes(host_id));
    let names = [hostname(config, facts), id];
    Fleet::open((config, plan), &names, Path::new(STATE_DIR), metrics)
}

fn not_stored() -> Result<()> {
    bail!("the spool thread ended early; batches of the last interval may be lost")
}

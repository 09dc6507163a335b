//! The shipped agent in its shipped root directory: what it says, what the verifier says, and
//! whether it starts, stays and ends, whatever the kernel lacks.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::lab::agent::{AGENT, FLEET_KEY, Status};
use tests::lab::cgroup::Tree;
use tests::lab::collector::write_secret;
use tests::lab::command;
use tests::lab::process::Running;
use tests::lab::wait::wait_until;

use super::memory;
use super::run::{Found, Incomplete, Run};
use crate::kernel;
use crate::report::Line;

/// How long an emulated agent may take to start, and to drain.
const DEADLINE: Duration = Duration::from_secs(60);

/// The shipped agent as an operator would have installed it.
struct Installed {
    rootfs: PathBuf,
    config: PathBuf,
    directory: PathBuf,
    /// Removed at the end; only as an ordinary program, which must not measure the whole machine.
    cgroup: Option<PathBuf>,
}

/// What the agent says about this kernel.
///
/// # Errors
/// When it cannot be installed, fails, or says nothing that can be read.
pub(super) fn examine(run: &Run) -> Result<Value> {
    Installed::here_or_there(run)?.doctor()
}

/// All checks of this group.
pub(super) fn run(run: &mut Run) -> Result<()> {
    if run.doctor.is_null() {
        return Ok(());
    }
    let doctor = run.doctor.clone();
    run.report.line(&Line::Doctor { doctor })?;
    run.check("agent", "doctor/report", |run| {
        let problems = run.doctor["config"]["problems"].as_array();
        let problems = problems.context("a report without a configuration")?;
        ensure!(
            problems.is_empty(),
            "its configuration is refused: {problems:?}"
        );
        ensure!(
            !run.planned("connection").is_empty(),
            "a report without a plan"
        );
        Ok(Found::ALL)
    })?;
    run.check("connection", "doctor/verifier", verifier)?;
    run.check("agent", "doctor/starts-and-explains", starts)
}

impl Installed {
    fn here_or_there(run: &Run) -> Result<Self> {
        let directory = if run.here {
            let name = format!("matrix-guest-{}", std::process::id());
            std::env::temp_dir().join(name)
        } else {
            PathBuf::from("/")
        };
        let rootfs = directory.join("opt/waybill/rootfs");
        let config = directory.join("etc/waybill/agent.toml");
        let mut cgroup = None;
        let mut scope = String::from("/");
        if run.here {
            let tree = Tree::find(&directory.join("cgroup2"))?;
            scope = format!("/matrix-guest-{}", std::process::id());
            cgroup = Some(tree.create(scope.trim_start_matches('/'))?);
        }
        let installed = Self {
            rootfs,
            config,
            directory,
            cgroup,
        };
        if !installed.rootfs.exists() {
            installed.install(&run.payload.join("rootfs"), &scope)?;
        }
        Ok(installed)
    }

    fn install(&self, shipped: &Path, scope: &str) -> Result<()> {
        copy(shipped, &self.rootfs).context("install the shipped root directory")?;
        let home = self.config.parent().context("a file is in a directory")?;
        fs::create_dir_all(home)?;
        let key = home.join("fleet.key");
        write_secret(&key, &format!("{FLEET_KEY}\n"))?;
        let text = format!(
            "[agent]\nrootfs = {:?}\ninterval = \"1s\"\n[scope]\ncgroup = {scope:?}\n\
             [[key]]\nepoch = 1\nsecret_file = {key:?}\n{}",
            self.rootfs,
            limits()
        );
        fs::write(&self.config, text).context("write the configuration")
    }

    fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(self.rootfs.join(AGENT));
        command.arg(verb).arg("--config").arg(&self.config);
        command
    }

    fn doctor(&self) -> Result<Value> {
        let text = command::run(self.command("doctor").args(["--format", "json"]))?;
        serde_json::from_str(&text).context("doctor's report")
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        if let Some(cgroup) = &self.cgroup {
            tests::lab::cgroup::remove(cgroup).ok();
            fs::remove_dir_all(&self.directory).ok();
        }
    }
}

/// The limits of a small machine as a section of the configuration.
fn limits() -> String {
    let limits = memory::limits().iter();
    let lines: String = limits
        .map(|(key, value)| format!("{} = {value}\n", key.trim_start_matches("limits.")))
        .collect();
    format!("[limits]\n{lines}")
}

/// Copies a directory with its modes; files are linked where they can be, to save memory.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("list {}", from.display()))? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            copy(&path, &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path)?, &target)?;
        } else if fs::hard_link(&path, &target).is_err() {
            fs::copy(&path, &target)?;
        }
    }
    let mode = fs::metadata(from)?.permissions();
    fs::set_permissions(to, mode).context("set the mode")
}

/// Loads every program that the plan uses, alone, and reports what the verifier counted.
fn verifier(run: &mut Run) -> Result<Found> {
    run.need_programs()?;
    let (object, filters_only) = object(run.planned("connection"), run.planned("transport"));
    let planned = kernel::programs(object)?
        .into_iter()
        .filter(|program| !filters_only || program.starts_with("wb_clone_"))
        .filter(|program| is_planned(run, program))
        .map(|program| (object, program.clone(), program));
    // Those on probes are for kernels that cannot be run here, and load wherever there are probes.
    let probes = kernel::programs(bpf::CONNECTION_KPROBE)?
        .into_iter()
        .filter(|program| !program.starts_with("wb_clone_"))
        .map(|program| {
            let name = format!("{program}@kprobe");
            (bpf::CONNECTION_KPROBE, program, name)
        });
    let has_probes = run.fact("kprobe") == "yes";
    let wanted: Vec<_> = planned.chain(probes.filter(|_| has_probes)).collect();
    let (mut found, mut refused) = (0, Vec::new());
    for (object, program, name) in &wanted {
        match kernel::verify(object, program) {
            Ok(verified) => {
                found += 1;
                let thousandths = u32::try_from(verified.microseconds).unwrap_or(u32::MAX);
                run.report.line(&Line::Verifier {
                    program: name.clone(),
                    insns: verified.instructions,
                    states: verified.states,
                    ms: f64::from(thousandths) / 1000.0,
                })?;
            }
            Err(error) => refused.push(format!("{name}: {error:#}")),
        }
    }
    let expected = wanted.len() as u64;
    if !refused.is_empty() {
        let reason = format!("refused: {}", refused.join("; "));
        return Err(Incomplete {
            found,
            expected,
            reason,
        }
        .into());
    }
    Ok(Found { found, expected })
}

/// The object that the plan loads, and whether only its packet filters are left to be shown: where
/// connections are followed by probes, those are shown in any case, and no program of the other
/// objects is ever loaded.
fn object(connection: &str, transport: &str) -> (&'static [u8], bool) {
    match connection.starts_with("probes") {
        true => (bpf::CONNECTION_KPROBE, true),
        false if transport.starts_with("perf") => (bpf::CONNECTION_PERF, false),
        false => (bpf::CONNECTION_RING, false),
    }
}

/// Whether the plan uses a program; the rest is there for other kernels.
fn is_planned(run: &Run, program: &str) -> bool {
    let iterates = |row: &str| {
        let planned = run.planned(row);
        planned.starts_with("on") && !planned.contains("by diagnostic sockets")
    };
    match program {
        "wb_conn_option" => run.planned("connection").contains("sockops"),
        "wb_conn_live" => iterates("snapshot"),
        "wb_conn_listen" | "wb_conn_adopt" => iterates("discovery"),
        filter if filter.starts_with("wb_clone_") => {
            run.planned("connection").contains("packet filters")
        }
        _ => true,
    }
}

/// Starts the agent on the whole guest, waits for two intervals, asks again, and lets it drain.
fn starts(run: &mut Run) -> Result<Found> {
    let installed = Installed::here_or_there(run)?;
    let said = installed.directory.join("tmp/shipped-agent");
    fs::create_dir_all(said.parent().context("a file is in a directory")?)?;
    let mut agent = Running::start(installed.command("run"), &said)?;
    let status = alive(&mut agent, &installed.rootfs)?;
    run.peak.note(agent.pid().as_raw());
    run.report.line(&Line::Running {
        mode: status.mode.clone(),
        plan: status.plan.clone(),
    })?;
    let doctor = installed.doctor()?;
    let seen = doctor["running"]["pid"].as_i64();
    ensure!(
        seen == Some(agent.pid().as_raw().into()),
        "doctor does not see the running agent: {}",
        doctor["running"]
    );
    let refused: Vec<String> = status
        .plan
        .iter()
        .filter(|(_, decision)| decision.starts_with("refused") || decision.starts_with("cannot"))
        .map(|(program, decision)| format!("{program} {decision}"))
        .collect();
    agent.signal(Signal::SIGTERM)?;
    let ended = agent.wait(DEADLINE)?;
    ensure!(
        ended.success(),
        "ended with {ended}: {}",
        agent.errors()?.trim()
    );
    ensure!(refused.is_empty(), "{}", refused.join("; "));
    for name in ["connection", "mode"] {
        let promised = run.planned(name).split(':').next().unwrap_or_default();
        let kept = status.plan.iter().find(|(row, _)| row == name);
        let kept = kept.map_or("", |(_, decision)| decision);
        ensure!(
            kept.starts_with(promised),
            "{name}: planned {promised:?}, runs {kept:?}"
        );
        let reason = kept.split_once(": ").map_or("", |(_, reason)| reason);
        ensure!(!reason.trim().is_empty(), "{name} has no reason: {kept:?}");
    }
    Ok(Found::ALL)
}

/// Waits until the agent has closed two intervals, so that it did more than to start.
fn alive(agent: &mut Running, rootfs: &Path) -> Result<Status> {
    let file = rootfs.join("run/status.json");
    let pid = agent.pid().as_raw();
    let mut first = None;
    wait_until(DEADLINE, "second status of the agent", || {
        if let Some(status) = agent.ended()? {
            bail!("ended with {status}: {}", agent.errors()?.trim());
        }
        let root = PathBuf::from(format!("/proc/{pid}/root"));
        let inside = root.join("run/status.json");
        let text = fs::read_to_string(&file).or_else(|_| fs::read_to_string(inside));
        let status: Option<Status> = text.ok().and_then(|text| serde_json::from_str(&text).ok());
        let Some(status) = status.filter(|status| status.pid == pid) else {
            return Ok(None);
        };
        let begin = *first.get_or_insert(status.written_ms);
        Ok((status.written_ms > begin).then_some(status))
    })
}

#[cfg(test)]
mod unit {
    use super::object;

    #[test]
    fn no_raw_tracepoint_is_asked_of_a_kernel_that_is_followed_by_probes() {
        let (bytes, filters_only) = object("probes and packet filters: x", "perf buffer: y");
        assert!(bytes == bpf::CONNECTION_KPROBE && filters_only);
        let (bytes, filters_only) = object("raw tracepoints: x", "perf buffer: y");
        assert!(bytes == bpf::CONNECTION_PERF && !filters_only);
        let (bytes, filters_only) = object("raw tracepoints and sockops: x", "ring buffer: y");
        assert!(bytes == bpf::CONNECTION_RING && !filters_only);
    }
}

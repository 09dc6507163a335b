//! Joins a host (network namespace, cgroup) and becomes the program that shall run there.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, CpuSet};
use nix::sys::signal::{SigSet, Signal};

/// Where and what to execute.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the network namespace below /run/netns.
    #[arg(long)]
    netns: String,
    /// Directory of the cgroup to join.
    #[arg(long)]
    cgroup: PathBuf,
    /// Run on this processor only.
    #[arg(long)]
    cpu: Option<usize>,
    /// Program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Never returns when it succeeds.
///
/// # Errors
/// When namespace or cgroup cannot be joined, or the program cannot be executed.
pub fn run(arguments: &Arguments) -> Result<()> {
    // A killed test must not leave its programs behind.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).context("set parent-death signal")?;
    // The demo blocks signals to read them from a descriptor; the mask would be inherited.
    SigSet::all().thread_unblock().context("unblock signals")?;
    if let Some(cpu) = arguments.cpu {
        let mut set = CpuSet::new();
        set.set(cpu).context("processor number")?;
        nix::sched::sched_setaffinity(nix::unistd::Pid::from_raw(0), &set).context("pin")?;
    }
    let procs = arguments.cgroup.join("cgroup.procs");
    std::fs::write(&procs, "0").with_context(|| format!("join {}", procs.display()))?;
    let netns = super::super::lab::netns::path(&arguments.netns);
    let file = std::fs::File::open(&netns).with_context(|| format!("open {}", netns.display()))?;
    nix::sched::setns(file, CloneFlags::CLONE_NEWNET).context("join network namespace")?;
    let (program, rest) = arguments.command.split_first().context("no program")?;
    let error = Command::new(program).args(rest).exec();
    Err(error).with_context(|| format!("execute {}", program.display()))
}

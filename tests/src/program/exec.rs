//! Joins a host (network namespace, cgroup) and becomes the program that shall run there.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, CpuSet};
use nix::sys::signal::{SigSet, Signal};

use crate::lab::netns;
use crate::lab::wait::wait_through;

/// A forked process holds inherited files until it executes, which takes milliseconds.
const BUSY_DEADLINE: Duration = Duration::from_secs(20);

/// Where and what to execute.
#[derive(clap::Args)]
pub struct Arguments {
    /// Name of the network namespace below /run/netns.
    #[arg(long)]
    netns: String,
    /// Directory of the cgroup to join.
    #[arg(long)]
    cgroup: PathBuf,
    /// Directory that shall look empty to the program.
    #[arg(long)]
    hide: Vec<PathBuf>,
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
    if !arguments.hide.is_empty() {
        hide(&arguments.hide)?;
    }
    let procs = arguments.cgroup.join("cgroup.procs");
    std::fs::write(&procs, "0").with_context(|| format!("join {}", procs.display()))?;
    let netns = netns::path(&arguments.netns);
    let file = std::fs::File::open(&netns).with_context(|| format!("open {}", netns.display()))?;
    nix::sched::setns(file, CloneFlags::CLONE_NEWNET).context("join network namespace")?;
    let (program, rest) = arguments.command.split_first().context("no program")?;
    // A binary just written is busy while a process forked in that moment still holds the file.
    wait_through(BUSY_DEADLINE, "executable that is not busy", || {
        let error = Command::new(program).args(rest).exec();
        if error.kind() == ErrorKind::ExecutableFileBusy {
            return Ok(None);
        }
        Err(error).with_context(|| format!("execute {}", program.display()))
    })
}

/// Mounts something empty over directories, in a mount namespace of this process's own.
fn hide(folders: &[PathBuf]) -> Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context("make mounts private")?;
    for folder in folders {
        let empty = Some("tmpfs");
        mount(empty, folder, empty, MsFlags::MS_RDONLY, None::<&str>)
            .with_context(|| format!("hide {}", folder.display()))?;
    }
    Ok(())
}

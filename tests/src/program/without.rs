//! Takes abilities of the host away from a program, and becomes that program.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// What to take, and what to execute.
#[derive(clap::Args)]
pub struct Arguments {
    /// Directory that shall look empty.
    #[arg(long)]
    hide: Vec<PathBuf>,
    /// File system that the kernel shall seem not to have.
    #[arg(long)]
    file_system: Option<String>,
    /// Capability, by its name for setpriv(1).
    #[arg(long)]
    capability: Vec<String>,
    /// Bytes of memory that may be locked.
    #[arg(long)]
    memlock: Option<u64>,
    /// System call that is refused with EPERM; `netlink` is socket(2) for it.
    #[arg(long)]
    refuse: Vec<String>,
    /// Directory for files of its own.
    #[arg(long)]
    scratch: PathBuf,
    /// Program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Never returns when it succeeds.
///
/// # Errors
/// When something cannot be taken, or the program cannot be executed.
pub fn run(arguments: &Arguments) -> Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context("make mounts private")?;
    if let Some(name) = &arguments.file_system {
        hide_file_system(name, &arguments.scratch)?;
    }
    for folder in &arguments.hide {
        let empty = Some("tmpfs");
        mount(empty, folder, empty, MsFlags::MS_RDONLY, None::<&str>)
            .with_context(|| format!("hide {}", folder.display()))?;
    }
    if let Some(bytes) = arguments.memlock {
        setrlimit(Resource::RLIMIT_MEMLOCK, bytes, bytes).context("limit locked memory")?;
    }
    if !arguments.refuse.is_empty() {
        refuse(&arguments.refuse)?;
    }
    let mut words = arguments.command.iter();
    let mut command = Command::new(words.next().context("no program")?);
    if !arguments.capability.is_empty() {
        let list: Vec<String> = arguments
            .capability
            .iter()
            .map(|name| format!("-{name}"))
            .collect();
        let list = list.join(",");
        command = Command::new("setpriv");
        command.args(["--bounding-set", &list, "--inh-caps", &list, "--"]);
        words = arguments.command.iter();
    }
    Err(command.args(words).exec()).context("execute the program")
}

/// Shows a list of file systems without this one.
fn hide_file_system(name: &str, scratch: &Path) -> Result<()> {
    const LIST: &str = "/proc/filesystems";
    let list = fs::read_to_string(LIST).context("read the list of file systems")?;
    let others = list
        .lines()
        .filter(|line| line.split('\t').next_back() != Some(name));
    let file = scratch.join("filesystems");
    fs::write(&file, others.collect::<Vec<_>>().join("\n")).context("write another list")?;
    let bind = MsFlags::MS_BIND;
    mount(Some(&file), LIST, None::<&str>, bind, None::<&str>).context("show the other list")
}

fn refuse(names: &[String]) -> Result<()> {
    let mut rules = BTreeMap::new();
    for name in names {
        let (number, conditions) = match name.as_str() {
            "bpf" => (libc::SYS_bpf, Vec::new()),
            "mount" => (libc::SYS_mount, Vec::new()),
            "perf_event_open" => (libc::SYS_perf_event_open, Vec::new()),
            "seccomp" => (libc::SYS_seccomp, Vec::new()),
            "netlink" => {
                let domain = u64::try_from(libc::AF_NETLINK)?;
                let (length, op) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
                let is = SeccompCondition::new(0, length, op, domain)?;
                (libc::SYS_socket, vec![SeccompRule::new(vec![is])?])
            }
            _ => bail!("no such call: {name}"),
        };
        rules.insert(number, conditions);
    }
    let refused = SeccompAction::Errno(Errno::EPERM as u32);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch)?;
    seccompiler::apply_filter(&BpfProgram::try_from(filter)?).context("refuse calls")
}

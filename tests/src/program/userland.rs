//! Enters the file system of a distribution and becomes a program in it.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;

/// What of the host's kernel a program needs to see there.
const KERNEL: [&str; 3] = ["proc", "sys", "dev"];

/// Which file system, and what to execute.
#[derive(clap::Args)]
pub struct Arguments {
    /// The distribution's root directory; it stays as it is.
    #[arg(long)]
    root: PathBuf,
    /// Directory for what is changed.
    #[arg(long)]
    upper: PathBuf,
    /// Directory of the host that is at the same place there.
    #[arg(long)]
    keep: PathBuf,
    /// Program and its arguments.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Never returns when it succeeds. Mounts are in a namespace of this process's own.
///
/// # Errors
/// When something cannot be mounted, or the program cannot be executed.
pub fn run(arguments: &Arguments) -> Result<()> {
    nix::sched::unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, private, None::<&str>).context("make mounts private")?;
    let place = arguments.upper.with_extension("root");
    let work = arguments.upper.with_extension("work");
    for folder in [&arguments.upper, &place, &work] {
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        arguments.root.display(),
        arguments.upper.display(),
        work.display()
    );
    let overlay = Some("overlay");
    mount(
        overlay,
        &place,
        overlay,
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .context("lay the userland over")?;
    for folder in KERNEL {
        bind(&Path::new("/").join(folder), &place)?;
    }
    bind(&arguments.keep, &place)?;
    nix::unistd::chroot(&place).context("enter the userland")?;
    std::env::set_current_dir("/").context("enter the userland")?;
    let (program, rest) = arguments.command.split_first().context("no program")?;
    Err(Command::new(program).args(rest).exec())
        .with_context(|| format!("execute {}", program.display()))
}

/// Shows a directory of the host at the same place below `place`.
fn bind(folder: &Path, place: &Path) -> Result<()> {
    let to = place.join(folder.strip_prefix("/").unwrap_or(folder));
    fs::create_dir_all(&to).with_context(|| format!("make {}", to.display()))?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some(folder), &to, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("show {} there", folder.display()))
}

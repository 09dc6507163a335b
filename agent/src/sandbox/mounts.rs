//! Mounts that only one thread, and what it starts, can see.

use std::path::Path;

use anyhow::{Context as _, Error, Result, anyhow};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::thread::on_a_thread;

const NOTHING: Option<&str> = None;
const TMPFS_OPTIONS: &str = "size=16m,mode=0700";
/// What is mounted is data.
const INERT: MsFlags = MsFlags::MS_NOSUID
    .union(MsFlags::MS_NODEV)
    .union(MsFlags::MS_NOEXEC);

/// Makes a mount namespace for the calling thread, from which nothing shows on the host.
pub(crate) fn private_mounts() -> Result<()> {
    // From here on mounts are this process's own.
    unshare(CloneFlags::CLONE_NEWNS).map_err(|errno| match errno {
        Errno::EPERM => anyhow!("the jail needs CAP_SYS_ADMIN: run the agent as root"),
        errno => Error::from(errno).context("make a private mount namespace"),
    })?;

    // On most hosts the copies are still shared: without this our mounts would show on the host.
    mount(
        NOTHING,
        "/",
        NOTHING,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        NOTHING,
    )
    .map_err(|errno| match errno {
        Errno::EINVAL => anyhow!(
            "the agent was started in a chroot, where its mounts cannot be kept from the host; \
             start it from the host's root or in a container"
        ),
        errno => Error::from(errno).context("make mounts private"),
    })
}

/// Shows the kernel's tracing directory to `read`, on a thread whose namespace ends with it.
///
/// # Errors
/// The kernel has no tracefs, or refuses to mount it.
pub fn with_tracefs<T: Send>(read: impl FnOnce(&Path) -> T + Send) -> Result<T> {
    const PLACE: &str = "/sys/kernel/tracing";
    apart(|| {
        mount_tracefs(Path::new(PLACE), false).context("mount tracefs")?;
        Ok(read(Path::new(PLACE)))
    })
}

/// Tries what a jail begins with, on a thread whose namespace ends with it.
///
/// # Errors
/// What the kernel refuses, in an operator's words.
pub fn try_mounts() -> Result<()> {
    apart(|| mount_tmpfs(Path::new("/proc")).context("mount a tmpfs"))
}

/// Runs `inside` on a thread with a mount namespace of its own.
fn apart<T: Send>(inside: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    on_a_thread("apart", || {
        private_mounts()?;
        inside()
    })
}

/// A directory in memory, writable by root alone.
pub(crate) fn mount_tmpfs(target: &Path) -> nix::Result<()> {
    mount(
        Some("tmpfs"),
        target,
        Some("tmpfs"),
        INERT,
        Some(TMPFS_OPTIONS),
    )
}

/// The kernel's tracing directory.
pub(crate) fn mount_tracefs(target: &Path, writable: bool) -> nix::Result<()> {
    mount(Some("tracefs"), target, Some("tracefs"), INERT, NOTHING)?;
    match writable {
        true => Ok(()),
        false => read_only(target, INERT),
    }
}

/// A bind mount takes its flags only when it is mounted again.
pub(crate) fn read_only(target: &Path, flags: MsFlags) -> nix::Result<()> {
    let flags = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | flags;
    mount(NOTHING, target, NOTHING, flags, NOTHING)
}

//! Threads of a process that may do less than it, or live in another network namespace.

use std::fs::File;

use anyhow::{Context as _, Result, anyhow};
use caps::{CapSet, CapsHashSet};
use nix::sched::{CloneFlags, setns, unshare};
use nix::unistd::{Gid, Uid, setfsgid, setfsuid};

use super::{Capabilities, Capability};

/// Runs `ask` on a thread that has only these of the process's effective capabilities, and reaches
/// files and processes as `uid` does.
///
/// # Errors
/// The thread cannot be made or its capabilities cannot be set.
pub fn with_only<T: Send>(
    keep: &[Capability],
    uid: u32,
    ask: impl FnOnce() -> T + Send,
) -> Result<T> {
    let kept = to_caps(keep.iter().copied().collect());
    on_a_thread("trial", || {
        // Of this thread alone, other than the user; takes effective capabilities away.
        setfsgid(Gid::from_raw(uid));
        setfsuid(Uid::from_raw(uid));
        caps::set(None, CapSet::Effective, &kept).context("set its capabilities")?;
        Ok(ask())
    })
}

/// Runs `ask` on a thread that has only these of the process's effective capabilities and a network
/// namespace of its own, with nothing in it but a loopback device; both are gone afterwards.
///
/// # Errors
/// The namespace or the thread cannot be made.
pub fn in_spare_network<T: Send>(keep: &[Capability], ask: impl FnOnce() -> T + Send) -> Result<T> {
    let kept = to_caps(keep.iter().copied().collect());
    on_a_thread("trial", || {
        unshare(CloneFlags::CLONE_NEWNET).context("make a network namespace")?;
        caps::set(None, CapSet::Effective, &kept).context("set its capabilities")?;
        Ok(ask())
    })
}

/// Runs `work` on a thread in the network namespace of this file (`/proc/<pid>/ns/net`); takes
/// `CAP_SYS_ADMIN`.
///
/// # Errors
/// The namespace cannot be entered, or the thread not be made.
pub fn in_network_of<T: Send>(file: &File, work: impl FnOnce() -> T + Send) -> Result<T> {
    on_a_thread("namespace", || {
        setns(file, CloneFlags::CLONE_NEWNET).context("enter a network namespace")?;
        Ok(work())
    })
}

/// Runs `work` on a thread of its own and waits for it.
pub(super) fn on_a_thread<T: Send>(
    name: &str,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name(name.into());
        let thread = builder.spawn_scoped(scope, work);
        let outcome = thread.context("start a thread")?.join();
        outcome.map_err(|_| anyhow!("the thread panicked"))?
    })
}

/// The same set as the crate that changes capabilities has it.
pub(crate) fn to_caps(capabilities: Capabilities) -> CapsHashSet {
    caps::all()
        .into_iter()
        .filter(|one| {
            capabilities
                .iter()
                .any(|capability| capability.index() == one.index())
        })
        .collect()
}

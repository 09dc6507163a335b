//! Facts that stand in one file each.

use super::Fact;
use crate::sandbox::Capabilities;

/// The trimmed text of a small file; `None` when it cannot be read.
pub(super) fn text(path: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

pub(super) fn hostname() -> String {
    text("/proc/sys/kernel/hostname")
        .filter(|name| !name.is_empty())
        .unwrap_or("unknown".into())
}

pub(super) fn release() -> String {
    text("/proc/sys/kernel/osrelease").unwrap_or("unknown".into())
}

pub(super) fn effective_capabilities() -> Capabilities {
    text("/proc/thread-self/status")
        .or_else(|| text("/proc/self/status"))
        .and_then(|status| Capabilities::from_status(&status, "CapEff"))
        .unwrap_or_default()
}

/// The mode in brackets: `none [integrity] confidentiality`.
pub(super) fn lockdown() -> Option<String> {
    let modes = text("/sys/kernel/security/lockdown")?;
    let (_, rest) = modes.split_once('[')?;
    rest.split_once(']').map(|(mode, _)| mode.to_owned())
}

/// Whether filters on system calls can write to the audit log (4.14, 59f5cf44a38a); a kernel
/// that can lists it among its actions (8e5f1ad116df, of the same release). One that cannot would
/// take the unknown action for "kill".
pub(super) fn seccomp_log() -> Fact {
    const ACTIONS: &str = "/proc/sys/kernel/seccomp/actions_avail";
    match text(ACTIONS) {
        Some(actions) => Fact::when(
            actions.split_whitespace().any(|action| action == "log"),
            format!("{ACTIONS} does not list it"),
        ),
        None => Fact::no(format!("the kernel has no {ACTIONS}")),
    }
}

/// Soft limit of locked memory: bounds what maps may take on kernels that charge it to the user.
pub(super) fn memlock() -> Option<String> {
    let limits = text("/proc/self/limits")?;
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max locked memory"))?;
    line.split_whitespace().next().map(str::to_owned)
}

/// Whether the kernel lists this file system, mounted or not.
pub(super) fn has_file_system(name: &str) -> bool {
    let known = text("/proc/filesystems").unwrap_or_default();
    known
        .lines()
        .any(|line| line.split('\t').next_back() == Some(name))
}

pub(super) fn tracefs() -> Fact {
    Fact::when(
        has_file_system("tracefs"),
        "the kernel was built without tracefs",
    )
}

/// Probes at functions: the program type as it was tried, and what makes the probes.
pub(super) fn probes(kind: Fact) -> Fact {
    if !kind.is_yes() {
        return kind;
    }
    // Where the tracing directory is not mounted, the loader will tell.
    let listed = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"]
        .map(std::path::Path::new)
        .into_iter()
        .find(|tracing| tracing.join("events").exists());
    match listed {
        Some(tracing) if !tracing.join("kprobe_events").exists() => {
            Fact::no("the kernel was built without probes at functions (CONFIG_KPROBE_EVENTS)")
        }
        Some(_) => Fact::Yes,
        None if has_file_system("tracefs") => {
            Fact::unknown("the tracing directory is not mounted, so it could not be looked at")
        }
        None => Fact::no("the kernel was built without tracefs"),
    }
}

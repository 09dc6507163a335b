//! Which system calls the running agent keeps, and what happens with the rest.

use super::Choice;
use crate::config::{Config, SeccompSetting};
use crate::host::HostFacts;

/// What happens to a call that the plan does not need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeccompMode {
    /// It is refused with `EPERM`.
    Enforce,
    /// It is done, and the kernel writes it to its audit log.
    Log,
    /// Nothing: there is no filter.
    Off,
}

impl SeccompMode {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Log => "log",
            Self::Off => "off",
        }
    }
}

/// Who needs calls; `jail/calls.rs` lists which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Caller {
    /// Memory, threads, signals, clocks: every program.
    Runtime,
    /// Files of host id, spool and status, and reading `/proc`.
    Files,
    /// The event loop: waiting and signals.
    Loop,
    /// Names and connections of the collector.
    Upload,
    /// Tables of the programs.
    Tables,
    /// Perf buffers.
    PerfBuffer,
    /// The process that keeps the packet filters.
    Filters,
    /// That process itself, and what every process beside the agent needs.
    Keeper,
    /// The process that reads the operator's files again.
    Reader,
    /// The agent's end of the connection with that process.
    Followed,
    /// The program on the scope's cgroup, which may go and come back.
    Scope,
    /// Packet and diagnostic sockets.
    Sockets,
    /// Connection tracking.
    Tracking,
}

impl Caller {
    /// Every one, in the order of the type.
    pub const ALL: [Self; 13] = [
        Self::Runtime,
        Self::Files,
        Self::Loop,
        Self::Upload,
        Self::Tables,
        Self::PerfBuffer,
        Self::Filters,
        Self::Keeper,
        Self::Reader,
        Self::Followed,
        Self::Scope,
        Self::Sockets,
        Self::Tracking,
    ];

    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Runtime => "runtime",
            Self::Files => "files",
            Self::Loop => "event loop",
            Self::Upload => "upload",
            Self::Tables => "tables",
            Self::PerfBuffer => "perf buffers",
            Self::Filters => "packet filters",
            Self::Keeper => "keeper of the packet filters",
            Self::Reader => "reader of the operator's files",
            Self::Followed => "word of that reader",
            Self::Scope => "scope",
            Self::Sockets => "packet and diagnostic sockets",
            Self::Tracking => "connection tracking",
        }
    }
}

/// The filter on system calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seccomp {
    /// What happens to other calls.
    pub mode: Choice<SeccompMode>,
    /// Whose calls are allowed.
    pub callers: Vec<Caller>,
}

/// The filter for what runs on this host.
pub(super) fn decide<'c>(
    facts: &HostFacts,
    config: &Config,
    families: impl IntoIterator<Item = &'c Caller>,
) -> Seccomp {
    Seccomp {
        mode: mode(facts, config.jail.seccomp),
        callers: callers(config, families),
    }
}

/// The filter for the process that keeps the packet filters.
pub(super) fn for_keeper(facts: &HostFacts, config: &Config) -> Seccomp {
    Seccomp {
        mode: mode(facts, config.jail.seccomp),
        callers: vec![Caller::Keeper],
    }
}

/// The filter for the process that reads the operator's files again.
pub(super) fn for_reader(facts: &HostFacts, config: &Config) -> Seccomp {
    Seccomp {
        mode: mode(facts, config.jail.seccomp),
        callers: vec![Caller::Keeper, Caller::Reader],
    }
}

fn mode(facts: &HostFacts, setting: SeccompSetting) -> Choice<SeccompMode> {
    let off = |reason: String| Choice::new(SeccompMode::Off, reason);
    if setting == SeccompSetting::Off {
        return off("jail.seccomp asks for it".into());
    }
    if !facts.seccomp.is_yes() {
        let why = facts.seccomp.why();
        return off(format!("the kernel cannot filter system calls: {why}"));
    }
    match (setting, facts.seccomp_log.is_yes()) {
        (SeccompSetting::Log, true) => Choice::new(
            SeccompMode::Log,
            "jail.seccomp asks for it: other calls are written to the kernel's audit log",
        ),
        // Who asks for a log wants nothing refused yet.
        (SeccompSetting::Log, false) => off(format!(
            "jail.seccomp asks for a log, and nothing is refused: {}",
            facts.seccomp_log.why()
        )),
        (SeccompSetting::Enforce | SeccompSetting::Off, _) => Choice::new(
            SeccompMode::Enforce,
            "every system call that the plan does not need is refused",
        ),
    }
}

/// Whose calls are needed: the agent's own, then those of its families, each once.
fn callers<'c>(config: &Config, families: impl IntoIterator<Item = &'c Caller>) -> Vec<Caller> {
    let mut callers = vec![
        Caller::Runtime,
        Caller::Files,
        Caller::Loop,
        Caller::Followed,
    ];
    callers.extend(config.upload.as_ref().map(|_| Caller::Upload));
    for caller in families {
        if !callers.contains(caller) {
            callers.push(*caller);
        }
    }
    callers
}

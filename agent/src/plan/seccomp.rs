//! Which system calls the running agent keeps, and what happens with the rest.

use super::Choice;
use crate::calls::Caller;
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
        callers: vec![Caller::KEEPER],
    }
}

/// The filter for the process that reads the operator's files again.
pub(super) fn for_reader(facts: &HostFacts, config: &Config) -> Seccomp {
    Seccomp {
        mode: mode(facts, config.jail.seccomp),
        callers: vec![Caller::KEEPER, Caller::READER],
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
        Caller::RUNTIME,
        Caller::FILES,
        Caller::LOOP,
        Caller::FOLLOWED,
    ];
    callers.extend(config.upload.as_ref().map(|_| Caller::UPLOAD));
    for caller in families {
        if !callers.contains(caller) {
            callers.push(*caller);
        }
    }
    callers
}

//! Which system calls the running agent keeps, and what happens with the rest.

use super::{Choice, Transport, Uses};
use crate::config::{Config, SeccompWish};
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
pub(super) fn decide(facts: &HostFacts, config: &Config, uses: &Uses) -> Seccomp {
    Seccomp {
        mode: mode(facts, config.jail.seccomp),
        callers: callers(config, uses),
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

fn mode(facts: &HostFacts, wish: SeccompWish) -> Choice<SeccompMode> {
    let off = |reason: String| Choice::new(SeccompMode::Off, reason);
    if wish == SeccompWish::Off {
        return off("jail.seccomp asks for it".into());
    }
    if !facts.seccomp.is_yes() {
        let why = facts.seccomp.why();
        return off(format!("the kernel cannot filter system calls: {why}"));
    }
    match (wish, facts.seccomp_log.is_yes()) {
        (SeccompWish::Log, true) => Choice::new(
            SeccompMode::Log,
            "jail.seccomp asks for it: other calls are written to the kernel's audit log",
        ),
        // Who asks for a log wants nothing refused yet.
        (SeccompWish::Log, false) => off(format!(
            "jail.seccomp asks for a log, and nothing is refused: {}",
            facts.seccomp_log.why()
        )),
        (SeccompWish::Enforce | SeccompWish::Off, _) => Choice::new(
            SeccompMode::Enforce,
            "every system call that the plan does not need is refused",
        ),
    }
}

/// Whose calls are needed.
fn callers(config: &Config, uses: &Uses) -> Vec<Caller> {
    let mut callers = vec![
        Caller::Runtime,
        Caller::Files,
        Caller::Loop,
        Caller::Followed,
    ];
    let optional = [
        (config.upload.is_some(), Caller::Upload),
        (uses.programs.is_some(), Caller::Tables),
        (
            uses.programs == Some(Transport::PerfBuffer),
            Caller::PerfBuffer,
        ),
        (
            uses.programs.is_some() && config.scope.cgroup != "/",
            Caller::Scope,
        ),
        (uses.filters, Caller::Filters),
        (uses.sockets || uses.lists, Caller::Sockets),
        (uses.tracking, Caller::Tracking),
    ];
    callers.extend(
        optional
            .into_iter()
            .filter_map(|(used, caller)| used.then_some(caller)),
    );
    callers
}

#[cfg(test)]
mod tests {
    use super::super::tests::{capable_host, config, lacking};
    use super::super::{Plan, Uses, decide};
    use super::{Caller, SeccompMode, SeccompWish};
    use crate::config::{Config, ModeWish, TransportWish};
    use crate::host::{Fact, HostFacts};

    fn plan(change: impl FnOnce(&mut HostFacts, &mut Config)) -> Plan {
        let (mut facts, mut config) = (capable_host(), config());
        change(&mut facts, &mut config);
        decide(&facts, &config)
    }

    #[test]
    fn no_caller_is_forgotten() {
        // A new one does not compile here until it is counted.
        let place = |caller| match caller {
            Caller::Runtime => 0,
            Caller::Files => 1,
            Caller::Loop => 2,
            Caller::Upload => 3,
            Caller::Tables => 4,
            Caller::PerfBuffer => 5,
            Caller::Filters => 6,
            Caller::Keeper => 7,
            Caller::Reader => 8,
            Caller::Followed => 9,
            Caller::Scope => 10,
            Caller::Sockets => 11,
            Caller::Tracking => 12,
        };
        assert!(Caller::ALL.into_iter().map(place).eq(0..13));
    }

    #[test]
    fn other_calls_are_refused_unless_the_operator_or_the_kernel_says_otherwise() {
        let mode = |wish, change: fn(&mut HostFacts)| {
            let plan = plan(|facts, config| {
                config.jail.seccomp = wish;
                change(facts);
            });
            let mode = plan.jail.seccomp.mode;
            (mode.value, mode.reason)
        };
        let wishes = [SeccompWish::Enforce, SeccompWish::Log, SeccompWish::Off];
        let modes = [SeccompMode::Enforce, SeccompMode::Log, SeccompMode::Off];
        for (wish, expected) in wishes.into_iter().zip(modes) {
            assert_eq!(mode(wish, |_| {}).0, expected);
        }
        let (value, reason) = mode(SeccompWish::Log, |facts| facts.seccomp_log = lacking());
        assert_eq!(value, SeccompMode::Off, "a log must not refuse");
        assert!(reason.contains("tried and refused"), "{reason}");
        let (value, reason) = mode(SeccompWish::Enforce, |facts| facts.seccomp = lacking());
        assert_eq!(value, SeccompMode::Off);
        assert!(reason.contains("cannot filter system calls"), "{reason}");
    }

    #[test]
    fn only_what_the_plan_needs_is_allowed() {
        let callers = |change: fn(&mut HostFacts, &mut Config)| plan(change).jail.seccomp.callers;
        let always = [
            Caller::Runtime,
            Caller::Files,
            Caller::Loop,
            Caller::Followed,
        ];
        let with = |more: &[Caller]| [always.as_slice(), more].concat();
        assert_eq!(callers(|_, _| {}), with(&[Caller::Tables]));
        let sockets = callers(|facts, _| facts.bpf = lacking());
        assert_eq!(sockets, with(&[Caller::Sockets]));
        let gateway = callers(|facts, _| facts.forwards = Fact::Yes);
        assert_eq!(gateway, with(&[Caller::Tables, Caller::Tracking]));
        let copies = callers(|_, config| config.option.mode = ModeWish::TcClone);
        assert_eq!(copies, with(&[Caller::Tables, Caller::Filters]));
        let perf = callers(|_, config| config.agent.transport = TransportWish::Perf);
        assert_eq!(perf, with(&[Caller::Tables, Caller::PerfBuffer]));
        let (facts, mut config) = (capable_host(), config());
        config.option.mode = ModeWish::TcClone;
        let mut plan = decide(&facts, &config);
        plan.settle(&facts, &config, &Uses::default());
        assert_eq!(plan.jail.seccomp.callers, always);
        assert_eq!(plan.jail.keeper, None);
    }
}

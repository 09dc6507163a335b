//! From facts to decisions: pure, and the only place where the rules are.
//!
//! Called once by `startup.rs` (and by `doctor`); `loader.rs` and `jail.rs` carry it out.
//! Every choice has a reason in an operator's words, because `doctor` prints it.

mod accept;
mod carrier;
mod hooks;
mod looks;
mod needs;
mod seccomp;
mod sockets;
#[cfg(test)]
mod tests;
mod warnings;

use std::path::PathBuf;

use wire::Columns;

use crate::config::{Config, HooksWish, NatWish, TransportWish};
use crate::host::{HostFacts, Pack};
use crate::sandbox::{Capabilities, Capability};

pub use accept::Accept;
pub use needs::Uses;
pub use seccomp::{Caller, Seccomp, SeccompMode};

/// The programs that write the option, one per mode.
const OPTION_PROGRAMS: [&str; 2] = ["wb_conn_option", "wb_clone_out"];

/// Name of the row that says which columns mean nothing.
pub const ABSENT_ROW: &str = "absent";
/// The program that counts zero windows.
const WINDOW_PROGRAM: &str = "wb_conn_window";

/// How this host's connections get their waybill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No option is written.
    Observe,
    /// The kernel's TCP stack writes the option on the handshake ACK.
    Sockops,
    /// A packet filter copies the handshake ACK, and the copy carries the option.
    TcClone,
}

impl Mode {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Sockops => "sockops",
            Self::TcClone => "tc-clone",
        }
    }
}

/// How records come from the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// One buffer per CPU, read through perf events.
    PerfBuffer,
    /// One ring shared by all CPUs.
    RingBuffer,
}

impl Transport {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PerfBuffer => "perf buffer",
            Self::RingBuffer => "ring buffer",
        }
    }
}

/// A choice with its reason in an operator's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<T> {
    /// What was chosen.
    pub value: T,
    /// Why.
    pub reason: String,
}

impl<T> Choice<T> {
    fn new(value: T, reason: impl Into<String>) -> Self {
        Self {
            value,
            reason: reason.into(),
        }
    }
}

/// A family, or why it does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Family<V> {
    /// It runs in this variant.
    Run(Choice<V>),
    /// It does not run.
    Skip {
        /// What is missing, in an operator's words.
        reason: String,
    },
}

/// How connections are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionVariant {
    /// Raw tracepoints for the life of a connection.
    RawTracepoint,
    /// The same, and a sockops program on the scope's cgroup that writes and reads the option.
    RawTracepointAndSockops,
    /// The same, and packet filters on devices that write and read the option.
    RawTracepointAndFilters,
    /// Probes at kernel functions, for kernels before 4.17.
    Probes,
    /// The same, and packet filters.
    ProbesAndFilters,
    /// No program at all: packets, and the kernel's lists of sockets. The option is read.
    Sockets,
}

impl ConnectionVariant {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RawTracepoint => "raw tracepoints",
            Self::RawTracepointAndSockops => "raw tracepoints and sockops",
            Self::RawTracepointAndFilters => "raw tracepoints and packet filters",
            Self::Probes => "probes",
            Self::ProbesAndFilters => "probes and packet filters",
            Self::Sockets => "packet and diagnostic sockets",
        }
    }

    /// Whether programs hang on probes at kernel functions.
    #[must_use]
    pub const fn has_probes(self) -> bool {
        matches!(self, Self::Probes | Self::ProbesAndFilters)
    }

    /// Whether packet filters write and read the option.
    #[must_use]
    pub const fn has_filters(self) -> bool {
        matches!(self, Self::RawTracepointAndFilters | Self::ProbesAndFilters)
    }
}

/// How open connections are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Not at all.
    No,
    /// By programs over the kernel's own lists.
    Iterator,
    /// By diagnostic sockets.
    Sockets,
}

/// What the programs are fitted to the kernel by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Types {
    /// The kernel's own type information.
    Kernel,
    /// A pack, by the name of its file.
    Pack(String),
}

/// What the agent does on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Type information.
    pub types: Types,
    /// Injection mode.
    pub mode: Choice<Mode>,
    /// Record transport.
    pub transport: Choice<Transport>,
    /// Family `connection`.
    pub connection: Family<ConnectionVariant>,
    /// Find connections and listeners older than the agent.
    pub discovery: Choice<Look>,
    /// What tells who accepts a connection from who listens for it.
    pub accept: Choice<Accept>,
    /// Read the counters of living connections at each interval.
    pub snapshot: Choice<Look>,
    /// Family `nat`: read what connection tracking translates.
    pub nat: Choice<bool>,
    /// Columns of edges that this host cannot measure.
    pub absent: Columns,
    /// What the jail leaves.
    pub jail: JailNeeds,
    /// Programs that the kernel refused at loading, with what is lost.
    pub refused: Vec<(String, String)>,
    /// What works less than it seems to, one sentence each.
    pub warnings: Vec<String>,
}

/// What must still be there in the jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailNeeds {
    /// Capabilities kept after loading, with the reason for each.
    pub capabilities: Vec<(Capability, String)>,
    /// Mounts inside the root directory, in the order in which they are made.
    pub mounts: Vec<JailMount>,
    /// User and group after loading; 0 is root.
    pub user: Choice<u32>,
    /// System calls kept after loading.
    pub seccomp: Seccomp,
    /// What is left to the process that keeps the packet filters, where there are any.
    pub keeper: Option<HelperNeeds>,
    /// What is left to the process that reads the operator's files again.
    pub reader: HelperNeeds,
}

impl JailNeeds {
    /// The capabilities without their reasons.
    #[must_use]
    pub fn capability_set(&self) -> Capabilities {
        set_of(&self.capabilities)
    }
}

/// What a helper process must still be able to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperNeeds {
    /// Capabilities kept, with the reason for each.
    pub capabilities: Vec<(Capability, String)>,
    /// User and group; 0 is root.
    pub user: u32,
    /// System calls kept.
    pub seccomp: Seccomp,
}

impl HelperNeeds {
    /// The capabilities without their reasons.
    #[must_use]
    pub fn capability_set(&self) -> Capabilities {
        set_of(&self.capabilities)
    }
}

fn set_of(kept: &[(Capability, String)]) -> Capabilities {
    kept.iter().map(|(capability, _)| *capability).collect()
}

/// One mount inside the root directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailMount {
    /// Where, relative to the root directory.
    pub target: &'static str,
    /// What.
    pub source: Source,
    /// How long.
    pub until: Until,
    /// Without it the agent starts all the same.
    pub optional: bool,
    /// What it is for.
    pub why: &'static str,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The cgroup2 tree, where no mount of it is in reach; with these options.
    Cgroup2(String),
    /// A path of the host, read-only.
    Host(PathBuf),
    /// The directory itself, writable while everything around it is not.
    Itself,
    /// An empty directory in memory, writable.
    Tmpfs,
    /// The kernel's tracing directory.
    Tracefs {
        /// Probes are made there.
        writable: bool,
    },
}

impl Source {
    /// The name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Cgroup2(_) => "new cgroup2 mount, read-only".into(),
            Self::Host(path) => format!("the host's {}, read-only", path.display()),
            Self::Itself => "writable".into(),
            Self::Tmpfs => "new tmpfs, writable".into(),
            Self::Tracefs { writable: false } => "new tracefs mount, read-only".into(),
            Self::Tracefs { writable: true } => "new tracefs mount, writable".into(),
        }
    }
}

/// How long a mount stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// As long as the agent runs.
    End,
    /// Until the programs are loaded.
    Loaded,
}

impl Plan {
    /// Takes note of programs that the kernel refused in spite of the facts: name and loss.
    ///
    /// Without the program of its mode no option is written.
    pub fn degrade(&mut self, refused: &[(String, String)]) {
        for (program, loss) in refused {
            if program == WINDOW_PROGRAM {
                self.absent = self.absent.with(Columns::ZERO_WINDOWS);
            }
            if OPTION_PROGRAMS.contains(&program.as_str()) {
                self.mode = Choice::new(Mode::Observe, loss);
            }
            self.refused
                .push((program.clone(), format!("refused: {loss}")));
        }
    }

    /// Follows connections by sockets after the kernel refused the programs; if that cannot be done
    /// either, gives the family up.
    pub fn fall_back(&mut self, facts: &HostFacts, config: &Config, reason: &str) {
        self.skip_connection(reason);
        self.connection = match config.agent.hooks {
            HooksWish::Kernel => return,
            HooksWish::Auto | HooksWish::Kprobes | HooksWish::Sockets => {
                sockets::choose(facts, config, reason)
            }
        };
        if sockets::is_chosen(&self.connection) {
            self.discovery = sockets::lists();
            self.snapshot = sockets::lists();
            self.absent = sockets::absent(facts);
        }
    }

    /// Leaves the jail the capabilities and system calls of what really was opened, whatever was
    /// planned; to be called when everything was opened or given up.
    pub fn settle(&mut self, facts: &HostFacts, config: &Config, opened: &Uses) {
        self.jail.settle(facts, config, opened);
    }

    /// Whether what is open is looked at by diagnostic sockets beside the programs.
    #[must_use]
    pub fn lists_sockets(&self) -> bool {
        let looks = [self.discovery.value, self.snapshot.value];
        !self.is_by_sockets() && looks.contains(&Look::Sockets)
    }

    /// Whether connections are followed by sockets.
    #[must_use]
    pub fn is_by_sockets(&self) -> bool {
        sockets::is_chosen(&self.connection)
    }

    /// Gives up the family that follows connections, and all that only it needs.
    pub fn skip_connection(&mut self, reason: &str) {
        let off = || Choice::new(Look::No, "no family needs it");
        self.mode = Choice::new(Mode::Observe, reason);
        self.connection = Family::Skip {
            reason: reason.to_owned(),
        };
        self.accept = Choice::new(Accept::Listener, "no family needs it");
        self.discovery = off();
        self.snapshot = off();
    }

    /// Gives up looking at what is open by diagnostic sockets.
    pub fn skip_lists(&mut self, reason: &str) {
        for look in [&mut self.discovery, &mut self.snapshot] {
            if look.value == Look::Sockets {
                *look = Choice::new(Look::No, reason);
            }
        }
    }

    /// Gives up the family that reads translations.
    pub fn skip_nat(&mut self, reason: &str) {
        self.nat = Choice::new(false, reason);
    }

    fn warnings_row(&self) -> Option<(String, String)> {
        (!self.warnings.is_empty()).then(|| ("warnings".to_owned(), self.warnings.join("; ")))
    }

    /// Name and decision with its reason, for reports and host rows.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, String)> {
        let on =
            |is_on: bool, reason: &str| format!("{}: {reason}", if is_on { "on" } else { "off" });
        let look = |choice: &Choice<Look>| on(choice.value != Look::No, &choice.reason);
        let connection = match &self.connection {
            Family::Run(choice) => format!("{}: {}", choice.value.name(), choice.reason),
            Family::Skip { reason } => format!("skipped: {reason}"),
        };
        let rows = [
            ("connection", connection),
            (
                "mode",
                format!("{}: {}", self.mode.value.name(), self.mode.reason),
            ),
            (
                "transport",
                format!("{}: {}", self.transport.value.name(), self.transport.reason),
            ),
            (
                "accept",
                on(self.accept.value != Accept::Listener, &self.accept.reason),
            ),
            ("discovery", look(&self.discovery)),
            ("snapshot", look(&self.snapshot)),
            ("nat", on(self.nat.value, &self.nat.reason)),
            ("user", {
                let user = &self.jail.user;
                format!("{}: {}", user.value, user.reason)
            }),
            ("seccomp", {
                let mode = &self.jail.seccomp.mode;
                format!("{}: {}", mode.value.name(), mode.reason)
            }),
        ];
        let types = match &self.types {
            Types::Kernel => None,
            Types::Pack(name) => Some(("types", format!("{name}: the kernel has none"))),
        };
        rows.into_iter()
            .chain(types)
            .map(|(name, decision)| (name.to_owned(), decision))
            .chain(absent_row(self.absent))
            .chain(self.warnings_row())
            .chain(self.refused.iter().cloned())
            .collect()
    }
}

/// For reports and host rows: which columns of edges mean nothing on this host.
#[must_use]
pub fn absent_row(absent: Columns) -> Option<(String, String)> {
    let names: Vec<&str> = Columns::NAMES
        .into_iter()
        .filter_map(|(column, name)| absent.has(column).then_some(name))
        .collect();
    let said = || format!("{}: this host cannot measure them", names.join(", "));
    (!names.is_empty()).then(|| (ABSENT_ROW.to_owned(), said()))
}

/// Chooses for each family a variant, or skips it with a reason.
#[must_use]
pub fn decide(facts: &HostFacts, config: &Config) -> Plan {
    let hooks = hooks::choose(facts, config.agent.hooks);
    let missing = match config.agent.hooks {
        HooksWish::Sockets => Some("agent.hooks asks for it".to_owned()),
        _ => hooks::missing(facts, config, &hooks),
    };
    let probes = missing.is_none() && matches!(hooks, Ok(hooks::Hooks::Probes { .. }));
    let carrier = carrier::choose(facts, config, probes);
    let mode = carrier::mode(config, missing.as_deref(), &carrier);
    let connection = match missing {
        Some(reason) => sockets::choose(facts, config, &reason),
        None => Family::Run(carrier::variant(config, &mode, &carrier, &hooks)),
    };
    let by_sockets = sockets::is_chosen(&connection);
    let runs = matches!(connection, Family::Run(_)) && !by_sockets;
    let (discovery, snapshot) = match by_sockets {
        true => (sockets::lists(), sockets::lists()),
        false => looks::choose(facts, config.agent.lists, (runs, probes)),
    };
    let transport = match probes && runs {
        true => Choice::new(Transport::PerfBuffer, "programs on probes use perf events"),
        false => transport(facts, config.agent.transport, runs),
    };
    let accept = accept::choose(facts, runs, &hooks);
    let nat = nat(facts, config.nat);
    let uses = Uses {
        programs: runs.then_some(transport.value),
        filters: matches!(&connection, Family::Run(choice) if choice.value.has_filters()),
        sockets: by_sockets,
        lists: runs && [discovery.value, snapshot.value].contains(&Look::Sockets),
        tracking: nat.value,
    };
    Plan {
        types: match &facts.btf_pack {
            Pack::Found(name) => Types::Pack(name.clone()),
            Pack::NotNeeded | Pack::Missing { .. } => Types::Kernel,
        },
        jail: needs::decide(facts, config, &uses, probes),
        transport,
        refused: Vec::new(),
        warnings: warnings::all(facts, config, &mode, &nat),
        nat,
        absent: match by_sockets {
            true => sockets::absent(facts),
            false if probes => Columns::ZERO_WINDOWS,
            false => Columns::NONE,
        },
        mode,
        connection,
        accept,
        discovery,
        snapshot,
    }
}

fn has_perf_buffers(facts: &HostFacts) -> bool {
    facts.perf_event_array.is_yes() && facts.perf_events.is_yes()
}

fn transport(facts: &HostFacts, wish: TransportWish, runs: bool) -> Choice<Transport> {
    if !runs {
        return Choice::new(Transport::RingBuffer, "no family needs it");
    }
    if wish == TransportWish::Perf && has_perf_buffers(facts) {
        return Choice::new(Transport::PerfBuffer, "agent.transport asks for it");
    }
    match facts.ring_buffer.is_yes() {
        true => Choice::new(
            Transport::RingBuffer,
            "one ring for all CPUs keeps the order",
        ),
        false => Choice::new(
            Transport::PerfBuffer,
            format!("the kernel has no ring buffer: {}", facts.ring_buffer.why()),
        ),
    }
}

/// Only gateways translate for others, and listening costs something for each connection.
fn nat(facts: &HostFacts, wish: NatWish) -> Choice<bool> {
    let off = |reason: String| Choice::new(false, reason);
    match (wish, &facts.forwards, &facts.conntrack) {
        (NatWish::Off, ..) => off("nat.conntrack asks for it".into()),
        (NatWish::Auto, forwards, _) if !forwards.is_yes() => {
            off(format!("this host is no gateway: {}", forwards.why()))
        }
        (_, _, conntrack) if !conntrack.is_yes() => off(conntrack.why().to_owned()),
        _ => Choice::new(true, "addresses before and behind this gateway are told"),
    }
}

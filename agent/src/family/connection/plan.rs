//! What is decided for family `connection`, which programs, filters and the loader follow.

use wire::Columns;

use crate::config::Config;
use crate::orders::InForce;
use crate::plan::{Choice, Decision, Mode, Needs, Outcome, Transport, Types};

/// The programs that write the option, one per mode.
const OPTION_PROGRAMS: [&str; 2] = ["wb_conn_option", "wb_clone_out"];
/// The family's name.
pub(super) const NAME: &str = "connection";
/// Name of the row that says which columns mean nothing.
pub const ABSENT_ROW: &str = "absent";
/// Programs without which a column of edges means nothing.
const MEASURE: [(&str, Columns); 3] = [
    ("wb_conn_window", Columns::ZERO_WINDOWS),
    ("wb_conn_rst_in", Columns::RESET_REMOTE),
    ("wb_conn_rst_out", Columns::RESET_LOCAL),
];

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
pub enum DumpMethod {
    /// Not at all.
    No,
    /// By programs over the kernel's own lists.
    Iterator,
    /// By diagnostic sockets.
    Sockets,
}

/// What tells who accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accept {
    /// Nothing: the listener's process is the owner, until one closes the connection.
    Listener,
    /// A probe in accept(2).
    Probe,
    /// The first read of the connection.
    Reader,
}

/// How connections are followed on this host, and how they get their waybill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// What follows them.
    pub variant: Outcome<ConnectionVariant>,
    /// Type information.
    pub types: Types,
    /// Injection mode.
    pub mode: Choice<Mode>,
    /// Record transport.
    pub transport: Choice<Transport>,
    /// What tells who accepts a connection from who listens for it.
    pub accept: Choice<Accept>,
    /// Find connections and listeners older than the agent.
    pub discovery: Choice<DumpMethod>,
    /// Read the counters of living connections at each interval.
    pub snapshot: Choice<DumpMethod>,
    /// Columns of edges that this host cannot measure.
    pub absent: Columns,
    /// Programs that the kernel refused at loading, with what is lost.
    pub refused: Vec<(String, String)>,
}

impl Connection {
    /// Takes note of programs that the kernel refused in spite of the facts: name and loss.
    ///
    /// Without the program of its mode no option is written.
    pub fn degrade(&mut self, refused: &[(String, String)]) {
        for (program, loss) in refused {
            for (_, column) in MEASURE.iter().filter(|(name, _)| name == program) {
                self.absent = self.absent.with(*column);
            }
            if OPTION_PROGRAMS.contains(&program.as_str()) {
                self.mode = Choice::new(Mode::Observe, loss);
            }
            self.refused
                .push((program.clone(), format!("refused: {loss}")));
        }
    }

    /// Whether what is open is looked at by diagnostic sockets beside the programs.
    #[must_use]
    pub fn lists_sockets(&self) -> bool {
        let looks = [self.discovery.value, self.snapshot.value];
        !self.is_by_sockets() && looks.contains(&DumpMethod::Sockets)
    }

    /// Whether connections are followed by sockets.
    #[must_use]
    pub fn is_by_sockets(&self) -> bool {
        matches!(&self.variant, Outcome::Run(choice) if choice.value == ConnectionVariant::Sockets)
    }

    /// Follows no connections, and gives up all that only that needs.
    pub fn skip(&mut self, reason: &str) {
        let off = || Choice::new(DumpMethod::No, "no family needs it");
        self.mode = Choice::new(Mode::Observe, reason);
        self.variant = Outcome::Skip {
            reason: reason.to_owned(),
        };
        self.accept = Choice::new(Accept::Listener, "no family needs it");
        self.discovery = off();
        self.snapshot = off();
    }

    /// Gives up looking at what is open by diagnostic sockets.
    pub fn skip_lists(&mut self, reason: &str) {
        for look in [&mut self.discovery, &mut self.snapshot] {
            if look.value == DumpMethod::Sockets {
                *look = Choice::new(DumpMethod::No, reason);
            }
        }
    }

    /// What the rest of the agent sees of it.
    pub(crate) fn decision(
        &self,
        config: &Config,
        needs: Needs,
        warnings: Vec<String>,
    ) -> Decision {
        let rows = self.rows().map(|(name, said)| (name.to_owned(), said));
        let notes = self.types_row().into_iter().chain(absent_row(self.absent));
        Decision {
            family: NAME,
            outcome: match &self.variant {
                Outcome::Run(choice) => Outcome::Run(Choice {
                    value: choice.value.name(),
                    reason: choice.reason.clone(),
                }),
                Outcome::Skip { reason } => Outcome::Skip {
                    reason: reason.clone(),
                },
            },
            mode: Some(self.mode.value),
            rows: rows.into(),
            notes: notes.chain(self.refused.iter().cloned()).collect(),
            needs,
            warnings,
            shortfalls: self.shortfalls(config),
        }
    }

    /// What an operator may expect of it and does not get.
    fn shortfalls(&self, config: &Config) -> Vec<String> {
        let mut all = Vec::new();
        if let Outcome::Skip { reason } = &self.variant {
            all.push(format!("connections are not measured: {reason}"));
        }
        if config.option.enabled && self.mode.value == Mode::Observe {
            all.push(format!("the option is not written: {}", self.mode.reason));
        }
        all
    }

    /// Name and decision with its reason.
    fn rows(&self) -> [(&'static str, String); 6] {
        let named = |name: &str, reason: &str| format!("{name}: {reason}");
        let on = |is_on: bool, reason: &str| named(if is_on { "on" } else { "off" }, reason);
        let look = |choice: &Choice<DumpMethod>| on(choice.value != DumpMethod::No, &choice.reason);
        let variant = match &self.variant {
            Outcome::Run(choice) => named(choice.value.name(), &choice.reason),
            Outcome::Skip { reason } => named("skipped", reason),
        };
        let (mode, transport) = (&self.mode, &self.transport);
        [
            (NAME, variant),
            ("mode", named(mode.value.name(), &mode.reason)),
            (
                "transport",
                named(transport.value.name(), &transport.reason),
            ),
            (
                "accept",
                on(self.accept.value != Accept::Listener, &self.accept.reason),
            ),
            ("discovery", look(&self.discovery)),
            ("snapshot", look(&self.snapshot)),
        ]
    }

    /// What stands in for the kernel's types, where something does.
    fn types_row(&self) -> Option<(String, String)> {
        match &self.types {
            Types::Kernel => None,
            Types::Pack(name) => Some(("types".into(), format!("{name}: the kernel has none"))),
        }
    }
}

/// Whether orders leave the option to be written.
pub(in crate::family::connection) fn writes_option(in_force: &InForce) -> bool {
    in_force.option && in_force.sends(NAME)
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

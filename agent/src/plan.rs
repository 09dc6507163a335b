//! From facts to decisions: pure, and the only place where the rules are.
//!
//! Called once by `startup.rs` (and by `doctor`); `loader.rs` and `jail.rs` carry it out.

use crate::config::Config;
use crate::host::HostFacts;

/// How this host's connections get their waybill.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// No option is written or read.
    Observe,
    /// The kernel's TCP stack writes the option on the handshake ACK.
    Sockops,
}

impl Mode {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Sockops => "sockops",
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

/// A choice with its reason in an operator's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<T> {
    /// What was chosen.
    pub value: T,
    /// Why.
    pub reason: String,
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
}

/// What the agent does on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Injection mode.
    pub mode: Choice<Mode>,
    /// Record transport.
    pub transport: Choice<Transport>,
    /// Family `connection`.
    pub connection: Family<ConnectionVariant>,
    /// Find connections older than the agent.
    pub discovery: Choice<bool>,
    /// Read the counters of living connections at each interval.
    pub snapshot: Choice<bool>,
    /// What the jail leaves.
    pub jail: JailNeeds,
}

/// What must still be there after confinement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailNeeds {
    /// Capabilities kept, with the reason for each.
    pub capabilities: Vec<(caps::Capability, String)>,
}

/// Chooses for each family a variant, or skips it with a reason.
#[must_use]
pub fn decide(_facts: &HostFacts, _config: &Config) -> Plan {
    Plan {
        mode: Choice {
            value: Mode::Observe,
            reason: String::new(),
        },
        transport: Choice {
            value: Transport::RingBuffer,
            reason: String::new(),
        },
        connection: Family::Skip {
            reason: String::new(),
        },
        discovery: Choice {
            value: false,
            reason: String::new(),
        },
        snapshot: Choice {
            value: false,
            reason: String::new(),
        },
        jail: JailNeeds {
            capabilities: Vec::new(),
        },
    }
}

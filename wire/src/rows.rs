//! What a batch carries: one plain struct per row family.
//!
//! Every counter is cumulative since the row's `since_ms`, so a lost batch loses resolution and
//! never totals. A reader that sees another `since_ms` for the same subject starts from zero.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Number of power-of-two buckets of a [`Histogram`].
pub const HISTOGRAM_BUCKETS: usize = 32;

/// Durations in powers of two of a microsecond.
///
/// Bucket `i` counts values `v` with `2^i <= v < 2^(i+1)` microseconds; bucket 0 also takes 0 and
/// the last bucket everything above. Cumulative like every counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Count per bucket.
    pub buckets: [u64; HISTOGRAM_BUCKETS],
    /// Sum of all values in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Adds one value in microseconds.
    pub fn record(&mut self, value_us: u64) {
        let bucket = value_us.checked_ilog2().unwrap_or(0) as usize;
        self.buckets[bucket.min(HISTOGRAM_BUCKETS - 1)] += 1;
        self.sum_us = self.sum_us.saturating_add(value_us);
    }

    /// Number of values recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// Which side of a connection the reporting host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Role {
    /// Called `connect`.
    Client = 0,
    /// Called `accept`.
    Server = 1,
}

/// An address and a port; IPv4 is held as an IPv4-mapped IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// IPv6, or IPv4 mapped into `::ffff:0:0/96`.
    pub addr: [u8; 16],
    /// TCP port; 0 where the row merges all ephemeral ports.
    pub port: u16,
}

impl Endpoint {
    /// The address as the operator knows it: mapped IPv4 becomes IPv4.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        Ipv6Addr::from(self.addr).to_canonical()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(value: SocketAddr) -> Self {
        let addr = match value.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Self {
            addr,
            port: value.port(),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", SocketAddr::new(self.ip(), self.port))
    }
}

/// All connections between one process identity and one remote service, in one direction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EdgeRow {
    /// Key of the [`ProcessRow`] (unique within host and boot).
    pub process_id: u32,
    /// Role of that process.
    pub role: Role,
    /// Local address; the port is the service's own for a server and 0 for a client.
    pub local: Endpoint,
    /// Remote address; the port is the service's own for a client and 0 for a server.
    pub remote: Endpoint,
    /// Network namespace inode number.
    pub netns: u32,
    /// Unix milliseconds at which the counters below began at zero.
    pub since_ms: u64,
    /// Connections that reached ESTABLISHED while this run of the agent watched; before 1.2 also
    /// those that it found open.
    pub opened: u64,
    /// Connections that were open before this run of the agent watched, and that an earlier run may
    /// have counted as opened. `opened + adopted - closed` are open.
    pub adopted: u64,
    /// Connections that ended after having been established.
    pub closed: u64,
    /// Connection attempts that never reached ESTABLISHED.
    pub failed: u64,
    /// The part of `failed` that the peer answered with a reset.
    pub refused: u64,
    /// Established connections that this host ended with a reset.
    pub reset_local: u64,
    /// Established connections that the peer (or a middlebox) ended with a reset.
    pub reset_remote: u64,
    /// Payload bytes sent at least once, without retransmissions.
    pub bytes_sent: u64,
    /// Payload bytes received in order, each once.
    pub bytes_received: u64,
    /// Segments sent, retransmissions included.
    pub segments_sent: u64,
    /// Segments received.
    pub segments_received: u64,
    /// Segments retransmitted.
    pub retransmits: u64,
    /// Segments received out of order.
    pub out_of_order: u64,
    /// Segments received that advertised a zero window.
    pub zero_windows: u64,
    /// SYN sent to ESTABLISHED, client role only.
    pub connect_latency: Histogram,
    /// Smoothed round-trip time, one value per connection and report.
    pub rtt: Histogram,
    /// What this host cannot measure: such a counter is 0 and means nothing.
    pub absent: Columns,
}

impl EdgeRow {
    /// A row that has counted nothing since `since_ms`.
    #[must_use]
    pub fn new(ends: (u32, Role, Endpoint, Endpoint), netns: u32, since_ms: u64) -> Self {
        let (process_id, role, local, remote) = ends;
        Self {
            process_id,
            role,
            local,
            remote,
            netns,
            since_ms,
            opened: 0,
            adopted: 0,
            closed: 0,
            failed: 0,
            refused: 0,
            reset_local: 0,
            reset_remote: 0,
            bytes_sent: 0,
            bytes_received: 0,
            segments_sent: 0,
            segments_received: 0,
            retransmits: 0,
            out_of_order: 0,
            zero_windows: 0,
            connect_latency: Histogram::default(),
            rtt: Histogram::default(),
            absent: Columns::NONE,
        }
    }
}

/// A set of the columns of an [`EdgeRow`] that depend on what a kernel offers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Columns(u16);

impl Columns {
    /// No column.
    pub const NONE: Self = Self(0);
    /// `bytes_sent`.
    pub const BYTES_SENT: Self = Self(1);
    /// `bytes_received`.
    pub const BYTES_RECEIVED: Self = Self(1 << 1);
    /// `segments_sent`.
    pub const SEGMENTS_SENT: Self = Self(1 << 2);
    /// `segments_received`.
    pub const SEGMENTS_RECEIVED: Self = Self(1 << 3);
    /// `retransmits`.
    pub const RETRANSMITS: Self = Self(1 << 4);
    /// `out_of_order`.
    pub const OUT_OF_ORDER: Self = Self(1 << 5);
    /// `zero_windows`.
    pub const ZERO_WINDOWS: Self = Self(1 << 6);
    /// `connect_latency`.
    pub const CONNECT_LATENCY: Self = Self(1 << 7);
    /// `rtt`.
    pub const RTT: Self = Self(1 << 8);
    /// `role`: nobody knows which side called `connect`, and both ports are kept. Since 1.2.
    pub const ROLE: Self = Self(1 << 9);
    /// Each column that can be in a set, with its name.
    pub const NAMES: [(Self, &str); 10] = [
        (Self::BYTES_SENT, "bytes_sent"),
        (Self::BYTES_RECEIVED, "bytes_received"),
        (Self::SEGMENTS_SENT, "segments_sent"),
        (Self::SEGMENTS_RECEIVED, "segments_received"),
        (Self::RETRANSMITS, "retransmits"),
        (Self::OUT_OF_ORDER, "out_of_order"),
        (Self::ZERO_WINDOWS, "zero_windows"),
        (Self::CONNECT_LATENCY, "connect_latency"),
        (Self::RTT, "rtt"),
        (Self::ROLE, "role"),
    ];

    /// The set as a number, one bit per column.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// The set of a number; `None` with a bit of no column.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Option<Self> {
        if bits >> Self::NAMES.len() == 0 {
            Some(Self(bits))
        } else {
            None
        }
    }

    /// The columns of either set.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The columns of the set that are not in the other.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all columns of `other` are in the set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// What one end did with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Part {
    /// This end made the token and wrote the option.
    Wrote = 0,
    /// This end read the option and its MAC was right.
    Read = 1,
    /// Nobody needed to carry it: either end makes it from both initial sequence numbers
    /// ([`crate::fingerprint`]).
    Sequence = 2,
}

/// Why a sighting was kept although not every one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kept {
    /// The token's value fell into the sampled part, which is the same on every host.
    Sampled = 0,
    /// The connection was reset, failed or retransmitted.
    Abnormal = 1,
    /// The connection lived longer than one reporting interval.
    LongLived = 2,
    /// Among the first of its edge in this interval.
    First = 3,
    /// The connection was open before this run of the agent watched: `start_us` says when it was
    /// found, and not when it began.
    Adopted = 4,
}

/// Whether a connection goes on behind the interval that tells of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Life {
    /// Agents before schema 1.2 do not say it.
    #[default]
    Unknown = 0,
    /// It was open at the end of the interval.
    Open = 1,
    /// It ended in the interval.
    Ended = 2,
}

/// One end of one connection that carried a waybill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SightingRow {
    /// The waybill's token.
    pub token: u64,
    /// What this end did with it.
    pub part: Part,
    /// Set when the accepting side answered with its own token; never with [`Part::Sequence`].
    pub answer: bool,
    /// Role of the reporting process.
    pub role: Role,
    /// Why it was kept.
    pub kept: Kept,
    /// Whether the connection had ended by the end of the interval. One that goes on is told again
    /// when it ends.
    pub life: Life,
    /// The token was sampled at level `n`: one in `2^n` tokens is kept.
    pub sample_level: u8,
    /// Key of the [`ProcessRow`].
    pub process_id: u32,
    /// Local address and port as this host's TCP stack knows them.
    pub local: Endpoint,
    /// Remote address and port as this host's TCP stack knows them.
    pub remote: Endpoint,
    /// Network namespace inode number.
    pub netns: u32,
    /// Unix microseconds of the first segment seen.
    pub start_us: u64,
}

/// A process identity: all processes with the same program, name, cgroup and namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessRow {
    /// Key, unique within host and boot.
    pub process_id: u32,
    /// Thread-group id of one process of this identity.
    pub tgid: u32,
    /// Start of that process, Unix milliseconds; 0 when unknown.
    pub started_ms: u64,
    /// Kernel task name.
    pub comm: String,
    /// Path of the executable, or its last component when the process was gone too soon.
    pub exe: String,
    /// cgroup path.
    pub cgroup: String,
    /// Container id, empty when none.
    pub container: String,
    /// systemd unit, empty when none.
    pub unit: String,
    /// Service name: the operator's rule, else unit, container or executable.
    pub service: String,
    /// Business tags from the operator's rules, sorted by key.
    pub tags: Vec<(String, String)>,
}

/// The host itself: facts, plan and the agent's own counters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostRow {
    /// Host name.
    pub hostname: String,
    /// `uname -r`, reported and never compared.
    pub kernel: String,
    /// Agent version.
    pub agent: String,
    /// Injection mode in force: `sockops`, `tc-clone` or `observe`.
    pub mode: String,
    /// Family, variant or skip, and the reason, in an operator's words.
    pub plan: Vec<(String, String)>,
    /// Facts found, sorted by name.
    pub facts: Vec<(String, String)>,
    /// Destinations for which the option is off, with reason and expiry.
    pub paths_off: Vec<(String, String)>,
    /// The agent's counters, cumulative since the agent started, sorted by name.
    pub counters: Vec<(String, u64)>,
    /// Unix milliseconds at which the agent started.
    pub started_ms: u64,
}

/// What happened to an abnormal connection, or to the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum EventKind {
    /// Never established: no answer, or unreachable.
    Failed = 0,
    /// Never established: the peer answered with a reset.
    Refused = 1,
    /// Ended by a reset of this host.
    ResetLocal = 2,
    /// Ended by a reset from the peer or a middlebox.
    ResetRemote = 3,
    /// Ended after more than the usual retransmissions.
    Retransmits = 4,
    /// Ended by a time-out after having been established.
    TimedOut = 5,
}

/// One abnormal connection with its full tuple and numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// What happened.
    pub kind: EventKind,
    /// Unix microseconds at which it ended.
    pub time_us: u64,
    /// Role of the process.
    pub role: Role,
    /// Key of the [`ProcessRow`].
    pub process_id: u32,
    /// Local address and port.
    pub local: Endpoint,
    /// Remote address and port.
    pub remote: Endpoint,
    /// Network namespace inode number.
    pub netns: u32,
    /// The waybill's token, 0 when the connection had none.
    pub token: u64,
    /// The socket's errno at the end, 0 when none.
    pub errno: u32,
    /// Microseconds from the first segment to the end.
    pub duration_us: u64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Segments retransmitted.
    pub retransmits: u64,
}

/// Connections that a gateway translated, all with the same addresses before and after.
///
/// What the two tuples of conntrack say, without ephemeral ports: `client` dialled `dialled`, and
/// `source` reached `server`. Where a gateway rewrites one direction only, that pair is equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatRow {
    /// Network namespace inode number of the gateway.
    pub netns: u32,
    /// Address that dialled, as the gateway saw it arrive; IPv6 or IPv4 mapped, as in
    /// [`Endpoint`].
    pub client: [u8; 16],
    /// Address and port it dialled: a VIP, or the server itself.
    pub dialled: Endpoint,
    /// Address with which the connections left the gateway.
    pub source: [u8; 16],
    /// Address and port they went to.
    pub server: Endpoint,
    /// Unix milliseconds at which `opened` began at zero.
    pub since_ms: u64,
    /// Connections.
    pub opened: u64,
}

/// Who sealed a batch and when; also the idempotency key (`host`, `boot`, `sequence`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchHeader {
    /// Stable random id of the host's agent installation.
    pub host: [u8; 16],
    /// Random id of this run of the agent (a new one at each start).
    pub boot: [u8; 16],
    /// 1, 2, 3, ... within `boot`.
    pub sequence: u64,
    /// Begin of the interval, Unix milliseconds.
    pub start_ms: u64,
    /// End of the interval, Unix milliseconds.
    pub end_ms: u64,
}

/// One sealed interval of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Who and when.
    pub header: BatchHeader,
    /// Changed edges.
    pub edges: Vec<EdgeRow>,
    /// Kept sightings.
    pub sightings: Vec<SightingRow>,
    /// New, changed and refreshed process identities.
    pub processes: Vec<ProcessRow>,
    /// At most one row in practice.
    pub hosts: Vec<HostRow>,
    /// Abnormal connections.
    pub events: Vec<EventRow>,
    /// What gateways translated.
    pub nats: Vec<NatRow>,
}

impl Batch {
    /// Number of rows of all families.
    #[must_use]
    pub fn row_count(&self) -> usize {
        self.edges.len()
            + self.sightings.len()
            + self.processes.len()
            + self.hosts.len()
            + self.events.len()
            + self.nats.len()
    }

    /// True when there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.row_count() == 0
    }
}

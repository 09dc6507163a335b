//! The topology document: what `GET /api/v1/topology` answers and `topology --format json` prints.

mod reason;

use std::collections::BTreeMap;

pub use reason::{Reason, ReasonCount};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use wire::{Columns, Histogram};

use crate::counters::{
    ADOPTED, BYTES_RECEIVED, BYTES_SENT, CLOSED, Counters, FAILED, OPENED, OUT_OF_ORDER, REFUSED,
    RESET_LOCAL, RESET_REMOTE, RETRANSMITS, SEGMENTS_RECEIVED, SEGMENTS_SENT, ZERO_WINDOWS,
    percentile,
};

/// Who talks to whom in a window.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Topology {
    /// Begin of the window, Unix milliseconds, exclusive.
    pub from_ms: i64,
    /// End of the window, Unix milliseconds, inclusive.
    pub to_ms: i64,
    /// Every node an edge names, sorted by id.
    pub nodes: Vec<Node>,
    /// Edges whose two ends are both known.
    pub edges: Vec<Edge>,
    /// Edges known by one side only; the other side is an address node.
    pub unjoined: Vec<Edge>,
    /// Tokens not joined because more than one end claimed a side of them.
    pub ambiguous_tokens: u64,
    /// Fingerprints of sequence numbers not joined because more than one end claimed a side of
    /// them, because their ends began too far apart, or because a token says otherwise.
    #[serde(default)]
    pub ambiguous_sequences: u64,
    /// Why edges are known by one side only, by reason.
    #[serde(default)]
    pub unjoined_reasons: Vec<ReasonCount>,
    /// Edges of which a side is on a known host, but of a process that is not known.
    #[serde(default)]
    pub unknown_owners: Count,
    /// Data up to then may be missing, for the store was full; Unix milliseconds; not there
    /// while nothing was ever evicted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted_before_ms: Option<i64>,
    /// What ended up to then is missing in part or as a whole, because of its age or because the
    /// store was full: from then on the answer is whole; Unix milliseconds; not there while all of
    /// the window is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whole_from_ms: Option<i64>,
}

/// Edges, and the connections on them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Count {
    /// Edges, joined or not.
    pub edges: u64,
    /// Their connections.
    pub connections: u64,
}

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A service on a host.
    Process,
    /// An address behind which nobody reports.
    Address,
    /// Several of these, by the network that they have in common; only where something was tried in
    /// vain.
    Network,
}

/// A service on a host, or an address.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Node {
    /// `<hostname>/<service>`, or the address. Where several hosts share a name, theirs is
    /// `<hostname>#<begin of the host id>`.
    pub id: String,
    /// Which of the two.
    pub kind: NodeKind,
    /// Only for a service.
    #[serde(flatten)]
    pub process: Option<ProcessNode>,
}

/// What is known of a service, from the process under its name that started last.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct ProcessNode {
    /// Host id, 32 hex digits.
    pub host: String,
    /// True where several machines use one host id, because their state was copied: then `host` is
    /// the run of an agent, and the name is that of any of the machines.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub host_copied: bool,
    /// Host name; empty while the host has not reported it.
    pub hostname: String,
    /// Service name.
    pub service: String,
    /// Path of the executable.
    pub exe: String,
    /// Kernel task name.
    pub comm: String,
    /// cgroup path.
    pub cgroup: String,
    /// Container id.
    pub container: String,
    /// systemd unit.
    pub unit: String,
    /// Business tags.
    pub tags: BTreeMap<String, String>,
}

/// All connections from one service to one endpoint of another.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Edge {
    /// Node id.
    pub client: String,
    /// Node id.
    pub server: String,
    /// The server's own address and port, or for an unjoined client the one it called.
    pub server_endpoint: String,
    /// Addresses that one side saw where the other side has another one.
    pub via: Vec<Via>,
    /// What joins the two sides.
    pub evidence: Vec<Evidence>,
    /// 0 to 1; the formula is in [`crate::join::confidence`].
    pub confidence: f64,
    /// Sides whose process is not known: their node stands for whatever else the host runs, which
    /// may be several services, and the confidence is lower for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown_owners: Vec<Seer>,
    /// Connections that lived in the window, as the client counted them, else the server. Those of
    /// all edges and rests of what a side counted at one address add up to what it counted; without
    /// those of `open_before`, the sums over windows that follow one another are those of the whole.
    pub connections: u64,
    /// Connections among them that were open when the window began.
    #[serde(default)]
    pub open_before: u64,
    /// Between which numbers `connections` lies, where it is an estimate; with samples, with a
    /// confidence of 95 %.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
    /// True when what it rests on was sampled.
    pub sampled: bool,
    /// What the client counted; `null` when it does not report.
    pub client_counters: Option<EdgeCounters>,
    /// What the server counted; `null` when it does not report.
    pub server_counters: Option<EdgeCounters>,
    /// Unix milliseconds.
    pub first_seen_ms: i64,
    /// Unix milliseconds.
    pub last_seen_ms: i64,
    /// Why one side is not known; only for an edge that is not joined.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// Node ids of those that may be the other side, where that is not certain; 16 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub candidates: Vec<String>,
    /// Where it stands for attempts at several endpoints that led to no connection; their number is
    /// in `failed` of the counters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Attempts>,
}

/// Bounds of an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Interval {
    /// Not less than that.
    pub low: u64,
    /// Not more than that.
    pub high: u64,
}

/// Several endpoints at which something was tried in vain.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Attempts {
    /// Addresses with their ports that were tried.
    pub endpoints: u64,
    /// Addresses of the other side: the ones that were tried, or that tried.
    pub addresses: u64,
    /// Ports that were tried, each by itself or as a range such as `1-1024`.
    pub ports: Vec<String>,
    /// Further ports, for which there was no room in the list.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub ports_left_out: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Who saw an address.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Seer {
    /// The client.
    Client,
    /// The server.
    Server,
    /// A gateway between them.
    Gateway,
}

/// What an address stands for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum ViaKind {
    /// The address the client called, which is not the server's.
    Vip,
    /// The address the server was called from, which is not the client's.
    Nat,
    /// The host that says what it translated.
    Gateway,
}

/// An address on the way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
pub struct Via {
    /// Who saw it.
    pub seen_by: Seer,
    /// What it stands for.
    pub kind: ViaKind,
    /// Address, with the port for a VIP; for a gateway its host name, else its host id.
    pub address: String,
}

/// What joins two sides, from the strongest to the weakest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceKind {
    /// The same waybill token was written at one end and read at the other.
    Token,
    /// Both ends know the same two initial sequence numbers.
    Sequence,
    /// A gateway says that it translated one side's addresses into the other's.
    Conntrack,
    /// Both ends name the same addresses.
    Address,
}

/// One kind of evidence and how much of it there is.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Evidence {
    /// Which kind.
    pub kind: EvidenceKind,
    /// Connections it was found for, and no stronger one.
    pub connections: u64,
}

/// One side's counters; `null` is what its host cannot measure.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct EdgeCounters {
    /// Connections that reached ESTABLISHED.
    pub opened: u64,
    /// Connections that an agent found open at its start, and that no earlier run of it had left
    /// open.
    #[serde(default)]
    pub adopted: u64,
    /// Connections that ended after having been established.
    pub closed: u64,
    /// Connections open at the end of the window.
    #[serde(default)]
    pub open: u64,
    /// Attempts that never got there.
    pub failed: u64,
    /// The part of `failed` that the peer answered with a reset.
    pub refused: u64,
    /// Connections this side ended with a reset.
    pub reset_local: Option<u64>,
    /// Connections the peer ended with a reset.
    pub reset_remote: Option<u64>,
    /// Payload bytes sent.
    pub bytes_sent: Option<u64>,
    /// Payload bytes received.
    pub bytes_received: Option<u64>,
    /// Segments sent.
    pub segments_sent: Option<u64>,
    /// Segments received.
    pub segments_received: Option<u64>,
    /// Segments retransmitted.
    pub retransmits: Option<u64>,
    /// Segments received out of order.
    pub out_of_order: Option<u64>,
    /// Zero windows received.
    pub zero_windows: Option<u64>,
    /// SYN to ESTABLISHED.
    pub connect_latency_us: Option<Percentiles>,
    /// Round-trip time.
    pub rtt_us: Option<Percentiles>,
    /// True when the side could not tell this edge's part of a counter from another edge's, and
    /// it was divided in proportion to the connections.
    pub apportioned: bool,
}

/// A distribution in microseconds; `null` without values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Percentiles {
    /// Median.
    pub p50: Option<u64>,
    /// 95th percentile.
    pub p95: Option<u64>,
    /// 99th percentile.
    pub p99: Option<u64>,
}

impl From<&Histogram> for Percentiles {
    fn from(histogram: &Histogram) -> Self {
        Self {
            p50: percentile(histogram, 50),
            p95: percentile(histogram, 95),
            p99: percentile(histogram, 99),
        }
    }
}

impl EdgeCounters {
    /// The document form of counters, and of the connections `open` at the end.
    #[must_use]
    pub fn new(counters: &Counters, open: u64, apportioned: bool) -> Self {
        let [opened, closed, failed, refused] =
            [OPENED, CLOSED, FAILED, REFUSED].map(|at| counters.plain[at]);
        let known = |column: Columns| !counters.absent.has(column);
        let times =
            |column, histogram: &Histogram| known(column).then(|| Percentiles::from(histogram));
        Self {
            opened,
            adopted: counters.plain[ADOPTED],
            closed,
            open,
            failed,
            refused,
            reset_local: counters.known(RESET_LOCAL),
            reset_remote: counters.known(RESET_REMOTE),
            bytes_sent: counters.known(BYTES_SENT),
            bytes_received: counters.known(BYTES_RECEIVED),
            segments_sent: counters.known(SEGMENTS_SENT),
            segments_received: counters.known(SEGMENTS_RECEIVED),
            retransmits: counters.known(RETRANSMITS),
            out_of_order: counters.known(OUT_OF_ORDER),
            zero_windows: counters.known(ZERO_WINDOWS),
            connect_latency_us: times(Columns::CONNECT_LATENCY, &counters.connect_latency),
            rtt_us: times(Columns::RTT, &counters.rtt),
            apportioned,
        }
    }
}

//! The topology document: what `GET /api/v1/topology` answers and `topology --format json` prints.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use wire::Histogram;

use crate::join::Counters;
use crate::join::counters::percentile;

/// Who talks to whom in a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
}

/// What a node stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeKind {
    /// A service on a host.
    Process,
    /// An address behind which nobody reports.
    Address,
}

/// A service on a host, or an address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// What is known of a service, from the process last reported under its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessNode {
    /// Host id, 32 hex digits.
    pub host: String,
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// Connections, as counted by a side that has no other edge there, else by tokens.
    pub connections: u64,
    /// True when tokens were sampled, so that their number is an estimate.
    pub sampled: bool,
    /// What the client counted; `null` when it does not report.
    pub client_counters: Option<EdgeCounters>,
    /// What the server counted; `null` when it does not report.
    pub server_counters: Option<EdgeCounters>,
    /// Unix milliseconds.
    pub first_seen_ms: i64,
    /// Unix milliseconds.
    pub last_seen_ms: i64,
}

/// Who saw an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Seer {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// What an address stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ViaKind {
    /// The address the client called, which is not the server's.
    Vip,
    /// The address the server was called from, which is not the client's.
    Nat,
}

/// An address on the way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Via {
    /// Who saw it.
    pub seen_by: Seer,
    /// What it stands for.
    pub kind: ViaKind,
    /// Address, with the port for a VIP.
    pub address: String,
}

/// What joins two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EvidenceKind {
    /// The same waybill token was written at one end and read at the other.
    Token,
    /// Both ends name the same addresses.
    Address,
}

/// One kind of evidence and how much of it there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Which kind.
    pub kind: EvidenceKind,
    /// Connections it was found for.
    pub connections: u64,
}

/// One side's counters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EdgeCounters {
    /// Connections that reached ESTABLISHED.
    pub opened: u64,
    /// Connections that ended after that.
    pub closed: u64,
    /// Attempts that never got there.
    pub failed: u64,
    /// The part of `failed` that the peer answered with a reset.
    pub refused: u64,
    /// Connections this side ended with a reset.
    pub reset_local: u64,
    /// Connections the peer ended with a reset.
    pub reset_remote: u64,
    /// Payload bytes sent.
    pub bytes_sent: u64,
    /// Payload bytes received.
    pub bytes_received: u64,
    /// Segments sent.
    pub segments_sent: u64,
    /// Segments received.
    pub segments_received: u64,
    /// Segments retransmitted.
    pub retransmits: u64,
    /// Segments received out of order.
    pub out_of_order: u64,
    /// Zero windows received.
    pub zero_windows: u64,
    /// SYN to ESTABLISHED.
    pub connect_latency_us: Percentiles,
    /// Round-trip time.
    pub rtt_us: Percentiles,
    /// True when the side could not tell this edge's part of a counter from another edge's, and
    /// it was divided in proportion to the connections.
    pub apportioned: bool,
}

/// A distribution in microseconds; `null` without values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The document form of counters.
    #[must_use]
    pub fn new(counters: &Counters, apportioned: bool) -> Self {
        let [
            opened,
            closed,
            failed,
            refused,
            reset_local,
            reset_remote,
            bytes_sent,
            bytes_received,
            segments_sent,
            segments_received,
            retransmits,
            out_of_order,
            zero_windows,
        ] = counters.plain;
        Self {
            opened,
            closed,
            failed,
            refused,
            reset_local,
            reset_remote,
            bytes_sent,
            bytes_received,
            segments_sent,
            segments_received,
            retransmits,
            out_of_order,
            zero_windows,
            connect_latency_us: Percentiles::from(&counters.connect_latency),
            rtt_us: Percentiles::from(&counters.rtt),
            apportioned,
        }
    }
}

//! An edge of the topology, and what it rests on.

use anyhow::{Context, Result};
use serde::{Deserialize, Deserializer};

/// Connections from one service to another.
#[derive(Clone, Debug, Deserialize)]
pub struct Edge {
    /// Id of the client's node.
    pub client: String,
    /// Id of the server's node.
    pub server: String,
    /// The server's own address and port.
    pub server_endpoint: String,
    /// Addresses that only one side saw.
    pub via: Vec<Via>,
    /// How the ends were joined.
    pub evidence: Vec<Evidence>,
    /// 0 to 1.
    pub confidence: f64,
    /// Connections in the asked time.
    pub connections: u64,
    /// Whether only a part of the tokens was reported.
    pub sampled: bool,
    /// What the client's host counted.
    pub client_counters: Option<Counters>,
    /// What the server's host counted.
    pub server_counters: Option<Counters>,
}

/// An address that one side saw where the other side has another one.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Via {
    /// `client` or `server`.
    pub seen_by: String,
    /// `vip` or `nat`.
    pub kind: String,
    /// Address, with the port for a VIP.
    pub address: String,
}

/// One way in which ends were joined, and how often.
#[derive(Clone, Debug, Deserialize)]
pub struct Evidence {
    /// `token`, `address`, ...
    pub kind: String,
    /// Connections joined this way.
    pub connections: u64,
}

/// Counters of one side of an edge.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Counters {
    /// Connections established.
    pub opened: u64,
    /// Connections that were open before the agent.
    #[serde(default)]
    pub adopted: u64,
    /// Connections ended.
    pub closed: u64,
    /// Connections open at the end of the window.
    #[serde(default)]
    pub open: u64,
    /// Attempts that never established.
    pub failed: u64,
    /// The refused part of those.
    pub refused: u64,
    /// Ended by a reset of this side.
    #[serde(deserialize_with = "absent_as_zero")]
    pub reset_local: u64,
    /// Ended by a reset of the other side.
    #[serde(deserialize_with = "absent_as_zero")]
    pub reset_remote: u64,
    /// Payload bytes sent.
    #[serde(deserialize_with = "absent_as_zero")]
    pub bytes_sent: u64,
    /// Payload bytes received.
    #[serde(deserialize_with = "absent_as_zero")]
    pub bytes_received: u64,
    /// Segments sent.
    #[serde(deserialize_with = "absent_as_zero")]
    pub segments_sent: u64,
    /// Segments received.
    #[serde(deserialize_with = "absent_as_zero")]
    pub segments_received: u64,
    /// Segments retransmitted.
    #[serde(deserialize_with = "absent_as_zero")]
    pub retransmits: u64,
    /// Segments received out of order; `None` where the host cannot count them.
    pub out_of_order: Option<u64>,
    /// Zero-window advertisements received; `None` where the host cannot count them.
    pub zero_windows: Option<u64>,
    /// Quantiles of the time to connect, microseconds.
    pub connect_latency_us: Option<Quantiles>,
    /// Quantiles of the round-trip time, microseconds.
    pub rtt_us: Option<Quantiles>,
}

/// What a host cannot measure is null.
fn absent_as_zero<'de, D: Deserializer<'de>>(value: D) -> Result<u64, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or(0))
}

/// Quantiles in microseconds; absent without samples.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Quantiles {
    /// Median.
    pub p50: Option<f64>,
    /// 95 %.
    pub p95: Option<f64>,
    /// 99 %.
    pub p99: Option<f64>,
}

impl Edge {
    /// What the client's host counted.
    ///
    /// # Errors
    /// When it did not report.
    pub fn client_side(&self) -> Result<&Counters> {
        self.client_counters
            .as_ref()
            .with_context(|| format!("no client counters: {}", brief(self)))
    }

    /// What the server's host counted.
    ///
    /// # Errors
    /// When it did not report.
    pub fn server_side(&self) -> Result<&Counters> {
        self.server_counters
            .as_ref()
            .with_context(|| format!("no server counters: {}", brief(self)))
    }
}

impl std::fmt::Display for Via {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {} (seen by {})",
            self.kind, self.address, self.seen_by
        )
    }
}

pub(super) fn brief(edge: &Edge) -> String {
    let evidence: Vec<String> = edge
        .evidence
        .iter()
        .map(|e| format!("{} {}", e.kind, e.connections))
        .collect();
    let via: Vec<String> = edge.via.iter().map(ToString::to_string).collect();
    format!(
        "{} -> {} at {} x{} [{}] via [{}] confidence {:.2}{}",
        edge.client,
        edge.server,
        edge.server_endpoint,
        edge.connections,
        evidence.join(", "),
        via.join(", "),
        edge.confidence,
        if edge.sampled { " sampled" } else { "" }
    )
}

//! What a check of a matrix says.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A declared matrix held against what was seen in a window.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "MatrixReport")]
pub struct Report {
    /// Begin of the window, Unix milliseconds, exclusive.
    pub from_ms: i64,
    /// End of the window, Unix milliseconds, inclusive.
    pub to_ms: i64,
    /// Up to then data may be missing, so that what was used may show as unused; Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted_before_ms: Option<i64>,
    /// Edges of less confidence decide nothing without `low_confidence`.
    pub least_confidence: f64,
    /// How many of each.
    pub summary: Summary,
    /// Every declared flow, in the order of the matrix.
    pub flows: Vec<FlowVerdict>,
    /// Edges that are not plainly declared, the worst first.
    pub edges: Vec<EdgeVerdict>,
    /// Further ones, beyond `limit`.
    pub edges_left_out: u64,
    /// What was in the matrix and means nothing here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Numbers of verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "MatrixSummary")]
pub struct Summary {
    /// Declared flows.
    pub flows: u64,
    /// Flows that were used.
    pub used: u64,
    /// Flows that were not used, though somebody would have seen it.
    pub unused: u64,
    /// Flows whose time is over.
    pub expired: u64,
    /// Denied flows that were seen.
    pub violated: u64,
    /// Denied flows of which nothing was seen, though somebody would have seen it.
    pub kept: u64,
    /// Flows of which no agent would have seen anything.
    pub not_observable: u64,
    /// Flows that may have been used: what was seen does not say.
    pub undecided: u64,
    /// Edges that were seen.
    pub edges: u64,
    /// Edges that a flow allows.
    pub edges_declared: u64,
    /// Edges that no flow allows.
    pub edges_undeclared: u64,
    /// Edges that a flow denies, or that a flow allowed whose time is over.
    pub edges_violating: u64,
    /// Edges that a flow may allow or deny: what was seen does not say.
    pub edges_undecided: u64,
}

impl Summary {
    /// Whether something is not as it was declared.
    #[must_use]
    pub const fn is_broken(&self) -> bool {
        self.violated > 0 || self.edges_undeclared > 0 || self.edges_violating > 0
    }
}

/// What became of a declared flow.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Denied, and seen.
    Violated,
    /// Its time is over.
    Expired,
    /// Seen, or not: the edges that may be it do not say.
    Undecided,
    /// No agent would have seen it.
    NotObservable,
    /// Not seen.
    Unused,
    /// Denied, and not seen.
    Kept,
    /// Seen.
    Used,
}

/// Why a verdict is not a plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// Only TCP is seen.
    Protocol,
    /// No host that reports runs either end, as far as was seen.
    NoAgent,
    /// The service of an end is not known: its host does not report, or its process was gone.
    UnknownEnd,
    /// Only edges of low confidence say so.
    LowConfidence,
    /// Every attempt failed: there was no connection.
    OnlyAttempts,
    /// It was used after its time was over.
    UsedAfterEnd,
}

/// A declared flow.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "MatrixFlow")]
pub struct FlowVerdict {
    /// Its `id`, else its line.
    pub id: String,
    /// Its line in the matrix.
    pub line: u64,
    /// As it is declared.
    pub source: String,
    /// As it is declared.
    pub destination: String,
    /// As it is declared.
    pub port: String,
    /// `allow` or `deny`.
    pub action: String,
    /// As it is declared.
    pub owner: String,
    /// As it is declared.
    pub valid_until: String,
    /// As it is declared.
    pub comment: String,
    /// What became of it.
    pub verdict: Verdict,
    /// Why, where that is not plain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Why>,
    /// Edges that are it.
    pub edges: u64,
    /// Edges that may be it.
    pub edges_undecided: u64,
    /// Their connections.
    pub connections: u64,
    /// Attempts on them that led to none.
    pub failed: u64,
    /// When the first of its edges was seen in the window, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen_ms: Option<i64>,
    /// When the last was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_ms: Option<i64>,
    /// The edges with most connections that are it, or may be it; 5 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<SeenEdge>,
}

/// What an edge is by the matrix.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum EdgeState {
    /// A flow denies it, or a flow allowed it whose time is over.
    Violating,
    /// No flow allows it.
    Undeclared,
    /// What was seen does not say.
    Undecided,
    /// A flow allows it.
    Declared,
}

/// An edge that is not plainly declared.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "MatrixEdge")]
pub struct EdgeVerdict {
    /// What it is by the matrix.
    pub state: EdgeState,
    /// Why, where that is not plain.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<Why>,
    /// The edge.
    #[serde(flatten)]
    pub edge: SeenEdge,
    /// Ids of the flows that deny it, allowed it once, or may be it; 5 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flows: Vec<String>,
}

/// An edge, as evidence.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "MatrixSeenEdge")]
pub struct SeenEdge {
    /// Names it in `/api/v1/edges/{id}`.
    pub key: String,
    /// Node id.
    pub client: String,
    /// Node id.
    pub server: String,
    /// The server's own address and port, or for an unjoined client the one it called.
    pub endpoint: String,
    /// Addresses that were called instead of it, with their ports.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub via: Vec<String>,
    /// Its connections.
    pub connections: u64,
    /// Attempts on it that led to none.
    pub failed: u64,
    /// 0 to 1.
    pub confidence: f64,
    /// What joins its sides, the strongest first; nothing for one that one side alone tells of.
    pub evidence: Vec<String>,
    /// Unix milliseconds.
    pub first_seen_ms: i64,
    /// Unix milliseconds.
    pub last_seen_ms: i64,
}

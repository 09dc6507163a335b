//! The form of a diagnosis.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What is to be said of an edge.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Diagnosis {
    /// One sentence.
    pub headline: String,
    /// The likely ones first, then what is possible, what nobody knows, what is ruled out; each of
    /// these by how much it weighs.
    pub statements: Vec<Statement>,
    /// The servers that do the same for the client, this one among them, those that get most of its
    /// connections first: the same service at the same port, or behind the same address. Empty where
    /// there is no other.
    #[serde(default)]
    pub siblings: Vec<Share>,
    /// Those of them that there was no room for.
    #[serde(default)]
    pub siblings_left_out: u64,
}

/// A cause, and what the numbers say of it.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "DiagnosisStatement")]
pub struct Statement {
    /// Which cause.
    pub cause: Cause,
    /// What is known of it.
    pub verdict: Verdict,
    /// The same in a sentence.
    pub text: String,
    /// What it rests on.
    pub numbers: Vec<Number>,
    /// What to look at next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What is known of a cause.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "DiagnosisVerdict")]
pub enum Verdict {
    /// Its numbers show it.
    Likely,
    /// They would fit it.
    Possible,
    /// Nobody measured what would show it.
    Unknown,
    /// They would show it, and do not.
    RuledOut,
}

/// What can be wrong with an edge.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "DiagnosisCause")]
pub enum Cause {
    /// The host of an end stopped reporting.
    HostSilent,
    /// Nobody listens at the server's endpoint.
    NobodyListens,
    /// Attempts are answered with a reset.
    Refused,
    /// Attempts are not answered.
    NoAnswer,
    /// The queue of a listener is full.
    QueueFull,
    /// Connections take longer to open than the round-trip time explains.
    SlowOpening,
    /// The client opened connections that the server never got.
    NotArrived,
    /// The server ends connections with a reset.
    ResetByServer,
    /// The client does.
    ResetByClient,
    /// Resets arrive that the other end did not send.
    ResetBetween,
    /// What the client sends is lost.
    LossToServer,
    /// What the server sends is lost.
    LossToClient,
    /// Round trips take longer than usual.
    SlowPath,
    /// Less fits through the way than wants to pass.
    NarrowPath,
    /// The client gives some of several servers much more than others.
    Unbalanced,
    /// Segments overtake each other.
    Reordered,
    /// The server does not read what it is sent.
    ServerDoesNotRead,
    /// The client does not.
    ClientDoesNotRead,
    /// Nobody reports from an end.
    EndUnseen,
    /// Something between changes addresses and reports nothing.
    HopUnseen,
    /// An agent lost data, so that its numbers may be low.
    DataLost,
    /// What joins both ends is weak.
    WeakEvidence,
}

/// A number that a verdict rests on.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "DiagnosisNumber")]
pub struct Number {
    /// Its column, or what it was made of.
    pub name: String,
    /// The number; null where it was not measured.
    pub value: Option<f64>,
    /// What it was before, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual: Option<f64>,
    /// `us`, `%`, `By`, or empty for a count.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
}

/// What one of several servers that do the same gets of a client's connections.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
#[schemars(rename = "DiagnosisShare")]
pub struct Share {
    /// Key of the edge to it.
    pub edge: String,
    /// Id of the server.
    pub server: String,
    /// Its address and port.
    pub endpoint: String,
    /// Connections that were opened to it.
    pub opened: u64,
    /// The part of all that is, per cent; null where there were none.
    pub share: Option<f64>,
    /// The same in the window before.
    pub usual_share: Option<f64>,
    /// Connections that it ended with a reset; null where nobody counts them.
    pub resets: Option<u64>,
}

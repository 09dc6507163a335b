//! Why a side of an edge is not known.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Why a side of an edge is not known, from the most to the least specific.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Nobody knows which side called `connect()`: the one that is shown as the client may be the
    /// server.
    DirectionUnknown,
    /// The agent's table was full: it counted without addresses.
    Unnamed,
    /// No connection was established, so there is no other side.
    NotEstablished,
    /// More than one end claimed a side of its tokens or sequence numbers.
    Ambiguous,
    /// A gateway translated it, and on the other side of the gateway nobody reports it.
    Translated,
    /// Its tokens were reported by this end only: nobody read what was written.
    TokensOneEnd,
    /// Its sequence numbers were reported by this end only: the other one has no agent, did not
    /// keep them, or a box between them wrote others.
    SequenceOneEnd,
    /// Several hosts or services claim its addresses.
    AddressesShared,
    /// Its other side is one of several, and nothing says which.
    OneOf,
    /// The sides that it was joined with account for fewer connections than this side counted.
    CountsDiffer,
    /// The other address belongs to a host that reports, but has not counted such connections.
    NotCounted,
    /// No agent reported the other address.
    NoAgent,
}

impl Reason {
    /// The reason in words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::DirectionUnknown => "nobody knows which side connected",
            Self::Unnamed => "counted without addresses",
            Self::NotEstablished => "no connection was established",
            Self::Ambiguous => "ambiguous tokens or sequence numbers",
            Self::TokensOneEnd => "tokens of one end only",
            Self::SequenceOneEnd => "sequence numbers of one end only",
            Self::AddressesShared => "several hosts or services claim these addresses",
            Self::OneOf => "one of several sides, nothing says which",
            Self::Translated => "a gateway translated it and nobody reports behind it",
            Self::CountsDiffer => "the joined sides counted fewer connections",
            Self::NotCounted => "the other side reports but has not counted it",
            Self::NoAgent => "no agent reported the other side",
        }
    }
}

/// How much was not joined for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct ReasonCount {
    /// The reason.
    pub reason: Reason,
    /// Edges.
    pub edges: u64,
    /// Their connections.
    pub connections: u64,
}

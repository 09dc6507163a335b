//! What a group is, and what is known beside alerts.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::candidate::Candidate;
use crate::alert::finding::{Said, Severity};

/// What the alerts of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Cause {
    /// A host that is down or cut off: it tells nothing.
    Down {
        /// Host id, 32 hex digits.
        host: String,
        /// Host name.
        name: String,
    },
    /// A gateway or VIP that they go through.
    Gateway {
        /// Its address or name.
        address: String,
    },
    /// The server that they call.
    Server {
        /// Node id.
        name: String,
    },
    /// The client that calls.
    Client {
        /// Node id.
        name: String,
    },
    /// A host, which reports.
    Host {
        /// Host id, 32 hex digits.
        host: String,
        /// Host name.
        name: String,
    },
    /// The declared matrix: what runs is not what is declared.
    Matrix,
    /// The collector itself.
    Collector,
}

/// Alerts that are one trouble.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Group {
    /// `g-` and 16 hex digits, the same while what they have in common is.
    pub id: String,
    /// What they have in common.
    pub cause: Cause,
    /// One sentence.
    pub headline: Said,
    /// The worst of them.
    pub severity: Severity,
    /// When the first of them began to fire, Unix milliseconds.
    pub since_ms: i64,
    /// The alert about what they have in common, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<String>,
    /// Ids of its alerts; the lead is among them.
    pub alerts: Vec<String>,
    /// An alert of its own says that what they have in common is in trouble; without one that is
    /// likely and not proven.
    pub proven: bool,
    /// The evidence for an edge among them has little confidence.
    pub low_confidence: bool,
    /// What changed at the same time nearby, the most telling first: no verdict.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
}

/// What is known beside the alerts.
#[derive(Clone, Debug, Default)]
pub struct Context {
    /// Ids of hosts that tell nothing.
    pub silent: BTreeSet<String>,
    /// Hosts by their addresses, as far as joined edges name them.
    pub homes: BTreeMap<String, String>,
}

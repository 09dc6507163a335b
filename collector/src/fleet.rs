//! The fleet document: what `GET /api/v1/hosts` answers and `hosts --format json` prints.

use serde::{Deserialize, Serialize};

use crate::accept::hex;
use crate::store::{Binding, HostRecord};

/// All known hosts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// By name, then id.
    pub hosts: Vec<Host>,
    /// Credentials under which batches of another host than theirs were refused, the last one
    /// first; not there while there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials_refused: Vec<RefusedCredential>,
}

/// A credential that was used for another host than the one for which it speaks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedCredential {
    /// First 16 hex digits of its SHA-256.
    pub credential: String,
    /// The host for which it speaks.
    pub host: String,
    /// Batches that were refused.
    pub refused: u64,
    /// The host that the last one of them named.
    pub refused_host: String,
    /// When, Unix milliseconds.
    pub refused_ms: i64,
}

impl RefusedCredential {
    /// Of a binding; `None` where nothing was refused under it.
    #[must_use]
    pub fn of(binding: &Binding) -> Option<Self> {
        let (refused_host, refused_ms) = binding.last_refused?;
        Some(Self {
            credential: binding.id.to_string(),
            host: hex(&binding.host),
            refused: binding.refused,
            refused_host: hex(&refused_host),
            refused_ms,
        })
    }
}

/// A host and its agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// Host id, 32 hex digits.
    pub host: String,
    /// Name; empty until the host has reported it.
    pub hostname: String,
    /// Everything from its newest host row.
    #[serde(flatten)]
    pub report: Report,
    /// The counters of things lost: dropped, evicted, quarantined; without the zeros.
    pub drops: Vec<(String, u64)>,
    /// Batches in the host's spool when it last reported; `null` when it does not say.
    pub spool_depth: Option<u64>,
    /// Numbers missing among the batches of the newest run: still spooled, or lost.
    pub batches_missing: u64,
    /// By how much the host's clock was found to be ahead, milliseconds.
    pub clock_ahead_ms: i64,
    /// Arrival of its first batch, Unix milliseconds.
    pub first_seen_ms: i64,
    /// Arrival of its last batch, Unix milliseconds.
    pub last_seen_ms: i64,
}

/// What a host row says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// Agent version.
    pub agent: String,
    /// Kernel release.
    pub kernel: String,
    /// Injection mode in force.
    pub mode: String,
    /// Family, variant or skip, and why.
    pub plan: Vec<(String, String)>,
    /// Facts found.
    pub facts: Vec<(String, String)>,
    /// Destinations for which the option is off, and why.
    pub paths_off: Vec<(String, String)>,
    /// The agent's own counters.
    pub counters: Vec<(String, u64)>,
    /// Start of the agent, Unix milliseconds.
    pub started_ms: u64,
}

/// Words in the names of counters of things lost.
const LOSSES: [&str; 3] = ["dropped", "evicted", "quarantined"];

impl From<HostRecord> for Host {
    fn from(record: HostRecord) -> Self {
        // Written by the store from a host row; empty before the first one.
        let report: Report = serde_json::from_str(&record.report).unwrap_or_default();
        let is_loss = |name: &str| LOSSES.iter().any(|word| name.contains(word));
        let drops = report
            .counters
            .iter()
            .filter(|(name, n)| *n > 0 && is_loss(name));
        let spool = report
            .counters
            .iter()
            .find(|(name, _)| name == "spool_depth");
        Self {
            host: hex(&record.host.0),
            hostname: record.hostname,
            drops: drops.cloned().collect(),
            spool_depth: spool.map(|(_, depth)| *depth),
            report,
            batches_missing: record
                .last_sequence
                .saturating_sub(record.batches)
                .unsigned_abs(),
            clock_ahead_ms: record.clock_ahead_ms,
            first_seen_ms: record.first_seen_ms,
            last_seen_ms: record.last_seen_ms,
        }
    }
}

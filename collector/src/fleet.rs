//! The fleet document: what `GET /api/v1/hosts` answers and `hosts --format json` prints.

use std::io::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::digest::hex;
use crate::escape;
use crate::store::{Binding, Evicted, HostRecord};

/// Bytes of a document after which further hosts come without what they report.
const DETAILED_BYTES: usize = 256 << 20;

/// All known hosts.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Fleet {
    /// By name, then id.
    pub hosts: Vec<Host>,
    /// Credentials under which batches of another host than theirs were refused, the last one
    /// first; not there while there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials_refused: Vec<RefusedCredential>,
    /// What was deleted because the store was full; not there while nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evicted: Option<Evicted>,
}

/// A credential that was used for another host than the one for which it speaks.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
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

/// What a document says beside its hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// As in [`Fleet`].
    pub credentials_refused: Vec<RefusedCredential>,
    /// As in [`Fleet`].
    pub evicted: Option<Evicted>,
}

/// The document as text, host by host: the same as that of [`Fleet`] and never held as a whole.
#[derive(Debug, Default)]
pub struct FleetText {
    hosts: usize,
    bytes: usize,
}

impl FleetText {
    /// Adds the next host.
    pub fn host(&mut self, mut host: Host, text: &mut Vec<u8>) {
        let before = text.len();
        if self.bytes >= DETAILED_BYTES {
            host.report = Report::default();
            host.drops = Vec::new();
            host.left_out = true;
        }
        let begin: &[u8] = match self.hosts {
            0 => b"{\n  \"hosts\": [\n    ",
            _ => b",\n    ",
        };
        text.extend_from_slice(begin);
        text.append(&mut indented(&host, 4));
        self.hosts += 1;
        self.bytes += text.len() - before;
    }

    /// Ends the document.
    pub fn end(self, rest: &Rest, text: &mut Vec<u8>) {
        let end: &[u8] = match self.hosts {
            0 => b"{\n  \"hosts\": []",
            _ => b"\n  ]",
        };
        text.extend_from_slice(end);
        if !rest.credentials_refused.is_empty() {
            text.extend_from_slice(b",\n  \"credentials_refused\": ");
            text.append(&mut indented(&rest.credentials_refused, 2));
        }
        if let Some(evicted) = &rest.evicted {
            text.extend_from_slice(b",\n  \"evicted\": ");
            text.append(&mut indented(evicted, 2));
        }
        text.extend_from_slice(b"\n}");
    }
}

/// JSON of a value that stands so many columns to the right. No text in it has a line end.
fn indented<T: Serialize>(value: &T, columns: usize) -> Vec<u8> {
    let mut plain = Vec::new();
    escape::json(&mut plain, value).expect("a document without foreign types is JSON");
    let mut text = Vec::with_capacity(plain.len());
    for (at, line) in plain.split(|byte| *byte == b'\n').enumerate() {
        if at > 0 {
            write!(text, "\n{:columns$}", "").expect("memory can be written");
        }
        text.extend_from_slice(line);
    }
    text
}

/// A host and its agent.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
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
    /// Up to when several machines used this id at once, because their state was copied; Unix
    /// milliseconds; not there while none did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copied_ms: Option<i64>,
    /// Arrival of its first batch, Unix milliseconds.
    pub first_seen_ms: i64,
    /// Arrival of its last batch, Unix milliseconds.
    pub last_seen_ms: i64,
    /// True where the document is so long that what this host reports was left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left_out: bool,
}

/// What a host row says.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
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
            copied_ms: record.copied_ms,
            first_seen_ms: record.first_seen_ms,
            last_seen_ms: record.last_seen_ms,
            left_out: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Fleet, FleetText, Host, Rest};
    use crate::escape;
    use crate::join::HostId;
    use crate::store::{Evicted, HostRecord};

    fn host(n: u8) -> Host {
        Host::from(HostRecord {
            host: HostId([n; 16]),
            hostname: String::from("a\nb"),
            report: String::from(r#"{"plan":[["a","b"]],"counters":[["x_dropped_total",7]]}"#),
            first_seen_ms: 1,
            last_seen_ms: 2,
            batches: 3,
            last_sequence: 4,
            clock_ahead_ms: 5,
            copied_ms: Some(6),
        })
    }

    #[test]
    fn the_text_made_host_by_host_is_that_of_the_document() {
        let evicted = Evicted {
            before_ms: 1,
            at_ms: 2,
            rows: 3,
        };
        for (hosts, evicted) in [(0, None), (1, None), (3, Some(evicted))] {
            let fleet = Fleet {
                hosts: (0..hosts).map(host).collect(),
                credentials_refused: Vec::new(),
                evicted,
            };
            let rest = Rest {
                evicted,
                ..Rest::default()
            };
            let (mut whole, mut pieces) = (Vec::new(), Vec::new());
            escape::json(&mut whole, &fleet).unwrap();
            let mut text = FleetText::default();
            for host in fleet.hosts {
                text.host(host, &mut pieces);
            }
            text.end(&rest, &mut pieces);
            assert_eq!(String::from_utf8(pieces), String::from_utf8(whole));
        }
    }
}

//! What a rule found in one window, as values: what evaluation gives and what the life of an alert
//! is made from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::topology::EvidenceKind;

/// Most bytes of a rule's name.
pub const MAX_RULE_NAME: usize = 64;

/// The name of a rule: `[a-z0-9-]`, 1 to 64 bytes.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct RuleName(Arc<str>);

/// How bad it is; the greater, the worse.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Look at it in working hours.
    Warning,
    /// Look at it now.
    Critical,
}

/// One end of an edge.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize,
)]
pub struct End {
    /// Node id as the topology has it, for people: `<hostname>/<service>`, or the address.
    pub name: String,
    /// Host id, 32 hex digits; none where nobody reports behind the address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Service; empty for an address.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub service: String,
}

/// What is wrong there.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema, Serialize, Deserialize,
)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Subject {
    /// All connections from one service to one endpoint of another.
    Edge {
        /// Who calls.
        client: End,
        /// Who is called.
        server: End,
        /// The server's own address and port, or for an unjoined client the one it called.
        endpoint: String,
    },
    /// A service on a host, or an address that is called.
    Node {
        /// Which.
        node: End,
    },
    /// A host with an agent.
    Host {
        /// Host id, 32 hex digits.
        host: String,
        /// Host name; empty while the host has not reported it.
        name: String,
    },
    /// What stands between clients and servers under an address: a VIP, or a gateway that
    /// translates.
    Gateway {
        /// Host id of the gateway, where its agent reports.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        host: Option<String>,
        /// Address with port for a VIP, host name or address for a gateway.
        address: String,
    },
    /// A row of a described table.
    Series {
        /// Host id, 32 hex digits.
        host: String,
        /// Host name; empty while the host has not reported it.
        name: String,
        /// The table.
        table: String,
        /// The dimensions by which the rule groups.
        labels: BTreeMap<String, String>,
    },
    /// A flow of the declared matrix.
    Flow {
        /// Its `id`, else its line.
        id: String,
        /// Who begins connections, as it is declared.
        source: String,
        /// Who accepts them, as it is declared.
        destination: String,
        /// At which ports, as it is declared.
        port: String,
        /// Whose it is, as it is declared.
        owner: String,
    },
    /// The collector itself.
    Collector,
}

/// What is usual at this hour, of the same subject.
#[derive(Clone, Copy, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Usual {
    /// Median of the same hour of the last days.
    pub median: f64,
    /// Median of the distances from the median.
    pub spread: f64,
    /// Days that it is made from.
    pub days: u32,
}

/// A span of time.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
pub struct Span {
    /// Begin, Unix milliseconds, exclusive.
    pub from_ms: i64,
    /// End, Unix milliseconds, inclusive.
    pub to_ms: i64,
}

/// For how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Terms {
    /// So long it must be found before it fires, milliseconds.
    pub for_ms: i64,
    /// So long it goes on firing after it was found last, milliseconds.
    pub keep_for_ms: i64,
}

/// A text in both languages.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Said {
    /// English.
    pub en: String,
    /// Chinese.
    pub zh: String,
}

/// One rule is true of one subject in one window.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Finding {
    /// Which rule.
    pub rule: RuleName,
    /// Of what; an alert is one rule and one subject.
    pub subject: Subject,
    /// How bad.
    pub severity: Severity,
    /// The rule's value, in seconds, bytes, pieces, or as a part of one.
    pub value: f64,
    /// The unit in which the rule writes it; empty where there is none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub unit: String,
    /// What is usual; none where the rule does not ask for it or there is no usual yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usual: Option<Usual>,
    /// The rule's further numbers by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub numbers: BTreeMap<String, f64>,
    /// Where the rows are from.
    pub window: Span,
    /// For how long it must hold.
    pub terms: Terms,
    /// What joins the ends of an edge; empty for what is no edge or is not joined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evidence: Vec<EvidenceKind>,
    /// The least confidence of the edges that it rests on, 0 to 1; none for what is no edge.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// Gateways and VIPs on the way, as the edge names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub through: Vec<String>,
    /// It is about what is declared, and says nothing of how well anything works.
    #[serde(default, skip_serializing_if = "is_false")]
    pub declared: bool,
    /// The rule's sentence, with its numbers.
    pub summary: Said,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// What could not be judged in a window: neither true nor false.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
pub struct Unjudged {
    /// Which rule.
    pub rule: RuleName,
    /// Of what; none where nothing of the rule could be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    /// Why, in an operator's words.
    pub why: String,
}

/// What one pass of all rules over the settled time gave.
#[derive(Clone, Debug, Default, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Evaluated {
    /// As of when: the end of the settled time that was judged, Unix milliseconds.
    pub at_ms: i64,
    /// What is wrong, sorted by rule and subject; each pair once.
    pub findings: Vec<Finding>,
    /// What could not be judged, sorted likewise.
    pub unjudged: Vec<Unjudged>,
    /// Ids of known hosts that told nothing in the window: whatever was found of them before and is
    /// not found now is unknown, and not gone.
    pub silent: BTreeSet<String>,
    /// Rules whose groups or rows were cut at a bound, so that what they did not find may be there.
    pub cut: BTreeSet<RuleName>,
}

impl Severity {
    /// Its word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }

    /// What a word says.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        let all = [Self::Warning, Self::Critical];
        all.into_iter().find(|severity| severity.name() == word)
    }
}

impl RuleName {
    /// A name, checked.
    ///
    /// # Errors
    /// Where it has other letters, or none, or too many.
    pub fn new(name: &str) -> Result<Self, String> {
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > MAX_RULE_NAME || !name.bytes().all(fits) {
            return Err(format!(
                "a rule's name has 1 to {MAX_RULE_NAME} of a-z, 0-9 and -"
            ));
        }
        Ok(Self(name.into()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RuleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RuleName {
    type Error = String;

    fn try_from(name: String) -> Result<Self, String> {
        Self::new(&name)
    }
}

impl From<RuleName> for String {
    fn from(name: RuleName) -> Self {
        name.0.as_ref().into()
    }
}

impl End {
    /// What stays the same when a host gets another name.
    #[must_use]
    pub fn key(&self) -> String {
        match &self.host {
            Some(host) => format!("{host}/{}", self.service),
            None => self.name.clone(),
        }
    }
}

impl Subject {
    /// What tells it from all other subjects, and stays the same when hosts get other names.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Edge {
                client,
                server,
                endpoint,
            } => Self::edge_key(&client.key(), &server.key(), endpoint),
            Self::Node { node } => format!("node\t{}", node.key()),
            Self::Host { host, .. } => format!("host\t{host}"),
            Self::Gateway { host, address } => {
                format!("gateway\t{}\t{address}", host.as_deref().unwrap_or(""))
            }
            Self::Series {
                host,
                table,
                labels,
                ..
            } => {
                // As JSON, for a label may hold any byte.
                let labels = serde_json::to_string(labels).unwrap_or_default();
                format!("series\t{host}\t{table}\t{labels}")
            }
            // As JSON, for each is free text. Its line may be another one in the next version.
            Self::Flow {
                source,
                destination,
                port,
                ..
            } => {
                let named = serde_json::to_string(&[source, destination, port]);
                format!("flow\t{}", named.unwrap_or_default())
            }
            Self::Collector => String::from("collector"),
        }
    }

    /// The key of an edge between two ends with these keys.
    #[must_use]
    pub fn edge_key(client: &str, server: &str, endpoint: &str) -> String {
        format!("edge\t{client}\t{server}\t{endpoint}")
    }

    /// Ids of the hosts whose agents tell of it.
    #[must_use]
    pub fn hosts(&self) -> Vec<&str> {
        match self {
            Self::Edge { client, server, .. } => {
                let both = [client.host.as_deref(), server.host.as_deref()];
                both.into_iter().flatten().collect()
            }
            Self::Node { node } => node.host.as_deref().into_iter().collect(),
            Self::Host { host, .. } | Self::Series { host, .. } => vec![host],
            Self::Gateway { host, .. } => host.as_deref().into_iter().collect(),
            Self::Flow { .. } | Self::Collector => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{End, RuleName, Subject};

    fn end(name: &str, host: &str) -> End {
        End {
            name: format!("{name}/shop"),
            host: Some(host.to_owned()),
            service: String::from("shop"),
        }
    }

    #[test]
    fn names_of_rules_have_few_letters() {
        for bad in ["", "Edge", "a b", "a_b", "é", &"a".repeat(65)] {
            assert!(RuleName::new(bad).is_err(), "{bad}");
            assert!(serde_json::from_value::<RuleName>(bad.into()).is_err());
        }
        let name = RuleName::new("edge-failing-2").expect("a name");
        let text = serde_json::to_string(&name).expect("text");
        assert_eq!(text, "\"edge-failing-2\"");
        assert_eq!(serde_json::from_str::<RuleName>(&text).expect("back"), name);
    }

    #[test]
    fn a_host_that_gets_another_name_is_the_same_subject() {
        let edge = |name, host| Subject::Edge {
            client: end(name, host),
            server: End {
                name: String::from("10.0.0.1"),
                ..End::default()
            },
            endpoint: String::from("10.0.0.1:5432"),
        };
        assert_eq!(edge("old", "aa").key(), edge("new", "aa").key());
        assert_ne!(edge("old", "aa").key(), edge("old", "bb").key());
        assert_eq!(edge("old", "aa").hosts(), ["aa"]);
    }
}

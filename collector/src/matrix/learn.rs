//! Proposes a matrix from what was seen.
//!
//! Services stand for their processes on all hosts, networks for addresses behind which nobody
//! reports, so that a proposal is something that people can read, and still holds when a host is
//! added. What is not certain is left out and counted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::flow::Fields;
use super::seen::{Line, Seen, SeenNode};
use crate::network::Network;
use crate::time::rfc3339;

/// Addresses of a network after which it is proposed in their place.
const ADDRESSES: usize = 2;

/// A proposal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    /// Flows, by source, destination and ports.
    pub flows: Vec<Fields>,
    /// Edges of too little confidence.
    pub low_confidence: u64,
    /// Edges with an end whose process is not known.
    pub unknown: u64,
    /// Edges with nothing but attempts.
    pub attempts: u64,
}

/// What was seen of a flow.
struct Group {
    ports: BTreeSet<u16>,
    edges: u64,
    connections: u64,
    first_ms: i64,
    last_ms: i64,
}

/// Proposes flows that allow every edge of which the sides are certain.
#[must_use]
pub fn learn(seen: &Seen, least_confidence: f64) -> Learned {
    let mut learned = Learned::default();
    let networks = Networks::of(seen);
    let mut groups: BTreeMap<(String, String), Group> = BTreeMap::new();
    for line in &seen.edges {
        if line.only_attempts {
            learned.attempts += 1;
            continue;
        }
        if line.told.confidence < least_confidence {
            learned.low_confidence += 1;
            continue;
        }
        let [client, server] = line.ends.map(|at| &seen.nodes[at]);
        let (Some(source), Some(destination), Some(port)) = (
            networks.label(client, line.unknown[0]),
            networks.label(server, line.unknown[1]),
            line.called.first().map(std::net::SocketAddr::port),
        ) else {
            learned.unknown += 1;
            continue;
        };
        let group = groups.entry((source, destination));
        group.or_insert_with(|| Group::begin(line)).add(port, line);
    }
    for ((source, destination), group) in groups {
        let ports: Vec<String> = group.ports.iter().map(u16::to_string).collect();
        learned.flows.push(Fields {
            source,
            destination,
            port: ports.join(", "),
            protocol: String::from("tcp"),
            action: String::from("allow"),
            comment: format!(
                "seen {} to {}: {} connections on {} edges",
                rfc3339(group.first_ms),
                rfc3339(group.last_ms),
                group.connections,
                group.edges
            ),
            ..Fields::default()
        });
    }
    learned
}

impl Group {
    fn begin(line: &Line) -> Self {
        Self {
            ports: BTreeSet::new(),
            edges: 0,
            connections: 0,
            first_ms: line.told.first_seen_ms,
            last_ms: line.told.last_seen_ms,
        }
    }

    fn add(&mut self, port: u16, line: &Line) {
        self.ports.insert(port);
        self.edges += 1;
        self.connections = self.connections.saturating_add(line.told.connections);
        self.first_ms = self.first_ms.min(line.told.first_seen_ms);
        self.last_ms = self.last_ms.max(line.told.last_seen_ms);
    }
}

/// How many addresses of each network were seen without a service.
struct Networks(BTreeMap<String, BTreeSet<IpAddr>>);

impl Networks {
    fn of(seen: &Seen) -> Self {
        let mut all: BTreeMap<_, BTreeSet<IpAddr>> = BTreeMap::new();
        let nodes = seen.nodes.iter().filter(|node| node.process.is_none());
        for ip in nodes.flat_map(|node| &node.addresses) {
            all.entry(Network::site(*ip)).or_default().insert(*ip);
        }
        Self(all)
    }

    /// What stands for an end; `None` where that is not known.
    fn label(&self, node: &SeenNode, is_unknown: bool) -> Option<String> {
        if let Some(process) = &node.process {
            let quoted = |text: &str| {
                if text.contains([' ', ',', ';', '，', '；']) {
                    format!("\"{text}\"")
                } else {
                    String::from(text)
                }
            };
            // A double quote cannot be written, and a pattern would mean more than was seen.
            let is_plain = !process.service.contains(['"', '*', '?', '\n', '\r']);
            if is_unknown || process.service.is_empty() || !is_plain {
                return None;
            }
            return Some(format!("service={}", quoted(&process.service)));
        }
        let ip = node.addresses.first()?;
        let network = Network::site(*ip);
        let many = self.0.get(&network).map_or(0, BTreeSet::len);
        Some(if many >= ADDRESSES {
            network
        } else {
            ip.to_string()
        })
    }
}

//! What was seen: edges with both their ends, and the hosts that report.

use std::net::{IpAddr, SocketAddr};

use super::report::SeenEdge;
use super::selector::End;
use crate::topology::{Edge, EvidenceKind, Node, NodeKind, ProcessNode, Seer, ViaKind};

/// What a matrix is held against.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Nodes that edges name.
    pub nodes: Vec<SeenNode>,
    /// Edges between them.
    pub edges: Vec<Line>,
    /// Hosts that reported in the window.
    pub hosts: Vec<SeenHost>,
}

/// A node.
#[derive(Clone, Debug)]
pub struct SeenNode {
    /// Its id.
    pub id: String,
    /// The service, where its host reports.
    pub process: Option<ProcessNode>,
    /// Addresses that it had in the window; one of them was that of a connection.
    pub addresses: Vec<IpAddr>,
}

/// A host that reports.
#[derive(Clone, Debug)]
pub struct SeenHost {
    /// Host id and name, as of a process that is not known.
    pub process: ProcessNode,
    /// Its addresses, as far as they are known.
    pub addresses: Vec<IpAddr>,
}

/// An edge.
#[derive(Clone, Debug)]
pub struct Line {
    /// Places of its ends among the nodes.
    pub ends: [usize; 2],
    /// Whether the process of an end is not known, for each.
    pub unknown: [bool; 2],
    /// Addresses at which the server saw the client, beside its own.
    pub nat: Vec<IpAddr>,
    /// Where the server was called.
    pub called: Vec<SocketAddr>,
    /// Ports that were tried in vain, as ranges; none for connections.
    pub tried: Vec<(u16, u16)>,
    /// Whether nothing but attempts was seen.
    pub only_attempts: bool,
    /// What is told of it.
    pub told: SeenEdge,
}

impl SeenNode {
    /// Of a node and the addresses that its service had.
    #[must_use]
    pub fn new(node: Node, addresses: Vec<IpAddr>) -> Self {
        let addresses = match node.kind {
            NodeKind::Process => addresses,
            NodeKind::Address => node.id.parse().into_iter().collect(),
            // Several addresses: a selector of one network cannot tell which.
            NodeKind::Network => Vec::new(),
        };
        Self {
            id: node.id,
            process: node.process,
            addresses,
        }
    }
}

impl Line {
    /// Of an edge with this key between the nodes at these places.
    #[must_use]
    pub fn new(key: String, ends: [usize; 2], edge: &Edge) -> Self {
        let mut called: Vec<SocketAddr> = edge.server_endpoint.parse().into_iter().collect();
        let mut via = Vec::new();
        let mut nat = Vec::new();
        for seen in &edge.via {
            match (seen.seen_by, seen.kind) {
                (Seer::Client, ViaKind::Vip) => {
                    called.extend(seen.address.parse::<SocketAddr>());
                    via.push(seen.address.clone());
                }
                (Seer::Server, ViaKind::Nat) => nat.extend(seen.address.parse::<IpAddr>()),
                _ => {}
            }
        }
        let sides = [&edge.client_counters, &edge.server_counters];
        let failed = sides.into_iter().flatten().map(|side| side.failed).max();
        let failed = failed.unwrap_or(0);
        let tried = edge.attempts.as_ref().map(|attempts| {
            let ranges = attempts.ports.iter().filter_map(|text| range(text));
            ranges.collect::<Vec<_>>()
        });
        let word = |kind: EvidenceKind| match kind {
            EvidenceKind::Token => "token",
            EvidenceKind::Sequence => "sequence",
            EvidenceKind::Conntrack => "conntrack",
            EvidenceKind::Address => "address",
        };
        let evidence = edge.evidence.iter().map(|found| word(found.kind));
        Self {
            ends,
            unknown: [Seer::Client, Seer::Server].map(|seer| edge.unknown_owners.contains(&seer)),
            nat,
            called,
            only_attempts: edge.attempts.is_some() || (edge.connections == 0 && failed > 0),
            tried: tried.unwrap_or_default(),
            told: SeenEdge {
                key,
                client: edge.client.clone(),
                server: edge.server.clone(),
                endpoint: edge.server_endpoint.clone(),
                via,
                connections: edge.connections,
                failed,
                confidence: edge.confidence,
                evidence: evidence.map(String::from).collect(),
                first_seen_ms: edge.first_seen_ms,
                last_seen_ms: edge.last_seen_ms,
            },
        }
    }
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (low, high) = text.split_once('-').unwrap_or((text, text));
    low.parse().ok().zip(high.parse().ok())
}

impl SeenNode {
    pub(super) fn end(&self, is_unknown: bool) -> End<'_> {
        End {
            process: self.process.as_ref(),
            is_unknown,
        }
    }
}

impl SeenHost {
    pub(super) fn end(&self) -> End<'_> {
        End {
            process: Some(&self.process),
            is_unknown: true,
        }
    }
}

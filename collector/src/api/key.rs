//! Keys of nodes and edges: they stay the same while a node's host and service do, whatever else is
//! seen beside it. A node's `id` is for people, and changes when another host reports its name.

use crate::digest::{hex, sha256};
use crate::topology::{Node, NodeKind};

/// The key of a node: `n-` and 16 hex digits.
pub(super) fn node(node: &Node) -> String {
    let (host, service) = match &node.process {
        Some(process) => (process.host.as_str(), process.service.as_str()),
        None => ("", node.id.as_str()),
    };
    node_of(node.kind, host, service)
}

/// The same of its kind, host id and service; of an address its id for a service.
pub(super) fn node_of(kind: NodeKind, host: &str, service: &str) -> String {
    let kind = match kind {
        NodeKind::Process => "process",
        NodeKind::Address => "address",
        NodeKind::Network => "network",
    };
    digest("n", &[kind, host, service])
}

/// The key of an edge between two nodes: `e-` and 16 hex digits.
pub(super) fn edge(client: &str, server: &str, endpoint: &str) -> String {
    digest("e", &[client, server, endpoint])
}

/// The key of a group.
pub(super) fn group(by: &str, label: &str) -> String {
    digest("g", &[by, label])
}

fn digest(letter: &str, parts: &[&str]) -> String {
    // Lengths in front: no two lists of parts have the same bytes.
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part.as_bytes());
    }
    format!("{letter}-{}", hex(&sha256(&bytes)[..8]))
}

//! From rows and links to edges: every row's counters are given to the edges it belongs to.
//!
//! A row that belongs to one edge is that edge's alone, and its counters are exact. A row that
//! belongs to several (one VIP before several backends, one gateway before several clients) is
//! divided in proportion to their connections, and marked as apportioned.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use wire::{Endpoint, Role};

use super::confidence::{self, ONE_SIDED};
use super::counters::Counters;
use super::rows::{Link, Links, MAX_VIA, NodeKey, Row, Rows};
use super::{HostId, Input, nodes, reason};
use crate::topology::{Edge, EdgeCounters, Evidence, EvidenceKind, Node, Reason, Via};

/// What a topology lists.
pub(super) struct Assembled {
    pub(super) nodes: Vec<Node>,
    pub(super) edges: Vec<Edge>,
    pub(super) unjoined: Vec<Edge>,
}

/// One side of an edge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Process(NodeKey),
    Address(IpAddr),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct EdgeKey {
    client: Side,
    server: Side,
    endpoint: Endpoint,
}

/// An edge while its links and shares are added up.
#[derive(Default)]
struct Parts {
    tokens: u64,
    sequences: u64,
    /// Connections that both account for.
    estimate: u64,
    conntrack: u64,
    addresses: u64,
    weight: u64,
    sampled: bool,
    same_namespace: bool,
    via: BTreeSet<Via>,
    client: Share,
    server: Share,
    seen: Span,
    shared_rows_seen: Span,
    /// Why rows left something over, and how much.
    reasons: BTreeMap<Reason, u64>,
}

/// What one side contributes.
#[derive(Default)]
struct Share {
    counters: Option<Counters>,
    apportioned: bool,
    connections: u64,
}

/// A span of time that grows.
#[derive(Clone, Copy, Default)]
struct Span(Option<(i64, i64)>);

impl Span {
    fn widen(&mut self, other: (i64, i64)) {
        let span = self.0.get_or_insert(other);
        *span = (span.0.min(other.0), span.1.max(other.1));
    }
}

/// Makes edges of rows and links.
pub(super) fn assemble(input: &Input, rows: &Rows, links: &Links) -> Assembled {
    let mut edges: BTreeMap<EdgeKey, Parts> = BTreeMap::new();
    let mut shares: Vec<BTreeMap<EdgeKey, u64>> = vec![BTreeMap::new(); rows.all.len()];
    for ((client, server), link) in &links.all {
        let (client_row, server_row) = (&rows.all[*client], &rows.all[*server]);
        let key = EdgeKey {
            client: Side::Process(client_row.key.node.clone()),
            server: Side::Process(server_row.key.node.clone()),
            endpoint: server_row.key.local,
        };
        for row in [*client, *server] {
            let share = shares[row].entry(key.clone()).or_default();
            *share = share.saturating_add(link.weight());
        }
        let same_namespace = client_row.key.netns == server_row.key.netns
            && client_row.key.node.host == server_row.key.node.host;
        edges.entry(key).or_default().add_link(link, same_namespace);
    }
    let reporting = reason::reporting(rows);
    for (row, shares) in rows.all.iter().zip(&mut shares) {
        if let Some((key, weight)) = rest(row) {
            let share = shares.entry(key.clone()).or_default();
            *share = share.saturating_add(weight);
            let edge = edges.entry(key).or_default();
            edge.weight = edge.weight.saturating_add(weight);
            let left = edge.reasons.entry(reason::of(row, &reporting)).or_default();
            *left = left.saturating_add(weight);
        }
        divide(row, shares, &mut edges);
    }
    finish(input, &edges)
}

/// What of a row no link accounts for: an edge to or from the address it saw.
fn rest(row: &Row) -> Option<(EdgeKey, u64)> {
    // A connection may have left both.
    let halves = row.halves.max(row.sequence_halves);
    let known = row.counters.is_some() || halves > 0;
    let weight = match (row.linked, row.rest) {
        (true, 0) => return None,
        (true, rest) => rest,
        // The row's only edge, also when it is only failed attempts or tokens.
        (false, _) if !known => return None,
        (false, rest) => rest.max(halves).max(1),
    };
    let node = Side::Process(row.key.node.clone());
    let other = Side::Address(row.key.remote.ip());
    let key = match row.key.role {
        Role::Client => EdgeKey {
            client: node,
            server: other,
            endpoint: row.key.remote,
        },
        Role::Server => EdgeKey {
            client: other,
            server: node,
            endpoint: row.key.local,
        },
    };
    Some((key, weight))
}

/// Gives a row's counters to its edges.
fn divide(row: &Row, shares: &BTreeMap<EdgeKey, u64>, edges: &mut BTreeMap<EdgeKey, Parts>) {
    let whole = shares.len() == 1;
    let weights: Vec<u64> = shares.values().copied().collect();
    let parts = match &row.counters {
        Some(counters) if whole => vec![Some(counters.clone())],
        Some(counters) => counters.split(&weights).into_iter().map(Some).collect(),
        None => vec![None; weights.len()],
    };
    for ((key, weight), part) in shares.iter().zip(parts) {
        let edge = edges.entry(key.clone()).or_default();
        let share = match row.key.role {
            Role::Client => &mut edge.client,
            Role::Server => &mut edge.server,
        };
        let connections = if whole { row.connections() } else { *weight };
        share.connections = share.connections.saturating_add(connections);
        share.apportioned |= !whole;
        if let Some(part) = part {
            share
                .counters
                .get_or_insert_with(Counters::default)
                .add(&part);
        }
        if whole {
            edge.seen.widen(row.seen_ms);
        } else {
            edge.shared_rows_seen.widen(row.seen_ms);
        }
    }
}

impl Parts {
    fn add_link(&mut self, link: &Link, same_namespace: bool) {
        self.tokens += link.tokens.number;
        self.sequences += link.sequences.number;
        self.conntrack = self.conntrack.saturating_add(link.conntrack);
        self.estimate = self.estimate.saturating_add(link.estimate());
        self.addresses = self.addresses.saturating_add(link.addresses);
        self.weight = self.weight.saturating_add(link.weight());
        self.sampled |= link.sampled();
        self.same_namespace |= same_namespace;
        for via in &link.via {
            if self.via.len() < MAX_VIA {
                self.via.insert(via.clone());
            }
        }
        if let Some(seen) = link.seen_ms {
            self.seen.widen(seen);
        }
    }

    /// Connections: as a side counted them that has them alone, else by evidence.
    fn connections(&self) -> u64 {
        let exact = [&self.client, &self.server]
            .into_iter()
            .filter(|side| side.counters.is_some() && !side.apportioned)
            .map(|side| side.connections)
            .max();
        exact
            .unwrap_or(self.weight)
            .max(self.tokens + self.sequences)
    }

    fn confidence(&self) -> f64 {
        if self.tokens > 0 {
            confidence::token(self.tokens, self.estimate, self.connections())
        } else if self.sequences > 0 {
            confidence::sequence(self.sequences, self.estimate, self.connections())
        } else if self.conntrack > 0 {
            confidence::conntrack(self.conntrack, self.connections())
        } else if self.addresses > 0 {
            let (client, server) = (self.client.connections, self.server.connections);
            confidence::address(client, server, self.same_namespace)
        } else {
            ONE_SIDED
        }
    }

    fn evidence(&self) -> Vec<Evidence> {
        [
            (EvidenceKind::Token, self.tokens),
            (EvidenceKind::Sequence, self.sequences),
            (EvidenceKind::Conntrack, self.conntrack),
            (EvidenceKind::Address, self.addresses),
        ]
        .into_iter()
        .filter(|(_, connections)| *connections > 0)
        .map(|(kind, connections)| Evidence { kind, connections })
        .collect()
    }

    fn edge(&self, key: &EdgeKey, ids: &BTreeMap<&Side, String>) -> Edge {
        let (first_seen_ms, last_seen_ms) =
            self.seen.0.or(self.shared_rows_seen.0).unwrap_or_default();
        Edge {
            client: ids[&key.client].clone(),
            server: ids[&key.server].clone(),
            server_endpoint: key.endpoint.to_string(),
            via: self.via.iter().cloned().collect(),
            evidence: self.evidence(),
            confidence: self.confidence(),
            connections: self.connections(),
            sampled: self.sampled,
            client_counters: self.client.document(),
            server_counters: self.server.document(),
            first_seen_ms,
            last_seen_ms,
            reason: self.reason(),
        }
    }

    /// The reason of most of what was left over; of two, the more specific one.
    fn reason(&self) -> Option<Reason> {
        let most = self
            .reasons
            .iter()
            .max_by_key(|(reason, left)| (**left, Reverse(**reason)));
        most.map(|(reason, _)| *reason)
    }
}

impl Share {
    fn document(&self) -> Option<EdgeCounters> {
        let counters = self.counters.as_ref()?;
        Some(EdgeCounters::new(counters, self.apportioned))
    }
}

fn finish(input: &Input, edges: &BTreeMap<EdgeKey, Parts>) -> Assembled {
    let sides: BTreeSet<&Side> = edges
        .keys()
        .flat_map(|key| [&key.client, &key.server])
        .collect();
    let hostnames: BTreeMap<HostId, &str> = input
        .hosts
        .iter()
        .map(|(host, name)| (*host, name.as_str()))
        .collect();
    let ids = nodes::ids(&sides, &hostnames);
    let processes = nodes::processes(input);
    let mut nodes: Vec<Node> = sides
        .iter()
        .map(|side| nodes::node(side, &ids[*side], &hostnames, &processes))
        .collect();
    nodes.sort_by(|a, b| a.id.cmp(&b.id));
    let mut assembled = Assembled {
        nodes,
        edges: Vec::new(),
        unjoined: Vec::new(),
    };
    for (key, parts) in edges {
        let joined = matches!(
            (&key.client, &key.server),
            (Side::Process(_), Side::Process(_))
        );
        let list = if joined {
            &mut assembled.edges
        } else {
            &mut assembled.unjoined
        };
        list.push(parts.edge(key, &ids));
    }
    for list in [&mut assembled.edges, &mut assembled.unjoined] {
        list.sort_by(|a, b| {
            (&a.client, &a.server, &a.server_endpoint).cmp(&(
                &b.client,
                &b.server,
                &b.server_endpoint,
            ))
        });
    }
    assembled
}

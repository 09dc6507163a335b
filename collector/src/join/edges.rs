//! From rows and links to edges: every row's counters are given to the edges it belongs to.
//!
//! A row that belongs to one edge is that edge's alone, and its counters are exact. A row that
//! belongs to several (one VIP before several backends, one gateway before several clients) is
//! divided in proportion to their connections, and marked as apportioned.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::net::IpAddr;

use wire::{Endpoint, Role};

use super::confidence::{self, ONE_SIDED};
use super::counters::Counters;
use super::links::{Link, Links, MAX_VIA};
use super::reason;
use super::rows::{MAX_CANDIDATES, NodeId, Row, Rows};
use crate::topology::{Edge, EdgeCounters, Evidence, EvidenceKind, Interval, Reason, Via};

/// One side of an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Process(NodeId),
    Address(IpAddr),
}

/// What makes an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct EdgeKey {
    pub(super) client: Side,
    pub(super) server: Side,
    pub(super) endpoint: Endpoint,
}

impl EdgeKey {
    /// Whether both ends are known.
    pub(super) fn is_joined(&self) -> bool {
        matches!(
            (&self.client, &self.server),
            (Side::Process(_), Side::Process(_))
        )
    }
}

/// All edges, sorted by their keys.
pub(super) struct Edges {
    pub(super) keys: Vec<EdgeKey>,
    pub(super) parts: Vec<Parts>,
}

/// An edge while its links and shares are added up.
#[derive(Default)]
pub(super) struct Parts {
    tokens: u64,
    sequences: u64,
    /// Connections that both account for.
    estimate: u64,
    conntrack: u64,
    addresses: u64,
    connections: u64,
    /// Least and most, where some of it is an estimate.
    range: (u64, u64),
    sampled: bool,
    same_namespace: bool,
    via: Vec<Via>,
    client: Share,
    server: Share,
    seen: Span,
    shared_rows_seen: Span,
    /// Why rows left something over, and how much.
    reasons: Vec<(Reason, u64)>,
    /// Who may be the other end.
    candidates: BTreeSet<NodeId>,
}

/// What one side contributes.
#[derive(Default)]
struct Share {
    counters: Option<Box<Counters>>,
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

/// The part of a row that belongs to an edge.
struct Piece {
    row: usize,
    edge: usize,
    weight: u64,
}

/// Makes edges of rows and links, and takes the counters out of the rows.
pub(super) fn assemble(mut rows: Rows, links: Links) -> Edges {
    let left = |row: &Row| rest(row).map(|(key, _)| key);
    let linked = links.all.keys().map(|pair| key(&rows, *pair));
    let mut keys: Vec<EdgeKey> = linked.chain(rows.all.iter().filter_map(left)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.shrink_to_fit();
    let find = |key: &EdgeKey| keys.binary_search(key).expect("the keys of all edges");
    let mut parts: Vec<Parts> = Vec::with_capacity(keys.len());
    parts.resize_with(keys.len(), Parts::default);
    let mut pieces: Vec<Piece> = Vec::new();
    for (pair, link) in links.all {
        let edge = find(&key(&rows, pair));
        let weight = link.weight();
        pieces.extend([pair.0, pair.1].map(|row| Piece { row, edge, weight }));
        let [client, server] = [pair.0, pair.1].map(|row| &rows.all[row].key);
        let same_namespace = client.netns == server.netns && client.host == server.host;
        parts[edge].add_link(link, same_namespace);
    }
    let reporting = reason::reporting(&rows);
    for (at, row) in rows.all.iter().enumerate() {
        if let Some((key, weight)) = rest(row) {
            let edge = find(&key);
            pieces.push(Piece {
                row: at,
                edge,
                weight,
            });
            parts[edge].add_rest(row, reason::of(row, &reporting));
        }
    }
    pieces.sort_unstable_by_key(|piece| (piece.row, piece.edge));
    for of_row in pieces.chunk_by(|a, b| a.row == b.row) {
        let mut shares: Vec<(usize, u64)> = Vec::new();
        for piece in of_row {
            match shares.last_mut() {
                Some((edge, weight)) if *edge == piece.edge => {
                    *weight = weight.saturating_add(piece.weight);
                }
                _ => shares.push((piece.edge, piece.weight)),
            }
        }
        divide(&mut rows.all[of_row[0].row], &shares, &mut parts);
    }
    Edges { keys, parts }
}

/// The edge of a link.
fn key(rows: &Rows, (client, server): (usize, usize)) -> EdgeKey {
    let [client, server] = [client, server].map(|row| &rows.all[row].key);
    EdgeKey {
        client: Side::Process(client.node),
        server: Side::Process(server.node),
        endpoint: server.local,
    }
}

/// What of a row no link accounts for: an edge to or from the address it saw.
fn rest(row: &Row) -> Option<(EdgeKey, u64)> {
    let known = row.counters.is_some() || row.half_ends > 0;
    let weight = match (row.linked, row.rest) {
        (true, 0) => return None,
        (true, rest) => rest,
        // The row's only edge, also when it is only failed attempts or tokens.
        (false, _) if !known => return None,
        (false, _) => left(row).max(1),
    };
    let node = Side::Process(row.key.node);
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

/// Connections that no link accounts for: those that are told, where none were counted.
fn left(row: &Row) -> u64 {
    if row.counters.is_some() || row.linked {
        row.rest
    } else {
        row.half_ends
    }
}

/// Gives a row's counters to its edges, by their weights.
fn divide(row: &mut Row, shares: &[(usize, u64)], edges: &mut [Parts]) {
    let whole = shares.len() == 1;
    let connections = row.connections();
    let counters = match row.counters.take() {
        Some(counters) if whole => vec![Some(counters)],
        Some(counters) => {
            let mut weights: Vec<u64> = shares.iter().map(|(_, weight)| *weight).collect();
            if weights.iter().all(|weight| *weight == 0) {
                weights.fill(1);
            }
            let parts = counters.split(&weights).into_iter();
            parts.map(|part| Some(Box::new(part))).collect()
        }
        None => vec![None; shares.len()],
    };
    for ((edge, weight), part) in shares.iter().zip(counters) {
        let edge = &mut edges[*edge];
        let share = match row.key.role {
            Role::Client => &mut edge.client,
            Role::Server => &mut edge.server,
        };
        let connections = if whole { connections } else { *weight };
        share.connections = share.connections.saturating_add(connections);
        share.apportioned |= !whole;
        match (&mut share.counters, part) {
            (Some(sum), Some(part)) => sum.add(&part),
            (sum @ None, Some(part)) => *sum = Some(part),
            (_, None) => {}
        }
        if whole {
            edge.seen.widen(row.seen_ms);
        } else {
            edge.shared_rows_seen.widen(row.seen_ms);
        }
    }
}

impl Parts {
    fn add_link(&mut self, link: Link, same_namespace: bool) {
        self.tokens += link.tokens.number;
        self.sequences += link.sequences.number;
        self.conntrack = self.conntrack.saturating_add(link.conntrack);
        self.estimate = self.estimate.saturating_add(link.told - link.extra);
        self.addresses = self.addresses.saturating_add(link.addresses);
        let weight = link.weight();
        self.connections = self.connections.saturating_add(weight);
        let (low, high) = link.range.unwrap_or((weight, weight));
        self.range.0 = self.range.0.saturating_add(low);
        self.range.1 = self.range.1.saturating_add(high);
        self.sampled |= link.sampled();
        self.same_namespace |= same_namespace;
        if let Some(seen) = link.seen_ms {
            self.seen.widen(seen);
        }
        let mut all: BTreeSet<Via> = std::mem::take(&mut self.via).into_iter().collect();
        for via in link.via {
            if all.len() < MAX_VIA {
                all.insert(via);
            }
        }
        self.via = all.into_iter().collect();
    }

    fn add_rest(&mut self, row: &Row, reason: Reason) {
        let left = left(row);
        self.connections = self.connections.saturating_add(left);
        self.range.0 = self.range.0.saturating_add(left);
        self.range.1 = self.range.1.saturating_add(left);
        let room = MAX_CANDIDATES - self.candidates.len();
        self.candidates.extend(row.candidates.iter().take(room));
        match self.reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, sum)) => *sum = sum.saturating_add(left),
            None => self.reasons.push((reason, left)),
        }
    }

    /// Connections: together with those of its other edges, what a row's side counted.
    pub(super) fn connections(&self) -> u64 {
        self.connections
    }

    fn interval(&self) -> Option<Interval> {
        let (low, high) = self.range;
        (low < high).then_some(Interval { low, high })
    }

    /// Who may be the other end of what is not joined.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Side> {
        self.candidates.iter().map(|node| Side::Process(*node))
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

    /// The document form.
    pub(super) fn edge(
        &self,
        key: &EdgeKey,
        (client, server): (&str, &str),
        candidates: Vec<String>,
    ) -> Edge {
        let (first_seen_ms, last_seen_ms) =
            self.seen.0.or(self.shared_rows_seen.0).unwrap_or_default();
        Edge {
            client: client.to_owned(),
            server: server.to_owned(),
            server_endpoint: key.endpoint.to_string(),
            via: self.via.clone(),
            evidence: self.evidence(),
            confidence: self.confidence(),
            connections: self.connections(),
            interval: self.interval(),
            sampled: self.sampled,
            client_counters: self.client.document(),
            server_counters: self.server.document(),
            first_seen_ms,
            last_seen_ms,
            reason: self.reason(),
            candidates,
        }
    }

    /// The reason of most of what was left over; of two, the more specific one.
    pub(super) fn reason(&self) -> Option<Reason> {
        let most = self
            .reasons
            .iter()
            .max_by_key(|(reason, left)| (*left, Reverse(*reason)));
        most.map(|(reason, _)| *reason)
    }
}

impl Share {
    fn document(&self) -> Option<EdgeCounters> {
        let counters = self.counters.as_ref()?;
        Some(EdgeCounters::new(counters, self.apportioned))
    }
}

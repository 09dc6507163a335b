//! From rows and links to edges: every row's counters are given to the edges it belongs to.
//!
//! A row that belongs to one edge is that edge's alone, and its counters are exact. A row that
//! belongs to several (one VIP before several backends, one gateway before several clients) is
//! divided in proportion to their connections, and marked as apportioned.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use wire::Role;

use super::attempts::{self, Groups};
use super::confidence::{self, ONE_SIDED};
use super::links::{Link, Links, MAX_VIA};
use super::present::SIDES;
use super::reason;
use super::rows::{MAX_CANDIDATES, NodeId, Row, Rows};
use super::side::{EdgeKey, Side};
use crate::counters::{Counters, shares as divided};
use crate::topology::{
    Attempts, Edge, EdgeCounters, Evidence, EvidenceKind, Interval, Reason, Seer, Via,
};

/// All edges, sorted by their keys.
pub(super) struct Edges {
    pub(super) keys: Vec<EdgeKey>,
    pub(super) parts: Vec<Parts>,
}

/// An edge while its links and shares are added up.
#[derive(Default)]
pub(super) struct Parts {
    /// As the client tells.
    tokens: u64,
    sequences: u64,
    /// Connections that both account for.
    estimate: u64,
    /// Those that the server tells of in the window and the client in another one.
    elsewhere: Found,
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
    /// What was tried in vain, where that is several endpoints.
    attempts: Option<Box<Attempts>>,
    /// Who may be the other end.
    candidates: BTreeSet<NodeId>,
}

/// What one side contributes.
#[derive(Default)]
struct Share {
    counters: Option<Box<Counters>>,
    apportioned: bool,
    connections: u64,
    /// Those of them that were open when the window began.
    open_before: u64,
    /// Connections open when it ended.
    open: u64,
}

/// Connections that evidence joined.
#[derive(Clone, Copy, Default)]
struct Found {
    tokens: u64,
    sequences: u64,
    estimate: u64,
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
    /// The part of it that was open when the window began, as far as it is known.
    open: u64,
    /// No link accounts for it.
    rest: bool,
}

/// Makes edges of rows and links, and takes the counters out of the rows.
pub(super) fn assemble(mut rows: Rows, links: Links) -> Edges {
    let Groups { of_row, attempts } = attempts::group(&rows);
    let left = |(at, row): (usize, &Row)| {
        let (own, weight) = rest(row)?;
        Some((of_row.get(&at).copied().unwrap_or(own), weight))
    };
    let linked = links.all.keys().map(|pair| key(&rows, *pair));
    let rests = rows.all.iter().enumerate().filter_map(left);
    let mut keys: Vec<EdgeKey> = linked.chain(rests.map(|(key, _)| key)).collect();
    keys.sort_unstable();
    keys.dedup();
    keys.shrink_to_fit();
    let find = |key: &EdgeKey| keys.binary_search(key).expect("the keys of all edges");
    let mut parts: Vec<Parts> = Vec::with_capacity(keys.len());
    parts.resize_with(keys.len(), Parts::default);
    let mut pieces: Vec<Piece> = Vec::new();
    for (pair, link) in links.all {
        let edge = find(&key(&rows, pair));
        pieces.extend(SIDES.map(|side| Piece {
            row: [pair.0, pair.1][side],
            edge,
            weight: link.share(side),
            open: link.open[side],
            rest: false,
        }));
        let [client, server] = [pair.0, pair.1].map(|row| &rows.all[row].key);
        let same_namespace = client.netns == server.netns && client.host == server.host;
        parts[edge].add_link(link, same_namespace);
    }
    let reporting = reason::reporting(&rows);
    for (at, row) in rows.all.iter().enumerate() {
        if let Some((key, weight)) = left((at, row)) {
            let edge = find(&key);
            pieces.push(Piece {
                row: at,
                edge,
                weight,
                open: 0,
                rest: true,
            });
            parts[edge].add_rest(row, reason::of(row, &reporting));
        }
    }
    for (key, attempts) in attempts {
        parts[find(&key)].attempts = Some(Box::new(attempts));
    }
    pieces.sort_unstable_by_key(|piece| (piece.row, piece.edge));
    for of_row in pieces.chunk_by(|a, b| a.row == b.row) {
        divide(&mut rows.all[of_row[0].row], of_row, &mut parts);
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
    let counted = row.counters.as_ref();
    let counted = counted.is_some_and(|counted| !counted.is_zero()) || row.open_before > 0;
    let known = counted || row.half_ends > 0;
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
fn divide(row: &mut Row, pieces: &[Piece], edges: &mut [Parts]) {
    let whole = pieces.iter().all(|piece| piece.edge == pieces[0].edge);
    let open = open_before(row, pieces);
    let mut weights: Vec<u64> = pieces.iter().map(|piece| piece.weight).collect();
    if weights.iter().all(|weight| *weight == 0) {
        weights.fill(1);
    }
    let still = divided(row.open, &weights);
    let counters = match row.counters.take() {
        Some(counters) if pieces.len() == 1 => vec![Some(counters)],
        Some(counters) => {
            let new = weights.iter().zip(&open);
            let new: Vec<u64> = new.map(|(all, open)| all.saturating_sub(*open)).collect();
            let parts = counters.split(&weights, &new).into_iter();
            parts.map(|part| Some(Box::new(part))).collect()
        }
        None => vec![None; pieces.len()],
    };
    for (((piece, open), still), part) in pieces.iter().zip(open).zip(still).zip(counters) {
        let edge = &mut edges[piece.edge];
        let share = match row.key.role {
            Role::Client => &mut edge.client,
            Role::Server => &mut edge.server,
        };
        share.connections = share.connections.saturating_add(piece.weight);
        share.open_before = share.open_before.saturating_add(open);
        share.open = share.open.saturating_add(still);
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

/// How much of each piece was open when the window began. What is known of that is known of single
/// connections; the rest is where there is room for it, first where nothing is known.
fn open_before(row: &Row, pieces: &[Piece]) -> Vec<u64> {
    let mut open: Vec<u64> = pieces.iter().map(|piece| piece.open).collect();
    let mut left = row.open_before.saturating_sub(open.iter().sum());
    for rest in [true, false] {
        let all = open.iter_mut().zip(pieces);
        for (open, piece) in all.filter(|(_, piece)| piece.rest == rest) {
            let more = left.min(piece.weight.saturating_sub(*open));
            *open += more;
            left -= more;
        }
    }
    open
}

impl Parts {
    fn add_link(&mut self, link: Link, same_namespace: bool) {
        let [by_token, by_sequence] = link.only_by;
        self.tokens += link.tokens.number + by_token[0];
        self.sequences += link.sequences.number + by_sequence[0];
        self.elsewhere.tokens += by_token[1];
        self.elsewhere.sequences += by_sequence[1];
        let [only, elsewhere] = link.only.map(|only| only.estimate());
        self.elsewhere.estimate = self.elsewhere.estimate.saturating_add(elsewhere);
        self.connections = self.connections.saturating_add(only);
        self.range.0 = self.range.0.saturating_add(only);
        self.range.1 = self.range.1.saturating_add(only);
        self.estimate = self.estimate.saturating_add(only);
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
        self.connections.saturating_add(self.unknown())
    }

    /// Connections that the server tells of and the client cannot, for its agent is gone: it told of
    /// them before, if ever.
    fn unknown(&self) -> u64 {
        match (&self.client.counters, &self.server.counters) {
            (None, Some(_)) => self.elsewhere.estimate,
            _ => 0,
        }
    }

    /// Those of the connections that were open when the window began, by the side that counts them.
    fn open_before(&self) -> u64 {
        let side = match (&self.client.counters, &self.server.counters) {
            (None, Some(_)) => &self.server,
            _ => &self.client,
        };
        let open = side.open_before.saturating_add(self.unknown());
        open.min(self.connections())
    }

    fn interval(&self) -> Option<Interval> {
        let (low, high) = self.range;
        let more = self.unknown();
        (low < high).then_some(Interval {
            low: low.saturating_add(more),
            high: high.saturating_add(more),
        })
    }

    /// Connections found by tokens, by sequence numbers, and what they account for. A window may be
    /// so short that only the server tells of any in it.
    fn found(&self) -> Found {
        if self.tokens + self.sequences > 0 {
            return Found {
                tokens: self.tokens,
                sequences: self.sequences,
                estimate: self.estimate,
            };
        }
        self.elsewhere
    }

    /// Who may be the other end of what is not joined.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Side> {
        self.candidates.iter().map(|node| Side::Process(*node))
    }

    fn confidence(&self, unknown_owners: usize) -> f64 {
        let known = self.evidence_confidence();
        confidence::with_unknown_owners(known, unknown_owners)
    }

    fn evidence_confidence(&self) -> f64 {
        let Found {
            tokens,
            sequences,
            estimate,
        } = self.found();
        if tokens > 0 {
            confidence::token(tokens, estimate, self.connections())
        } else if sequences > 0 {
            confidence::sequence(sequences, estimate, self.connections())
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
            (EvidenceKind::Token, self.found().tokens),
            (EvidenceKind::Sequence, self.found().sequences),
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
        unknown_owners: Vec<Seer>,
    ) -> Edge {
        let (first_seen_ms, last_seen_ms) =
            self.seen.0.or(self.shared_rows_seen.0).unwrap_or_default();
        Edge {
            client: client.to_owned(),
            server: server.to_owned(),
            server_endpoint: key.endpoint.to_string(),
            via: self.via.clone(),
            evidence: self.evidence(),
            confidence: self.confidence(unknown_owners.len()),
            unknown_owners,
            connections: self.connections(),
            open_before: self.open_before(),
            interval: self.interval(),
            sampled: self.sampled,
            client_counters: self.client.document(),
            server_counters: self.server.document(),
            first_seen_ms,
            last_seen_ms,
            reason: self.reason(),
            candidates,
            attempts: self.attempts.as_deref().cloned(),
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
        Some(EdgeCounters::new(counters, self.open, self.apportioned))
    }
}

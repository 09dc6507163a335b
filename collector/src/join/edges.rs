//! From rows and links to edges: every row's counters are given to the edges it belongs to.
//!
//! A row that belongs to one edge is that edge's alone, and its counters are exact. A row that
//! belongs to several (one VIP before several backends, one gateway before several clients) is
//! divided in proportion to their connections, and marked as apportioned.

use wire::Role;

use super::attempts::{self, Groups};
use super::links::Links;
use super::parts::{Parts, left};
use super::present::SIDES;
use super::reason;
use super::rows::{Row, Rows};
use super::side::{EdgeKey, Side};
use crate::counters::shares as divided;

/// All edges, sorted by their keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Edges {
    pub(super) keys: Vec<EdgeKey>,
    pub(super) parts: Vec<Parts>,
}

/// Memory that a row leads to as an edge, in bytes: its key among those that are sorted, the edge
/// itself, the row's pieces, and the node of an address.
pub(super) const COST: usize =
    2 * size_of::<EdgeKey>() + size_of::<Parts>() + 2 * size_of::<Piece>() + 60;

/// The part of a row that belongs to an edge.
struct Piece {
    row: usize,
    edge: usize,
    weight: u64,
    /// The part of it that was open when the window began, as far as it is known.
    open: u64,
    /// The part of it that is open when it ends, the same.
    still_open: u64,
    /// No link accounts for it.
    rest: bool,
}

/// How many edges these make at most.
pub(super) fn at_most(rows: &Rows, links: &Links) -> usize {
    let rests = rows.all.iter().filter(|row| rest(row).is_some());
    links.all.len() + rests.count()
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
            still_open: link.still_open[side],
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
                still_open: 0,
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
    for (key, parts) in keys.iter().zip(&mut parts) {
        parts.settle(key);
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

/// Gives a row's counters to its edges, by their weights.
fn divide(row: &mut Row, pieces: &[Piece], edges: &mut [Parts]) {
    let whole = pieces.iter().all(|piece| piece.edge == pieces[0].edge);
    let open = open_before(row, pieces);
    let mut weights: Vec<u64> = pieces.iter().map(|piece| piece.weight).collect();
    if weights.iter().all(|weight| *weight == 0) {
        weights.fill(1);
    }
    let still = still_open(row.open, pieces, &weights);
    let counters = match row.counters.take() {
        Some(counters) if pieces.len() == 1 => vec![Some(counters)],
        Some(counters) => {
            let new = weights.iter().zip(&open);
            let new: Vec<u64> = new.map(|(all, open)| all.saturating_sub(*open)).collect();
            let parts = counters.split(&weights, &new).into_iter();
            parts.map(Some).collect()
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

/// How much of each piece is open when the window ends: what is known of single connections, and of
/// the rest a part of what is left.
fn still_open(open: u64, pieces: &[Piece], weights: &[u64]) -> Vec<u64> {
    let known: Vec<u64> = pieces.iter().map(|piece| piece.still_open).collect();
    let all = known.iter().fold(0, |sum: u64, n| sum.saturating_add(*n));
    if all >= open {
        return divided(open, &known);
    }
    let left = weights.iter().zip(&known);
    let left: Vec<u64> = left
        .map(|(all, known)| all.saturating_sub(*known))
        .collect();
    let left = if left.iter().all(|n| *n == 0) {
        weights
    } else {
        &left
    };
    let more = divided(open - all, left);
    known
        .iter()
        .zip(more)
        .map(|(known, more)| known + more)
        .collect()
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

//! Why an edge is known by one side only, where what was reported tells.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::rows::{Row, Rows};
use crate::topology::{Reason, ReasonCount};

/// The addresses that some reporting host has for its own.
pub(super) fn reporting(rows: &Rows) -> BTreeSet<IpAddr> {
    rows.all.iter().map(|row| row.key.local.ip()).collect()
}

/// Why the other side of what is left of a row is not known.
pub(super) fn of(row: &Row, reporting: &BTreeSet<IpAddr>) -> Reason {
    let found = [
        (row.is_directionless(), Reason::DirectionUnknown),
        (!row.named(), Reason::Unnamed),
        (
            row.counters.is_some() && row.connections() == 0,
            Reason::NotEstablished,
        ),
        (row.ambiguous, Reason::Ambiguous),
        (row.translated, Reason::Translated),
        (row.halves > 0, Reason::TokensOneEnd),
        (row.sequence_halves > 0, Reason::SequenceOneEnd),
        (row.shared, Reason::AddressesShared),
        (!row.candidates.is_empty(), Reason::OneOf),
        (row.linked, Reason::CountsDiffer),
        (reporting.contains(&row.key.remote.ip()), Reason::NotCounted),
    ];
    let first = found.into_iter().find(|(holds, _)| *holds);
    first.map_or(Reason::NoAgent, |(_, reason)| reason)
}

/// How many edges and connections there are for each reason, from the reason and the connections of
/// each edge.
pub(super) fn totals(unjoined: impl Iterator<Item = (Option<Reason>, u64)>) -> Vec<ReasonCount> {
    let mut totals: BTreeMap<Reason, (u64, u64)> = BTreeMap::new();
    for (reason, count) in unjoined {
        if let Some(reason) = reason {
            let (edges, connections) = totals.entry(reason).or_default();
            *edges += 1;
            *connections = connections.saturating_add(count);
        }
    }
    let count = |(reason, (edges, connections))| ReasonCount {
        reason,
        edges,
        connections,
    };
    totals.into_iter().map(count).collect()
}

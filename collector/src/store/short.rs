//! Where in blocks the ends of connections are.
//!
//! Both ends are told of at about the same time: that of one that lived within an interval lived as
//! long, and of one that goes on both began to. So other ends are looked for in the blocks around the
//! window, by their time and, for hosts whose clock is wrong, by their arrival; those that were told
//! long before and go on are known from what their run says to go on (`lasting`).

use std::collections::HashSet;

use rusqlite::{Connection, Result};

use super::block::{self, Head, Kind, Sighted, Sightings};
use super::window::Window;

/// How far from a window the other ends of its connections are looked for: by what clocks differ,
/// and by how much later one of two agents sends. Milliseconds.
pub(crate) const NEAR_MS: i64 = 120_000;
/// Longest interval of an agent, milliseconds.
pub(crate) const INTERVAL_MS: i64 = 900_000;

/// Blocks of a kind whose intervals end in a window.
pub(super) fn within(db: &Connection, kind: Kind, window: Window) -> Result<Vec<Head>> {
    block::in_window(db, kind, (window.from_ms, window.to_ms))
}

/// Blocks of a kind beside a window that may have other ends of its connections; `within` are those
/// in it, of all kinds.
pub(super) fn near(
    db: &Connection,
    kind: Kind,
    window: Window,
    within: &[Head],
) -> Result<Vec<Head>> {
    let Window { from_ms, to_ms } = window;
    let after_ms = from_ms.saturating_sub(NEAR_MS);
    let upto_ms = to_ms.saturating_add(NEAR_MS);
    let mut seen: HashSet<i64> = within.iter().map(|head| head.id).collect();
    let mut near = Vec::new();
    let around = [
        (after_ms, from_ms),
        (to_ms, upto_ms.saturating_add(INTERVAL_MS)),
    ];
    for part in around {
        let found = block::in_window(db, kind, part)?;
        near.extend(found.into_iter().filter(|head| head.start_ms <= upto_ms));
    }
    seen.extend(near.iter().map(|head| head.id));
    for (first_ms, last_ms) in arrivals(within) {
        let first = block::id_at(db, first_ms.saturating_sub(NEAR_MS))?;
        let last = block::id_at(db, last_ms.saturating_add(NEAR_MS))?;
        let found = block::in_order(db, kind, (first, last))?;
        near.extend(found.into_iter().filter(|head| seen.insert(head.id)));
    }
    Ok(near)
}

/// When blocks arrived: spans between which nothing came for long.
fn arrivals(heads: &[Head]) -> Vec<(i64, i64)> {
    let mut times: Vec<i64> = heads.iter().map(|head| head.received_ms).collect();
    times.sort_unstable();
    let mut spans: Vec<(i64, i64)> = Vec::new();
    for time in times {
        match spans.last_mut() {
            Some((_, last)) if time.saturating_sub(*last) <= 2 * NEAR_MS => *last = time,
            _ => spans.push((time, time)),
        }
    }
    spans
}

/// The rows of a block.
pub(super) fn rows(db: &Connection, head: &Head) -> Result<Vec<Sighted>> {
    block::read::<Sightings>(db, head).map(|sightings| sightings.0)
}

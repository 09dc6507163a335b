//! Sightings that are rows: of agents that tell no ends, and of an older version of the store.

use std::collections::{HashMap, HashSet};

use rusqlite::Connection;

use super::error::{Error, failed};
use super::row::sighting;
use super::window::Window;
use crate::join::{Sighting, cost};
use crate::meter::Meter;

/// Most tokens of an agent that does not tell ends that may stand for the connections of one flow
/// that are older than the window.
const MAX_EARLIER_TOKENS: u64 = 64;

/// Those of a window with their flows: told in it, open when it began in these flows, and others of
/// their tokens and of those that are wanted, to which theirs are added.
pub(super) fn window(
    db: &Connection,
    window: Window,
    had_open: &HashMap<i64, u64>,
    wanted: &mut HashSet<u64>,
    meter: &mut Meter,
) -> Result<Vec<(i64, Sighting)>, Error> {
    let has_rows: bool = db
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM sighting)")
        .and_then(|mut statement| statement.query_row((), |row| row.get(0)))
        .map_err(failed)?;
    if !has_rows {
        return Ok(Vec::new());
    }
    let mut reading = Reading {
        db,
        window,
        meter,
        seen: HashSet::new(),
        found: Vec::new(),
    };
    reading.told()?;
    for (flow, open) in had_open {
        reading.open(*flow, *open)?;
    }
    // Other ends of those in blocks.
    for token in wanted.iter() {
        if !reading.seen.contains(token) {
            reading.tokens("SELECT ?1", [token.cast_signed()])?;
        }
    }
    wanted.extend(reading.seen);
    Ok(reading.found)
}

struct Reading<'a> {
    db: &'a Connection,
    window: Window,
    meter: &'a mut Meter,
    seen: HashSet<u64>,
    found: Vec<(i64, Sighting)>,
}

impl Reading<'_> {
    fn told(&mut self) -> Result<(), Error> {
        let Window { from_ms, to_ms } = self.window;
        self.tokens(
            "SELECT token FROM sighting WHERE last_ms > ?1 AND last_ms <= ?2 LIMIT ?3",
            // SQLite holds the tokens meanwhile; one more than there is room for ends it.
            [from_ms, to_ms, self.left().saturating_add(1)],
        )
    }

    /// Of those that were told before, the ones that were still open. Agents that tell no ends leave
    /// it open which these were: the latest ones may be, and the join decides.
    fn open(&mut self, flow: i64, open: u64) -> Result<(), Error> {
        let from_ms = self.window.from_ms;
        self.tokens(
            "SELECT token FROM sighting WHERE flow_id = ?1 AND ended_ms > ?2
                 AND ended_ms > last_ms AND last_ms <= ?2 LIMIT ?3",
            [flow, from_ms, self.left().saturating_add(1)],
        )?;
        let most = i64::try_from(open.min(MAX_EARLIER_TOKENS)).expect("it has a bound");
        self.tokens(
            "SELECT token FROM (SELECT token FROM sighting
                 WHERE flow_id = ?1 AND last_ms <= ?2 AND ended_ms IS NULL
                 ORDER BY last_ms DESC, token LIMIT ?3)",
            [flow, from_ms, most],
        )
    }

    fn left(&self) -> i64 {
        i64::try_from(self.meter.rows_left(cost::SIGHTING)).unwrap_or(i64::MAX - 1)
    }

    /// All sightings of the tokens a query names, except of those seen before.
    fn tokens<P: rusqlite::Params>(&mut self, tokens: &str, parameters: P) -> Result<(), Error> {
        let sql = format!(
            "SELECT flow_id, token, part, sample_level, port, start_us, first_ms, last_ms, ended_ms,
                 kept
             FROM sighting WHERE token IN ({tokens})"
        );
        let mut statement = self.db.prepare_cached(&sql).map_err(failed)?;
        let mut rows = statement.query(parameters).map_err(failed)?;
        let mut new = HashSet::new();
        while let Some(row) = rows.next().map_err(failed)? {
            let sighting = sighting(row, self.window)?;
            if self.seen.contains(&sighting.token) {
                continue;
            }
            self.meter.row(cost::SIGHTING)?;
            new.insert(sighting.token);
            self.found.push((row.get(0).map_err(failed)?, sighting));
        }
        self.seen.extend(new);
        Ok(())
    }
}

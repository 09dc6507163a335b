//! What was joined, slice by slice: what waits to be joined, what a question reads, what is kept.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::error::{Error, failed};
use super::frozen::frozen;
use super::reader::View;
use super::slice::{LENGTHS, slice};
use super::window::Window;
use crate::join::{HostId, Joined};

/// How long after its end a slice is joined first, and how long without a change again: agents tell
/// of an interval within seconds after its end. Milliseconds.
pub(crate) const SETTLE_MS: i64 = if cfg!(test) { 100 } else { 20_000 };
/// One that changes all the time is joined again after this time all the same.
const AGAIN_MS: i64 = 120_000;

/// A slice of time: after `start_ms`, up to and including its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slice {
    /// Milliseconds.
    pub length_ms: i64,
    /// Unix milliseconds, a multiple of the length.
    pub start_ms: i64,
}

impl Slice {
    /// The window that it is.
    #[must_use]
    pub fn window(self) -> Window {
        Window {
            from_ms: self.start_ms,
            to_ms: self.start_ms.saturating_add(self.length_ms),
        }
    }

    /// Whether it is made of rows, and not of shorter slices.
    #[must_use]
    pub fn is_shortest(self) -> bool {
        self.length_ms == LENGTHS[0]
    }
}

/// A slice whose rows have changed since it was joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Which.
    pub slice: Slice,
    /// It grows with every change.
    pub generation: i64,
    /// It was joined before.
    pub again: bool,
}

/// What was joined of a slice, to be stored.
#[derive(Debug)]
pub struct Finished {
    /// Of what.
    pub waiting: Waiting,
    /// [`Joined::encode`], and the number of its edges; `None` where it is too large to be joined.
    pub body: Option<(Vec<u8>, usize)>,
}

/// Slices by what is to be done with them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SliceCounts {
    /// To be joined, for the first time or again.
    pub waiting: u64,
    /// Those of them that cannot be joined, because they are too large.
    pub too_large: u64,
    /// The begin of the oldest of the shortest that wait; Unix milliseconds.
    pub oldest_ms: Option<i64>,
}

/// What a question about a window reads, in the order of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// What was joined.
    Joined(Slice),
    /// Rows, which are joined now.
    Rows(Window),
}

impl View<'_> {
    /// The next slice to join: the newest of the shortest ones that have settled, then longer ones of
    /// which all parts are joined.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn next_slice(&self, now_ms: i64) -> Result<Option<Waiting>, Error> {
        let frozen = frozen(&self.snapshot).map_err(failed)?;
        for (at, length) in LENGTHS.into_iter().enumerate() {
            let part = at.checked_sub(1).map_or(0, |at| LENGTHS[at]);
            let found = self
                .snapshot
                .prepare_cached(
                    "SELECT start_ms, generation, joined > 0 FROM slice AS its
                     WHERE length_ms = ?1 AND generation <> joined AND generation <> too_large
                         AND start_ms >= ?2 AND start_ms + ?1 + ?4 <= ?3
                         AND (marked_ms + ?4 <= ?3 OR joined_ms + ?5 <= ?3)
                         AND NOT EXISTS (SELECT 1 FROM slice AS part WHERE part.length_ms = ?6
                             AND part.generation <> part.joined
                             AND part.start_ms >= its.start_ms
                             AND part.start_ms < its.start_ms + ?1)
                     ORDER BY start_ms DESC LIMIT 1",
                )
                .and_then(|mut statement| {
                    let values = [length, frozen, now_ms, SETTLE_MS, AGAIN_MS, part];
                    let waiting = |row: &rusqlite::Row<'_>| {
                        Ok(Waiting {
                            slice: Slice {
                                length_ms: length,
                                start_ms: row.get(0)?,
                            },
                            generation: row.get(1)?,
                            again: row.get(2)?,
                        })
                    };
                    statement.query_row(values, waiting).optional()
                })
                .map_err(failed)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The slices of which a longer one consists, in the order of time.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn parts(&self, slice: Slice) -> Result<Vec<Slice>, Error> {
        let shorter = LENGTHS.iter().rfind(|length| **length < slice.length_ms);
        let length_ms = shorter.copied().unwrap_or(0);
        let mut statement = self
            .snapshot
            .prepare_cached(
                "SELECT start_ms FROM slice WHERE length_ms = ?1 AND joined > 0
                     AND start_ms >= ?2 AND start_ms < ?3 ORDER BY start_ms",
            )
            .map_err(failed)?;
        let Window { from_ms, to_ms } = slice.window();
        let parts = statement.query_map([length_ms, from_ms, to_ms], |row| {
            Ok(Slice {
                length_ms,
                start_ms: row.get(0)?,
            })
        });
        parts.and_then(Iterator::collect).map_err(failed)
    }

    /// What was joined of a slice.
    ///
    /// # Errors
    /// Whatever SQLite reports; [`Error::Damaged`] where it is not there.
    pub fn joined(&self, slice: Slice) -> Result<Vec<u8>, Error> {
        self.snapshot
            .prepare_cached("SELECT body FROM joined WHERE length_ms = ?1 AND start_ms = ?2")
            .and_then(|mut statement| {
                statement
                    .query_row([slice.length_ms, slice.start_ms], |row| row.get(0))
                    .optional()
            })
            .map_err(failed)?
            .ok_or(Error::Damaged {
                what: "a slice that is not there",
            })
    }

    /// What each of these slices was joined from.
    ///
    /// # Errors
    /// Whatever SQLite reports; [`Error::Damaged`] where one is not there.
    pub fn generations(&self, slices: &[Slice]) -> Result<Vec<i64>, Error> {
        let mut statement = self
            .snapshot
            .prepare_cached("SELECT joined FROM slice WHERE length_ms = ?1 AND start_ms = ?2")
            .map_err(failed)?;
        let mut generation = |slice: &Slice| {
            let key = [slice.length_ms, slice.start_ms];
            let found = statement.query_row(key, |row| row.get(0)).optional();
            found.map_err(failed)?.ok_or(Error::Damaged {
                what: "a slice that is not there",
            })
        };
        slices.iter().map(&mut generation).collect()
    }

    /// What a question about a window reads.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn pieces(&self, window: Window) -> Result<Vec<Piece>, Error> {
        let frozen = frozen(&self.snapshot).map_err(failed)?;
        let mut slices = BTreeMap::new();
        for length in LENGTHS {
            let mut statement = self
                .snapshot
                .prepare_cached(
                    "SELECT start_ms, joined > 0 AND (generation = joined OR start_ms + ?1 <= ?4)
                     FROM slice WHERE length_ms = ?1 AND start_ms >= ?2 AND start_ms < ?3",
                )
                .map_err(failed)?;
            let from = slice(length, window.from_ms.saturating_add(1));
            let mut rows = statement
                .query([length, from, window.to_ms, frozen])
                .map_err(failed)?;
            while let Some(row) = rows.next().map_err(failed)? {
                let values = || Ok((row.get(0)?, row.get(1)?));
                let (start_ms, is_joined): (i64, bool) = values().map_err(failed)?;
                slices.insert((length, start_ms), is_joined);
            }
        }
        Ok(pieces(&slices, window))
    }

    /// The names of all hosts, and of those runs that are hosts of their own.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn hosts(&self, copies: &BTreeSet<HostId>) -> Result<Vec<(HostId, String)>, Error> {
        let read = || -> Result<Vec<(HostId, String)>> {
            let name = |row: &rusqlite::Row<'_>| Ok((HostId(row.get(0)?), row.get(1)?));
            let mut statement = self
                .snapshot
                .prepare_cached("SELECT host, hostname FROM host")?;
            let mut all: Vec<(HostId, String)> =
                statement.query_map((), name)?.collect::<Result<_>>()?;
            if !copies.is_empty() {
                let mut statement = self.snapshot.prepare_cached(
                    "SELECT boot, hostname FROM boot JOIN host ON host.id = host_id",
                )?;
                let runs = statement.query_map((), name)?;
                let runs: HashMap<HostId, String> = runs.collect::<Result<_>>()?;
                let known = copies
                    .iter()
                    .filter_map(|run| Some((*run, runs.get(run)?.clone())));
                all.extend(known);
            }
            Ok(all)
        };
        read().map_err(failed)
    }

    /// How many slices wait.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn slice_counts(&self) -> Result<SliceCounts, Error> {
        let frozen = frozen(&self.snapshot).map_err(failed)?;
        self.snapshot
            .prepare_cached(
                "SELECT count(*), coalesce(sum(generation = too_large), 0),
                     min(iif(length_ms = ?1, start_ms, NULL))
                 FROM slice WHERE generation <> joined AND start_ms >= ?2",
            )
            .and_then(|mut statement| {
                statement.query_row([LENGTHS[0], frozen], |row| {
                    let count = |at| row.get(at).map(i64::unsigned_abs);
                    Ok(SliceCounts {
                        waiting: count(0)?,
                        too_large: count(1)?,
                        oldest_ms: row.get(2)?,
                    })
                })
            })
            .map_err(failed)
    }
}

/// The pieces of a window: the longest slices that are joined and whole in it, and between them the
/// rows of those that are not.
///
/// Each slice with rows is in `slices`, and so are the longer ones that it is part of.
pub(crate) fn pieces(slices: &BTreeMap<(i64, i64), bool>, window: Window) -> Vec<Piece> {
    let mut all = Vec::new();
    for ((length_ms, start_ms), is_joined) in slices.range((LENGTHS[2], i64::MIN)..) {
        let slice = Slice {
            length_ms: *length_ms,
            start_ms: *start_ms,
        };
        add_pieces(slices, (slice, *is_joined), window, &mut all);
    }
    // Rows up to where the window begins and ends: what is not there costs nothing.
    match &mut all[..] {
        [] => all.push(Piece::Rows(window)),
        [first, ..] => {
            if let Piece::Rows(first) = first {
                first.from_ms = window.from_ms;
            }
            if let Some(Piece::Rows(last)) = all.last_mut() {
                last.to_ms = window.to_ms;
            }
        }
    }
    all
}

fn add_pieces(
    slices: &BTreeMap<(i64, i64), bool>,
    (slice, is_joined): (Slice, bool),
    window: Window,
    all: &mut Vec<Piece>,
) {
    let Window { from_ms, to_ms } = slice.window();
    if is_joined && from_ms >= window.from_ms && to_ms <= window.to_ms {
        return all.push(Piece::Joined(slice));
    }
    let clipped = Window {
        from_ms: from_ms.max(window.from_ms),
        to_ms: to_ms.min(window.to_ms),
    };
    let shorter = LENGTHS.iter().rfind(|length| **length < slice.length_ms);
    let parts = shorter.map(|length| slices.range((*length, from_ms)..(*length, to_ms)));
    let mut parts = parts.into_iter().flatten().peekable();
    if parts.peek().is_some() {
        for ((length_ms, start_ms), is_joined) in parts {
            let part = Slice {
                length_ms: *length_ms,
                start_ms: *start_ms,
            };
            add_pieces(slices, (part, *is_joined), window, all);
        }
    } else if clipped.from_ms < clipped.to_ms {
        match all.last_mut() {
            Some(Piece::Rows(before)) => before.to_ms = clipped.to_ms,
            _ => all.push(Piece::Rows(clipped)),
        }
    }
}

/// Stores what was joined, unless a newer one is there.
pub(super) fn put(db: &Connection, finished: &Finished, now_ms: i64) -> Result<()> {
    let Waiting {
        slice, generation, ..
    } = finished.waiting;
    let key = [slice.length_ms, slice.start_ms];
    let Some((body, edges)) = &finished.body else {
        return db
            .prepare_cached(
                "UPDATE slice SET too_large = ?3 WHERE length_ms = ?1 AND start_ms = ?2",
            )?
            .execute([key[0], key[1], generation])
            .map(drop);
    };
    let count = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    let known = db
        .prepare_cached(
            "UPDATE slice SET joined = ?3, joined_ms = ?4, edges = ?5, bytes = ?6
             WHERE length_ms = ?1 AND start_ms = ?2 AND joined < ?3",
        )?
        .execute([
            key[0],
            key[1],
            generation,
            now_ms,
            count(*edges),
            count(body.len()),
        ])?;
    if known > 0 {
        db.prepare_cached(
            "INSERT INTO joined (length_ms, start_ms, body) VALUES (?1, ?2, ?3)
             ON CONFLICT DO UPDATE SET body = excluded.body",
        )?
        .execute(params![key[0], key[1], body])?;
    }
    Ok(())
}

impl Finished {
    /// Of what was joined.
    #[must_use]
    pub fn new(waiting: Waiting, joined: Option<&Joined>) -> Self {
        let body = joined.and_then(|joined| Some((joined.encode().ok()?, joined.edges())));
        Self { waiting, body }
    }
}

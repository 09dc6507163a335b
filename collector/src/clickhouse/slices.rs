//! Which slices of time wait to be joined, and what was joined of them.
//!
//! A slice is known by the number of batches that its rows may come from: those of its own time and
//! of [`NEAR_MS`] around it. Where that is another number than when it was joined, it is joined again;
//! so whichever collector joins it, and however often, the same stays. It is joined first when what
//! is near it has settled.

use std::collections::{BTreeMap, BTreeSet};

use super::cells::{Cells, Written};
use super::client::Server;
use super::layout::within;
use super::tables::{BATCH, SLICE, columns};
use crate::store::{
    Error, Finished, LENGTHS, NEAR_MS, Piece, SETTLE_MS, Slice, SliceCounts, Waiting, Window,
    pieces, slice,
};

/// How far back slices are joined again for what came late, milliseconds.
const BACK_MS: i64 = if cfg!(test) { 1 << 42 } else { 86_400_000 };

/// What is known of slices of a time.
#[derive(Debug, Default)]
pub(super) struct Slices {
    /// Batches by the shortest slice in which they end.
    batches: BTreeMap<i64, u64>,
    /// What was joined, by length and begin: the generation, and whether it could be.
    joined: BTreeMap<(i64, i64), (u64, bool)>,
}

impl Slices {
    /// Reads what there is about a time.
    pub(super) fn read(server: &Server, window: Window) -> Result<Self, Error> {
        let database = &server.dialect.database;
        let [shortest, _, longest] = LENGTHS;
        // Longer slices need all that is in them, and each what is near it.
        let from_ms = slice(longest, window.from_ms.saturating_add(1)).saturating_sub(NEAR_MS);
        let to_ms = slice(longest, window.to_ms)
            .saturating_add(longest)
            .saturating_add(NEAR_MS);
        let table = BATCH.0;
        let within = within(from_ms, to_ms);
        let rows = server.ask_small(&format!(
            "SELECT intDiv(at_ms - 1, {shortest}) * {shortest} AS begin,
                 uniqExact(host, boot, sequence)
             FROM `{database}`.{table} WHERE {within} AND at_ms > 0 GROUP BY begin"
        ))?;
        let (mut cells, mut all) = (Cells(&rows), Self::default());
        while !cells.is_empty() {
            all.batches.insert(cells.signed()?, cells.number(8)?);
        }
        let table = SLICE.0;
        let rows = server.ask_small(&format!(
            "SELECT length_ms, at_ms, argMax(generation, joined_ms), argMax(is_joined, joined_ms)
             FROM `{database}`.{table} WHERE at_ms >= {from_ms} AND at_ms < {to_ms}
             GROUP BY length_ms, at_ms"
        ))?;
        let mut cells = Cells(&rows);
        while !cells.is_empty() {
            let key = (cells.signed()?, cells.signed()?);
            all.joined
                .insert(key, (cells.number(8)?, cells.number(1)? > 0));
        }
        Ok(all)
    }

    /// Slices with rows, the newest first.
    fn with_rows(&self, length: i64) -> BTreeSet<i64> {
        let begins = self.batches.keys();
        begins
            .map(|begin| slice(length, begin.saturating_add(1)))
            .collect()
    }

    /// By what a slice is known now.
    pub(super) fn generation(&self, of: Slice) -> u64 {
        let Window { from_ms, to_ms } = of.window();
        let near = from_ms.saturating_sub(NEAR_MS)..to_ms.saturating_add(NEAR_MS);
        self.batches.range(near).map(|(_, batches)| batches).sum()
    }

    fn is_current(&self, of: Slice) -> bool {
        let joined = self.joined.get(&(of.length_ms, of.start_ms));
        joined.is_some_and(|(generation, _)| *generation == self.generation(of))
    }

    pub(super) fn is_joined(&self, of: Slice) -> bool {
        let joined = self.joined.get(&(of.length_ms, of.start_ms));
        joined.is_some_and(|(_, joined)| *joined)
    }

    /// By what it was known when it was joined.
    pub(super) fn joined_from(&self, of: Slice) -> Result<i64, Error> {
        let joined = self.joined.get(&(of.length_ms, of.start_ms));
        let generation = joined.map(|(generation, _)| generation.cast_signed());
        generation.ok_or(Error::Damaged {
            what: "a slice that is not there",
        })
    }

    /// The parts of a slice that have rows.
    fn parts(&self, of: Slice) -> Vec<Slice> {
        let length = LENGTHS.iter().rfind(|length| **length < of.length_ms);
        let Some(length_ms) = length.copied() else {
            return Vec::new();
        };
        let Window { from_ms, to_ms } = of.window();
        let begins = self.with_rows(length_ms);
        let parts = begins.range(from_ms..to_ms);
        parts
            .map(|start_ms| Slice {
                length_ms,
                start_ms: *start_ms,
            })
            .collect()
    }

    /// Those that wait, as the joiner takes them: the newest of the shortest, then longer ones of
    /// which all parts are joined.
    fn waiting(&self, now_ms: i64) -> impl Iterator<Item = Waiting> + '_ {
        let all = LENGTHS.into_iter().flat_map(|length_ms| {
            let begins = self.with_rows(length_ms).into_iter().rev();
            begins.map(move |start_ms| Slice {
                length_ms,
                start_ms,
            })
        });
        all.filter(move |of| {
            let settled_ms = of.window().to_ms.saturating_add(NEAR_MS + SETTLE_MS);
            let parts = self.parts(*of);
            settled_ms <= now_ms
                && of.start_ms >= now_ms.saturating_sub(BACK_MS)
                && !self.is_current(*of)
                && parts.into_iter().all(|part| self.is_current(part))
        })
        .map(|of| Waiting {
            slice: of,
            generation: self.generation(of).cast_signed(),
            again: self.joined.contains_key(&(of.length_ms, of.start_ms)),
        })
    }

    pub(super) fn next(&self, now_ms: i64) -> Option<Waiting> {
        self.waiting(now_ms).next()
    }

    pub(super) fn counts(&self, now_ms: i64) -> SliceCounts {
        let mut counts = SliceCounts::default();
        for waiting in self.waiting(now_ms) {
            counts.waiting += 1;
            if waiting.slice.is_shortest() {
                let start_ms = waiting.slice.start_ms;
                counts.oldest_ms = Some(counts.oldest_ms.map_or(start_ms, |ms| ms.min(start_ms)));
            }
        }
        let too_large = self.joined.values().filter(|(_, joined)| !joined);
        counts.too_large = too_large.count() as u64;
        counts
    }

    /// What a question about a window reads.
    pub(super) fn pieces(&self, window: Window, now_ms: i64) -> Vec<Piece> {
        let mut slices = BTreeMap::new();
        for length_ms in LENGTHS {
            let joined = self
                .joined
                .keys()
                .filter(|(length, _)| *length == length_ms);
            let begins = self
                .with_rows(length_ms)
                .into_iter()
                .chain(joined.map(|key| key.1));
            for start_ms in begins {
                let of = Slice {
                    length_ms,
                    start_ms,
                };
                let Window { from_ms, to_ms } = of.window();
                if from_ms >= window.to_ms || to_ms <= window.from_ms {
                    continue;
                }
                // What came later than so much is in no slice.
                let is_old = start_ms < now_ms.saturating_sub(BACK_MS);
                let is_joined = self.is_joined(of) && (is_old || self.is_current(of));
                slices.insert((length_ms, start_ms), is_joined);
            }
        }
        pieces(&slices, window)
    }

    /// The joined parts of a slice.
    pub(super) fn joined_parts(&self, of: Slice) -> Vec<Slice> {
        let parts = self.parts(of).into_iter();
        parts.filter(|part| self.is_joined(*part)).collect()
    }
}

/// A day since 1970 in UTC.
pub(super) fn day(number: i64) -> Window {
    const DAY_MS: i64 = 86_400_000;
    let from_ms = number.saturating_mul(DAY_MS);
    Window {
        from_ms,
        to_ms: from_ms.saturating_add(DAY_MS),
    }
}

/// The time in which slices may wait.
pub(super) fn open(now_ms: i64) -> Window {
    Window {
        from_ms: now_ms.saturating_sub(BACK_MS),
        to_ms: now_ms,
    }
}

/// What was joined of a slice.
pub(super) fn joined(server: &Server, of: Slice) -> Result<Vec<u8>, Error> {
    let (database, table) = (&server.dialect.database, SLICE.0);
    let Slice {
        length_ms,
        start_ms,
    } = of;
    let rows = server.ask_small(&format!(
        "SELECT body FROM `{database}`.{table} WHERE length_ms = {length_ms} AND at_ms = {start_ms}
         ORDER BY joined_ms DESC LIMIT 1"
    ))?;
    let mut cells = Cells(&rows);
    if cells.is_empty() {
        return Err(Error::Damaged {
            what: "a slice that is not there",
        });
    }
    Ok(cells.text()?.to_vec())
}

/// Stores what was joined.
pub(super) fn put(server: &Server, finished: &Finished, now_ms: i64) -> Result<(), Error> {
    let (of, generation) = (finished.waiting.slice, finished.waiting.generation);
    let (body, edges) = finished
        .body
        .as_ref()
        .map_or((&[][..], 0), |(body, edges)| (body, *edges));
    let mut row = Written::default();
    row.signed(of.length_ms);
    row.signed(of.start_ms);
    row.number(generation.cast_unsigned(), 8);
    row.signed(now_ms);
    row.number(edges as u64, 8);
    row.number(finished.body.is_some().into(), 1);
    row.text(body);
    let token = crate::digest::sha256(&row.0);
    server.insert(SLICE.0, &columns(&SLICE), &row.0, &token)
}

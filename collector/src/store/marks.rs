//! Which slices a batch changes: what [`super::Reader::window`] reads of a slice depends on nothing
//! else.
//!
//! - The slices of its interval, and those since the last report of its run: the agent was there.
//! - Of a batch that comes late, all up to the host's newest: samples are cumulative, runs have an
//!   order, and what ended is not open any more.
//! - The slices in which another end told of one of its tokens or fingerprints, as long as one of
//!   them had the connection; for those that live within an interval see `recent`.
//! - Where a process gets another name after its connections were told, all of its run; where two
//!   runs of a host turn out to be two machines, all that they have in common.

use rusqlite::{Connection, OptionalExtension, Result, params};
use wire::{BatchHeader, ProcessRow, SightingRow};

use super::context::Context;
use super::copies;
use super::frozen::frozen;
use super::recent::Recent;
use super::short::{INTERVAL_MS, NEAR_MS};
use super::slice::{LENGTHS, slice};

/// Most slices of the least length that one batch marks: those of a day. What it changes before
/// then shows in what is not joined yet, and nowhere else.
const MOST: i64 = 1440;

/// What one batch changes.
#[derive(Debug)]
pub(super) struct Marks {
    host: i64,
    /// When the newest reports of the host and of the run had ended before this batch.
    host_last_ms: Option<i64>,
    run_last_ms: Option<i64>,
    /// Its runs that were alive at once.
    copies: Option<copies::Together>,
    /// Begin and end, both inclusive, of what is marked where it is known already.
    ranges: Vec<(i64, i64)>,
    has_sightings: bool,
    recent: Recent,
}

/// One end of a connection, whose sighting is to be stored.
#[derive(Clone, Copy)]
pub(super) struct End {
    /// The port that its flow does not hold.
    pub(super) port: u16,
    /// It lived within the interval, and goes into a block.
    pub(super) is_short: bool,
}

impl Marks {
    /// Before a batch of a run is stored that arrives at `now_ms`.
    pub(super) fn before(
        db: &Connection,
        header: &BatchHeader,
        recent: Recent,
        now_ms: i64,
    ) -> Result<Self> {
        let (host, host_last_ms, run_last_ms) = db
            .prepare_cached(
                "SELECT coalesce(min(host.id), 0), max(last_ms), max(iif(boot = ?2, last_ms, NULL))
                 FROM host JOIN boot ON host_id = host.id WHERE host.host = ?1",
            )?
            .query_row([header.host, header.boot], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })?;
        Ok(Self {
            host,
            host_last_ms,
            run_last_ms,
            copies: copies::together(db, host)?,
            ranges: Vec::new(),
            has_sightings: false,
            recent: recent.at(db, now_ms)?,
        })
    }

    /// Before a process row is stored.
    pub(super) fn process(&mut self, db: &Connection, of: Context, row: &ProcessRow) -> Result<()> {
        let known: Option<[String; 3]> = db
            .prepare_cached(
                "SELECT service, exe, comm FROM process WHERE boot_id = ?1 AND process_id = ?2",
            )?
            .query_row(params![of.boot, row.process_id], |row| {
                Ok([row.get(0)?, row.get(1)?, row.get(2)?])
            })
            .optional()?;
        if known.is_some_and(|known| known == [&row.service, &row.exe, &row.comm].map(Clone::clone))
        {
            return Ok(());
        }
        // Its flows, if any was told before it.
        let run: Option<i64> = db
            .prepare_cached(
                "SELECT boot.first_ms FROM boot WHERE boot.id = ?1 AND EXISTS (
                     SELECT 1 FROM flow WHERE flow.boot_id = ?1 AND flow.process_id = ?2)",
            )?
            .query_row(params![of.boot, row.process_id], |row| row.get(0))
            .optional()?;
        if let Some(first_ms) = run {
            self.ranges.push((first_ms, i64::MAX));
        }
        Ok(())
    }

    /// Before a sighting is stored.
    pub(super) fn sighting(
        &mut self,
        db: &Connection,
        of: Context,
        end: End,
        row: &SightingRow,
    ) -> Result<()> {
        self.has_sightings = true;
        let End { port, is_short } = end;
        // When others told of it first, and until when it was open; whether they are the same end.
        let mut statement = db.prepare_cached(
            "SELECT sighting.last_ms, coalesce(ended_ms, sighting.last_ms),
                 host_id = ?4 AND part = ?2 AND port = ?3
             FROM sighting JOIN flow ON flow.id = flow_id JOIN boot ON boot.id = boot_id
             WHERE token = ?1",
        )?;
        let token = row.token.cast_signed();
        let mut others = statement.query(params![token, row.part as u8, port, self.host])?;
        let mut range: Option<(i64, i64)> = None;
        // The end of a connection that was told, or a later run that goes on with it.
        let mut is_told = false;
        let mut widen = |(told, ended): (i64, i64)| {
            let known = range.unwrap_or((of.end_ms, of.end_ms));
            range = Some((known.0.min(told), known.1.max(ended)));
        };
        while let Some(other) = others.next()? {
            match other.get(2)? {
                true => is_told = true,
                false => widen((other.get(0)?, other.get(1)?)),
            }
        }
        // Of those in blocks, the slices that tell of them and no others know.
        if let Some((first_ms, last_ms)) = self.recent.told(row.token)
            && (!is_told || last_ms > of.end_ms)
        {
            self.ranges.push((first_ms, last_ms));
        }
        if is_short {
            self.recent.put(row.token, of.end_ms);
        }
        // What was told before its end knows of the connection already.
        let first = |begin| if is_told { of.end_ms } else { begin };
        let range = range.map(|(begin, end)| (first(begin), end));
        // Its own slice is marked anyway.
        self.ranges.extend(range.filter(|(begin, end)| begin < end));
        Ok(())
    }

    /// After the batch was stored.
    pub(super) fn apply(mut self, db: &Connection, of: Context, now_ms: i64) -> Result<Recent> {
        let together = copies::together(db, self.host)?;
        if together != self.copies
            && let Some(together) = together
        {
            self.ranges.push((together.first_ms, i64::MAX));
        }
        // Other ends that are in blocks, where it is not known whether there are any.
        if self.has_sightings && self.recent.since_ms() > of.start_ms.saturating_sub(2 * NEAR_MS) {
            let beyond = NEAR_MS + LENGTHS[0];
            self.ranges.push((
                of.start_ms.saturating_sub(beyond),
                of.end_ms.saturating_add(beyond + INTERVAL_MS),
            ));
        }
        // Since the last report, or up to the newest one.
        let first = of.start_ms.min(self.run_last_ms.unwrap_or(i64::MAX));
        let first = first.saturating_add(1).min(of.end_ms);
        let last = of.end_ms.max(self.host_last_ms.unwrap_or(i64::MIN));
        let from = last
            .saturating_sub(MOST * LENGTHS[0])
            .max(frozen(db)?.saturating_add(1));
        for length in LENGTHS {
            let (mut start, last) = (slice(length, first.max(from)), slice(length, last));
            while start <= last {
                db.prepare_cached(
                    "INSERT INTO slice (length_ms, start_ms, generation, marked_ms)
                     VALUES (?1, ?2, 1, ?3)
                     ON CONFLICT DO UPDATE SET generation = generation + 1, marked_ms = ?3",
                )?
                .execute([length, start, now_ms])?;
                start = start.saturating_add(length);
            }
        }
        self.ranges.sort_unstable();
        let mut merged: Vec<(i64, i64)> = Vec::new();
        for range in self.ranges {
            match merged.last_mut() {
                Some(known) if range.0 <= known.1 => known.1 = known.1.max(range.1),
                _ => merged.push(range),
            }
        }
        for (begin, end) in merged {
            for length in LENGTHS {
                db.prepare_cached(
                    "UPDATE slice SET generation = generation + 1, marked_ms = ?4
                     WHERE length_ms = ?1 AND start_ms BETWEEN ?2 AND ?3",
                )?
                .execute([
                    length,
                    slice(length, begin.max(from)),
                    slice(length, end),
                    now_ms,
                ])?;
            }
        }
        Ok(self.recent)
    }
}

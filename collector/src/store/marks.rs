//! Which slices a batch changes: what [`super::Reader::window`] reads of a slice depends on nothing
//! else.
//!
//! - The slices of its interval, and those since the last report of its run: the agent was there.
//! - Of a batch that comes late, all up to the host's newest: samples are cumulative, runs have an
//!   order, and what ended is not open any more.
//! - The slices in which another end told of one of its tokens or fingerprints, as long as one of
//!   them had the connection; who that is is known of those that were told of lately (`recent`) and
//!   of those that go on (`tokens`).
//! - Where a process gets another name after its connections were told, all of its run; where two
//!   runs of a host turn out to be two machines, all that they have in common.

use rusqlite::{Connection, OptionalExtension, Result, params};
use wire::{BatchHeader, Life, ProcessRow, SightingRow};

use super::context::Context;
use super::copies;
use super::frozen::frozen;
use super::lasting::SILENT_MS;
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
    /// There are sightings that are rows.
    has_rows: bool,
    /// Some of its run's connections go on.
    pub(super) goes_on: bool,
}

/// One end of a connection, whose sighting is to be stored.
#[derive(Clone, Copy)]
pub(super) struct End {
    /// The port that its flow does not hold.
    pub(super) port: u16,
    /// It was told before, and went on.
    pub(super) is_told: bool,
    /// Another end of its connection goes on.
    pub(super) goes_on_elsewhere: bool,
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
            has_rows: db
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM sighting)")?
                .query_row((), |row| row.get(0))?,
            goes_on: false,
        })
    }

    /// Whether there are sightings that are rows.
    pub(super) fn has_rows(&self) -> bool {
        self.has_rows
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
        // The end of a connection that was told, or a later run that goes on with it.
        let mut is_told = end.is_told;
        if self.has_rows || row.life == Life::Unknown {
            is_told |= self.rows(db, of, end, row)?;
            self.has_rows |= row.life == Life::Unknown;
        }
        // Of those in blocks, the slices that tell of them and no others know.
        let recent = self.recent.told(row.token);
        if let Some((first_ms, last_ms)) = recent {
            // What was told before its end knows of the connection already.
            let begin = if is_told { of.end_ms } else { first_ms };
            self.ranges
                .extend((begin <= last_ms).then_some((begin, last_ms)));
        }
        if row.life != Life::Unknown {
            self.recent.put(row.token, of.end_ms);
        }
        if end.goes_on_elsewhere {
            let begin = match is_told {
                true => of.end_ms,
                false => {
                    let near = of.start_ms.saturating_sub(NEAR_MS + LENGTHS[0]);
                    recent.map_or(near, |(first_ms, _)| near.min(first_ms))
                }
            };
            self.ranges.push((begin, i64::MAX));
        }
        Ok(())
    }

    /// The slices that rows of other ends know of; whether one of them is this end.
    fn rows(&mut self, db: &Connection, of: Context, end: End, row: &SightingRow) -> Result<bool> {
        // When others told of it first, and until when it was open; whether they are the same end.
        let mut statement = db.prepare_cached(
            "SELECT sighting.last_ms, coalesce(ended_ms, sighting.last_ms),
                 host_id = ?4 AND part = ?2 AND port = ?3
             FROM sighting JOIN flow ON flow.id = flow_id JOIN boot ON boot.id = boot_id
             WHERE token = ?1",
        )?;
        let token = row.token.cast_signed();
        let mut others = statement.query(params![token, row.part as u8, end.port, self.host])?;
        let mut range: Option<(i64, i64)> = None;
        let mut is_told = end.is_told;
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
        // What was told before its end knows of the connection already.
        let first = |begin| if is_told { of.end_ms } else { begin };
        let range = range.map(|(begin, end)| (first(begin), end));
        // Its own slice is marked anyway.
        self.ranges.extend(range.filter(|(begin, end)| begin < end));
        Ok(is_told)
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
        // What goes on is believed to, for some time after the last report.
        if self.goes_on
            && let Some(run_last_ms) = self.run_last_ms
        {
            let upto = last.saturating_add(SILENT_MS + LENGTHS[0]);
            self.ranges
                .push((run_last_ms.saturating_add(SILENT_MS).max(of.end_ms), upto));
        }
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

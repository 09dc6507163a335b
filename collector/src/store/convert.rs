//! What older versions have as rows becomes blocks, a bounded number of rows at a time: samples of
//! version 9 run by run, events of version 14 batch by batch.
//!
//! Each step is a transaction that says up to where it went. Whoever is killed in between goes on
//! there, and no sample goes before all of them are blocks.

use std::collections::BTreeMap;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Result, Row, Transaction, params};

use super::block::{self, Edge, Edges, Head, Kind, Open, Values, pack, unpack};
use super::{convert_events, histogram};
use crate::counters::{COUNTERS, Counters};

/// Rows of batches that a step is about, at least.
const STEP_ROWS: i64 = if cfg!(test) { 40 } else { 20_000 };
/// What is open is said anew in each of these, milliseconds.
const OPEN_EVERY_MS: i64 = 60_000;

/// The counters in the order of [`Counters::plain`].
const PLAIN: &str = "opened, closed, failed, refused, reset_local, reset_remote, bytes_sent,
     bytes_received, segments_sent, segments_received, retransmits, out_of_order, zero_windows,
     adopted";

/// Runs of agents that are done, and all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) done: u64,
    pub(super) all: u64,
}

/// Whether rows are left that are to become blocks.
pub(super) fn is_left(db: &Connection) -> Result<bool> {
    Ok(has(db, "converting")? || has(db, "event")?)
}

fn has(db: &Connection, table: &str) -> Result<bool> {
    let sql = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)";
    db.query_row(sql, [table], |row| row.get(0))
}

/// One step; `None` once all is done.
pub(super) fn step(db: &mut Connection) -> Result<Option<Progress>> {
    let transaction = db.transaction()?;
    let progress = match has(&transaction, "converting")? {
        true => samples_step(&transaction)?,
        false => events_step(&transaction)?,
    };
    transaction.commit()?;
    Ok(progress)
}

fn events_step(transaction: &Transaction<'_>) -> Result<Option<Progress>> {
    if !has(transaction, "event")? {
        return Ok(None);
    }
    let at = convert_events::step(transaction, STEP_ROWS)?;
    at.map(|boot| progress(transaction, boot - 1)).transpose()
}

/// `None` once nothing is left of anything.
fn samples_step(transaction: &Transaction<'_>) -> Result<Option<Progress>> {
    let (boot, upto_ms): (i64, i64) =
        transaction.query_row("SELECT boot_id, upto_ms FROM converting", (), |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    let (next, upto_ms) = match upto_ms {
        i64::MAX | 0 => {
            let next: Option<i64> =
                transaction.query_row("SELECT min(id) FROM boot WHERE id > ?1", [boot], |row| {
                    row.get(0)
                })?;
            let Some(next) = next else {
                transaction.execute_batch("DROP TABLE sample; DROP TABLE converting")?;
                return events_step(transaction);
            };
            (next, i64::MIN)
        }
        upto_ms => (boot, upto_ms),
    };
    let upto_ms = run(transaction, next, upto_ms)?;
    transaction.execute(
        "UPDATE converting SET boot_id = ?1, upto_ms = ?2",
        [next, upto_ms],
    )?;
    progress(transaction, next).map(Some)
}

/// Runs up to one are done.
fn progress(db: &Connection, boot: i64) -> Result<Progress> {
    db.query_row(
        "SELECT count(*) FILTER (WHERE id <= ?1), count(*) FROM boot",
        [boot],
        |row| {
            let (done, all): (i64, i64) = (row.get(0)?, row.get(1)?);
            Ok(Progress {
                done: done.unsigned_abs(),
                all: all.unsigned_abs(),
            })
        },
    )
}

/// A subject while its samples are read.
struct Subject {
    id: i64,
    known: Values,
    absent: u64,
    last_ms: i64,
    /// Its first samples were evicted: the first that is left belongs to no time.
    is_cut: bool,
}

/// A sample as version 9 has it.
struct Sample {
    end_ms: i64,
    sequence: i64,
    total: bool,
    counters: Counters,
}

/// The next samples of a run; up to when it is done, [`i64::MAX`] for all of it.
fn run(db: &Transaction<'_>, boot: i64, after_ms: i64) -> Result<i64> {
    let upto_ms = part(db, boot, after_ms)?;
    let mut subjects = subjects(db, boot, after_ms)?;
    let mut by_end: BTreeMap<i64, Vec<(usize, Sample)>> = BTreeMap::new();
    for (at, subject) in subjects.iter().enumerate() {
        for sample in samples(db, subject.id, (after_ms, upto_ms))? {
            by_end.entry(sample.end_ms).or_default().push((at, sample));
        }
    }
    let mut told = after_ms;
    for (end_ms, samples) in by_end {
        let sequence = samples
            .iter()
            .map(|(_, sample)| sample.sequence)
            .max()
            .unwrap_or(0);
        let mut rows: Vec<Edge> = samples
            .into_iter()
            .map(|(at, sample)| subjects[at].take(&sample))
            .collect();
        rows.sort_unstable_by_key(|row| row.subject);
        let is_due = told.div_euclid(OPEN_EVERY_MS) < end_ms.div_euclid(OPEN_EVERY_MS);
        let open = is_due.then(|| {
            told = end_ms;
            open(&subjects)
        });
        // What came before all others: nothing asks when.
        let head = Head::new((boot, sequence), (end_ms, end_ms), 0);
        let first = block::write(db, &head, Kind::Edges, &Edges { rows, open })?;
        db.prepare_cached(
            "UPDATE batch SET first_block = ?3, last_block = (SELECT max(id) FROM block)
             WHERE boot_id = ?1 AND sequence = ?2",
        )?
        .execute([boot, sequence, first])?;
    }
    for subject in &subjects {
        db.prepare_cached("UPDATE subject SET known = ?2, absent = ?3 WHERE id = ?1")?
            .execute(params![
                subject.id,
                pack(&subject.known),
                i64::try_from(subject.absent).unwrap_or(0)
            ])?;
    }
    db.execute(
        "UPDATE boot SET flushed = last_sequence WHERE id = ?1",
        [boot],
    )?;
    Ok(upto_ms)
}

/// The end of the next batches of a run that have about as many rows as a step takes.
fn part(db: &Connection, boot: i64, after_ms: i64) -> Result<i64> {
    let mut statement = db.prepare_cached(
        "SELECT end_ms, row_count FROM batch WHERE boot_id = ?1 AND end_ms > ?2 ORDER BY end_ms",
    )?;
    let mut batches = statement.query([boot, after_ms])?;
    let mut rows = 0;
    while let Some(batch) = batches.next()? {
        let (end_ms, count): (i64, i64) = (batch.get(0)?, batch.get(1)?);
        rows += count.max(1);
        if rows >= STEP_ROWS {
            return Ok(end_ms);
        }
    }
    Ok(i64::MAX)
}

fn subjects(db: &Connection, boot: i64, after_ms: i64) -> Result<Vec<Subject>> {
    let evicted_ms: Option<i64> = db
        .query_row("SELECT before_ms FROM evicted", (), |row| row.get(0))
        .optional()?;
    let mut statement = db.prepare_cached(
        "SELECT subject.id, subject.since_ms, subject.known, subject.absent,
             (SELECT min(end_ms) FROM sample WHERE subject_id = subject.id),
             (SELECT max(end_ms) FROM sample WHERE subject_id = subject.id AND end_ms <= ?2)
         FROM flow JOIN subject ON subject.flow_id = flow.id WHERE flow.boot_id = ?1",
    )?;
    let rows = statement.query_map([boot, after_ms], |row| {
        let since_ms: i64 = row.get(1)?;
        let absent: i64 = row.get(3)?;
        let first_ms: Option<i64> = row.get(4)?;
        let last_ms: Option<i64> = row.get(5)?;
        let is_old = evicted_ms.is_some_and(|before| {
            since_ms <= before || first_ms.is_some_and(|first| since_ms > first)
        });
        Ok(Subject {
            id: row.get(0)?,
            known: unpack(row.get_ref(2)?.as_blob()?).unwrap_or_default(),
            absent: absent.unsigned_abs(),
            last_ms: last_ms.unwrap_or(i64::MIN),
            is_cut: is_old && last_ms.is_none(),
        })
    })?;
    rows.collect()
}

fn samples(db: &Connection, subject: i64, (after_ms, upto_ms): (i64, i64)) -> Result<Vec<Sample>> {
    let sql = format!(
        "SELECT end_ms, sequence, total, connect_latency, rtt, absent, {PLAIN} FROM sample
         WHERE subject_id = ?1 AND end_ms > ?2 AND end_ms <= ?3 ORDER BY end_ms"
    );
    let mut statement = db.prepare_cached(&sql)?;
    statement
        .query_map([subject, after_ms, upto_ms], sample)?
        .collect()
}

fn sample(row: &Row<'_>) -> Result<Sample> {
    let damaged = |column: usize| {
        let what = "a sample that cannot be read";
        rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, what.into())
    };
    let mut counters = Counters {
        absent: wire::Columns::from_bits(row.get(5)?).ok_or_else(|| damaged(5))?,
        ..Counters::default()
    };
    for at in 0..COUNTERS {
        let value: i64 = row.get(6 + at)?;
        counters.plain[at] = u64::try_from(value).unwrap_or(0);
    }
    for (histogram, column) in [(&mut counters.connect_latency, 3), (&mut counters.rtt, 4)] {
        *histogram =
            histogram::decode(row.get_ref(column)?.as_blob()?).ok_or_else(|| damaged(column))?;
    }
    Ok(Sample {
        end_ms: row.get(0)?,
        sequence: row.get(1)?,
        total: row.get(2)?,
        counters,
    })
}

impl Subject {
    /// What a sample adds to those before it.
    fn take(&mut self, sample: &Sample) -> Edge {
        let total = Values::from(&sample.counters);
        let absent = u64::from(sample.counters.absent.bits());
        let added = match std::mem::take(&mut self.is_cut) {
            true => Values::default(),
            false => total.clone().less(&self.known),
        };
        self.known.clone_from(&total);
        self.absent |= absent;
        self.last_ms = sample.end_ms;
        Edge {
            subject: self.id,
            absent,
            added,
            told: sample.total.then(|| Box::new(total)),
        }
    }
}

fn open(subjects: &[Subject]) -> Vec<Open> {
    let open = subjects.iter().filter_map(|subject| {
        Some(Open {
            subject: subject.id,
            open: u64::try_from(subject.known.open())
                .ok()
                .filter(|open| *open > 0)?,
            last_ms: subject.last_ms,
        })
    });
    let mut open: Vec<Open> = open.collect();
    open.sort_unstable_by_key(|open| open.subject);
    open
}

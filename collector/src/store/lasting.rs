//! Connections that outlive the interval that told of them: what of a run goes on, from blocks.
//!
//! What goes on is what the batches of the run make of it, in their order. Blocks say now and then
//! all of it; what it was at another time follows from the rows in between, forwards or backwards,
//! for a row that ends a connection says all that is known of it.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, Result, params};

use super::block::{self, GoesOn, Head, Kind, Lasting, Lastings, Sighted};
use super::error::{Error, failed};
use super::short;
use super::window::Window;
use crate::meter::Meter;

/// How long after the last report of a run its connections are believed to go on, for the sake of
/// their other ends; milliseconds.
pub(super) const SILENT_MS: i64 = 3_600_000;
/// Most that goes on of a run: of what is beyond, it is not known later that it goes on.
const MOST: usize = if cfg!(test) { 30_000 } else { 200_000 };
/// Most batches that are looked at for what a run said to go on: it says all of it more often.
const MOST_BATCHES: i64 = 600;

/// Names one end of a connection in its run.
pub(super) type Key = (i64, u64, u8, u16);

pub(super) fn key(row: &Sighted) -> Key {
    (row.flow, row.token, row.part, row.port)
}

/// What a row changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Began,
    Ended,
    Nothing,
    /// It is one too many.
    Full,
}

/// What of a run goes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Going(HashMap<Key, Lasting>);

impl Going {
    fn of(list: Vec<Lasting>) -> Self {
        Self(
            list.into_iter()
                .map(|row| (key(&row.sighted), row))
                .collect(),
        )
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, key: &Key) -> bool {
        self.0.contains_key(key)
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = &Lasting> {
        self.0.values()
    }

    /// All of it, as blocks have it.
    pub(super) fn list(&self) -> Vec<Lasting> {
        let mut list: Vec<_> = self.0.values().copied().collect();
        list.sort_unstable_by_key(|row| order(&row.sighted));
        list
    }

    /// Takes up a row of an interval, and completes it by what was told before.
    pub(super) fn apply(&mut self, interval: (i64, i64), row: &mut Lasting) -> Change {
        let key = key(&row.sighted);
        let known = self.0.get(&key).copied();
        row.told = known.and_then(|known| known.told);
        if let Some(known) = known {
            // The lowest `kept` is "sampled", and the lowest level is the one of when it began.
            row.sighted.kept = row.sighted.kept.min(known.sighted.kept);
            row.sighted.sample_level = row.sighted.sample_level.min(known.sighted.sample_level);
            row.sighted.start_us = row.sighted.start_us.min(known.sighted.start_us);
            row.sighted.answer = known.sighted.answer;
        }
        match (row.open, known.is_some()) {
            (false, false) => return Change::Nothing,
            (false, true) => {
                self.0.remove(&key);
                return Change::Ended;
            }
            (true, false) if self.0.len() >= MOST => return Change::Full,
            _ => {}
        }
        let told = Some(row.told.unwrap_or(interval));
        self.0.insert(key, Lasting { told, ..*row });
        match known {
            Some(_) => Change::Nothing,
            None => Change::Began,
        }
    }

    /// Takes back a row of an interval that ended after `at_ms`, from what went on behind it.
    fn revert(&mut self, row: &Lasting, at_ms: i64) {
        let key = key(&row.sighted);
        match row.told {
            Some((_, last_ms)) if last_ms <= at_ms => {
                self.0.insert(key, Lasting { open: true, ..*row });
            }
            _ => {
                self.0.remove(&key);
            }
        }
    }
}

/// What goes on is told as a whole where it is at most so many connections, or so many times what
/// was told since.
const FEW: usize = if cfg!(test) { 2 } else { 64 };
const TIMES: usize = 4;
/// And after so many batches.
const EVERY: i64 = if cfg!(test) { 12 } else { 360 };
/// It is told anew when this begins; milliseconds.
const TURN_MS: i64 = 60_000;

/// When a run told what goes on.
#[derive(Debug, Default)]
pub(super) struct Told {
    turn: Option<i64>,
    /// Number and end of the batch with all of it.
    all: Option<(i64, i64)>,
    /// Rows since.
    rows: usize,
}

impl Told {
    /// What a batch with so many rows tells to go on, where it is time to; rows that ended up to
    /// `gone_ms` may have been deleted.
    pub(super) fn tell(
        &mut self,
        going: &Going,
        (sequence, end_ms): (i64, i64),
        rows: usize,
        gone_ms: Option<i64>,
    ) -> Option<GoesOn> {
        self.rows += rows;
        let turn = Some(end_ms.div_euclid(TURN_MS));
        if self.turn >= turn {
            return None;
        }
        self.turn = turn;
        let are_few = going.len() <= FEW.max(TIMES * self.rows);
        // All of it is told anew before it is deleted.
        let is_old = |all_ms: i64| {
            gone_ms.is_some_and(|gone| all_ms.saturating_sub(gone) <= end_ms.saturating_sub(all_ms))
        };
        Some(match self.all {
            Some((since, all_ms)) if !are_few && sequence - since < EVERY && !is_old(all_ms) => {
                GoesOn::Since(since)
            }
            _ => {
                (self.all, self.rows) = (Some((sequence, end_ms)), 0);
                GoesOn::All(going.list())
            }
        })
    }
}

/// The order of rows in a block.
pub(super) fn order(row: &Sighted) -> (i64, i64, u64, u8, u16) {
    (row.flow, row.start_us, row.token, row.part, row.port)
}

/// The blocks of one batch, with what it says to go on.
type OfBatch = Vec<(Head, Lastings)>;

fn said(of_batch: &OfBatch) -> Option<&Vec<Lasting>> {
    of_batch.iter().find_map(|(_, all)| match &all.goes_on {
        Some(GoesOn::All(list)) => Some(list),
        _ => None,
    })
}

/// What of a run goes on at a time.
pub(super) fn at(db: &Connection, boot: i64, at_ms: i64) -> Result<Going> {
    let before = "end_ms <= ?2 AND first_block IS NOT NULL ORDER BY sequence DESC";
    let (mut rows, found) = until_said(db, boot, at_ms, before)?;
    rows.reverse();
    let mut rows = rows.into_iter();
    let mut going = Going::default();
    if found {
        let first = rows.next().unwrap_or_default();
        going = Going::of(said(&first).cloned().unwrap_or_default());
    } else {
        let after = "end_ms > ?2 AND first_block IS NOT NULL ORDER BY sequence";
        let (later, found) = until_said(db, boot, at_ms, after)?;
        if found {
            return Ok(backwards(&later, at_ms));
        }
    }
    for (head, mut all) in rows.flatten() {
        for row in &mut all.rows {
            going.apply((head.start_ms, head.end_ms), row);
        }
    }
    Ok(going)
}

/// What went on at a time, from batches after it of which the last one says what goes on.
fn backwards(later: &[OfBatch], at_ms: i64) -> Going {
    let list = later.last().and_then(said);
    let mut going = Going::of(list.cloned().unwrap_or_default());
    let rows = later.iter().flatten().flat_map(|(_, all)| &all.rows);
    let rows: Vec<_> = rows.collect();
    for row in rows.into_iter().rev() {
        going.revert(row, at_ms);
    }
    going
}

/// The batches of a run that a condition names, up to the first one that says what goes on; whether
/// there is one.
fn until_said(db: &Connection, boot: i64, at_ms: i64, which: &str) -> Result<(Vec<OfBatch>, bool)> {
    let sql = format!(
        "SELECT sequence, first_block, last_block FROM batch WHERE boot_id = ?1 AND {which}
         LIMIT ?3"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let mut batches = statement.query(params![boot, at_ms, MOST_BATCHES])?;
    let mut all = Vec::new();
    let mut since: Option<i64> = None;
    while let Some(batch) = batches.next()? {
        let sequence: i64 = batch.get(0)?;
        if since.is_some_and(|since| sequence < since) {
            // It was deleted.
            break;
        }
        let of_batch = of_batch(db, (batch.get(1)?, batch.get(2)?))?;
        for (_, all) in &of_batch {
            if let Some(GoesOn::Since(sequence)) = all.goes_on {
                since = since.or(Some(sequence));
            }
        }
        let is_said = said(&of_batch).is_some();
        all.push(of_batch);
        if is_said {
            return Ok((all, true));
        }
    }
    Ok((all, false))
}

/// What a batch told, from its blocks.
pub(super) fn of_batch(db: &Connection, blocks: (i64, i64)) -> Result<OfBatch> {
    let heads = block::in_order(db, Kind::Lasting, blocks)?;
    let read = |head: Head| Ok((head, block::read::<Lastings>(db, &head)?));
    heads.into_iter().map(read).collect()
}

/// One end of a connection, as a window knows it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) row: Sighted,
    /// The interval that told of it first.
    pub(super) told: (i64, i64),
    /// The end of the interval in which it ended, as far as the window knows.
    pub(super) ended_ms: Option<i64>,
}

/// All ends that a window knows.
pub(super) type All = HashMap<Key, Held>;

/// What was told in a window, and what went on when it began; `heads` are the blocks in it.
pub(super) fn window(
    db: &Connection,
    window: Window,
    heads: &[Head],
    meter: &mut Meter,
) -> std::result::Result<All, Error> {
    let mut of_runs: HashMap<i64, OfBatch> = HashMap::new();
    for head in heads {
        meter.time()?;
        let all: Lastings = block::read(db, head).map_err(failed)?;
        meter.bytes(all.rows.len() * size_of::<Lasting>())?;
        of_runs.entry(head.boot).or_default().push((*head, all));
    }
    let mut held = All::new();
    for boot in alive(db, window).map_err(failed)? {
        meter.time()?;
        let rows = of_runs.remove(&boot).unwrap_or_default();
        let of_run = of_run(db, boot, window, &rows).map_err(failed)?;
        meter.bytes(of_run.len() * 2 * size_of::<(Key, Held)>())?;
        held.extend(of_run);
    }
    Ok(held)
}

/// The same of one run, whose blocks in the window these are.
fn of_run(db: &Connection, boot: i64, window: Window, rows: &OfBatch) -> Result<All> {
    let is_said = |(_, all): &(Head, Lastings)| matches!(all.goes_on, Some(GoesOn::All(_)));
    let going = match rows.iter().position(is_said) {
        Some(upto) => backwards(&[rows[..=upto].to_vec()], window.from_ms),
        None => at(db, boot, window.from_ms)?,
    };
    let mut held = All::new();
    for row in going.rows() {
        take(&mut held, row, (window.from_ms, window.from_ms));
    }
    for (head, all) in rows {
        for row in &all.rows {
            take(&mut held, row, (head.start_ms, head.end_ms));
        }
    }
    Ok(held)
}

/// What one run told in a window, and what of it went on when that began.
pub(super) fn of(
    db: &Connection,
    boot: i64,
    window: Window,
    meter: &mut Meter,
) -> std::result::Result<All, Error> {
    let mut rows = OfBatch::new();
    for head in short::within(db, Kind::Lasting, window).map_err(failed)? {
        if head.boot == boot {
            meter.time()?;
            rows.push((head, block::read(db, &head).map_err(failed)?));
        }
    }
    of_run(db, boot, window, &rows).map_err(failed)
}

/// Adds other ends of tokens from blocks around a window.
pub(super) fn near(
    db: &Connection,
    heads: &[Head],
    wanted: &HashSet<u64>,
    held: &mut All,
    meter: &mut Meter,
) -> std::result::Result<(), Error> {
    let mut around = All::new();
    for head in heads {
        meter.time()?;
        for row in block::read::<Lastings>(db, head).map_err(failed)?.rows {
            if wanted.contains(&row.sighted.token) && !held.contains_key(&key(&row.sighted)) {
                take(&mut around, &row, (head.start_ms, head.end_ms));
            }
        }
    }
    meter.bytes(around.len() * 2 * size_of::<(Key, Held)>())?;
    held.extend(around);
    Ok(())
}

/// Takes up what an interval told of an end.
pub(super) fn take(held: &mut All, row: &Lasting, interval: (i64, i64)) {
    let one = held.entry(key(&row.sighted)).or_insert(Held {
        row: row.sighted,
        told: row.told.unwrap_or(interval),
        ended_ms: None,
    });
    one.row.kept = one.row.kept.min(row.sighted.kept);
    one.row.sample_level = one.row.sample_level.min(row.sighted.sample_level);
    one.row.start_us = one.row.start_us.min(row.sighted.start_us);
    if !row.open {
        one.ended_ms = Some(
            one.ended_ms
                .map_or(interval.1, |ended| ended.min(interval.1)),
        );
    }
}

/// Runs that reported in a window, and those that had not been silent for long when it began.
fn alive(db: &Connection, window: Window) -> Result<Vec<i64>> {
    db.prepare_cached("SELECT id FROM boot WHERE first_ms <= ?2 AND last_ms > ?1")?
        .query_map(
            [window.from_ms.saturating_sub(SILENT_MS), window.to_ms],
            |row| row.get(0),
        )?
        .collect()
}

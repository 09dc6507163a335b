//! What edges counted in a window, and what was open when it began, from blocks.

use std::collections::{HashMap, HashSet};

use rusqlite::{Connection, OptionalExtension, Result, params};
use wire::Columns;

use super::block::{self, Edges, Few, Head, Kind, Open};
use super::error::{Error, failed};
use super::known::Run;
use super::row;
use super::window::Window;
use crate::join::cost;
use crate::meter::Meter;

/// Most batches before a window that are looked at for what was open: agents end an interval each
/// second at most, and say each minute what is open.
const MOST_BEFORE: usize = 600;

/// What a subject counted without its counters: in a map that is half empty while it grows, then in
/// a list, and its number among those of its run.
pub(super) const COUNTED: usize = 5 * size_of::<Counted>() / 2 + 16;

/// What a subject counted in a window.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) subject: i64,
    /// `None` for one that was silent, with something open.
    pub(super) added: Option<Few>,
    pub(super) absent: Columns,
    /// Connections open when the window began.
    pub(super) open_before: u64,
    /// End of the interval in which it counted something last.
    pub(super) last_ms: i64,
}

/// A window while its blocks are read.
#[derive(Default)]
struct Reading {
    counted: HashMap<i64, Counted>,
    /// Subjects of each run that counted something, until it is known what it had open.
    of_run: HashMap<i64, Vec<i64>>,
    /// Runs of which it is known.
    said: HashSet<i64>,
}

/// What was counted, of each subject that counted something or had something open.
pub(super) fn window(
    db: &Connection,
    window: Window,
    meter: &mut Meter,
) -> std::result::Result<Vec<Counted>, Error> {
    let mut reading = Reading::default();
    let Window { from_ms, to_ms } = window;
    let heads = block::in_window(db, Kind::Edges, (from_ms, to_ms)).map_err(failed)?;
    meter.bytes(heads.len() * size_of::<Head>())?;
    for head in heads {
        meter.time()?;
        let edges = block::read::<Edges>(db, &head).map_err(failed)?;
        for row in &edges.rows {
            reading.add(&head, row, meter)?;
        }
        if let Some(open) = edges.open
            && reading.said.insert(head.boot)
        {
            reading.open_at_begin(head.boot, &open, meter)?;
        }
    }
    // Those that said nothing of it in the window, and reported in it.
    for boot in reported(db, window).map_err(failed)? {
        if reading.said.insert(boot) {
            meter.time()?;
            let open = open_at(db, boot, from_ms).map_err(failed)?;
            for one in open {
                reading.open_before(one, meter)?;
            }
        }
    }
    Ok(reading.counted.into_values().collect())
}

impl Reading {
    fn add(
        &mut self,
        head: &Head,
        edge: &block::Edge,
        meter: &mut Meter,
    ) -> std::result::Result<(), Error> {
        let absent = row::columns(edge.absent).unwrap_or(Columns::NONE);
        if let Some(counted) = self.counted.get_mut(&edge.subject) {
            // What was silent with something open may begin to count.
            counted.added.get_or_insert_default().add(&edge.added);
            counted.absent = counted.absent.with(absent);
            counted.last_ms = counted.last_ms.max(head.end_ms);
            return Ok(());
        }
        meter.row(COUNTED + cost::COUNTERS)?;
        self.counted.insert(
            edge.subject,
            Counted {
                subject: edge.subject,
                added: Some(Few::from(&edge.added)),
                absent,
                open_before: 0,
                last_ms: head.end_ms,
            },
        );
        self.of_run.entry(head.boot).or_default().push(edge.subject);
        Ok(())
    }

    /// From what was open at the end of an interval in the window.
    fn open_at_begin(
        &mut self,
        boot: i64,
        open: &[Open],
        meter: &mut Meter,
    ) -> std::result::Result<(), Error> {
        let change = |counted: &Counted| counted.added.as_ref().map_or(0, |added| added.open());
        // What has nothing open now had as much as it closed.
        for subject in self.of_run.remove(&boot).unwrap_or_default() {
            if let Some(counted) = self.counted.get_mut(&subject) {
                counted.open_before = change(counted).saturating_neg().max(0).unsigned_abs();
            }
        }
        for one in open {
            let changed = self.counted.get(&one.subject).map_or(0, change);
            let before = one.open.saturating_add_signed(changed.saturating_neg());
            self.open_before(
                Open {
                    open: before,
                    ..*one
                },
                meter,
            )?;
        }
        Ok(())
    }

    fn open_before(&mut self, open: Open, meter: &mut Meter) -> std::result::Result<(), Error> {
        if let Some(counted) = self.counted.get_mut(&open.subject) {
            counted.open_before = open.open;
        } else if open.open > 0 {
            meter.row(COUNTED)?;
            self.counted.insert(
                open.subject,
                Counted {
                    subject: open.subject,
                    added: None,
                    absent: Columns::NONE,
                    open_before: open.open,
                    last_ms: open.last_ms,
                },
            );
        }
        Ok(())
    }
}

/// Runs whose agents reported in a window.
fn reported(db: &Connection, window: Window) -> Result<Vec<i64>> {
    db.prepare_cached("SELECT id FROM boot WHERE first_ms <= ?2 AND last_ms > ?1")?
        .query_map([window.from_ms, window.to_ms], |row| row.get(0))?
        .collect()
}

/// What a run had open at a time: what it said before that, and what it counted since; or what it
/// said later, without what it counted until then.
fn open_at(db: &Connection, boot: i64, at_ms: i64) -> Result<Vec<Open>> {
    let before = "end_ms <= ?2 AND first_block IS NOT NULL ORDER BY sequence DESC";
    let (open, before) = said(db, boot, at_ms, before)?;
    if let Some(open) = open {
        return Ok(with(open, before, 1));
    }
    let after = "end_ms > ?2 AND first_block IS NOT NULL ORDER BY sequence";
    let (open, changed) = said(db, boot, at_ms, after)?;
    let open = match open {
        Some(open) => open,
        None => Run::read(db, boot)?.open(),
    };
    let mut open = with(open, changed, -1);
    for one in &mut open {
        let last_ms = before.get(&one.subject).map(|(_, last_ms)| *last_ms);
        one.last_ms = last_ms.unwrap_or(one.last_ms.min(at_ms));
    }
    Ok(open)
}

/// By how much more is open of each subject, and when it counted something last.
type Changed = HashMap<i64, (i64, i64)>;

/// What the first of the batches that a condition names says to be open, and what is counted by
/// those before it, for times that rise by it as well.
fn said(
    db: &Connection,
    boot: i64,
    at_ms: i64,
    which: &str,
) -> Result<(Option<Vec<Open>>, Changed)> {
    let sql = format!(
        "SELECT first_block, last_block FROM batch WHERE boot_id = ?1 AND {which} LIMIT ?3"
    );
    let mut statement = db.prepare_cached(&sql)?;
    let most = i64::try_from(MOST_BEFORE).expect("a small number");
    let mut batches = statement.query(params![boot, at_ms, most])?;
    let mut changed = Changed::new();
    let is_after = which.starts_with("end_ms >");
    while let Some(batch) = batches.next()? {
        let blocks = (batch.get(0)?, batch.get(1)?);
        let heads = block::in_order(db, Kind::Edges, blocks)?;
        let mut all = Vec::with_capacity(heads.len());
        for head in heads {
            all.push((head.end_ms, block::read::<Edges>(db, &head)?));
        }
        // The last of them says it, of the end of the interval.
        let said = all.iter_mut().find_map(|(_, edges)| edges.open.take());
        let counted = all.iter().filter(|_| said.is_none() || is_after);
        for (end_ms, row) in
            counted.flat_map(|(end_ms, edges)| edges.rows.iter().map(move |row| (*end_ms, row)))
        {
            let (change, last_ms) = changed.entry(row.subject).or_insert((0, end_ms));
            *change = change.saturating_add(row.added.open());
            *last_ms = end_ms.max(*last_ms);
        }
        if said.is_some() {
            return Ok((said, changed));
        }
    }
    Ok((None, changed))
}

/// What is open with what was counted since, or without what was counted until then.
fn with(mut open: Vec<Open>, mut changed: Changed, sign: i64) -> Vec<Open> {
    for one in &mut open {
        if let Some((change, last_ms)) = changed.remove(&one.subject) {
            one.open = one.open.saturating_add_signed(change.saturating_mul(sign));
            one.last_ms = last_ms;
        }
    }
    let rest = changed
        .into_iter()
        .map(|(subject, (change, last_ms))| Open {
            subject,
            open: change.saturating_mul(sign).max(0).unsigned_abs(),
            last_ms,
        });
    open.extend(rest);
    open
}

/// Flow and begin of a subject; `None` where it was evicted.
pub(super) fn subject(db: &Connection, id: i64) -> Result<Option<(i64, i64)>> {
    db.prepare_cached("SELECT flow_id, since_ms FROM subject WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()
}

//! Rows of a batch that say what edges counted.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, Result};
use wire::EdgeRow;

use super::block::{self, Edge, Edges, Head, Kind, Values};
use super::context::{Context, signed};
use super::known::{FlowKey, Run, blocks_after};
use super::series::Late;
use crate::counters::Counters;

/// Rows of a block: what is unpacked at once is bounded.
pub(super) const BLOCK_ROWS: usize = if cfg!(test) { 700 } else { 1000 };
/// Most rows of later batches that one batch looks at for what it brings late: some 60 a row is
/// usual, as agents tell totals every ten minutes. What is beyond shows with the next total.
pub(super) const LATE_ROWS: usize = if cfg!(test) { 200 } else { 50_000 };

/// Where the blocks of a batch go.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) db: &'a Connection,
    pub(super) context: Context,
    pub(super) received_ms: i64,
    /// No later batch of its run was there before it.
    pub(super) is_newest: bool,
}

impl Place<'_> {
    pub(super) fn head(&self) -> Head {
        let context = self.context;
        let interval = (context.start_ms, context.end_ms);
        Head::new((context.boot, context.sequence), interval, self.received_ms)
    }
}

/// What rows say of one subject.
struct Told {
    /// Flow and begin.
    key: (i64, i64),
    absent: u64,
    added: Values,
    total: Option<Values>,
}

/// Stores what the rows of edges say of their subjects.
pub(super) fn put_edges(
    place: Place<'_>,
    run: &mut Run,
    rows: &[EdgeRow],
    late: &mut Late,
) -> Result<()> {
    // Blocks behind which it comes are written already.
    run.must_write |= !place.is_newest;
    // A total has what its own interval added.
    let added = rows.iter().filter(|row| !row.total);
    let rows: Vec<&EdgeRow> = added.chain(rows.iter().filter(|row| row.total)).collect();
    let mut blocks = Vec::new();
    for rows in rows.chunks(BLOCK_ROWS) {
        let told = told(place, run, rows, late)?;
        blocks.push(Edges {
            rows: if place.is_newest {
                newest(run, told, place.context.end_ms)
            } else {
                between(place, run, told, late)?
            },
            open: None,
        });
    }
    if place.is_newest
        && let Some(open) = run.tell_open(place.context.end_ms)
    {
        if blocks.is_empty() {
            blocks.push(Edges::default());
        }
        if let Some(last) = blocks.last_mut() {
            last.open = Some(open);
        }
    }
    for block in blocks {
        if !block.rows.is_empty() || block.open.is_some() {
            block::write(place.db, &place.head(), Kind::Edges, &block)?;
        }
    }
    Ok(())
}

/// The rows by their subjects, which are made where they are new.
fn told(
    place: Place<'_>,
    run: &mut Run,
    rows: &[&EdgeRow],
    late: &mut Late,
) -> Result<BTreeMap<i64, Told>> {
    let mut all = BTreeMap::new();
    for row in rows {
        let key = FlowKey {
            process_id: row.process_id,
            role: row.role as u8,
            netns: row.netns,
            local: row.local,
            remote: row.remote,
        };
        let Some(flow) = run.flow(place.db, place.context.boot, &key, None)? else {
            late.refused += 1;
            continue;
        };
        let key = (flow, signed(row.since_ms));
        let absent = u64::from(row.absent.bits());
        let Some(subject) = run.subject(place.db, place.context, key, absent)? else {
            late.refused += 1;
            continue;
        };
        subject.absent |= absent;
        let told = all.entry(subject.id).or_insert_with(|| Told {
            key,
            absent: 0,
            added: Values::default(),
            total: None,
        });
        told.absent |= absent;
        let values = Values::from(&Counters::from(*row));
        match row.total {
            true => told.total = Some(values),
            false => told.added.add(&values),
        }
    }
    Ok(all)
}

/// What the newest batch of a run adds.
fn newest(run: &mut Run, told: BTreeMap<i64, Told>, end_ms: i64) -> Vec<Edge> {
    let mut rows = Vec::with_capacity(told.len());
    let mut must_write = false;
    for (id, told) in told {
        let Some(subject) = run.known(&told.key) else {
            continue;
        };
        let mut known = subject.known();
        let mut added = told.added;
        match &told.total {
            // What was counted before it was evicted belongs to no window.
            Some(total) if subject.cut => {
                known.clone_from(total);
                (subject.cut, must_write) = (false, true);
            }
            Some(total) => {
                added = total.clone().less(&known);
                known.clone_from(total);
            }
            None => known.add(&added),
        }
        subject.set(&known);
        subject.touch(end_ms);
        rows.push(Edge {
            subject: id,
            absent: told.absent,
            added,
            told: told.total.map(Box::new),
        });
    }
    run.must_write |= must_write;
    rows
}

/// What later batches of a run say of a subject.
#[derive(Default)]
struct After {
    /// What they added before the next total.
    added: Values,
    /// The place of the next total among the blocks, and what was known before it.
    total: Option<(usize, Values)>,
}

/// What a batch adds behind which others are there already: the next total has it.
fn between(
    place: Place<'_>,
    run: &mut Run,
    told: BTreeMap<i64, Told>,
    late: &mut Late,
) -> Result<Vec<Edge>> {
    let (db, context) = (place.db, place.context);
    let (mut blocks, whole) = later(db, context, late)?;
    let mut after: HashMap<i64, After> = HashMap::new();
    for (at, (_, edges)) in blocks.iter().enumerate() {
        for row in edges
            .rows
            .iter()
            .filter(|row| told.contains_key(&row.subject))
        {
            let after = after.entry(row.subject).or_default();
            match &row.told {
                _ if after.total.is_some() => {}
                Some(total) => after.total = Some((at, (**total).clone().less(&row.added))),
                None => after.added.add(&row.added),
            }
        }
    }
    let mut rows = Vec::with_capacity(told.len());
    for (id, told) in told {
        let after = after.remove(&id).unwrap_or_default();
        let Some(subject) = run.known(&told.key) else {
            continue;
        };
        if after.total.is_none() && !whole {
            late.unplaced += 1;
            continue;
        }
        let next = after.total.as_ref().map(|(at, _)| *at);
        let mut known = after
            .total
            .map_or_else(|| subject.known(), |(_, known)| known);
        let before = known.clone().less(&after.added);
        let mut added = told.added;
        match &told.total {
            Some(total) if subject.cut && next.is_none() => {
                known = after.added;
                known.add(total);
                subject.cut = false;
                subject.set(&known);
                say_open(&mut blocks, next, (id, context.end_ms), total.open());
            }
            _ => {
                if let Some(total) = &told.total {
                    added = total.clone().less(&before);
                }
                known.add(&added);
                if next.is_none() {
                    subject.set(&known);
                }
                take_from_total(&mut blocks, next, id, &added);
                let open = before.open().saturating_add(added.open());
                say_open(&mut blocks, next, (id, context.end_ms), open);
            }
        }
        subject.touch(context.end_ms);
        rows.push(Edge {
            subject: id,
            absent: told.absent,
            added,
            told: told.total.map(Box::new),
        });
    }
    for (head, edges) in blocks.iter().filter(|(head, _)| head.changed) {
        block::rewrite(db, head, edges)?;
    }
    Ok(rows)
}

/// The blocks of edges of later batches, as far as one batch looks; and whether these are all.
fn later(db: &Connection, context: Context, late: &mut Late) -> Result<(Vec<(Head, Edges)>, bool)> {
    let mut blocks = Vec::new();
    for batch in blocks_after(db, context.boot, Some(context.sequence))? {
        for head in block::in_order(db, Kind::Edges, batch)? {
            let edges: Edges = block::read(db, &head)?;
            late.looked += edges.rows.len();
            blocks.push((head, edges));
        }
        if late.looked > LATE_ROWS {
            return Ok((blocks, false));
        }
    }
    Ok((blocks, true))
}

/// Takes what comes late from the total that has it already.
fn take_from_total(
    blocks: &mut [(Head, Edges)],
    next: Option<usize>,
    subject: i64,
    added: &Values,
) {
    if added.is_zero() {
        return;
    }
    if let Some((head, edges)) = next.and_then(|at| blocks.get_mut(at))
        && let Ok(at) = edges.rows.binary_search_by_key(&subject, |row| row.subject)
    {
        let row = &mut edges.rows[at];
        row.added = std::mem::take(&mut row.added).less(added);
        head.changed = true;
    }
}

/// Says anew what a subject had open and when it counted something last, up to the next total:
/// `open` when the interval ended that comes late, and what was added since.
fn say_open(
    blocks: &mut [(Head, Edges)],
    next: Option<usize>,
    (subject, mut last_ms): (i64, i64),
    mut open: i64,
) {
    for (head, edges) in blocks.iter_mut().take(next.unwrap_or(usize::MAX)) {
        if let Ok(at) = edges.rows.binary_search_by_key(&subject, |row| row.subject) {
            open = open.saturating_add(edges.rows[at].added.open());
            last_ms = head.end_ms;
        }
        let Some(list) = &mut edges.open else {
            continue;
        };
        let new = u64::try_from(open).ok().filter(|open| *open > 0);
        let new = new.map(|open| block::Open {
            subject,
            open,
            last_ms,
        });
        match (list.binary_search_by_key(&subject, |one| one.subject), new) {
            (Ok(at), Some(new)) if list[at] != new => list[at] = new,
            (Ok(at), None) => drop(list.remove(at)),
            (Err(at), Some(new)) => list.insert(at, new),
            _ => continue,
        }
        head.changed = true;
    }
}

//! Rows of a window out of ClickHouse, as batches again.
//!
//! What a question is made from is what a store in memory says that got these batches, so that the
//! answer is the one of every store. Beside the rows of its window and of [`NEAR_MS`] around it that
//! takes what was so when these began: of each series the newest total and what was added since, of
//! connections that go on what was told of them, of runs their processes, and what holds until
//! another row tells of it. For that a day is looked back.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashSet};

use wire::schema::{Shape, Table};
use wire::{Batch, BatchHeader, DynamicTable, Values};

use super::cells::Cells;
use super::client::Server;
use super::layout::{Brought, Place, named, within};
use super::retention::gone_ms;
use super::tables::{BATCH, Places};
use crate::accept::{BatchKey, Opened};
use crate::join::HostId;
use crate::meter::Meter;
use crate::store::{Error, INTERVAL_MS, NEAR_MS, Reader, RunRecord, Scratch, TYPED, Window};

/// How far back is looked for what was so when a window began, milliseconds.
const BACK_MS: i64 = 86_400_000;
/// Memory that a row of a batch takes while it is read, and put into the store in memory.
const ROW: usize = 400;

/// Which rows a question needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Those from which edges are joined.
    Join,
    /// Those of one described table.
    Table(String),
    /// What hosts said of themselves last.
    Hosts,
}

impl Need {
    /// Of these tables.
    fn has(&self, table: &str) -> bool {
        match self {
            Self::Join => ["edge", "sighting", "process", "nat", "host"].contains(&table),
            Self::Table(name) => name == table || ["process", "host"].contains(&table),
            Self::Hosts => table == "host",
        }
    }
}

/// What is read of one batch.
#[derive(Debug)]
struct Part {
    brought: Brought,
    /// By the name of the place.
    tables: BTreeMap<String, (Cow<'static, Table>, Rows)>,
}

/// Rows by their place in the batch.
type Rows = BTreeMap<u32, Vec<Values>>;

/// Reads what a question needs, and makes a store of it.
pub(super) fn scratch(
    server: &Server,
    (need, window): (&Need, Window),
    meter: &mut Meter,
) -> Result<Reader, Error> {
    let Window { from_ms, to_ms } = window;
    let begin_ms = from_ms.saturating_sub(NEAR_MS);
    let old_ms = begin_ms.saturating_sub(BACK_MS);
    let runs = match need {
        Need::Hosts => runs(server, &within(i64::MIN + 1, i64::MAX - 1))?,
        Need::Join | Need::Table(_) => runs(server, &within(old_ms, i64::MAX - 1))?,
    };
    let mut reading = Reading {
        server,
        parts: BTreeMap::new(),
        counts: counts(
            server,
            begin_ms,
            to_ms.saturating_add(NEAR_MS + INTERVAL_MS),
        )?,
        begin_ms,
        meter,
    };
    let mut described = Vec::new();
    for place in Places::all(server)? {
        let name = &*place.table.name;
        if !need.has(name) {
            continue;
        }
        let now = within(begin_ms, to_ms);
        let before = within(old_ms, begin_ms);
        if name == "host" {
            let since_ms = if *need == Need::Hosts {
                i64::MIN + 1
            } else {
                old_ms
            };
            reading.newest(&place, &within(since_ms, i64::MAX - 1), "host")?;
            continue;
        }
        if name == "process" {
            // Whenever it is told, it is the name of the process.
            reading.newest(
                &place,
                &within(old_ms, i64::MAX - 1),
                "host, boot, c_process_id",
            )?;
            continue;
        }
        if TYPED.iter().all(|(typed, _)| typed != &name) && has_rows(server, &place)? {
            described.push(place.clone());
        }
        reading.rows(&place, &now, "")?;
        match place.table.shape {
            Shape::Links => {
                // The other ends of connections, and what gateways go on with.
                let upto_ms = to_ms.saturating_add(NEAR_MS);
                let later = within(to_ms, upto_ms.saturating_add(INTERVAL_MS));
                reading.rows(&place, &format!("{later} AND start_ms <= {upto_ms}"), "")?;
                match name {
                    "sighting" => reading.open(&place, &before)?,
                    _ => reading.totals(&place, &before)?,
                }
            }
            Shape::Series => reading.totals(&place, &before)?,
            Shape::State => reading.newest(&place, &before, &keys(&place.table))?,
            Shape::Events => {}
        }
    }
    // What began before then may have been told before.
    let is_older = |run: &RunRecord| run.span_ms.0 <= old_ms || run.ends[0].0 > 1;
    let is_cut = runs.iter().any(is_older);
    let cut_ms = gone_ms(server)?.max(is_cut.then_some(old_ms));
    let parts = reading.parts;
    let mut scratch = Scratch::new(runs, cut_ms)?;
    for place in &described {
        scratch.describe(&place.table)?;
    }
    let mut parts: Vec<Part> = parts.into_values().collect();
    parts.sort_by_key(|part| (part.brought.received_ms, part.brought.key.sequence));
    for part in parts {
        meter.time()?;
        let received_ms = part.brought.received_ms;
        scratch.put(&part.opened()?, received_ms)?;
    }
    scratch.reader()
}

struct Reading<'a> {
    server: &'a Server,
    parts: BTreeMap<([u8; 16], [u8; 16], u64), Part>,
    /// Batches that are stored, of the time of the question.
    counts: HashSet<BatchKey>,
    begin_ms: i64,
    meter: &'a mut Meter,
}

impl Reading<'_> {
    /// Rows for which a condition holds, each once.
    fn rows(&mut self, place: &Place, condition: &str, joined: &str) -> Result<(), Error> {
        let from = format!(
            "`{}`.`{}` {joined}",
            self.server.dialect.database, place.name
        );
        let once = "LIMIT 1 BY host, boot, sequence, place";
        self.read(place, &format!("FROM {from} WHERE {condition} {once}"))
    }

    /// The newest row of each of these.
    fn newest(&mut self, place: &Place, condition: &str, each: &str) -> Result<(), Error> {
        let from = format!("`{}`.`{}`", self.server.dialect.database, place.name);
        let newest = "ORDER BY at_ms DESC, sequence DESC";
        self.read(
            place,
            &format!("FROM {from} WHERE {condition} {newest} LIMIT 1 BY {each}"),
        )
    }

    /// Of each series the newest total, and what was added since.
    fn totals(&mut self, place: &Place, before: &str) -> Result<(), Error> {
        if place.table.columns.iter().all(|column| !column.is_total()) {
            return Ok(());
        }
        let (database, name) = (&self.server.dialect.database, &place.name);
        let keys = format!("host, boot, {}", keys(&place.table));
        let totals = format!(
            "GLOBAL ANY LEFT JOIN (
                 SELECT {keys}, max(sequence) AS newest FROM `{database}`.`{name}`
                 WHERE {before} AND c_total = 1 GROUP BY {keys}) AS t USING {keys}"
        );
        self.rows(place, &format!("{before} AND sequence >= newest"), &totals)
    }

    /// Connections that were told and had not ended.
    fn open(&mut self, place: &Place, before: &str) -> Result<(), Error> {
        let (database, name) = (&self.server.dialect.database, &place.name);
        let ended = format!(
            "(host, boot, c_token, c_part) GLOBAL NOT IN (
                 SELECT host, boot, c_token, c_part FROM `{database}`.`{name}`
                 WHERE {before} AND c_life = 2)"
        );
        self.rows(place, &format!("{before} AND c_life != 2 AND {ended}"), "")
    }

    fn read(&mut self, place: &Place, rest: &str) -> Result<(), Error> {
        let columns = place.selected(&self.server.dialect);
        let most = self.meter.bytes_left();
        let rows = self.server.ask(&format!("SELECT {columns} {rest}"), most)?;
        self.meter.clone().bytes(rows.len())?;
        let mut cells = Cells(&rows);
        while !cells.is_empty() {
            let (brought, at) = Brought::read(&mut cells)?;
            let mut values = place.nothing();
            place.read(&mut cells, &mut values)?;
            self.meter.row(ROW)?;
            let key = brought.key;
            // One that is not stored has no line yet; it comes again.
            if brought.at_ms > self.begin_ms
                && brought.at_ms == brought.end_ms
                && !self.counts.contains(&key)
            {
                continue;
            }
            let part = self
                .parts
                .entry((key.host, key.boot, key.sequence))
                .or_insert_with(|| Part {
                    brought,
                    tables: BTreeMap::new(),
                });
            let (_, rows) = part
                .tables
                .entry(place.name.clone())
                .or_insert_with(|| (place.table.clone(), BTreeMap::new()));
            rows.insert(at, values);
        }
        Ok(())
    }
}

impl Part {
    /// The batch, with the rows that were read of it.
    fn opened(self) -> Result<Opened, Error> {
        let Brought {
            key,
            start_ms,
            end_ms,
            ..
        } = self.brought;
        let mut batch = Batch {
            header: BatchHeader {
                host: key.host,
                boot: key.boot,
                sequence: key.sequence,
                start_ms: start_ms.max(0).unsigned_abs(),
                end_ms: end_ms.max(0).unsigned_abs(),
            },
            ..Batch::default()
        };
        for (table, rows) in self.tables.into_values() {
            let count = rows.len();
            let mut columns: Vec<Values> = table
                .columns
                .iter()
                .map(|column| Values::nothing(&column.values, 0))
                .collect();
            for row in rows.into_values() {
                for (all, one) in columns.iter_mut().zip(row) {
                    append(all, one);
                }
            }
            let table = DynamicTable {
                table,
                rows: count,
                columns,
            };
            batch.put(table).map_err(|_| Error::Damaged {
                what: "rows that are not of their table",
            })?;
        }
        Ok(Opened {
            batch,
            digest: [0; 32],
            bytes: 0,
            credential: None,
            payload: None,
        })
    }
}

fn append(all: &mut Values, one: Values) {
    match (all, one) {
        (Values::Numbers(all), Values::Numbers(one)) => all.extend(one),
        (Values::Texts(all), Values::Texts(one)) => all.extend(one),
        (Values::Addresses(all), Values::Addresses(one)) => all.extend(one),
        (Values::Histograms(all), Values::Histograms(one)) => all.extend(one),
        (Values::Labels(all), Values::Labels(one)) => all.extend(one),
        (Values::Counts(all), Values::Counts(one)) => all.extend(one),
        _ => {}
    }
}

/// What names a series of a table within a run, as it stands in SQL.
fn keys(table: &Table) -> String {
    let columns = table.columns.iter();
    let keys = columns.filter(|column| column.is_since() || crate::store::names_series(column));
    let keys: Vec<_> = keys.map(|column| format!("`{}`", named(column))).collect();
    keys.join(", ")
}

/// Whether there ever was a row of it.
fn has_rows(server: &Server, place: &Place) -> Result<bool, Error> {
    let (database, name) = (&server.dialect.database, &place.name);
    let row = server.ask_small(&format!("SELECT place FROM `{database}`.`{name}` LIMIT 1"))?;
    Ok(!row.is_empty())
}

/// Batches that are stored.
fn counts(server: &Server, from_ms: i64, to_ms: i64) -> Result<HashSet<BatchKey>, Error> {
    let (database, table) = (&server.dialect.database, BATCH.0);
    let within = within(from_ms, to_ms);
    let rows = server.ask_small(&format!(
        "SELECT host, boot, sequence FROM `{database}`.{table} WHERE {within}"
    ))?;
    let (mut cells, mut keys) = (Cells(&rows), HashSet::new());
    while !cells.is_empty() {
        keys.insert(BatchKey {
            host: cells.fixed()?,
            boot: cells.fixed()?,
            sequence: cells.number(8)?,
        });
    }
    Ok(keys)
}

/// The names of hosts as they told them last, and of runs that are hosts of their own.
pub(super) fn names(
    server: &Server,
    copies: &BTreeSet<HostId>,
) -> Result<Vec<(HostId, String)>, Error> {
    let database = &server.dialect.database;
    let rows = server.ask_small(&format!(
        "SELECT host, c_hostname FROM `{database}`.host ORDER BY at_ms DESC, sequence DESC
         LIMIT 1 BY host"
    ))?;
    let (mut cells, mut names) = (Cells(&rows), BTreeMap::new());
    while !cells.is_empty() {
        names.insert(HostId(cells.fixed()?), cells.string()?);
    }
    if !copies.is_empty() {
        for run in runs(server, &within(i64::MIN + 1, i64::MAX - 1))? {
            let name = names.get(&HostId(run.host)).cloned().unwrap_or_default();
            if copies.contains(&HostId(run.boot)) {
                names.insert(HostId(run.boot), name);
            }
        }
    }
    Ok(names.into_iter().collect())
}

/// Runs of agents that told something in a time.
fn runs(server: &Server, within: &str) -> Result<Vec<RunRecord>, Error> {
    let (database, table) = (&server.dialect.database, BATCH.0);
    let rows = server.ask_small(&format!(
        "SELECT host, boot, min(start_ms - (end_ms - at_ms)), max(at_ms), min(sequence),
             argMin(received_ms, sequence), max(sequence), argMax(received_ms, sequence),
             uniqExact(sequence), argMax(end_ms - at_ms, sequence)
         FROM `{database}`.{table} WHERE {within} GROUP BY host, boot"
    ))?;
    let (mut cells, mut runs) = (Cells(&rows), Vec::new());
    while !cells.is_empty() {
        runs.push(RunRecord {
            host: cells.fixed()?,
            boot: cells.fixed()?,
            span_ms: (cells.signed()?, cells.signed()?),
            ends: [
                (cells.number(8)?, cells.signed()?),
                (cells.number(8)?, cells.signed()?),
            ],
            batches: cells.number(8)?,
            ahead_ms: cells.signed()?,
        });
    }
    Ok(runs)
}

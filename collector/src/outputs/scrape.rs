//! Series of the fleet at `GET /metrics`: rows are added up by a choice of labels, in memory.
//!
//! A scrape reads and changes nothing, so that any number of servers may scrape.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, PoisonError};

use wire::DynamicTable;
use wire::Values;
use wire::metric::Instrument;

use super::counted::{Counted, Told};
use super::exposed::{Labels, Row, Went};
use super::rows::{Interval, Rows, Value};
use super::sink::{Done, Later, Parcel, Sink};
use super::status::Counters;
use crate::config;

/// Series of rows whose sums are kept, to tell what a total adds.
const SOURCES: usize = 100_000;
/// Names of processes, and of hosts, that are kept.
const NAMES: usize = 200_000;
/// Agents tell names again every ten minutes; those of longer ago make room, milliseconds.
const NAMED_MS: i64 = 3_600_000;

/// Tables of names, which are read whatever is shown.
pub(super) const NAMING: [&str; 2] = ["host", "process"];

/// A host, and of a process the run of its agent and its number.
type Named = ([u8; 16], Option<([u8; 16], u64)>);

/// Adds rows to what a scrape shows.
pub(super) struct Scrape {
    labels: BTreeSet<String>,
    tables: Vec<String>,
    counted: Counted,
    names: HashMap<Named, (String, i64)>,
    counters: Arc<Counters>,
    left_out: u64,
    position: Option<i64>,
    now_ms: fn() -> i64,
}

impl Scrape {
    /// `tables`: those that are shown; all where there is none.
    pub(super) fn new(
        config: &config::Scrape,
        tables: &[String],
        counters: &Arc<Counters>,
        now_ms: fn() -> i64,
    ) -> Self {
        let mut exposed = counters
            .exposed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        exposed.bound(config.max_series);
        drop(exposed);
        Self {
            labels: config.labels.iter().cloned().collect(),
            tables: tables.to_vec(),
            counted: Counted::new(SOURCES),
            names: HashMap::new(),
            counters: Arc::clone(counters),
            left_out: 0,
            position: None,
            now_ms,
        }
    }

    /// Remembers how hosts and processes are called.
    fn learn(&mut self, parcel: &Parcel, table: &DynamicTable, now_ms: i64) {
        let texts = |name: &str| {
            let at = table.table.columns.iter().position(|c| c.name == name)?;
            match &table.columns[at] {
                Values::Texts(texts) => Some(texts),
                _ => None,
            }
        };
        let numbers = |name: &str| {
            let at = table.table.columns.iter().position(|c| c.name == name)?;
            match &table.columns[at] {
                Values::Numbers(numbers) => Some(numbers),
                _ => None,
            }
        };
        let (host, boot) = (parcel.header.host, parcel.header.boot);
        if table.table.name == "host"
            && let Some(name) = texts("hostname").and_then(|names| names.last())
        {
            self.name((host, None), name, now_ms);
        }
        if table.table.name == "process"
            && let Some((ids, names)) = numbers("process_id").zip(texts("service"))
        {
            for (id, name) in ids.iter().zip(names) {
                self.name((host, Some((boot, *id))), name, now_ms);
            }
        }
    }

    fn name(&mut self, named: Named, name: &str, now_ms: i64) {
        if self.names.len() >= NAMES && !self.names.contains_key(&named) {
            let since = now_ms.saturating_sub(NAMED_MS);
            self.names.retain(|_, (_, told_ms)| *told_ms >= since);
            if self.names.len() >= NAMES {
                return;
            }
        }
        let end = name.floor_char_boundary(256);
        self.names.insert(named, (name[..end].to_owned(), now_ms));
    }

    /// The chosen ones of a row's labels, with names where they are known.
    fn chosen(&self, parcel: &Parcel, rows: &Rows<'_>, row: usize, labels: Labels) -> Labels {
        let host = parcel.header.host;
        let named = |named: Named| self.names.get(&named).map(|(name, _)| name.clone());
        let mut all = labels;
        let mut add = |label: &str, name: Option<String>| {
            let is_there = all.iter().any(|(name, _)| name == label);
            if let Some(name) = name.filter(|name| !name.is_empty() && !is_there) {
                all.push((label.to_owned(), name));
            }
        };
        add("hostname", named((host, None)));
        let process = rows.process(row);
        let process = process.and_then(|id| named((host, Some((parcel.header.boot, id)))));
        add("service", process);
        all.retain(|(name, value)| {
            // A label without a value is one that is not there; what holds does so for a host.
            !value.is_empty() && (self.labels.contains(name) || (rows.is_state() && name == "host"))
        });
        all.sort();
        all
    }

    fn take_table(&mut self, parcel: &Parcel, table: &DynamicTable, now_ms: i64) {
        let rows = Rows::new(&parcel.header, table);
        if rows.metrics.is_empty() {
            return;
        }
        let interval = Interval::of(&parcel.header, parcel.received_ms);
        let is_gauge: Vec<bool> = rows
            .metrics
            .iter()
            .map(|metric| metric.instrument == Instrument::Gauge)
            .collect();
        for row in 0..rows.len() {
            let labels = rows.labels(row);
            // Of gauges there is no sum: they are shown where nothing is added up.
            let apart = labels.iter().all(|(name, _)| self.labels.contains(name));
            let values = rows.values(row);
            let told = Told {
                end_ms: interval.end_ms,
                total: rows.is_total(row) || rows.is_state(),
                begun: rows.is_begun(row),
                values: values.clone(),
            };
            let key = rows.key(row, &labels);
            let known = self.counted.take(key, told, &is_gauge, &mut self.left_out);
            let Some(known) = known else { continue };
            if rows.is_state() && known.late {
                continue;
            }
            let added = if rows.is_state() {
                values
            } else {
                let each = known.added.into_iter().zip(values).zip(&is_gauge);
                let each = each.map(|((added, value), is_gauge)| match is_gauge {
                    false => added,
                    true if apart && !known.late => value,
                    true => Value::Absent,
                });
                each.collect()
            };
            let told = Row {
                table: rows.name(),
                labels: self.chosen(parcel, &rows, row, labels),
                metrics: &rows.metrics,
                values: added,
                total: rows.is_state(),
            };
            let exposed = self.counters.exposed.lock();
            let mut exposed = exposed.unwrap_or_else(PoisonError::into_inner);
            match exposed.take(told, now_ms) {
                Went::Own => {}
                Went::Other => self.counters.rows_in_other.add(1),
                Went::LeftOut => self.left_out += 1,
            }
        }
    }
}

impl Sink for Scrape {
    fn take(&mut self, parcel: Parcel) {
        let now_ms = (self.now_ms)();
        for table in &parcel.tables {
            self.learn(&parcel, table, now_ms);
        }
        for table in &parcel.tables {
            if self.tables.is_empty() || self.tables.contains(&table.table.name) {
                self.take_table(&parcel, table, now_ms);
            }
        }
        self.position = Some(parcel.position);
    }

    fn is_busy(&self) -> bool {
        self.position.is_some()
    }

    fn send(&mut self, _end: bool) -> Result<Option<Done>, Later> {
        Ok(self.position.take().map(|position| Done {
            position,
            refused: 0,
            why: None,
        }))
    }

    fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests;

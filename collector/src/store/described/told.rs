//! Rows of described tables as they came: the inverse of `put`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::{Connection, Result, Row};
use serde_json::Value as Json;
use wire::schema::{Column, Table, Type};
use wire::{DynamicTable, Histogram, Values};

use super::catalogue::{self, Known};
use super::cell::{Cell, Cells};
use super::column::{Part, nothing, part};
use crate::digest::unhex;
use crate::store::block::{self, Events, Kind};
use crate::store::series::Value as _;

/// Tables with their rows, by the end of the interval of each table's batch.
type Told = Vec<(i64, DynamicTable)>;

/// What samples of a run said whose intervals ended in a time, by that end.
pub(in crate::store) fn series_told(
    db: &Connection,
    run: i64,
    (after_ms, upto_ms): (i64, i64),
) -> Result<Told> {
    let mut statement = db.prepare_cached(
        "SELECT table_id, its.end_ms, since_ms, key, total, cells,
             (SELECT cells FROM series_sample AS earlier WHERE earlier.series_id = series.id
                  AND earlier.end_ms < its.end_ms ORDER BY earlier.end_ms DESC LIMIT 1)
         FROM series JOIN series_sample AS its ON its.series_id = series.id
         WHERE boot_id = ?1 AND its.end_ms > ?2 AND its.end_ms <= ?3",
    )?;
    let mut tables = Tables::default();
    let mut found = statement.query([run, after_ms, upto_ms])?;
    while let Some(row) = found.next()? {
        let Some(rows) = tables.rows(db, row.get(0)?, row.get(1)?)? else {
            continue;
        };
        let (total, mut cells): (bool, Cells) = (row.get(4)?, json(row, 5)?);
        // A sample has everything up to it.
        if !total && !matches!(row.get_ref(6)?, rusqlite::types::ValueRef::Null) {
            cells = cells.beyond(&json(row, 6)?);
        }
        rows.series(row.get(2)?, total, &json::<Vec<Json>>(row, 3)?, &cells.0);
    }
    Ok(tables.told())
}

/// What a batch with these blocks told that is no series.
pub(in crate::store) fn events_told(
    db: &Connection,
    blocks: (i64, i64),
) -> Result<Vec<DynamicTable>> {
    let mut tables = Tables::default();
    for kind in block::kinds(db, blocks)? {
        let Kind::Events(table) = kind else { continue };
        let Some(rows) = tables.rows(db, table, 0)? else {
            continue;
        };
        for head in block::in_order(db, kind, blocks)? {
            for cells in block::read::<Events>(db, &head)?.0 {
                rows.event(&parsed::<Vec<Json>>(&cells, 0)?);
            }
        }
    }
    let told = tables.told().into_iter();
    Ok(told.map(|(_, table)| table).collect())
}

fn json<T: serde::de::DeserializeOwned>(row: &Row<'_>, at: usize) -> Result<T> {
    parsed(row.get_ref(at)?.as_str()?, at)
}

fn parsed<T: serde::de::DeserializeOwned>(text: &str, at: usize) -> Result<T> {
    serde_json::from_str(text).map_err(|error| {
        let kind = rusqlite::types::Type::Text;
        rusqlite::Error::FromSqlConversionFailure(at, kind, Box::new(error))
    })
}

/// Tables while rows are added.
#[derive(Default)]
struct Tables {
    known: BTreeMap<i64, Option<Known>>,
    /// By batch and table.
    rows: BTreeMap<(i64, i64), Rows>,
}

impl Tables {
    /// Those of a table of a batch; `None` for a table that is gone.
    fn rows(&mut self, db: &Connection, table: i64, batch: i64) -> Result<Option<&mut Rows>> {
        let known = match self.known.entry(table) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(catalogue::by_id(db, table)?),
        };
        let Some(known) = known else {
            return Ok(None);
        };
        let rows = self.rows.entry((batch, table));
        Ok(Some(rows.or_insert_with(|| Rows::new(known))))
    }

    fn told(self) -> Told {
        let rows = self.rows.into_iter();
        rows.map(|((batch, _), rows)| (batch, rows.table()))
            .collect()
    }
}

/// Rows of one table of one batch.
struct Rows {
    /// As they are stored.
    table: Table,
    rows: usize,
    columns: Vec<Values>,
}

impl Rows {
    fn new(known: &Known) -> Self {
        let columns = known.table.columns.iter();
        Self {
            table: known.table.clone(),
            rows: 0,
            columns: columns
                .map(|column| Values::nothing(&column.values, 0))
                .collect(),
        }
    }

    fn series(&mut self, since_ms: i64, total: bool, key: &[Json], cells: &[Cell]) {
        let nothing = nothing(&self.table);
        let mut key = key.iter().chain(nothing.iter().skip(key.len()));
        let (mut cells, mut absent) = (cells.iter(), 0);
        for (column, values) in self.table.columns.iter().zip(&mut self.columns) {
            match part(column) {
                // Once it is known of all.
                Part::Absent => continue,
                Part::Total => push(values, &Json::from(u64::from(total))),
                Part::Since => push(values, &Json::from(since_ms.max(0))),
                Part::Key => push(values, key.next().unwrap_or(&Json::Null)),
                Part::Counted | Part::Latest => match cells.next() {
                    None | Some(Cell::Unknown) => {
                        absent |= bit(column);
                        push(values, &Json::Null);
                    }
                    Some(cell) => push_cell(values, cell),
                },
            }
        }
        self.absent(absent);
    }

    fn event(&mut self, cells: &[Json]) {
        let (mut cells, mut absent) = (cells.iter(), 0);
        for (column, values) in self.table.columns.iter().zip(&mut self.columns) {
            if part(column) == Part::Absent {
                continue;
            }
            let cell = cells.next().unwrap_or(&Json::Null);
            if cell.is_null() {
                absent |= bit(column);
            }
            push(values, cell);
        }
        self.absent(absent);
    }

    /// Ends a row.
    fn absent(&mut self, bits: u64) {
        self.rows += 1;
        for (column, values) in self.table.columns.iter().zip(&mut self.columns) {
            if part(column) == Part::Absent {
                push(values, &Json::from(bits));
            }
        }
    }

    /// One of ours has the columns of this program, in its order.
    fn table(mut self) -> DynamicTable {
        let mut all = wire::tables().into_iter();
        let Some(own) = all.find(|own| own.name == self.table.name) else {
            return DynamicTable {
                table: Cow::Owned(self.table),
                rows: self.rows,
                columns: self.columns,
            };
        };
        let mut columns = Vec::new();
        for column in &own.columns {
            let mut stored = self.table.columns.iter();
            let at = stored.position(|stored| stored.name == column.name);
            columns.push(match at {
                Some(at) => {
                    std::mem::replace(&mut self.columns[at], Values::nothing(&Type::Bool, 0))
                }
                None => Values::nothing(&column.values, self.rows),
            });
        }
        DynamicTable {
            table: Cow::Borrowed(own),
            rows: self.rows,
            columns,
        }
    }
}

/// Where it is said that a column could not be measured.
fn bit(column: &Column) -> u64 {
    column
        .absent
        .map_or(0, |bit| 1_u64.checked_shl(bit.into()).unwrap_or(0))
}

fn push_cell(values: &mut Values, cell: &Cell) {
    match (values, cell) {
        (values, Cell::Count(count)) => push(values, &Json::from(*count)),
        (values, Cell::Latest((value,))) => push(values, value),
        (Values::Histograms(values), Cell::Histogram { sum, buckets }) => {
            values.push(histogram(*sum, buckets.iter().copied()));
        }
        (Values::Counts(values), Cell::Counts { counts }) => {
            values.push(counts.iter().map(|(name, n)| (name.clone(), *n)).collect());
        }
        (values, _) => push(values, &Json::Null),
    }
}

/// The inverse of [`super::column::json`]; what it did not make is nothing.
fn push(values: &mut Values, cell: &Json) {
    match values {
        Values::Numbers(values) => values.push(cell.as_u64().unwrap_or(0)),
        Values::Texts(values) => values.push(cell.as_str().unwrap_or_default().to_owned()),
        Values::Addresses(values) => {
            let address = cell.as_str().and_then(unhex);
            values.push(address.unwrap_or_default());
        }
        Values::Histograms(values) => {
            let numbers = cell.as_array().map_or(&[][..], Vec::as_slice).iter();
            let mut numbers = numbers.map(|number| number.as_u64().unwrap_or(0));
            let sum = numbers.next().unwrap_or(0);
            values.push(histogram(sum, numbers));
        }
        Values::Labels(values) => values.push(pairs(cell)),
        Values::Counts(values) => values.push(pairs(cell)),
    }
}

fn histogram(sum_us: u64, buckets: impl Iterator<Item = u64>) -> Histogram {
    let mut histogram = Histogram {
        sum_us,
        ..Histogram::default()
    };
    for (bucket, count) in histogram.buckets.iter_mut().zip(buckets) {
        *bucket = count;
    }
    histogram
}

fn pairs<T: serde::de::DeserializeOwned>(cell: &Json) -> Vec<(String, T)> {
    serde_json::from_value(cell.clone()).unwrap_or_default()
}

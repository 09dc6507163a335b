//! The rows of one table of a batch.

use rusqlite::{Connection, OptionalExtension, Result, params};
use serde_json::Value as Json;
use wire::schema::{Column, Shape};
use wire::{DynamicTable, Values};

use super::catalogue::{self, Known};
use super::cell::{Cell, Cells, Samples};
use super::column::{Part, is_series, json, nothing, part};
use crate::store::block::{self, Events, Kind};
use crate::store::context::{Context, signed};
use crate::store::flow::{BLOCK_ROWS, Place};
use crate::store::series::{self, Late, Series};

/// Most series of one table that one interval of a host may begin.
const NEW_SERIES: i64 = if cfg!(test) { 50 } else { 10_000 };
/// Most series of one table and run of an agent.
const SERIES: i64 = if cfg!(test) { 120 } else { 100_000 };
/// Most events of one table that are taken of one interval of a host.
const EVENTS: usize = if cfg!(test) { 50 } else { 20_000 };
/// Most bytes of a row as it is stored.
const ROW_BYTES: usize = 16 << 10;

/// Stores the rows; the number of those that are beyond a bound, and are not stored.
pub(in crate::store) fn put(
    place: Place<'_>,
    host: i64,
    table: &DynamicTable,
    late: &mut Late,
) -> Result<u64> {
    let (db, context) = (place.db, place.context);
    let Some(known) = catalogue::admit(db, host, &table.table)? else {
        return Ok(table.rows as u64);
    };
    let rows = Rows::of(table, &known);
    let mut refused = 0;
    if is_series(&known.table) {
        let mut putting = Putting {
            db,
            context,
            table: known.id,
            begun: 0,
            there: None,
        };
        for row in 0..table.rows {
            let stored = match rows.series(row) {
                Some(row) => putting.put(&row, late)?,
                None => false,
            };
            refused += u64::from(!stored);
        }
        return Ok(refused);
    }
    let events: Vec<String> = (0..table.rows.min(EVENTS))
        .filter_map(|row| rows.event(row))
        .collect();
    refused += (table.rows - events.len()) as u64;
    if events.is_empty() {
        return Ok(refused);
    }
    for part in events.chunks(BLOCK_ROWS) {
        let kind = Kind::Events(known.id);
        block::write(db, &place.head(), kind, &Events(part.to_vec()))?;
    }
    db.prepare_cached(
        "INSERT INTO event_last (table_id, last_ms) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET last_ms = max(last_ms, excluded.last_ms)",
    )?
    .execute([known.id, context.end_ms])?;
    Ok(refused)
}

/// Rows in the order of the columns in which they are stored.
struct Rows<'a> {
    /// Each column with what it is, and its values where these rows have it.
    columns: Vec<(&'a Column, Part, Option<&'a Values>)>,
    /// The values of the column that says what could not be measured.
    absent: Option<&'a [u64]>,
    /// Of each dimension, what rows have whose sender's version of the table lacks it.
    nothing: Vec<Json>,
    is_state: bool,
}

/// A row of a series.
struct SeriesRow {
    key: String,
    since_ms: i64,
    total: bool,
    cells: Cells,
}

impl<'a> Rows<'a> {
    fn of(table: &'a DynamicTable, known: &'a Known) -> Self {
        let values = |name: &str| {
            let mut came = table.table.columns.iter().zip(&table.columns);
            came.find(|(column, _)| column.name == name)
                .map(|(_, values)| values)
        };
        let columns: Vec<_> = known
            .table
            .columns
            .iter()
            .map(|column| (column, part(column), values(&column.name)))
            .collect();
        let mut absent = columns.iter().filter(|(_, part, _)| *part == Part::Absent);
        let absent = match absent.next() {
            Some((_, _, Some(Values::Numbers(bits)))) => Some(&bits[..]),
            _ => None,
        };
        Self {
            columns,
            absent,
            nothing: nothing(&known.table),
            is_state: known.table.shape == Shape::State,
        }
    }

    /// The value that a row has in a column; `None` where that is not known.
    fn value(&self, at: usize, row: usize) -> Option<&'a Values> {
        let (column, _, values) = self.columns[at];
        let bits = self.absent.map_or(0, |absent| absent[row]);
        let is_absent = |bit: u8| bits.checked_shr(bit.into()).unwrap_or(0) & 1 == 1;
        values.filter(|_| !column.absent.is_some_and(is_absent))
    }

    /// All columns of a row as JSON; `None` where it is too long.
    fn event(&self, row: usize) -> Option<String> {
        let columns = 0..self.columns.len();
        let columns = columns.filter(|at| self.columns[*at].1 != Part::Absent);
        let cells: Vec<_> = columns.map(|at| self.json(at, row)).collect();
        bounded(&cells)
    }

    fn json(&self, at: usize, row: usize) -> Json {
        self.value(at, row)
            .map_or(Json::Null, |values| json(values, row))
    }

    /// A row of a series; `None` where it is too long.
    fn series(&self, row: usize) -> Option<SeriesRow> {
        let (mut key, mut cells) = (Vec::new(), Vec::new());
        // What holds for an entity holds as a whole.
        let (mut total, mut since_ms) = (self.is_state, 0);
        for (at, (_, part, values)) in self.columns.iter().enumerate() {
            match (part, values) {
                (Part::Absent, _) => {}
                (Part::Total, values) => total |= number(*values, row) != 0,
                (Part::Since, values) => since_ms = signed(number(*values, row)),
                (Part::Key, None) => key.push(self.nothing[key.len()].clone()),
                (Part::Key, Some(_)) => key.push(self.json(at, row)),
                (part, _) => cells.push(match self.value(at, row) {
                    Some(values) => Cell::of(*part, values, row),
                    None => Cell::Unknown,
                }),
            }
        }
        // A column that comes later makes no other series of one that has nothing in it.
        while key
            .last()
            .is_some_and(|last| *last == self.nothing[key.len() - 1])
        {
            key.pop();
        }
        bounded(&cells)?;
        Some(SeriesRow {
            key: bounded(&key)?,
            since_ms,
            total,
            cells: Cells(cells),
        })
    }
}

fn number(values: Option<&Values>, row: usize) -> u64 {
    match values {
        Some(Values::Numbers(numbers)) => numbers[row],
        _ => 0,
    }
}

fn bounded<T: serde::Serialize>(cells: &[T]) -> Option<String> {
    let text = serde_json::to_string(cells).expect("cells are JSON");
    (text.len() <= ROW_BYTES).then_some(text)
}

/// Series of one table of a batch while they are stored.
struct Putting<'a> {
    db: &'a Connection,
    context: Context,
    table: i64,
    /// Series that this batch began.
    begun: i64,
    /// Those that were there before, once it is asked for.
    there: Option<i64>,
}

impl Putting<'_> {
    /// Stores a row; false where its series would be one too many.
    fn put(&mut self, row: &SeriesRow, late: &mut Late) -> Result<bool> {
        let (db, context) = (self.db, self.context);
        let known = db
            .prepare_cached(
                "SELECT id, last_ms, cut FROM series
                 WHERE boot_id = ?1 AND table_id = ?2 AND since_ms = ?3 AND key = ?4",
            )?
            .query_row(
                params![context.boot, self.table, row.since_ms, row.key],
                Series::of,
            )
            .optional()?;
        let series = match known {
            Some(series) => series,
            None if !self.may_begin()? => return Ok(false),
            None => Series::new(
                db.prepare_cached(
                    "INSERT INTO series (boot_id, table_id, since_ms, key, last_ms, cut)
                     VALUES (?1, ?2, ?3, ?4, 0, 0)",
                )?
                .insert(params![
                    context.boot,
                    self.table,
                    row.since_ms,
                    row.key
                ])?,
                context.is_cut(row.since_ms),
            ),
        };
        let told = (row.total, row.cells.clone());
        series::put::<Samples>(db, context, series, told, late)?;
        db.prepare_cached("UPDATE series SET last_ms = max(last_ms, ?2), cut = ?3 WHERE id = ?1")?
            .execute(params![series.id, context.end_ms, series.cut && !row.total])?;
        Ok(true)
    }

    fn may_begin(&mut self) -> Result<bool> {
        let there = match self.there {
            Some(there) => there,
            None => self
                .db
                .prepare_cached("SELECT count(*) FROM series WHERE boot_id = ?1 AND table_id = ?2")?
                .query_row([self.context.boot, self.table], |row| row.get(0))?,
        };
        self.there = Some(there);
        let may = self.begun < NEW_SERIES && there + self.begun < SERIES;
        self.begun += i64::from(may);
        Ok(may)
    }
}

//! The columns of a sample that are no dimensions: numbers that add up, and what was told last.

use std::collections::BTreeMap;

use rusqlite::types::Type as Sql;
use rusqlite::{Connection, OptionalExtension, Result, Row, params};
use serde::{Deserialize, Serialize};
use wire::{HISTOGRAM_BUCKETS, Histogram, Values};

use super::column::{Part, json};
use crate::store::series::{Sample, Table, Value};

/// Most names of one list of counters that grows with what comes: beyond it nothing is known.
const MAX_NAMES: usize = 4096;

/// The value of one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Cell {
    /// A counter.
    Count(u64),
    /// What is no counter.
    Latest((serde_json::Value,)),
    /// A histogram: the sum, and the buckets without the zeros at their end.
    Histogram {
        /// Of all values, in microseconds.
        sum: u64,
        /// Counts.
        buckets: Vec<u64>,
    },
    /// Counters by name.
    Counts {
        /// The counters.
        counts: BTreeMap<String, u64>,
    },
    /// The host could not measure it, or its table lacks it.
    Unknown,
}

impl Cell {
    /// The value of a row.
    pub(super) fn of(part: Part, values: &Values, row: usize) -> Self {
        match (part, values) {
            (Part::Counted, Values::Numbers(values)) => Self::Count(values[row]),
            (Part::Counted, Values::Histograms(values)) => {
                let Histogram { buckets, sum_us } = values[row];
                Self::histogram(sum_us, buckets.to_vec())
            }
            (Part::Counted, Values::Counts(values)) => {
                let mut counts = BTreeMap::new();
                for (name, count) in &values[row] {
                    let sum: &mut u64 = counts.entry(name.clone()).or_default();
                    *sum = sum.saturating_add(*count);
                }
                Self::Counts { counts }
            }
            _ => Self::Latest((json(values, row),)),
        }
    }

    fn histogram(sum: u64, mut buckets: Vec<u64>) -> Self {
        buckets.truncate(HISTOGRAM_BUCKETS);
        while buckets.last() == Some(&0) {
            buckets.pop();
        }
        Self::Histogram { sum, buckets }
    }

    /// Combines two of one column, number by number.
    fn with(&self, other: &Self, op: impl Fn(u64, u64) -> u64) -> Self {
        match (self, other) {
            (Self::Latest(_), _) => self.clone(),
            (Self::Count(mine), Self::Count(other)) => Self::Count(op(*mine, *other)),
            (
                Self::Histogram { sum, buckets },
                Self::Histogram {
                    sum: other_sum,
                    buckets: other,
                },
            ) => {
                let at = |list: &[u64], at: usize| list.get(at).copied().unwrap_or(0);
                let length = buckets.len().max(other.len());
                let each = (0..length).map(|n| op(at(buckets, n), at(other, n)));
                Self::histogram(op(*sum, *other_sum), each.collect())
            }
            (Self::Counts { counts }, Self::Counts { counts: other }) => {
                let mut all = counts.clone();
                for name in other.keys() {
                    all.entry(name.clone()).or_default();
                }
                for (name, count) in &mut all {
                    *count = op(*count, other.get(name).copied().unwrap_or(0));
                }
                if all.len() > MAX_NAMES {
                    return Self::Unknown;
                }
                Self::Counts { counts: all }
            }
            _ => Self::Unknown,
        }
    }

    fn is_zero(&self) -> bool {
        match self {
            Self::Count(count) => *count == 0,
            Self::Histogram { sum, buckets } => *sum == 0 && buckets.iter().all(|n| *n == 0),
            Self::Counts { counts } => counts.values().all(|n| *n == 0),
            Self::Latest(_) | Self::Unknown => true,
        }
    }
}

/// The values of all columns of a sample. None at all: before the first row.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Cells(pub(super) Vec<Cell>);

impl Cells {
    /// Memory, about.
    pub(super) fn bytes(&self) -> usize {
        let heap = |cell: &Cell| match cell {
            Cell::Histogram { buckets, .. } => buckets.len() * size_of::<u64>(),
            Cell::Counts { counts } => counts.keys().map(|name| name.len() + 64).sum(),
            Cell::Latest((value,)) => value.as_str().map_or(0, str::len),
            Cell::Count(_) | Cell::Unknown => 0,
        };
        let heap: usize = self.0.iter().map(heap).sum();
        heap + self.0.len() * size_of::<Cell>()
    }

    fn combine(&mut self, other: &Self, op: impl Fn(u64, u64) -> u64) {
        if self.0.is_empty() {
            self.0.clone_from(&other.0);
        } else if !other.0.is_empty() {
            for (at, mine) in self.0.iter_mut().enumerate() {
                *mine = mine.with(other.0.get(at).unwrap_or(&Cell::Unknown), &op);
            }
        }
    }
}

impl Value for Cells {
    fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
    }

    fn beyond(&self, other: &Self) -> Self {
        let mut more = self.clone();
        more.combine(other, u64::saturating_sub);
        more
    }

    fn is_zero(&self) -> bool {
        self.0.iter().all(Cell::is_zero)
    }
}

/// The table `series_sample`.
pub(super) struct Samples;

impl Table for Samples {
    type Value = Cells;
    const NAMES: (&'static str, &'static str) = ("series_sample", "series_id");

    fn before(db: &Connection, series: i64, end_ms: i64) -> Result<Option<Sample<Cells>>> {
        db.prepare_cached(
            "SELECT end_ms, sequence, total, cells FROM series_sample
             WHERE series_id = ?1 AND end_ms <= ?2 ORDER BY end_ms DESC LIMIT 1",
        )?
        .query_row([series, end_ms], sample)
        .optional()
    }

    fn after(db: &Connection, series: i64, end_ms: i64) -> Result<Option<Sample<Cells>>> {
        db.prepare_cached(
            "SELECT end_ms, sequence, total, cells FROM series_sample
             WHERE series_id = ?1 AND end_ms > ?2 ORDER BY end_ms LIMIT 1",
        )?
        .query_row([series, end_ms], sample)
        .optional()
    }

    fn write(db: &Connection, series: i64, sample: &Sample<Cells>) -> Result<()> {
        db.prepare_cached(
            "INSERT OR REPLACE INTO series_sample (series_id, end_ms, sequence, total, cells)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            series,
            sample.end_ms,
            sample.sequence,
            sample.total,
            serde_json::to_string(&sample.value).expect("cells are JSON"),
        ])
        .map(drop)
    }
}

fn sample(row: &Row<'_>) -> Result<Sample<Cells>> {
    let cells = row.get_ref(3)?.as_str()?;
    let damaged = |error| rusqlite::Error::FromSqlConversionFailure(3, Sql::Text, Box::new(error));
    Ok(Sample {
        end_ms: row.get(0)?,
        sequence: row.get(1)?,
        total: row.get(2)?,
        value: serde_json::from_str(cells).map_err(damaged)?,
    })
}

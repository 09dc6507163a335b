//! Rows of a batch as metrics: labels and values, by the description of their table.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use wire::metric::{self, Metric};
use wire::schema::{Column, Kind, Shape, Type};
use wire::{BatchHeader, DynamicTable, HISTOGRAM_BUCKETS, Histogram, Values};

use crate::digest::{hex, sha256};
use crate::store::AHEAD_TOLERANCE_MS;

/// The column that names a process: numbers mean something else in each run of an agent.
const PROCESS: &str = "process_id";
/// Labels that a metric may have beside the columns that name its series.
const OURS: [&str; 4] = ["host", "boot", "le", "name"];

/// What a column of a row holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    /// The host cannot measure it.
    Absent,
    Number(u64),
    Histogram(Box<Histogram>),
    /// By name.
    Counts(BTreeMap<String, u64>),
}

impl Value {
    /// Whether nothing was counted yet.
    pub(super) fn is_zero(&self) -> bool {
        match self {
            Self::Absent => true,
            Self::Number(number) => *number == 0,
            Self::Histogram(histogram) => histogram.count() == 0,
            Self::Counts(counts) => counts.values().all(|count| *count == 0),
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.each(other, u64::saturating_add);
    }

    /// What is beyond another value, never below zero.
    pub(super) fn beyond(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        rest.each(other, u64::saturating_sub);
        rest
    }

    fn each(&mut self, other: &Self, of: fn(u64, u64) -> u64) {
        match (&mut *self, other) {
            (Self::Number(to), Self::Number(by)) => *to = of(*to, *by),
            (Self::Histogram(to), Self::Histogram(by)) => {
                to.sum_us = of(to.sum_us, by.sum_us);
                for (to, by) in to.buckets.iter_mut().zip(by.buckets) {
                    *to = of(*to, by);
                }
            }
            (Self::Counts(to), Self::Counts(by)) => {
                for (name, by) in by {
                    let to = to.entry(name.clone()).or_default();
                    *to = of(*to, *by);
                }
            }
            (Self::Absent, told) => *self = told.clone(),
            _ => {}
        }
    }
}

/// When rows hold, Unix milliseconds: the clock of their host, or that of their arrival where it is
/// far ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interval {
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
}

impl Interval {
    pub(super) fn of(header: &BatchHeader, received_ms: i64) -> Self {
        let (start, end) = (header.start_ms.cast_signed(), header.end_ms.cast_signed());
        let ahead = end.saturating_sub(received_ms);
        let by = if ahead > AHEAD_TOLERANCE_MS { ahead } else { 0 };
        Self {
            start_ms: start.saturating_sub(by),
            end_ms: end.saturating_sub(by),
        }
    }
}

/// One table of a batch, row by row.
pub(super) struct Rows<'a> {
    header: &'a BatchHeader,
    table: &'a DynamicTable,
    pub(super) metrics: Vec<Metric<'a>>,
    total: Option<&'a [u64]>,
    since: Option<&'a [u64]>,
    absent: Option<&'a [u64]>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(header: &'a BatchHeader, table: &'a DynamicTable) -> Self {
        let numbers = |is: fn(&Column) -> bool| {
            let mut columns = table.table.columns.iter().zip(&table.columns);
            columns.find_map(|(column, values)| match values {
                Values::Numbers(numbers) if is(column) => Some(&numbers[..]),
                _ => None,
            })
        };
        Self {
            header,
            table,
            metrics: metric::metrics(&table.table),
            total: numbers(Column::is_total),
            since: numbers(Column::is_since),
            absent: numbers(|column| column.values == Type::Columns),
        }
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.table.rows
    }

    /// Whether its rows say what holds, and not what an interval added.
    pub(super) fn is_state(&self) -> bool {
        self.table.table.shape == Shape::State
    }

    /// Whether its rows are about moments.
    pub(super) fn is_events(&self) -> bool {
        self.table.table.shape == Shape::Events
    }

    /// The table's name.
    pub(super) fn name(&self) -> &str {
        &self.table.table.name
    }

    /// Host and run of its agent, hexadecimal.
    pub(super) fn whose(&self) -> (String, String) {
        (hex(&self.header.host), hex(&self.header.boot))
    }

    /// A row as people know it.
    pub(super) fn row(&self, row: usize) -> serde_json::Map<String, serde_json::Value> {
        super::json::row(self.table, row)
    }

    /// When what a row tells of happened, Unix microseconds, where it says so.
    pub(super) fn time_us(&self, row: usize) -> Option<u64> {
        let mut columns = self.table.table.columns.iter().zip(&self.table.columns);
        columns.find_map(|(column, values)| match values {
            Values::Numbers(numbers) if column.kind == Kind::Time && column.unit == "us" => {
                Some(numbers[row])
            }
            _ => None,
        })
    }

    /// `waybill_TABLE_info`, for a table of what holds.
    pub(super) fn info(&self) -> Option<String> {
        self.is_state()
            .then(|| format!("waybill_{}_info", self.table.table.name))
    }

    /// Whether the row's counters are totals since its series began.
    pub(super) fn is_total(&self, row: usize) -> bool {
        self.total.is_some_and(|total| total[row] == 1)
    }

    /// Whether the series of a row began in the interval that the row tells of.
    pub(super) fn is_begun(&self, row: usize) -> bool {
        self.since
            .is_none_or(|since| since[row] >= self.header.start_ms)
    }

    /// The number of the process that a row is about.
    pub(super) fn process(&self, row: usize) -> Option<u64> {
        let columns = &self.table.table.columns;
        let at = columns.iter().position(|column| column.name == PROCESS)?;
        match &self.table.columns[at] {
            Values::Numbers(numbers) => Some(numbers[row]),
            _ => None,
        }
    }

    /// What names the series of a row, sorted by name.
    pub(super) fn labels(&self, row: usize) -> Vec<(String, String)> {
        let mut labels = vec![(String::from("host"), hex(&self.header.host))];
        if self.table.table.column(PROCESS).is_some() {
            labels.push((String::from("boot"), hex(&self.header.boot)));
        }
        let names: Vec<_> = metric::attributes(&self.table.table).collect();
        self.push(row, &mut labels, |column| names.contains(&column));
        labels.sort();
        labels
    }

    /// The labels of a row and its words: what holds, for people.
    pub(super) fn words(&self, row: usize) -> Vec<(String, String)> {
        let mut labels = self.labels(row);
        self.push(row, &mut labels, |column| column.kind == Kind::Text);
        labels.sort();
        labels
    }

    fn push(
        &self,
        row: usize,
        labels: &mut Vec<(String, String)>,
        wanted: impl Fn(&Column) -> bool,
    ) {
        let columns = self.table.table.columns.iter().zip(&self.table.columns);
        for (column, values) in columns.filter(|(column, _)| wanted(column)) {
            let text = match values {
                Values::Numbers(numbers) => number(column, numbers[row]),
                Values::Texts(texts) => texts[row].clone(),
                Values::Addresses(all) => Ipv6Addr::from(all[row]).to_canonical().to_string(),
                Values::Histograms(_) | Values::Labels(_) | Values::Counts(_) => continue,
            };
            let name = if OURS.contains(&&*column.name) {
                format!("{}_{}", self.table.table.name, column.name)
            } else {
                column.name.clone()
            };
            labels.push((name, text));
        }
    }

    /// What tells a series from all others, also from one of the same labels of another run of the
    /// agent, or that began later.
    pub(super) fn key(&self, row: usize, labels: &[(String, String)]) -> [u8; 16] {
        let mut text = self.table.table.name.clone().into_bytes();
        text.extend(self.header.boot);
        text.extend(self.since.map_or(0, |since| since[row]).to_le_bytes());
        for (name, value) in labels {
            for part in [name, value] {
                text.extend((part.len() as u64).to_le_bytes());
                text.extend(part.as_bytes());
            }
        }
        let mut key = [0; 16];
        key.copy_from_slice(&sha256(&text)[..16]);
        key
    }

    /// A value for each of [`Self::metrics`].
    pub(super) fn values(&self, row: usize) -> Vec<Value> {
        let bits = self.absent.map_or(0, |absent| absent[row]);
        let value = |metric: &Metric<'_>| {
            let is_absent = |bit: u8| bits.checked_shr(bit.into()).unwrap_or(0) & 1 == 1;
            if metric.column.absent.is_some_and(is_absent) {
                return Value::Absent;
            }
            let mut columns = self.table.table.columns.iter();
            let at = columns.position(|column| column.name == metric.column.name);
            match at.map(|at| &self.table.columns[at]) {
                Some(Values::Numbers(numbers)) => Value::Number(numbers[row]),
                Some(Values::Histograms(all)) => Value::Histogram(Box::new(all[row].clone())),
                Some(Values::Counts(all)) => Value::Counts(all[row].iter().cloned().collect()),
                _ => Value::Absent,
            }
        };
        self.metrics.iter().map(value).collect()
    }
}

fn number(column: &Column, number: u64) -> String {
    match &column.values {
        Type::Enum(names) => {
            let name = usize::try_from(number).ok().and_then(|at| names.get(at));
            name.map_or_else(|| number.to_string(), Clone::clone)
        }
        Type::Bool => (number == 1).to_string(),
        _ => number.to_string(),
    }
}

/// A metric's value as the samples that Prometheus knows: what follows on its name, a label more
/// where there is one, and the number in base units, of which `divisor` columns' units are one.
pub(super) fn samples(
    divisor: u64,
    value: &Value,
    mut sample: impl FnMut(&str, Option<(&str, &str)>, f64),
) {
    let scaled = |number: u64| number as f64 / divisor as f64;
    match value {
        Value::Absent => {}
        Value::Number(number) => sample("", None, scaled(*number)),
        Value::Counts(counts) => {
            for (name, count) in counts {
                sample("", Some(("name", name)), scaled(*count));
            }
        }
        Value::Histogram(histogram) => {
            let mut count = 0_u64;
            for (bucket, n) in histogram.buckets.iter().enumerate() {
                count = count.saturating_add(*n);
                if bucket + 1 < HISTOGRAM_BUCKETS {
                    sample(
                        "_bucket",
                        Some(("le", &bound(bucket).to_string())),
                        count as f64,
                    );
                }
            }
            sample("_bucket", Some(("le", "+Inf")), count as f64);
            sample("_sum", None, scaled(histogram.sum_us));
            sample("_count", None, count as f64);
        }
    }
}

/// Where a bucket of a histogram ends, seconds.
pub(super) fn bound(bucket: usize) -> f64 {
    let bits = u32::try_from(bucket + 1).unwrap_or(u32::MAX);
    2_u64.checked_pow(bits).unwrap_or(u64::MAX) as f64 / 1e6
}

//! How a described table is laid out in ClickHouse: typed columns for anybody's SQL, and for each
//! row the batch that brought it.
//!
//! A row is known by its batch and its place in it, so that one that is inserted twice is one.

use std::borrow::Cow;

use wire::schema::{Column, Table, Type};
use wire::{DynamicTable, HISTOGRAM_BUCKETS, Histogram, Values};

use super::cells::{Cells, Written};
use crate::accept::BatchKey;
use crate::digest::{hex, sha256};
use crate::store::{AHEAD_TOLERANCE_MS, Error};

/// What every row has in front.
const HEAD: [(&str, &str); 9] = [
    ("minute", "Int32"),
    ("host", "FixedString(16)"),
    ("boot", "FixedString(16)"),
    ("sequence", "UInt64"),
    ("place", "UInt32"),
    ("start_ms", "Int64"),
    ("end_ms", "Int64"),
    ("at_ms", "Int64"),
    ("received_ms", "Int64"),
];

/// In which database tables are made, and how: what is configured, and what the server can do.
#[derive(Clone, Debug, Default)]
pub(super) struct Dialect {
    pub(super) database: String,
    pub(super) cluster: Option<String>,
    pub(super) replicated: bool,
    /// Texts that repeat are stored once.
    pub(super) low_cardinality: bool,
    /// Tables without replicas can know batches by their tokens, too.
    pub(super) window: bool,
}

/// The batch that brought a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Brought {
    pub(super) key: BatchKey,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    /// Where it belongs in time: its end, or its arrival where its host's clock is ahead.
    pub(super) at_ms: i64,
    pub(super) received_ms: i64,
}

impl Brought {
    /// When a batch belongs that arrives at `received_ms`.
    pub(super) fn of(header: &wire::BatchHeader, received_ms: i64) -> Self {
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let end_ms = signed(header.end_ms);
        let is_ahead = end_ms > received_ms.saturating_add(AHEAD_TOLERANCE_MS);
        Self {
            key: BatchKey::from(header),
            start_ms: signed(header.start_ms),
            end_ms,
            at_ms: if is_ahead { received_ms } else { end_ms },
            received_ms,
        }
    }

    pub(super) fn write(&self, place: u32, out: &mut Written) {
        let minute = i32::try_from(minute(self.at_ms)).unwrap_or(i32::MAX);
        out.fixed(&minute.to_le_bytes());
        out.fixed(&self.key.host);
        out.fixed(&self.key.boot);
        out.number(self.key.sequence, 8);
        out.number(place.into(), 4);
        for ms in [self.start_ms, self.end_ms, self.at_ms, self.received_ms] {
            out.signed(ms);
        }
    }

    pub(super) fn read(cells: &mut Cells<'_>) -> Result<(Self, u32), Error> {
        let _minute: [u8; 4] = cells.fixed()?;
        let key = BatchKey {
            host: cells.fixed()?,
            boot: cells.fixed()?,
            sequence: cells.number(8)?,
        };
        let place = u32::from_le_bytes(cells.fixed()?);
        let brought = Self {
            key,
            start_ms: cells.signed()?,
            end_ms: cells.signed()?,
            at_ms: cells.signed()?,
            received_ms: cells.signed()?,
        };
        Ok((brought, place))
    }
}

/// The minute in which a time is, the same for begin and end of a window.
fn minute(ms: i64) -> i64 {
    ms.div_euclid(60_000)
}

/// What selects rows after a time, up to and including another one.
pub(super) fn within(from_ms: i64, to_ms: i64) -> String {
    let bound = |ms| minute(ms).clamp(i32::MIN.into(), i32::MAX.into());
    format!(
        "minute >= {} AND minute <= {} AND at_ms > {from_ms} AND at_ms <= {to_ms}",
        bound(from_ms),
        bound(to_ms)
    )
}

/// A table of ours in ClickHouse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its name there.
    pub(super) name: String,
    pub(super) table: Cow<'static, Table>,
}

impl Place {
    /// Tables that this program has are called as they are; of others each description has a place
    /// of its own, for those of two hosts may contradict each other.
    pub(super) fn of(table: &Table) -> Self {
        let mut all = wire::tables().into_iter();
        if let Some(own) = all.find(|own| own.name == table.name) {
            return Self {
                name: own.name.clone(),
                table: Cow::Borrowed(own),
            };
        }
        let text = serde_json::to_vec(table).expect("a description is words and numbers");
        Self {
            name: format!("{}_{}", table.name, &hex(&sha256(&text))[..12]),
            table: Cow::Owned(table.clone()),
        }
    }

    /// Its columns with their types there.
    pub(super) fn columns(&self, dialect: &Dialect) -> Vec<(String, String)> {
        let head = HEAD
            .iter()
            .map(|(name, kind)| ((*name).into(), (*kind).into()));
        let own = self
            .table
            .columns
            .iter()
            .flat_map(|column| typed(column, dialect));
        head.chain(own).collect()
    }

    /// What is selected to read rows of it.
    pub(super) fn selected(&self, dialect: &Dialect) -> String {
        list(&self.columns(dialect))
    }

    /// One row.
    pub(super) fn write(table: &DynamicTable, row: usize, brought: &Brought, out: &mut Written) {
        brought.write(u32::try_from(row).unwrap_or(u32::MAX), out);
        for (column, values) in table.table.columns.iter().zip(&table.columns) {
            write(column, values, row, out);
        }
    }

    /// One row; its values are appended to `columns`.
    pub(super) fn read(&self, cells: &mut Cells<'_>, columns: &mut [Values]) -> Result<(), Error> {
        for (column, values) in self.table.columns.iter().zip(columns) {
            read(column, values, cells)?;
        }
        Ok(())
    }

    /// No rows yet.
    pub(super) fn nothing(&self) -> Vec<Values> {
        let columns = self.table.columns.iter();
        columns
            .map(|column| Values::nothing(&column.values, 0))
            .collect()
    }
}

/// Names as they stand in SQL. They have passed [`Table::check`], or are ours.
pub(super) fn list(columns: &[(String, String)]) -> String {
    let names: Vec<_> = columns
        .iter()
        .map(|(name, _)| format!("`{name}`"))
        .collect();
    names.join(", ")
}

/// Ours begin with `c_`: a column of a description is never taken for one of [`HEAD`].
pub(super) fn named(column: &Column) -> String {
    format!("c_{}", column.name)
}

fn typed(column: &Column, dialect: &Dialect) -> Vec<(String, String)> {
    let name = named(column);
    let text = if dialect.low_cardinality {
        "LowCardinality(String)"
    } else {
        "String"
    };
    match &column.values {
        Type::Text => vec![(name, text.into())],
        Type::Address => vec![(name, String::from("FixedString(16)"))],
        Type::Histogram => vec![
            (format!("{name}_sum_us"), String::from("UInt64")),
            (format!("{name}_buckets"), String::from("Array(UInt64)")),
        ],
        Type::Labels => vec![
            (format!("{name}_keys"), String::from("Array(String)")),
            (format!("{name}_values"), String::from("Array(String)")),
        ],
        Type::Counts => vec![
            (format!("{name}_names"), String::from("Array(String)")),
            (format!("{name}_counts"), String::from("Array(UInt64)")),
        ],
        number => vec![(name, format!("UInt{}", number.bits().unwrap_or(64)))],
    }
}

fn write(column: &Column, values: &Values, row: usize, out: &mut Written) {
    match values {
        Values::Numbers(values) => out.number(values[row], width(column)),
        Values::Texts(values) => out.text(values[row].as_bytes()),
        Values::Addresses(values) => out.fixed(&values[row]),
        Values::Histograms(values) => {
            let Histogram { buckets, sum_us } = &values[row];
            out.number(*sum_us, 8);
            let used = buckets.iter().rposition(|n| *n > 0).map_or(0, |at| at + 1);
            out.length(used);
            buckets[..used].iter().for_each(|n| out.number(*n, 8));
        }
        Values::Labels(values) => {
            out.length(values[row].len());
            values[row]
                .iter()
                .for_each(|(key, _)| out.text(key.as_bytes()));
            out.length(values[row].len());
            values[row]
                .iter()
                .for_each(|(_, value)| out.text(value.as_bytes()));
        }
        Values::Counts(values) => {
            out.length(values[row].len());
            values[row]
                .iter()
                .for_each(|(name, _)| out.text(name.as_bytes()));
            out.length(values[row].len());
            values[row].iter().for_each(|(_, n)| out.number(*n, 8));
        }
    }
}

fn width(column: &Column) -> usize {
    column.values.bits().map_or(8, |bits| bits as usize / 8)
}

fn read(column: &Column, values: &mut Values, cells: &mut Cells<'_>) -> Result<(), Error> {
    match values {
        Values::Numbers(values) => values.push(cells.number(width(column))?),
        Values::Texts(values) => values.push(cells.string()?),
        Values::Addresses(values) => values.push(cells.fixed()?),
        Values::Histograms(values) => {
            let mut histogram = Histogram {
                sum_us: cells.number(8)?,
                ..Histogram::default()
            };
            for at in 0..cells.length()? {
                let count = cells.number(8)?;
                let at = at.min(HISTOGRAM_BUCKETS - 1);
                histogram.buckets[at] = histogram.buckets[at].saturating_add(count);
            }
            values.push(histogram);
        }
        Values::Labels(values) => {
            let keys = many(cells, Cells::string)?;
            values.push(keys.into_iter().zip(many(cells, Cells::string)?).collect());
        }
        Values::Counts(values) => {
            let names = many(cells, Cells::string)?;
            let counts = many(cells, |cells| cells.number(8))?;
            values.push(names.into_iter().zip(counts).collect());
        }
    }
    Ok(())
}

fn many<'a, T>(
    cells: &mut Cells<'a>,
    one: impl Fn(&mut Cells<'a>) -> Result<T, Error>,
) -> Result<Vec<T>, Error> {
    let length = cells.length()?;
    // What is promised is believed as it comes.
    let mut all = Vec::new();
    for _ in 0..length {
        all.push(one(cells)?);
    }
    Ok(all)
}

/// The tables that are made for one, and the statements that make them: on a cluster the rows are in
/// a table of each node, and one that is spread over them has the name.
pub(super) fn made(
    dialect: &Dialect,
    name: &str,
    columns: &[(String, String)],
    (order, version, by_day): (&str, Option<&str>, bool),
) -> Vec<(String, String)> {
    let database = &dialect.database;
    let typed: Vec<_> = columns
        .iter()
        .map(|(name, kind)| format!("`{name}` {kind}"))
        .collect();
    let typed = typed.join(", ");
    let local = match dialect.cluster {
        Some(_) => format!("{name}_local"),
        None => name.to_owned(),
    };
    let version = version.unwrap_or_default();
    let engine = match dialect.replicated {
        false => format!("ReplacingMergeTree({version})"),
        true => {
            let version = if version.is_empty() {
                String::new()
            } else {
                format!(", {version}")
            };
            format!(
                "ReplicatedReplacingMergeTree('/clickhouse/tables/{{shard}}/{database}/{local}', \
                 '{{replica}}'{version})"
            )
        }
    };
    let days = if by_day {
        "PARTITION BY intDiv(at_ms, 86400000)"
    } else {
        ""
    };
    let known = match dialect.window {
        true if !dialect.replicated => "SETTINGS non_replicated_deduplication_window = 1000",
        _ => "",
    };
    let mut all = vec![(
        local.clone(),
        format!(
            "CREATE TABLE IF NOT EXISTS `{database}`.`{local}` ({typed}) ENGINE = {engine} {days} \
             ORDER BY ({order}) {known}"
        ),
    )];
    if let Some(cluster) = &dialect.cluster {
        // All of a host are on one shard, so that what is asked of its runs is asked there.
        let by = columns.iter().any(|(name, _)| name == "host");
        let by = if by { "sipHash64(host)" } else { "0" };
        all.push((
            name.to_owned(),
            format!(
                "CREATE TABLE IF NOT EXISTS `{database}`.`{name}` ({typed}) \
                 ENGINE = Distributed('{cluster}', '{database}', '{local}', {by})"
            ),
        ));
    }
    all
}

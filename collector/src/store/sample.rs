//! Counters of flows under the end of their interval.

use rusqlite::types::{Type, Value as Sql};
use rusqlite::{Connection, OptionalExtension, Result, Row, params_from_iter};
use wire::Columns;

use super::context::signed;
use super::histogram;
use super::series::{Sample, Table, Value};
use crate::counters::{COUNTERS, Counters};

/// The counters in the order of [`Counters::plain`].
const PLAIN: &str = "opened, closed, failed, refused, reset_local, reset_remote, bytes_sent,
     bytes_received, segments_sent, segments_received, retransmits, out_of_order, zero_windows,
     adopted";
/// Columns of a sample before [`PLAIN`].
const FIRST: usize = 6;

impl Value for Counters {
    fn add(&mut self, other: &Self) {
        Counters::add(self, other);
    }

    fn beyond(&self, other: &Self) -> Self {
        self.clone().since(other)
    }

    fn is_zero(&self) -> bool {
        Counters::is_zero(self)
    }
}

/// The table `sample`; its series are in `subject`.
pub(super) struct Flows;

impl Table for Flows {
    type Value = Counters;
    const NAMES: (&'static str, &'static str) = ("sample", "subject_id");

    fn before(db: &Connection, series: i64, end_ms: i64) -> Result<Option<Sample<Counters>>> {
        one(db, series, end_ms, "end_ms <= ?2 ORDER BY end_ms DESC")
    }

    fn after(db: &Connection, series: i64, end_ms: i64) -> Result<Option<Sample<Counters>>> {
        one(db, series, end_ms, "end_ms > ?2 ORDER BY end_ms")
    }

    fn write(db: &Connection, series: i64, sample: &Sample<Counters>) -> Result<()> {
        let counters = &sample.value;
        let head = [
            Sql::from(series),
            Sql::from(sample.end_ms),
            Sql::from(sample.sequence),
            Sql::from(sample.total),
            Sql::from(histogram::encode(&counters.connect_latency)),
            Sql::from(histogram::encode(&counters.rtt)),
            Sql::from(i64::from(counters.absent.bits())),
        ];
        let plain = counters.plain.iter().map(|n| Sql::from(signed(*n)));
        let sql = format!(
            "INSERT OR REPLACE INTO sample (subject_id, end_ms, sequence, total, connect_latency,
                 rtt, absent, {PLAIN})
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                 ?18, ?19, ?20, ?21)"
        );
        let values = params_from_iter(head.into_iter().chain(plain));
        db.prepare_cached(&sql)?.execute(values).map(drop)
    }
}

/// The first sample of a series that a condition and an order name.
fn one(
    db: &Connection,
    series: i64,
    end_ms: i64,
    which: &'static str,
) -> Result<Option<Sample<Counters>>> {
    let sql = format!(
        "SELECT end_ms, sequence, total, connect_latency, rtt, absent, {PLAIN}
         FROM sample WHERE subject_id = ?1 AND {which} LIMIT 1"
    );
    db.prepare_cached(&sql)?
        .query_row([series, end_ms], sample)
        .optional()
}

fn sample(row: &Row<'_>) -> Result<Sample<Counters>> {
    let mut counters = Counters {
        absent: columns(row, 5)?,
        ..Counters::default()
    };
    for at in 0..COUNTERS {
        let value: i64 = row.get(FIRST + at)?;
        counters.plain[at] = u64::try_from(value).unwrap_or(0);
    }
    for (histogram, column) in [(&mut counters.connect_latency, 3), (&mut counters.rtt, 4)] {
        *histogram = histogram::decode(row.get_ref(column)?.as_blob()?)
            .ok_or_else(|| damaged(column, Type::Blob, "a histogram that cannot be read"))?;
    }
    Ok(Sample {
        end_ms: row.get(0)?,
        sequence: row.get(1)?,
        total: row.get(2)?,
        value: counters,
    })
}

/// What a host cannot measure.
pub(super) fn columns(row: &Row<'_>, at: usize) -> Result<Columns> {
    Columns::from_bits(row.get(at)?)
        .ok_or_else(|| damaged(at, Type::Integer, "a set of columns that cannot be read"))
}

/// A value that this program has not written.
fn damaged(column: usize, kind: Type, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, kind, what.into())
}

//! What the columns of a described table are for the store.

use wire::Values;
use wire::schema::{Column, Kind, Shape, Table, Type};

/// What a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Says whether the row's counters are totals, or what the interval added.
    Total,
    /// When the series began, Unix milliseconds.
    Since,
    /// Which columns the host could not measure.
    Absent,
    /// Names the series.
    Key,
    /// Adds up.
    Counted,
    /// The newest one counts.
    Latest,
}

/// What a column of a table of series is.
pub(super) fn part(column: &Column) -> Part {
    match (column.kind, &column.values) {
        (_, Type::Columns) => Part::Absent,
        _ if column.is_total() => Part::Total,
        _ if column.is_since() => Part::Since,
        (Kind::Dimension | Kind::Address, _) => Part::Key,
        (
            Kind::Counter | Kind::Histogram,
            Type::U8 | Type::U16 | Type::U32 | Type::U64 | Type::Histogram | Type::Counts,
        ) => Part::Counted,
        _ => Part::Latest,
    }
}

/// Whether a column is a part of what names a series.
#[must_use]
pub fn names_series(column: &Column) -> bool {
    part(column) == Part::Key
}

/// Whether rows of a table are about something that goes on, and not about a moment.
pub(super) fn is_series(table: &Table) -> bool {
    match table.shape {
        Shape::Series | Shape::State => true,
        Shape::Events => false,
        Shape::Links => table.columns.iter().any(Column::is_total),
    }
}

/// A value as the store holds it: addresses are 32 hexadecimal digits, a histogram is its sum and
/// its buckets.
pub(super) fn json(values: &Values, row: usize) -> serde_json::Value {
    match values {
        Values::Numbers(values) => values[row].into(),
        Values::Texts(values) => values[row].as_str().into(),
        Values::Addresses(values) => crate::digest::hex(&values[row]).into(),
        Values::Histograms(values) => {
            let histogram = &values[row];
            let numbers = std::iter::once(histogram.sum_us).chain(histogram.buckets);
            numbers.collect::<Vec<_>>().into()
        }
        Values::Labels(values) => serde_json::json!(values[row]),
        Values::Counts(values) => serde_json::json!(values[row]),
    }
}

/// What the dimensions of a table are where there is nothing in them.
pub(super) fn nothing(table: &Table) -> Vec<serde_json::Value> {
    let keys = table
        .columns
        .iter()
        .filter(|column| part(column) == Part::Key);
    keys.map(|column| json(&Values::nothing(&column.values, 1), 0))
        .collect()
}

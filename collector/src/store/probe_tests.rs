//! A table that only its senders know.

use wire::schema::{Column, Kind, Shape, Table, Type};
use wire::{DynamicTable, Histogram, Values};

/// A row of [`probes`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) total: bool,
    pub(super) since_ms: u64,
    pub(super) device: u64,
    pub(super) count: u64,
    pub(super) depth: u64,
}

/// A column without a unit.
pub(super) fn column(name: &str, kind: Kind, values: Type) -> Column {
    Column {
        name: name.to_owned(),
        kind,
        values,
        unit: String::new(),
        help: String::from("A column."),
        since: 1,
        absent: None,
    }
}

/// A table of its own family.
pub(super) fn table(name: &str, shape: Shape, columns: Vec<(Column, Values)>) -> DynamicTable {
    let rows = columns[0].1.len();
    let (columns, values) = columns.into_iter().unzip();
    DynamicTable {
        table: std::borrow::Cow::Owned(Table {
            name: name.to_owned(),
            family: String::from("probe"),
            version: 1,
            shape,
            help: String::from("A table."),
            columns,
        }),
        rows,
        columns: values,
    }
}

/// Rows of a table of series in which each counter counts the same, in its own way.
pub(super) fn probes(rows: &[Probe]) -> DynamicTable {
    let numbers = |of: fn(&Probe) -> u64| Values::Numbers(rows.iter().map(of).collect());
    let histogram = |row: &Probe| {
        let mut histogram = Histogram::default();
        for _ in 0..row.count {
            histogram.record(300);
        }
        histogram
    };
    let counts = |row: &Probe| vec![(format!("of_{}", row.device % 2), row.count)];
    let depth = column("depth", Kind::Gauge, Type::U32);
    let absent = Column {
        absent: Some(0),
        ..column("flushes", Kind::Counter, Type::U64)
    };
    table(
        "probe",
        Shape::Series,
        vec![
            (
                column("total", Kind::Dimension, Type::Bool),
                numbers(|row| row.total.into()),
            ),
            (
                column("device", Kind::Dimension, Type::U64),
                numbers(|row| row.device),
            ),
            (
                column("since_ms", Kind::Time, Type::U64),
                numbers(|row| row.since_ms),
            ),
            (
                column("reads", Kind::Counter, Type::U64),
                numbers(|row| row.count),
            ),
            (
                column("latency", Kind::Histogram, Type::Histogram),
                Values::Histograms(rows.iter().map(histogram).collect()),
            ),
            (
                column("by_cause", Kind::Counter, Type::Counts),
                Values::Counts(rows.iter().map(counts).collect()),
            ),
            (depth, numbers(|row| row.depth)),
            (
                column("state", Kind::Text, Type::Text),
                Values::Texts(rows.iter().map(|row| format!("at {}", row.depth)).collect()),
            ),
            (absent, numbers(|row| row.count)),
            (
                column("absent", Kind::Dimension, Type::Columns),
                // The first device flushes nothing that could be counted.
                numbers(|row| u64::from(row.device == 1)),
            ),
        ],
    )
}

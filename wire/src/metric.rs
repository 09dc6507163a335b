//! What the columns of a table are called as metrics, by the conventions of Prometheus and
//! OpenTelemetry: made from the description alone.
//!
//! Both measure in base units (seconds, bytes, ratios); Prometheus names them at the end and marks
//! sums by `_total`, OpenTelemetry has them beside the name.
//! <https://prometheus.io/docs/practices/naming/>,
//! <https://opentelemetry.io/docs/specs/semconv/general/metrics/>

use std::collections::HashSet;
use std::fmt::Write as _;

use crate::schema::{Column, Kind, Shape, Table, Type};

/// How values of a metric combine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instrument {
    /// Only rises; values add up.
    Sum,
    /// Rises and falls.
    Gauge,
    /// Counts per bucket.
    Histogram,
}

/// A column as a metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric<'a> {
    /// The column.
    pub column: &'a Column,
    /// How its values combine.
    pub instrument: Instrument,
    /// `waybill_TABLE_COLUMN`, then the unit and `_total` where they apply.
    pub prometheus: String,
    /// `waybill.TABLE.COLUMN`.
    pub otlp: String,
    /// The unit as UCUM writes it.
    pub unit: &'a str,
    /// What a value of the column is divided by to be in that unit.
    pub divisor: u64,
}

/// A unit of columns, that in which it is measured, its name in Prometheus, and the divisor.
type Unit = (&'static str, &'static str, &'static str, u64);

const UNITS: [Unit; 8] = [
    ("By", "By", "bytes", 1),
    ("s", "s", "seconds", 1),
    ("ms", "s", "seconds", 1_000),
    ("us", "s", "seconds", 1_000_000),
    ("ns", "s", "seconds", 1_000_000_000),
    ("%", "1", "ratio", 100),
    ("1", "1", "ratio", 1),
    ("Hz", "Hz", "hertz", 1),
];

/// The metrics of a table: its counters, gauges and histograms. Events have none.
#[must_use]
pub fn metrics(table: &Table) -> Vec<Metric<'_>> {
    if table.shape == Shape::Events {
        return Vec::new();
    }
    let mut taken = Taken::default();
    let metric = |column| metric(table, column, &mut taken);
    table.columns.iter().filter_map(metric).collect()
}

/// The attributes, or labels, of a table's metrics: the columns that name a series, which are called
/// the same everywhere.
pub fn attributes(table: &Table) -> impl Iterator<Item = &Column> {
    table.columns.iter().filter(|column| {
        let names = matches!(column.kind, Kind::Dimension | Kind::Address);
        names && column.values != Type::Columns && !column.is_total()
    })
}

/// Names that columns before have.
#[derive(Default)]
struct Taken {
    prometheus: HashSet<String>,
    otlp: HashSet<String>,
}

fn metric<'a>(table: &Table, column: &'a Column, taken: &mut Taken) -> Option<Metric<'a>> {
    let is_number = matches!(column.values, Type::Counts) || column.values.bits().is_some();
    let instrument = match (column.kind, &column.values) {
        (_, Type::Enum(_) | Type::Columns) => return None,
        (_, Type::Histogram) => Instrument::Histogram,
        (Kind::Counter, _) if is_number => Instrument::Sum,
        (Kind::Gauge, _) if is_number => Instrument::Gauge,
        _ => return None,
    };
    // The buckets of a histogram are durations.
    let written = match instrument {
        Instrument::Histogram => "us",
        Instrument::Sum | Instrument::Gauge => &*column.unit,
    };
    let known = UNITS.iter().find(|(unit, ..)| *unit == written);
    let (unit, word, divisor) = match known {
        Some((_, unit, word, divisor)) => (*unit, *word, *divisor),
        None => (&*column.unit, "", 1),
    };
    // A share that only rises is none.
    let word = if word == "ratio" && instrument == Instrument::Sum {
        ""
    } else {
        word
    };
    let prometheus = |stem: &str| {
        let mut words: Vec<&str> = stem.split('_').collect();
        if !word.is_empty() && !words.contains(&word) {
            words.push(word);
        }
        if instrument == Instrument::Sum {
            words.push("total");
        }
        words.join("_")
    };
    // Where two columns differ in what says unit or sum alone, the later one is called otherwise.
    let stem = stem(&column.name, written, word);
    let names = [stem.to_owned(), column.name.clone()].into_iter();
    let mut names = names.chain((2..).map(|n| format!("{stem}_{n}")));
    let otlp = names
        .find(|name| !taken.otlp.contains(name) && !taken.prometheus.contains(&prometheus(name)))?;
    let prometheus = prometheus(&otlp);
    taken.otlp.insert(otlp.clone());
    taken.prometheus.insert(prometheus.clone());
    Some(Metric {
        column,
        instrument,
        prometheus: format!("waybill_{}_{prometheus}", table.name),
        otlp: format!("waybill.{}.{otlp}", table.name),
        unit,
        divisor,
    })
}

/// A column's name without what says its unit or that it is a sum.
fn stem<'a>(name: &'a str, unit: &str, word: &str) -> &'a str {
    let mut stem = name;
    for end in ["total", unit, word] {
        let before = stem
            .strip_suffix(end)
            .and_then(|before| before.strip_suffix('_'));
        stem = before.filter(|_| !end.is_empty()).unwrap_or(stem);
    }
    stem
}

/// The metrics of a table as Markdown, nothing where it has none.
#[must_use]
pub fn markdown(table: &Table) -> String {
    let metrics = metrics(table);
    if metrics.is_empty() {
        return String::new();
    }
    let labels: Vec<_> = attributes(table)
        .map(|column| format!("`{}`", column.name))
        .collect();
    let mut out = String::from("\nAs metrics");
    if !labels.is_empty() {
        let _ = write!(out, ", with the labels {}", labels.join(", "));
    }
    out.push_str(":\n\n| column | Prometheus | OpenTelemetry | unit |\n|---|---|---|---|\n");
    for metric in metrics {
        let unit = match metric.unit {
            "" => String::new(),
            unit => format!("`{unit}`"),
        };
        let _ = writeln!(
            out,
            "| `{}` | `{}` | `{}` | {unit} |",
            metric.column.name, metric.prometheus, metric.otlp
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::{Strategy, prop, proptest};

    use super::{Instrument, attributes, metrics};
    use crate::family::connection::{EdgeRow, EventRow};
    use crate::schema::{Column, Kind, Shape, Table, Type};
    use crate::table::Row;

    fn column(name: &str, kind: Kind, values: Type, unit: &str) -> Column {
        Column {
            name: name.to_owned(),
            kind,
            values,
            unit: unit.to_owned(),
            help: String::new(),
            since: 1,
            absent: None,
        }
    }

    fn table(columns: Vec<Column>) -> Table {
        Table {
            name: String::from("block"),
            family: String::from("block"),
            version: 1,
            shape: Shape::Series,
            help: String::new(),
            columns,
        }
    }

    #[test]
    fn names_say_unit_and_sum_once_in_base_units() {
        let counter = |name, unit| column(name, Kind::Counter, Type::U64, unit);
        let gauge = |name, unit| column(name, Kind::Gauge, Type::U32, unit);
        let cases = [
            (
                counter("reads", "{operation}"),
                "reads_total",
                "reads",
                "{operation}",
                1,
            ),
            (
                counter("bytes_sent", "By"),
                "bytes_sent_total",
                "bytes_sent",
                "By",
                1,
            ),
            (counter("sent", "By"), "sent_bytes_total", "sent", "By", 1),
            (
                counter("busy_us", "us"),
                "busy_seconds_total",
                "busy",
                "s",
                1_000_000,
            ),
            (
                counter("slept_total", "ns"),
                "slept_seconds_total",
                "slept",
                "s",
                1_000_000_000,
            ),
            (gauge("wait_ms", "ms"), "wait_seconds", "wait", "s", 1000),
            (gauge("used", "%"), "used_ratio", "used", "1", 100),
            (gauge("speed", "KiBy/s"), "speed", "speed", "KiBy/s", 1),
            (
                column("latency", Kind::Histogram, Type::Histogram, "us"),
                "latency_seconds",
                "latency",
                "s",
                1_000_000,
            ),
            (
                column("by_cause", Kind::Counter, Type::Counts, ""),
                "by_cause_total",
                "by_cause",
                "",
                1,
            ),
        ];
        for (column, prometheus, otlp, unit, divisor) in cases {
            let table = table(vec![column]);
            let [metric] = &metrics(&table)[..] else {
                panic!("one metric of {table:?}")
            };
            assert_eq!(metric.prometheus, format!("waybill_block_{prometheus}"));
            assert_eq!(metric.otlp, format!("waybill.block.{otlp}"));
            assert_eq!(
                (metric.unit, metric.divisor),
                (unit, divisor),
                "{prometheus}"
            );
        }
    }

    #[test]
    fn what_names_a_series_is_an_attribute_and_no_metric() {
        let names: Vec<_> = attributes(EdgeRow::table())
            .map(|column| &*column.name)
            .collect();
        assert_eq!(
            names,
            [
                "process_id",
                "role",
                "local_port",
                "local_address",
                "remote_port",
                "remote_address",
                "netns"
            ]
        );
        let metrics = metrics(EdgeRow::table());
        assert_eq!(metrics.len(), 16);
        let of = |instrument| {
            metrics
                .iter()
                .filter(move |metric| metric.instrument == instrument)
        };
        assert_eq!(of(Instrument::Histogram).count(), 2);
        assert_eq!(of(Instrument::Sum).count(), 14);
        assert!(super::metrics(EventRow::table()).is_empty());
    }

    proptest! {
        #[test]
        fn no_two_columns_have_one_name_and_names_are_what_prometheus_takes(
            columns in prop::collection::vec(
                ("[a-c](_us|_ms|_bytes|_total|_seconds|_seconds_total)?", 0..3, "(us|ms|By|)").prop_map(
                    |(name, kind, unit)| match kind {
                        0 => column(&name, Kind::Counter, Type::U64, &unit),
                        1 => column(&name, Kind::Gauge, Type::U64, &unit),
                        _ => column(&name, Kind::Histogram, Type::Histogram, "us"),
                    },
                ),
                1..12,
            ),
        ) {
            let mut names = HashSet::new();
            let columns = columns.into_iter().filter(|column| names.insert(column.name.clone()));
            let table = table(columns.collect());
            let metrics = metrics(&table);
            assert_eq!(metrics.len(), table.columns.len());
            let (mut prometheus, mut otlp) = (HashSet::new(), HashSet::new());
            for metric in &metrics {
                assert!(prometheus.insert(&metric.prometheus), "{metric:?}");
                assert!(otlp.insert(&metric.otlp), "{metric:?}");
                let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
                assert!(metric.prometheus.bytes().all(fits), "{metric:?}");
            }
        }
    }
}

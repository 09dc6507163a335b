use std::collections::BTreeMap;

use wire::schema::{Column, Kind, Shape, Table, Type};
use wire::{Histogram, metric};

use super::{Exposed, IDLE_MS, Place, Row, STALE_MS, Went};
use crate::outputs::rows::Value;

fn column(name: &str, kind: Kind, values: Type, help: &str) -> Column {
    Column {
        name: name.into(),
        kind,
        values,
        unit: String::new(),
        help: help.into(),
        since: 1,
        absent: None,
    }
}

fn table(name: &str, columns: Vec<Column>) -> Table {
    Table {
        name: name.into(),
        family: name.into(),
        version: 1,
        shape: Shape::Series,
        help: String::new(),
        columns,
    }
}

fn reads() -> Table {
    let counter = column("reads", Kind::Counter, Type::U64, "Reads.");
    table("disk", vec![counter])
}

fn take(exposed: &mut Exposed, of: &Table, service: &str, value: Value, now_ms: i64) -> Went {
    let metrics = metric::metrics(of);
    let row = Row {
        table: &of.name,
        labels: vec![("service".into(), service.into())],
        metrics: &metrics,
        values: vec![value],
        total: false,
    };
    exposed.take(row, now_ms)
}

fn text(exposed: &Exposed, now_ms: i64) -> String {
    let (mut text, mut place) = (String::new(), Place::default());
    while exposed.write(&mut place, now_ms, &mut text) {}
    text
}

fn bounded(most: usize) -> Exposed {
    let mut exposed = Exposed::default();
    exposed.bound(most);
    exposed
}

#[test]
fn a_scrape_is_repeated_without_a_change_and_rows_add_up() {
    let mut exposed = bounded(10);
    for (service, n) in [("a", 1), ("b", 2), ("a", 4)] {
        take(&mut exposed, &reads(), service, Value::Number(n), 0);
    }
    let expected = "# HELP waybill_disk_reads_total Reads.\n\
                    # TYPE waybill_disk_reads_total counter\n\
                    waybill_disk_reads_total{service=\"a\"} 5\n\
                    waybill_disk_reads_total{service=\"b\"} 2\n";
    assert_eq!(text(&exposed, 0), expected);
    assert_eq!(text(&exposed, IDLE_MS), expected);
}

#[test]
fn what_is_too_much_is_in_other_and_the_sum_is_that_of_all() {
    let mut exposed = bounded(2);
    let mut went = Vec::new();
    for n in 1..=5 {
        let service = format!("s{n}");
        went.push(take(&mut exposed, &reads(), &service, Value::Number(n), 0));
    }
    let rest = [Went::Other; 3];
    assert_eq!(went, [&[Went::Own; 2][..], &rest[..]].concat());
    let shown = text(&exposed, 0);
    let shown: Vec<_> = shown.lines().skip(2).collect();
    assert_eq!(
        shown,
        [
            "waybill_disk_reads_total{service=\"other\"} 12",
            "waybill_disk_reads_total{service=\"s1\"} 1",
            "waybill_disk_reads_total{service=\"s2\"} 2",
        ]
    );
    // Idle ones make room; what is in other stays.
    let later = IDLE_MS + 1;
    take(&mut exposed, &reads(), "s2", Value::Number(1), 10);
    let went = take(&mut exposed, &reads(), "s9", Value::Number(7), later);
    assert_eq!(went, Went::Own);
    let shown = text(&exposed, later);
    assert!(
        !shown.contains("\"s1\"") && shown.contains("{service=\"s2\"} 3\n"),
        "{shown}"
    );
    assert!(shown.contains("{service=\"other\"} 12\n"), "{shown}");
}

#[test]
fn names_and_help_cannot_end_a_line_and_long_ones_are_cut() {
    let mut exposed = bounded(10);
    let mut of = reads();
    of.columns[0].help = "two\nlines \\ \"".into();
    let hostile = "x\"} 1\nwaybill_made_up 2\\\0";
    take(&mut exposed, &of, hostile, Value::Number(1), 0);
    let long = "é".repeat(5000);
    take(&mut exposed, &of, &long, Value::Number(2), 0);
    let shown = text(&exposed, 0);
    let lines: Vec<_> = shown.lines().collect();
    assert_eq!(lines.len(), 4, "{shown}");
    assert!(
        lines[0].starts_with("# HELP waybill_disk_reads_total two"),
        "{shown}"
    );
    let expected =
        "waybill_disk_reads_total{service=\"x\\\"} 1\\nwaybill_made_up 2\\\\\u{fffd}\"} 1";
    assert_eq!(lines[2], expected);
    assert!(lines[3].len() < 300, "{}", lines[3].len());
}

#[test]
fn no_table_takes_the_names_of_another_one_or_of_the_collector() {
    let mut exposed = bounded(10);
    let gauge = |name: &str| column(name, Kind::Gauge, Type::U64, "");
    let histogram = column("time", Kind::Histogram, Type::Histogram, "");
    let mut record = Histogram::default();
    record.record(3);
    let record = Value::Histogram(Box::new(record));
    take(&mut exposed, &table("a", vec![histogram]), "x", record, 0);
    for (name, of) in [
        ("a", gauge("time_seconds_count")),
        ("collector", gauge("store_used_bytes")),
        ("a_time", gauge("seconds")),
    ] {
        take(
            &mut exposed,
            &table(name, vec![of]),
            "x",
            Value::Number(9),
            0,
        );
    }
    let shown = text(&exposed, 0);
    assert_eq!(shown.matches("# TYPE").count(), 1, "{shown}");
    assert!(shown.contains("waybill_a_time_seconds_bucket{service=\"x\",le=\"+Inf\"} 1\n"));
    assert!(!shown.contains(" 9\n"), "{shown}");
}

#[test]
fn gauges_that_nobody_tells_of_say_nothing_and_names_of_counts_are_bounded() {
    let mut exposed = bounded(10);
    let gauge = table("a", vec![column("depth", Kind::Gauge, Type::U64, "")]);
    take(&mut exposed, &gauge, "x", Value::Number(3), 0);
    take(&mut exposed, &gauge, "x", Value::Number(2), 0);
    assert!(text(&exposed, STALE_MS).contains("waybill_a_depth{service=\"x\"} 2\n"));
    assert_eq!(text(&exposed, STALE_MS + 1), "");
    let counts = table("b", vec![column("causes", Kind::Counter, Type::Counts, "")]);
    let many = (0..1000).map(|n| (format!("c{n:04}"), 1));
    let many = Value::Counts(many.collect::<BTreeMap<_, _>>());
    take(&mut exposed, &counts, "x", many, 0);
    let shown = text(&exposed, 0);
    assert!(
        shown.contains("{service=\"x\",name=\"other\"} 488\n"),
        "{shown}"
    );
    assert_eq!(shown.matches("waybill_b_causes_total{").count(), 513);
}

#[test]
fn pieces_one_after_the_other_are_the_whole() {
    let mut exposed = bounded(10_000);
    for n in 0..5000 {
        let service = format!("service-{n}-with-a-name");
        take(&mut exposed, &reads(), &service, Value::Number(n), 0);
    }
    let (mut place, mut pieces) = (Place::default(), Vec::new());
    loop {
        let mut piece = String::new();
        let more = exposed.write(&mut place, 0, &mut piece);
        assert!(piece.len() < (64 << 10) + 500, "{}", piece.len());
        pieces.push(piece);
        if !more {
            break;
        }
    }
    assert!(pieces.len() > 3);
    let lines: Vec<_> = pieces.concat().lines().map(String::from).collect();
    let distinct: std::collections::BTreeSet<_> = lines.iter().collect();
    assert_eq!((lines.len(), distinct.len()), (5002, 5002));
}

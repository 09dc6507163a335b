//! Tables that only their senders know: sums, bounds, descriptions that change, deletion.

use serde_json::{Value as Json, json};
use wire::schema::{Kind, Shape, Type};
use wire::{DynamicTable, Values};

use super::probe_tests::{Probe, column, probes, table};
use super::*;
use crate::rows::{Answer, Row};
use crate::store::Which;

fn which(table: &str) -> Which {
    Which {
        table: table.to_owned(),
        host: None,
        intervals: false,
        silent: false,
        most: 1000,
    }
}

fn ask(dir: &TempDir, which: &Which, window: Window) -> Answer {
    let mut reader = Reader::open(&path(dir)).unwrap();
    reader.rows(which, window, &mut rows(10_000)).unwrap()
}

/// The rows of a table with one description.
fn shown(dir: &TempDir, name: &str, window: Window) -> Vec<Row> {
    let mut tables = ask(dir, &which(name), window).tables;
    assert!(tables.len() <= 1, "{tables:?}");
    tables.pop().map(|table| table.rows).unwrap_or_default()
}

/// What [`probes`] counted in a window, which each of their counters says.
pub(super) fn counted(dir: &TempDir, window: Window) -> u64 {
    let count = |row: &Row| {
        let reads = row.values["reads"].as_u64().unwrap();
        let latency = &row.values["latency"];
        assert_eq!(latency["count"], reads, "{row:?}");
        assert_eq!(latency["sum_us"], 300 * reads, "{row:?}");
        let causes = row.values["by_cause"].as_object().unwrap().values();
        assert_eq!(
            causes.filter_map(Json::as_u64).sum::<u64>(),
            reads,
            "{row:?}"
        );
        reads
    };
    shown(dir, "probe", window).iter().map(count).sum()
}

fn probe(device: u64, count: u64) -> Probe {
    Probe {
        total: false,
        since_ms: 500,
        device,
        count,
        depth: count,
    }
}

/// A batch of this table alone.
fn with(sequence: u64, table: DynamicTable) -> Opened {
    let mut batch = batch(sequence, vec![]).batch;
    batch.others.push(table);
    opened(batch)
}

fn refused(store: &mut Store, opened: &Opened) -> u64 {
    match put(store, opened) {
        Outcome::Stored { refused, .. } => refused,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_row_says_what_a_window_added_and_what_was_told_last() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let mut host = batch(1, vec![]).batch;
    host.hosts.push(HostRow {
        hostname: String::from("one"),
        ..HostRow::default()
    });
    host.others.push(probes(&[probe(1, 4), probe(2, 2)]));
    assert_eq!(put(&mut store, &opened(host)), STORED);
    put(&mut store, &with(3, probes(&[probe(1, 3)])));
    put(&mut store, &with(2, probes(&[probe(1, 9)])));
    let found = shown(&dir, "probe", window(1, 3));
    assert_eq!(found.len(), 1);
    let expected = json!({
        "device": 1, "since_ms": 500, "reads": 12, "depth": 3, "state": "at 3", "flushes": null,
        "latency": { "count": 12, "sum_us": 3600, "buckets": [0, 0, 0, 0, 0, 0, 0, 0, 12] },
        "by_cause": { "of_1": 12 },
    });
    assert_eq!(Json::Object(found[0].values.clone()), expected);
    assert_eq!((&*found[0].hostname, found[0].end_ms), ("one", 30_000));
    assert_eq!(Json::Object(found[0].most.clone()), json!({ "depth": 9 }));
    // The second one told nothing since: it added nothing, and is as it was.
    let silent = Which {
        silent: true,
        ..which("probe")
    };
    let all = ask(&dir, &silent, window(1, 3)).tables.remove(0).rows;
    assert_eq!((all.len(), &all[0]), (2, &found[0]));
    assert_eq!(all[1].values["reads"], 0);
    assert_eq!(all[1].values["depth"], 2);
    // What the second device flushes can be counted.
    let all = shown(&dir, "probe", ALL);
    assert_eq!(all[1].values["flushes"], 2);
    // Interval by interval.
    let each = Which {
        intervals: true,
        host: Some(String::from("one")),
        ..which("probe")
    };
    let each = ask(&dir, &each, ALL).tables.remove(0);
    let reads: Vec<_> = each
        .rows
        .iter()
        .map(|row| row.values["reads"].as_u64())
        .collect();
    assert_eq!(reads, [4, 9, 3, 2].map(Some));
    let depths: Vec<_> = each
        .rows
        .iter()
        .map(|row| row.values["depth"].as_u64())
        .collect();
    assert_eq!(depths, [4, 9, 3, 2].map(Some));
    // No more than was asked for.
    let few = Which {
        most: 1,
        ..which("probe")
    };
    let few = ask(&dir, &few, ALL).tables.remove(0);
    assert_eq!((few.rows.len(), few.rows_left_out), (1, 1));
    let other = Which {
        host: Some(String::from("two")),
        ..which("probe")
    };
    assert_eq!(ask(&dir, &other, ALL).tables[0].rows, []);
}

#[test]
fn what_holds_is_shown_while_its_agent_reports_and_is_never_added_up() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let state = |count| {
        let mut probes = probes(&[probe(1, count)]);
        let table = probes.table.to_mut();
        table.shape = Shape::State;
        "device".clone_into(&mut table.name);
        probes
    };
    put(&mut store, &with(1, state(4)));
    put(&mut store, &with(2, state(6)));
    put(&mut store, &with(9, probes(&[])));
    let reads = |window| -> Vec<_> {
        let rows = shown(&dir, "device", window);
        rows.iter().map(|row| row.values["reads"].clone()).collect()
    };
    assert_eq!(reads(window(0, 1)), [4]);
    assert_eq!(reads(window(0, 2)), [6]);
    assert_eq!(reads(window(5, 9)), [6]);
    assert_eq!(reads(window(9, 12)), [0; 0], "nobody reports");
}

#[test]
fn events_are_kept_one_by_one_and_shown_from_the_newest_on() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let mut batch = batch(1, vec![]).batch;
    batch.events = vec![room_tests::event(1), room_tests::event(2)];
    batch.processes.push(ProcessRow {
        process_id: batch.events[0].process_id,
        service: String::from("shop"),
        ..ProcessRow::default()
    });
    assert_eq!(put(&mut store, &opened(batch.clone())), STORED);
    assert_eq!(put(&mut store, &opened(batch.clone())), Outcome::Duplicate);
    batch.header.sequence = 2;
    (batch.header.start_ms, batch.header.end_ms) = (10_000, 20_000);
    batch.events.truncate(1);
    put(&mut store, &opened(batch));
    let rows = shown(&dir, "event", ALL);
    let seen: Vec<_> = rows
        .iter()
        .map(|row| (row.end_ms, row.values["token"].as_u64()))
        .collect();
    assert_eq!(seen[0], (20_000, Some(1)));
    assert_eq!(seen.len(), 3);
    let values = &rows[0].values;
    assert_eq!(values["kind"], "refused");
    assert_eq!(values["remote_address"], "10.0.0.2");
    assert_eq!(rows[0].process.as_ref().unwrap().service, "shop");
    assert_eq!(shown(&dir, "event", window(0, 1)).len(), 2);
}

#[test]
fn what_is_beyond_a_bound_is_counted_and_not_stored() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let some = |from: u64, n: u64| -> Vec<_> { (from..from + n).map(|at| probe(at, 1)).collect() };
    // Of one interval, and of one run.
    assert_eq!(refused(&mut store, &with(1, probes(&some(0, 60)))), 10);
    assert_eq!(refused(&mut store, &with(2, probes(&some(50, 50)))), 0);
    assert_eq!(refused(&mut store, &with(3, probes(&some(100, 30)))), 10);
    assert_eq!(
        refused(&mut store, &with(4, probes(&some(0, 50)))),
        0,
        "known"
    );
    assert_eq!(counted(&dir, ALL), 50 + 50 + 20 + 50);
    // Of tables that only this host knows.
    for n in 0..20 {
        let mut probes = probes(&some(0, 1));
        probes.table.to_mut().name = format!("probe_{n}");
        let beyond = u64::from(n >= 15);
        assert_eq!(refused(&mut store, &with(10 + n, probes)), beyond, "{n}");
    }
    // Another host has its own.
    let mut other = with(1, probes(&some(0, 1))).batch;
    other.header.host = [7; 16];
    "other".clone_into(&mut other.others[0].table.to_mut().name);
    assert_eq!(put(&mut store, &opened(other)), STORED);
    // Events, and rows that are too long.
    let texts = |rows: usize, bytes: usize| {
        let text = (
            column("text", Kind::Text, Type::Text),
            Values::Texts(vec!["x".repeat(bytes); rows]),
        );
        table("probe_0", Shape::Events, vec![text])
    };
    let mut event = batch(40, vec![]).batch;
    event.header.host = [8; 16];
    event.others = vec![texts(60, 10)];
    assert_eq!(refused(&mut store, &opened(event.clone())), 10);
    event.header.sequence = 41;
    event.others = vec![texts(1, 20_000)];
    assert_eq!(refused(&mut store, &opened(event)), 1);
}

#[test]
fn a_description_that_grows_is_one_table_and_one_that_contradicts_is_another() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    put(&mut store, &with(1, probes(&[probe(3, 5)])));
    let mut newer = probes(&[probe(3, 2)]);
    let more = column("writes", Kind::Counter, Type::U64);
    let place = column("place", Kind::Dimension, Type::Text);
    let described = newer.table.to_mut();
    described.version = 2;
    described.columns.splice(1..1, [more, place]);
    newer.columns.splice(
        1..1,
        [Values::Numbers(vec![7]), Values::Texts(vec![String::new()])],
    );
    put(&mut store, &with(2, newer.clone()));
    // Without a place it is the series that was there before there were places.
    let rows = shown(&dir, "probe", ALL);
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].values["reads"], 7);
    assert_eq!(rows[0].values["place"], "");
    assert_eq!(rows[0].values["writes"], Json::Null, "some are not known");
    newer.columns[2] = Values::Texts(vec![String::from("0")]);
    put(&mut store, &with(3, newer));
    // An older agent goes on.
    put(&mut store, &with(4, probes(&[probe(3, 1)])));
    let rows = shown(&dir, "probe", ALL);
    let places: Vec<_> = rows
        .iter()
        .map(|row| (&row.values["place"], &row.values["reads"]))
        .collect();
    assert_eq!(places, [(&json!("0"), &json!(2)), (&json!(""), &json!(8))]);
    assert_eq!(rows[0].values["writes"], 7);
    let mut other = probes(&[probe(3, 100)]);
    "ms".clone_into(&mut other.table.to_mut().columns[3].unit);
    put(&mut store, &with(5, other));
    let tables = ask(&dir, &which("probe"), ALL).tables;
    let reads: Vec<_> = tables
        .iter()
        .map(|table| {
            table
                .rows
                .iter()
                .map(|row| row.values["reads"].as_u64().unwrap())
                .sum::<u64>()
        })
        .collect();
    assert_eq!(reads, [10, 100]);
}

#[test]
fn a_table_that_never_tells_totals_is_summed() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let of = |count| {
        let mut probes = probes(&[probe(2, count)]);
        for name in ["total", "since_ms"] {
            let at = probes
                .table
                .columns
                .iter()
                .position(|column| column.name == name);
            let at = at.unwrap();
            probes.table.to_mut().columns.remove(at);
            probes.columns.remove(at);
        }
        probes
    };
    for (sequence, count) in [(1, 5), (3, 2), (2, 4)] {
        put(&mut store, &with(sequence, of(count)));
    }
    assert_eq!(counted(&dir, ALL), 11);
    assert_eq!(counted(&dir, window(1, 2)), 4);
}

#[test]
fn what_is_old_goes_and_leaves_nothing_behind() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    for sequence in 1..=5 {
        let mut batch = with(sequence, probes(&[probe(sequence, 1), probe(99, 1)])).batch;
        batch.events = vec![room_tests::event(sequence)];
        put(&mut store, &opened(batch));
    }
    let left = |store: &Store| {
        ["series", "series_sample", "event", "described", "boot"]
            .map(|table| room_tests::left(store, table))
    };
    assert_eq!(left(&store), [6, 10, 5, 2, 1]);
    let all = |store: &mut Store, now_ms| {
        let mut retention = Retention::new(20_000);
        let mut deleted = store.retain(&mut retention, now_ms).unwrap();
        while deleted.more {
            deleted.add(&store.retain(&mut retention, now_ms).unwrap());
        }
        deleted
    };
    // What is older than 30,000; the last of each series stays as long as its agent reports, unless
    // it has been silent for as long again.
    let deleted = all(&mut store, 50_000);
    assert_eq!((deleted.samples, deleted.events), (3, 3));
    assert_eq!(left(&store), [5, 7, 2, 2, 1]);
    assert_eq!(counted(&dir, window(3, 5)), 4);
    all(&mut store, 2 * NOW);
    assert_eq!(left(&store), [0; 5]);
}

/// An old store had one event of the first batch; called by the test that makes that store.
pub(super) fn an_event_that_was_migrated_is_one_of_today(dir: &TempDir, store: &mut Store) {
    let mut rows = shown(dir, "event", ALL);
    assert_eq!(rows.len(), 1);
    let mut batch = batch(100, vec![]).batch;
    batch.events = vec![wire::EventRow {
        kind: wire::EventKind::Refused,
        time_us: 9_000_000,
        role: Role::Client,
        process_id: 1,
        local: endpoint("10.0.0.1:4711"),
        remote: endpoint("10.0.0.2:80"),
        netns: 1,
        token: u64::MAX - 1,
        errno: 111,
        duration_us: 7,
        bytes_sent: 1,
        bytes_received: 2,
        retransmits: 3,
    }];
    put(store, &opened(batch));
    let today = shown(dir, "event", window(99, 100)).remove(0);
    assert_eq!(rows.remove(0).values, today.values);
}

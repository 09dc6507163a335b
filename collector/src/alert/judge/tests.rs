//! Against a real store: rows of batches, rules that come with the program, findings.

use tempfile::TempDir;
use wire::{Batch, BatchHeader, EdgeRow, Endpoint, ListenerRow, ProcessRow, Role};

use super::hosts::History;
use super::read::Reading;
use super::{DAY_MS, HOUR_MS};
use crate::alert::baseline::Usuals;
use crate::alert::evaluate::Plan;
use crate::alert::rule::{Rules, shipped};
use crate::alert::{Evaluated, Severity, Subject};
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::store::Reader;
use crate::store::tests::{opened, path, store};

/// The end of the window that is judged.
const AT_MS: i64 = 8 * DAY_MS + 300_000;

fn endpoint(text: &str) -> Endpoint {
    text.parse::<std::net::SocketAddr>()
        .expect("an address")
        .into()
}

/// A batch that ends then.
fn batch(sequence: u64, end_ms: i64) -> Batch {
    let end_ms = end_ms.unsigned_abs();
    Batch {
        header: BatchHeader {
            host: [1; 16],
            boot: [2; 16],
            sequence,
            start_ms: end_ms - 10_000,
            end_ms,
        },
        processes: vec![ProcessRow {
            process_id: 1,
            service: String::from("shop"),
            ..ProcessRow::default()
        }],
        ..Batch::default()
    }
}

fn edge(end_ms: i64, established: u64, failed: u64) -> EdgeRow {
    let ends = (
        1,
        Role::Client,
        endpoint("10.0.0.1:0"),
        endpoint("10.0.0.2:80"),
    );
    EdgeRow {
        opened: established,
        closed: established,
        failed,
        ..EdgeRow::new(ends, 1, end_ms.unsigned_abs() - 10_000)
    }
}

/// The same hour of each of the last days, with so many connections.
fn days(established: u64) -> Vec<Batch> {
    let day = |day: u64| {
        let end_ms = 8 * DAY_MS - i64::try_from(8 - day).expect("days") * DAY_MS + 20_000;
        let edges = vec![edge(end_ms, established, 0)];
        Batch {
            edges,
            ..batch(day, end_ms)
        }
    };
    (1..8).map(day).collect()
}

/// What the rules say once these batches are stored.
fn judged(batches: Vec<Batch>) -> Evaluated {
    let dir = TempDir::new().expect("a directory");
    let mut written = store(&dir);
    for batch in batches {
        let end_ms = i64::try_from(batch.header.end_ms).expect("a time");
        let stored = written.put(&[&opened(batch)], end_ms).remove(0);
        stored.expect("is stored");
    }
    let plan = Plan::of(&Rules::of(shipped()));
    let mut reader = Reader::open(&path(&dir)).expect("a store");
    let metrics = Metrics::default();
    let mut reading = Reading {
        reader: &mut reader,
        plan: &plan,
        meter: Meter::unlimited(),
        metrics: &metrics,
    };
    let mut usuals = Usuals::default();
    for day in 1..8 {
        let from_ms = 8 * DAY_MS - day * DAY_MS;
        reading.day(from_ms, HOUR_MS, &mut usuals).expect("a day");
    }
    let judged = reading.judge(AT_MS, &mut History::default(), &usuals);
    judged.expect("is read").0.evaluated
}

/// Names of rules that found something of an edge, a service, a row or a host.
fn names(found: &Evaluated) -> Vec<&str> {
    found.findings.iter().map(|one| one.rule.as_str()).collect()
}

#[test]
fn failures_of_an_edge_are_found_once() {
    let now = AT_MS - 60_000;
    let edges = vec![edge(now, 950, 50)];
    let found = judged(vec![Batch {
        edges,
        ..batch(1, now)
    }]);
    let of_rule = found
        .findings
        .iter()
        .filter(|one| one.rule.as_str() == "edge-failing");
    let [one] = of_rule.collect::<Vec<_>>()[..] else {
        panic!("{:?}", names(&found));
    };
    assert_eq!(one.severity, Severity::Warning);
    assert!((one.value - 0.05).abs() < 1e-9);
    let Subject::Edge {
        client,
        server,
        endpoint,
    } = &one.subject
    else {
        panic!("{:?}", one.subject);
    };
    assert_eq!(client.service, "shop");
    assert_eq!(client.host.as_deref(), Some("01".repeat(16).as_str()));
    assert_eq!(
        (server.name.as_str(), endpoint.as_str()),
        ("10.0.0.2", "10.0.0.2:80")
    );
    assert!(found.silent.is_empty());
}

#[test]
fn what_was_used_every_day_is_missed_while_its_host_reports() {
    let mut batches = days(6000);
    batches.push(batch(8, AT_MS - 60_000));
    let found = judged(batches);
    let missed = found
        .findings
        .iter()
        .find(|one| one.rule.as_str() == "edge-vanished");
    let missed = missed.unwrap_or_else(|| panic!("{:?}", names(&found)));
    let usual = missed.usual.expect("it is usual");
    assert!((usual.median - 500.0).abs() < 1.0, "{usual:?}");
    assert_eq!(usual.days, 7);

    // A host that is silent is not known to have stopped.
    let found = judged(days(6000));
    assert!(
        !names(&found).contains(&"edge-vanished"),
        "{:?}",
        names(&found)
    );
    let why = found
        .unjudged
        .iter()
        .any(|one| one.rule.as_str() == "edge-vanished");
    assert!(why && found.silent.len() == 1);
    assert!(names(&found).contains(&"agent-silent"));
}

#[test]
fn rows_of_described_tables_are_judged() {
    let now = AT_MS - 60_000;
    let listener = |drops, port| ListenerRow {
        process_id: 1,
        netns: 1,
        local: endpoint(&format!("0.0.0.0:{port}")),
        sockets: 1,
        backlog: 128,
        drops,
        ..ListenerRow::default()
    };
    let listeners = vec![listener(7, 8080), listener(0, 8081)];
    let found = judged(vec![Batch {
        listeners,
        ..batch(1, now)
    }]);
    let [one] = &found.findings[..] else {
        panic!("{:?}", names(&found));
    };
    assert_eq!(one.rule.as_str(), "listener-drops");
    assert!(one.summary.en.starts_with("shop on "), "{}", one.summary.en);
    assert!(
        one.summary
            .en
            .contains("turned 7 connections away at 0.0.0.0:8080")
    );
    assert!(
        one.summary.zh.contains("拒收了 7 个连接"),
        "{}",
        one.summary.zh
    );
}

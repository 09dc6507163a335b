//! Against a real store: rows of batches, rules that come with the program, findings.

use std::sync::Arc;

use tempfile::TempDir;
use wire::{Batch, BatchHeader, EdgeRow, Endpoint, ListenerRow, ProcessRow, Role};

use super::hosts::History;
use super::read::{InForce, Reading};
use super::{DAY_MS, HOUR_MS};
use crate::alert::baseline::Usuals;
use crate::alert::evaluate::Plan;
use crate::alert::rule::{Rules, shipped};
use crate::alert::{Evaluated, Severity, Subject};
use crate::matrix::Held;
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
    judged_by(batches, &|| Ok(None), 0.8)
}

/// The same beside a declared matrix, which says something of edges that are so sure.
fn judged_by(batches: Vec<Batch>, declared: &InForce, sure: f64) -> Evaluated {
    let dir = TempDir::new().expect("a directory");
    let mut written = store(&dir);
    for batch in batches {
        let end_ms = i64::try_from(batch.header.end_ms).expect("a time");
        let stored = written.put(&[&opened(batch)], end_ms).remove(0);
        stored.expect("is stored");
    }
    let mut rules = shipped();
    for limit in rules.iter_mut().flat_map(|rule| &mut rule.limits) {
        if limit.name == "sure" {
            limit.value = sure;
        }
    }
    let plan = Plan::of(&Rules::of(rules));
    let mut reader = Reader::open(&path(&dir)).expect("a store");
    let metrics = Metrics::default();
    let mut reading = Reading {
        reader: &mut reader,
        plan: &plan,
        declared,
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
fn an_edge_is_judged_by_the_matrix_that_is_declared_and_by_none_where_there_is_none() {
    let now = AT_MS - 60_000;
    // One side alone tells of the edge: 0.3.
    let found_of = |declared: &InForce, sure: f64| {
        let edges = vec![edge(now, 40, 0)];
        let batch = Batch {
            edges,
            ..batch(1, now)
        };
        judged_by(vec![batch], declared, sure)
    };
    let found = |declared: &InForce| found_of(declared, 0.25);
    let held = |rows: &str| {
        let text = format!("id,source,destination,port,action,valid_until,owner\n{rows}");
        let read = crate::matrix::read(text.as_bytes()).expect(rows);
        Arc::new(Held::of(read.flows))
    };
    let by = |rows: &str| {
        let held = held(rows);
        found(&move || Ok(Some(Arc::clone(&held))))
    };
    let rules = ["edge-undeclared", "flow-denied-used", "flow-used-after-end"];
    let rules = rules.iter().chain(&["flow-ends-soon"]);
    let of = |found: &Evaluated| {
        let named = rules.clone().filter(|rule| names(found).contains(rule));
        named.copied().collect::<Vec<_>>()
    };
    // By the service, by an address that is looked up, and with another port.
    assert_eq!(of(&by("a,shop,10.0.0.2,80,,,\n")), [""; 0]);
    assert_eq!(of(&by("a,10.0.0.1,10.0.0.0/24,80,,,\n")), [""; 0]);
    let undeclared = by("a,shop,10.0.0.2,81,,,\n");
    assert_eq!(of(&undeclared), ["edge-undeclared"]);
    let mut told = undeclared.findings.iter();
    let told = told.find(|one| one.rule.as_str() == "edge-undeclared");
    let told = told.expect("it is found");
    assert!(told.declared && told.confidence.is_some());
    assert!((told.value - 40.0).abs() < 1e-9, "{told:?}");
    let other = held("a,shop,10.0.0.2,81,,,\n");
    let unsure = found_of(&move || Ok(Some(Arc::clone(&other))), 0.8);
    assert_eq!(of(&unsure), [""; 0], "it is not sure enough");
    let denied = by("no,shop,10.0.0.2,80,deny,,ann\nall,any,any,,,,\n");
    assert_eq!(of(&denied), ["flow-denied-used"]);
    let mut flows = denied.findings.iter();
    let flow = flows.find(|one| one.rule.as_str() == "flow-denied-used");
    let Subject::Flow { id, owner, .. } = &flow.expect("it is found").subject else {
        panic!("{flow:?}");
    };
    assert_eq!((id.as_str(), owner.as_str()), ("no", "ann"));
    // The window ends on 1970-01-09.
    let expired = by("old,shop,10.0.0.2,80,,1970-01-07,\n");
    assert_eq!(of(&expired), ["flow-used-after-end"]);
    assert_eq!(
        of(&by("soon,shop,10.0.0.2,80,,1970-01-12,\n")),
        ["flow-ends-soon"]
    );
    assert_eq!(
        of(&by("soon,shop,10.0.0.2,80,,1970-01-12,\nx,shop,any,,,,\n")),
        [""; 0]
    );
    // Nothing is declared: neither found nor said not to be judged.
    let unjudged = |found: &Evaluated| {
        let all = found
            .unjudged
            .iter()
            .map(|one| one.rule.as_str().to_owned());
        all.filter(|name| rules.clone().any(|rule| rule == name))
            .count()
    };
    let none = found(&|| Ok(None));
    assert_eq!((of(&none).len(), unjudged(&none)), (0, 0));
    // It cannot be read: these rules alone are not judged.
    let unread = found(&|| Err(String::from("no disk")));
    assert_eq!((of(&unread).len(), unjudged(&unread)), (0, 4));
    assert!(
        unread
            .unjudged
            .iter()
            .all(|one| one.why != "no disk" || one.subject.is_none())
    );
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

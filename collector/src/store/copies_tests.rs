//! Two machines with one host id, and one machine whose agent or clock was started or set anew.

use super::*;
use crate::join::{self, HostId};

/// Interval `sequence` of a run that began at `start_ms`, with one open port's worth of edges of
/// process 1.
fn of_run(run: u8, (start_ms, sequence): (u64, u64), edges: Vec<EdgeRow>, service: &str) -> Opened {
    let mut batch = batch(sequence, edges).batch;
    batch.header.boot = [run; 16];
    batch.header.start_ms += start_ms;
    batch.header.end_ms += start_ms;
    batch.hosts = vec![HostRow {
        hostname: "clone".into(),
        ..HostRow::default()
    }];
    batch.processes = vec![ProcessRow {
        process_id: 1,
        service: service.into(),
        ..ProcessRow::default()
    }];
    opened(batch)
}

fn put_at(store: &mut Store, opened: &Opened, now_ms: i64) -> bool {
    match store.put(&[opened], now_ms).remove(0).unwrap() {
        Outcome::Stored { copied, .. } => copied,
        other => panic!("{other:?}"),
    }
}

fn copied_ms(dir: &TempDir) -> Option<i64> {
    let reader = Reader::open(&path(dir)).unwrap();
    reader.hosts(None, 10, usize::MAX).unwrap()[0].copied_ms
}

fn server(since_ms: u64, opened: u64) -> EdgeRow {
    let ends = (
        1,
        Role::Server,
        endpoint("10.0.0.2:80"),
        endpoint("10.0.0.1:0"),
    );
    EdgeRow {
        opened,
        closed: opened,
        bytes_sent: opened * 100,
        ..EdgeRow::new(ends, 1, since_ms)
    }
}

#[test]
fn two_machines_with_one_host_id_are_two_hosts_and_never_joined_as_one() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let mut shown = 0;
    for sequence in 1..=4 {
        let web = of_run(2, (0, sequence), vec![edge(0, sequence)], "web");
        let db = of_run(3, (5000, sequence), vec![server(5000, sequence)], "db");
        let now_ms = i64::try_from(sequence * 10_000).unwrap();
        shown += u64::from(put_at(&mut store, &web, now_ms));
        shown += u64::from(put_at(&mut store, &db, now_ms + 5000));
    }
    assert!(shown > 0, "a counter says so");
    assert_eq!(copied_ms(&dir), Some(40_000));
    let mut reader = Reader::open(&path(&dir)).unwrap();
    let input = reader.window(ALL, &mut rows(1000)).unwrap();
    let copies: Vec<HostId> = input.copies.iter().copied().collect();
    assert_eq!(copies, [HostId([2; 16]), HostId([3; 16])]);
    let topology = join::topology(&input, 0, 50_000);
    assert_eq!(
        topology
            .nodes
            .iter()
            .filter(|node| node.process.is_some())
            .count(),
        2
    );
    for node in topology
        .nodes
        .iter()
        .filter_map(|node| node.process.as_ref())
    {
        assert!(node.host_copied && node.hostname == "clone", "{node:?}");
    }
    for edge in topology.edges.iter().chain(&topology.unjoined) {
        assert_ne!(edge.client, edge.server);
        assert!(
            !edge.client.ends_with("/db") && !edge.server.ends_with("/web"),
            "{edge:?}"
        );
    }
    // Before the other one began there was one machine.
    let alone = reader.window(window(0, 0), &mut rows(1000)).unwrap();
    assert!(alone.copies.is_empty());
}

#[test]
fn an_agent_that_was_started_again_is_one_host_also_when_old_batches_come_late() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    assert!(!put_at(
        &mut store,
        &of_run(2, (0, 1), vec![edge(0, 1)], "web"),
        10_000
    ));
    assert!(!put_at(
        &mut store,
        &of_run(3, (30_000, 1), vec![], "web"),
        40_000
    ));
    // From the spool, by another way.
    assert!(!put_at(
        &mut store,
        &of_run(2, (0, 2), vec![edge(0, 2)], "web"),
        41_000
    ));
    assert!(!put_at(
        &mut store,
        &of_run(3, (30_000, 2), vec![], "web"),
        50_000
    ));
    assert_eq!(copied_ms(&dir), None);
}

#[test]
fn a_clock_that_was_set_back_before_a_start_makes_no_second_machine() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    for sequence in 1..=3 {
        let batch = of_run(2, (300_000, sequence), vec![edge(300_000, sequence)], "web");
        put_at(
            &mut store,
            &batch,
            i64::try_from(sequence * 10_000).unwrap(),
        );
    }
    for sequence in 1..=3 {
        let batch = of_run(3, (295_000, sequence), vec![], "web");
        put_at(
            &mut store,
            &batch,
            i64::try_from(40_000 + sequence * 10_000).unwrap(),
        );
    }
    let mut reader = Reader::open(&path(&dir)).unwrap();
    let input = reader.window(ALL, &mut rows(1000)).unwrap();
    assert!(input.copies.is_empty());
    assert_eq!(copied_ms(&dir), None);
}

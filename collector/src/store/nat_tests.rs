//! Translations of gateways in the store, and what version 2 of it added.

use rusqlite::Connection;
use tempfile::TempDir;
use wire::{Columns, NatRow};

use super::described_tests;
use super::retention_tests::retain;
use super::{ALL, ROOM, Store, Window, batch, edge, endpoint, opened, path, put, rows, store};
use crate::join::Nat;
use crate::meter::Exceeded;
use crate::store::{Error, Reader};

pub(super) fn nat(opened: u64) -> NatRow {
    NatRow {
        total: true,
        netns: 7,
        client: endpoint("10.1.0.2:0").addr,
        dialled: endpoint("10.1.0.100:80"),
        source: endpoint("10.2.0.1:0").addr,
        server: endpoint("10.2.0.2:8080"),
        since_ms: 5,
        opened,
    }
}

fn report(store: &mut Store, sequence: u64, count: u64) {
    let mut batch = batch(sequence, vec![]).batch;
    batch.nats.push(nat(count));
    put(store, &opened(batch));
}

fn nats(dir: &TempDir, window: Window) -> Vec<Nat> {
    let mut reader = Reader::open(&path(dir)).unwrap();
    reader.window(window, &mut rows(100)).unwrap().nats
}

/// Connections of the window and before it.
fn counts(dir: &TempDir, from: i64, to: i64) -> Vec<(u64, u64)> {
    let window = Window {
        from_ms: from * 10_000,
        to_ms: to * 10_000,
    };
    let nats = nats(dir, window);
    nats.iter().map(|nat| (nat.opened, nat.before)).collect()
}

#[test]
fn a_window_shows_what_was_translated_in_it_and_before() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    // In any order of arrival.
    for (sequence, count) in [(4, 20), (1, 5), (2, 7)] {
        report(&mut store, sequence, count);
    }
    assert_eq!(counts(&dir, -1, 9), [(20, 0)]);
    assert_eq!(counts(&dir, 0, 1), [(5, 0)]);
    assert_eq!(counts(&dir, 1, 2), [(2, 5)]);
    assert_eq!(counts(&dir, 2, 3), [(0, 7)]);
    assert_eq!(counts(&dir, 2, 4), [(13, 7)]);
    // The gateway is silent: what it translated may be over.
    assert_eq!(counts(&dir, 5, 9), []);
    let read = &nats(&dir, ALL)[0];
    let row = nat(20);
    assert_eq!((read.host.0, read.netns), ([1; 16], row.netns));
    assert_eq!((read.client, read.dialled), (row.client, row.dialled));
    assert_eq!((read.source, read.server), (row.source, row.server));
}

#[test]
fn translations_count_as_rows_of_a_question() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let mut batch = batch(1, vec![]).batch;
    batch.nats = (0..10_u16)
        .map(|port| {
            let mut row = nat(1);
            row.server.port = port;
            row
        })
        .collect();
    put(&mut store, &opened(batch));
    let mut reader = Reader::open(&path(&dir)).unwrap();
    assert!(matches!(
        reader.window(ALL, &mut rows(9)),
        Err(Error::Exceeded(Exceeded::Rows { .. }))
    ));
    assert_eq!(reader.window(ALL, &mut rows(10)).unwrap().nats.len(), 10);
}

#[test]
fn retention_keeps_the_baseline_of_a_gateway_that_goes_on() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    for sequence in 1..=10 {
        report(&mut store, sequence, sequence * 2);
    }
    // Horizon at the end of interval 6: its sample is the baseline of interval 7.
    let deleted = retain(&mut store, 40_000, 100_000);
    assert_eq!(deleted.iter().map(|d| d.nats).sum::<u64>(), 5);
    assert_eq!(counts(&dir, 6, 7), [(2, 12)]);
    // Silent for twice the age, although the agent goes on.
    for sequence in 11..=20 {
        put(&mut store, &batch(sequence, vec![]));
    }
    let deleted = retain(&mut store, 40_000, 200_000);
    assert!(deleted.iter().map(|d| d.nats).sum::<u64>() > 0);
    assert_eq!(counts(&dir, 0, 20), []);
}

#[test]
fn what_a_host_cannot_measure_is_stored_with_what_it_measured() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let absent = Columns::OUT_OF_ORDER.with(Columns::CONNECT_LATENCY);
    let mut row = edge(0, 3);
    row.absent = absent;
    put(&mut store, &batch(1, vec![row.clone()]));
    row.opened = 9;
    put(&mut store, &batch(2, vec![row]));
    let window = Window {
        from_ms: 10_000,
        to_ms: 20_000,
    };
    let input = Reader::open(&path(&dir))
        .unwrap()
        .window(window, &mut rows(100))
        .unwrap();
    let counters = input.flows[0].counters.as_ref().unwrap();
    assert_eq!((counters.opened(), counters.absent()), (6, absent));
}

#[test]
fn a_store_of_version_1_is_upgraded_with_what_it_holds() {
    let dir = TempDir::new().unwrap();
    {
        let mut store = store(&dir);
        put(&mut store, &batch(1, vec![edge(0, 5)]));
    }
    // What later versions added is taken out again.
    let db = Connection::open(path(&dir)).unwrap();
    db.execute_batch(
        "DROP TABLE outbox; DROP TABLE output;
         DROP TABLE block; ALTER TABLE batch DROP COLUMN first_block;
         ALTER TABLE batch DROP COLUMN last_block; ALTER TABLE boot DROP COLUMN flushed;
         ALTER TABLE subject DROP COLUMN known; ALTER TABLE subject DROP COLUMN absent;
         ALTER TABLE flow DROP COLUMN last_ms;
         CREATE INDEX boot_last ON boot (last_ms);
         CREATE INDEX batch_received ON batch (received_ms);
         CREATE INDEX subject_last ON subject (last_ms);
         CREATE INDEX subject_open ON subject (last_ms) WHERE open > 0;
         CREATE TABLE sample (subject_id INTEGER NOT NULL, end_ms INTEGER NOT NULL,
             sequence INTEGER NOT NULL, opened INTEGER NOT NULL, closed INTEGER NOT NULL,
             failed INTEGER NOT NULL, refused INTEGER NOT NULL, reset_local INTEGER NOT NULL,
             reset_remote INTEGER NOT NULL, bytes_sent INTEGER NOT NULL,
             bytes_received INTEGER NOT NULL, segments_sent INTEGER NOT NULL,
             segments_received INTEGER NOT NULL, retransmits INTEGER NOT NULL,
             out_of_order INTEGER NOT NULL, zero_windows INTEGER NOT NULL,
             connect_latency BLOB NOT NULL, rtt BLOB NOT NULL,
             PRIMARY KEY (subject_id, end_ms)) STRICT, WITHOUT ROWID;
         INSERT INTO sample SELECT id, 10000, 1, 5, 5, 0, 0, 0, 0, 500, 0, 0, 0, 0, 0, 0, x'', x''
             FROM subject;
         ALTER TABLE subject DROP COLUMN cut;
         DROP TABLE nat; DROP TABLE nat_sample;
         DROP TABLE orders; DROP TABLE exporter; DROP TABLE credential;
         DROP TABLE evicted; DROP INDEX batch_end; DROP INDEX host_name;
         DROP INDEX host_forgotten; ALTER TABLE host DROP COLUMN forgotten;
         DROP INDEX sighting_flow; ALTER TABLE sighting DROP COLUMN ended_ms;
         CREATE INDEX sighting_flow ON sighting (flow_id, last_ms);
         CREATE INDEX process_last ON process (last_ms);
         CREATE INDEX sample_end ON sample (end_ms);
         DROP TABLE slice; DROP TABLE joined; DROP TABLE slice_frozen; DROP TABLE gone;
         DROP TABLE described; DROP TABLE series; DROP TABLE series_sample; DROP TABLE event_last;
         CREATE TABLE event (id INTEGER PRIMARY KEY, flow_id INTEGER NOT NULL, kind INTEGER NOT NULL,
             end_ms INTEGER NOT NULL, time_us INTEGER NOT NULL, port INTEGER NOT NULL,
             token INTEGER NOT NULL, errno INTEGER NOT NULL, duration_us INTEGER NOT NULL,
             bytes_sent INTEGER NOT NULL, bytes_received INTEGER NOT NULL,
             retransmits INTEGER NOT NULL) STRICT;
         CREATE INDEX event_end ON event (end_ms);
         CREATE INDEX event_flow ON event (flow_id);
         INSERT INTO event SELECT 5, id, 1, 10000, 9000000, 4711, -2, 111, 7, 1, 2, 3 FROM flow;
         PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(db);
    assert!(matches!(Reader::open(&path(&dir)), Err(Error::Older)));
    let mut store = Store::open(&path(&dir), ROOM).unwrap();
    report(&mut store, 2, 4);
    assert_eq!(counts(&dir, -1, 9), [(4, 0)]);
    let input = Reader::open(&path(&dir))
        .unwrap()
        .window(ALL, &mut rows(100))
        .unwrap();
    let counters = input.flows[0].counters.as_ref().unwrap();
    assert_eq!((counters.opened(), counters.absent()), (5, Columns::NONE));
    described_tests::an_event_that_was_migrated_is_one_of_today(&dir, &mut store);
}

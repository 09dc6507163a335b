//! Blocks: what is packed into them, what comes out, and what becomes of an older store.

use rusqlite::Connection;

use super::*;
use crate::store::{Which, convert};

/// A connection that begins and ends in the interval of batch `sequence`.
fn short(sequence: u64, token: u64) -> SightingRow {
    SightingRow {
        life: Life::Ended,
        start_us: (sequence - 1) * 10_000_000 + 5,
        ..sighting(token)
    }
}

fn told(host: u8, (sequence, behind_ms): (u64, u64), rows: Vec<SightingRow>) -> Opened {
    let mut batch = batch(sequence, vec![]).batch;
    (batch.header.host, batch.header.boot) = ([host; 16], [host; 16]);
    batch.header.start_ms -= behind_ms;
    batch.header.end_ms -= behind_ms;
    batch.sightings = rows;
    batch
        .sightings
        .iter_mut()
        .for_each(|row| row.start_us -= behind_ms * 1000);
    opened(batch)
}

fn tokens(dir: &TempDir, window: Window) -> Vec<(u64, Presence)> {
    let mut reader = Reader::open(&path(dir)).unwrap();
    let input = reader.window(window, &mut rows(10_000)).unwrap();
    let seen = input.sightings.iter().map(|one| (one.token, one.presence));
    let mut seen: Vec<_> = seen.collect();
    seen.sort_unstable();
    seen
}

#[test]
fn the_other_end_of_a_short_connection_is_found_by_its_time_or_by_its_arrival() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let far = 7_200_000;
    let later = 1000;
    // One end is told an interval later; of another one the host's clock is two hours behind.
    let mut send = |batch: &Opened, at: i64| store.put(&[batch], at).remove(0).unwrap();
    send(
        &told(1, (later, 0), vec![short(later, 1), short(later, 2)]),
        NOW,
    );
    send(&told(3, (later, far), vec![short(later, 2)]), NOW + 10_000);
    send(
        &told(2, (later + 1, 0), vec![short(later + 1, 1)]),
        NOW + 9_000_000,
    );
    let at = i64::try_from(later).unwrap();
    let found = tokens(&dir, window(at - 1, at));
    let expected = [
        (1, Presence::Within),
        (1, Presence::Outside),
        (2, Presence::Within),
        (2, Presence::Outside),
    ];
    assert_eq!(found, expected);
    // A token of another time is not looked for: nothing of it overlaps.
    send(&told(4, (1, 0), vec![short(1, 2)]), NOW + 20_000_000);
    assert_eq!(tokens(&dir, window(at - 1, at)), expected);
}

#[test]
fn what_outlives_its_interval_and_what_does_not_are_told_apart() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let open = SightingRow {
        life: Life::Open,
        ..short(1, 1)
    };
    // It ends in the third interval.
    let ended = SightingRow {
        life: Life::Ended,
        ..open.clone()
    };
    let mut send = |sequence, row| {
        let mut batch = told(1, (sequence, 0), row).batch;
        if sequence == 1 {
            // Its counters say that one is open.
            batch.edges.push(EdgeRow {
                closed: 1,
                ..edge(0, 2)
            });
        }
        store.put(&[&opened(batch)], NOW).remove(0).unwrap()
    };
    send(1, vec![open, short(1, 2)]);
    send(3, vec![ended]);
    assert_eq!(tokens(&dir, window(1, 2)), [(1, Presence::Open)]);
    assert_eq!(tokens(&dir, window(3, 4)), []);
    let found = tokens(&dir, window(0, 1));
    assert_eq!(found, [(1, Presence::Within), (2, Presence::Within)]);
    let packed: i64 = store
        .connection
        .query_row(
            "SELECT sum(row_count) FROM block WHERE kind = 1",
            (),
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!((packed, room_tests::left(&store, "sighting")), (1, 3));
}

#[test]
fn a_batch_is_written_where_the_last_one_ended() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let many = |sequence| {
        let row = |port| {
            let mut row = EdgeRow {
                total: false,
                ..edge(500, 1)
            };
            row.remote.port = port;
            row
        };
        let mut batch = batch(sequence, (1..=500).map(row).collect()).batch;
        // No two are alike.
        let token = |n: u64| (sequence * 1000 + n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        batch.sightings = (0..500).map(|n| short(sequence, token(n))).collect();
        opened(batch)
    };
    for sequence in 1..40 {
        put(&mut store, &many(sequence));
    }
    store
        .connection
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    // What is known is written now and then, and not with this one.
    put(&mut store, &many(40));
    let pages = store.size().unwrap().log_bytes / 4096;
    assert!(pages < 30, "{pages} pages for 1,000 rows");
    let mut reader = Reader::open(&path(&dir)).unwrap();
    let input = reader.window(window(39, 40), &mut rows(100_000)).unwrap();
    let counters = input.flows.iter().filter_map(|flow| flow.counters.as_ref());
    assert_eq!(counters.map(|counters| counters.opened()).sum::<u64>(), 500);
}

/// A store as version 9 left it: samples are cumulative.
fn version_9(dir: &TempDir, samples: &[(i64, i64, bool)]) {
    drop(store(dir));
    let db = Connection::open(path(dir)).unwrap();
    db.execute_batch(
        "CREATE TABLE sample (subject_id INTEGER NOT NULL, end_ms INTEGER NOT NULL,
             sequence INTEGER NOT NULL, opened INTEGER NOT NULL, closed INTEGER NOT NULL,
             failed INTEGER NOT NULL, refused INTEGER NOT NULL, reset_local INTEGER NOT NULL,
             reset_remote INTEGER NOT NULL, bytes_sent INTEGER NOT NULL,
             bytes_received INTEGER NOT NULL, segments_sent INTEGER NOT NULL,
             segments_received INTEGER NOT NULL, retransmits INTEGER NOT NULL,
             out_of_order INTEGER NOT NULL, zero_windows INTEGER NOT NULL,
             connect_latency BLOB NOT NULL, rtt BLOB NOT NULL,
             absent INTEGER NOT NULL DEFAULT 0, adopted INTEGER NOT NULL DEFAULT 0,
             total INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (subject_id, end_ms))
             STRICT, WITHOUT ROWID;
         CREATE TABLE converting (id INTEGER PRIMARY KEY, boot_id INTEGER NOT NULL,
             upto_ms INTEGER NOT NULL) STRICT;
         INSERT INTO converting VALUES (1, 0, 0);
         INSERT INTO host (id, host, first_seen_ms, last_seen_ms)
             VALUES (1, x'01010101010101010101010101010101', 0, 0);",
    )
    .unwrap();
    for boot in 1..=3 {
        let mut id = [0; 16];
        id[0] = u8::try_from(boot).unwrap();
        db.execute(
            "INSERT INTO boot (id, host_id, boot, first_ms, last_ms, batches, last_sequence)
             VALUES (?1, 1, ?2, 0, 900000, 90, 90)",
            (boot, id),
        )
        .unwrap();
        db.execute(
            "INSERT INTO flow (id, boot_id, process_id, role, netns, local_addr, local_port,
             remote_addr, remote_port) VALUES (?1, ?1, 1, 0, 1, ?2, 0, ?2, 80)",
            (boot, id),
        )
        .unwrap();
        db.execute(
            "INSERT INTO subject (id, flow_id, since_ms, last_ms, open)
             VALUES (?1, ?1, 0, 0, 0)",
            [boot],
        )
        .unwrap();
        for (end, opened, total) in samples {
            let end_ms = end * 10_000;
            db.execute(
                "INSERT INTO batch (boot_id, sequence, digest, end_ms, received_ms, bytes,
                 row_count) VALUES (?1, ?2, zeroblob(32), ?3, 0, 0, 9)",
                (boot, end, end_ms),
            )
            .unwrap();
            // A round trip each: the sum, and bucket 8.
            let rtt: Vec<u8> = std::iter::once(0)
                .chain([0; 8])
                .chain([u8::try_from(*opened).unwrap()])
                .collect();
            db.execute(
                "INSERT INTO sample VALUES (?1, ?2, ?3, ?4, ?4, 0, 0, 0, 0, ?5, 0, 0, 0, 0, 0,
                 0, x'', ?6, 0, 0, ?7)",
                (boot, end_ms, end, opened, opened * 100, rtt, total),
            )
            .unwrap();
        }
    }
}

#[test]
fn a_store_of_version_9_is_converted_step_by_step_and_goes_on_where_it_was_killed() {
    let samples: Vec<(i64, i64, bool)> = (1..=40).map(|end| (end, end * 3, end % 7 == 0)).collect();
    for killed_after in [0, 1, 2, 5, 100] {
        let dir = TempDir::new().unwrap();
        version_9(&dir, &samples);
        let mut db = Connection::open(path(&dir)).unwrap();
        let steps = (0..killed_after).take_while(|_| convert::step(&mut db).unwrap().is_some());
        let steps = steps.count();
        assert!(
            killed_after < 100 || steps > 10,
            "steps are bounded: {steps}"
        );
        drop(db);
        if killed_after < 100 {
            assert!(matches!(Reader::open(&path(&dir)), Err(Error::Older)));
        }
        // Opening goes on.
        let mut store = store(&dir);
        assert_eq!(count(&dir, ALL), 3 * 40 * 3);
        assert_eq!(count(&dir, window(20, 21)), 3 * 3);
        assert_eq!(count(&dir, window(0, 1)), 3 * 3);
        // What is known is known: the next total adds what is new.
        let mut next = batch(41, vec![edge(0, 130)]).batch;
        next.header.boot = [0; 16];
        next.header.boot[0] = 1;
        next.edges[0].local.addr = next.header.boot;
        next.edges[0].remote.addr = next.header.boot;
        put(&mut store, &opened(next));
        assert_eq!(count(&dir, window(40, 41)), 10);
    }
}

#[test]
fn events_of_version_14_are_converted_batch_by_batch_and_go_on_where_it_was_killed() {
    for killed_after in [0, 1, 3] {
        let dir = TempDir::new().unwrap();
        let mut store = store(&dir);
        let told = |sequence| {
            let mut batch = batch(sequence, vec![]).batch;
            batch.events = (0..3).map(|_| room_tests::event(sequence)).collect();
            opened(batch)
        };
        put(&mut store, &told(100));
        drop(store);
        let mut db = Connection::open(path(&dir)).unwrap();
        db.execute_batch(
            "CREATE TABLE event (boot_id INTEGER NOT NULL, sequence INTEGER NOT NULL,
                 table_id INTEGER NOT NULL, place INTEGER NOT NULL, end_ms INTEGER NOT NULL,
                 cells TEXT NOT NULL, PRIMARY KEY (boot_id, sequence, table_id, place))
                 STRICT, WITHOUT ROWID;
             WITH RECURSIVE n (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM n WHERE n < 89)
             INSERT INTO event SELECT 1, 1 + n / 3, (SELECT id FROM described), n % 3,
                 (1 + n / 3) * 10000, json_array(1, n) FROM n;",
        )
        .unwrap();
        for _ in 0..killed_after {
            convert::step(&mut db).unwrap();
        }
        drop(db);
        if killed_after < 3 {
            assert!(matches!(Reader::open(&path(&dir)), Err(Error::Older)));
        }
        drop(super::store(&dir));
        let which = Which {
            table: String::from("event"),
            host: None,
            intervals: false,
            silent: false,
            most: 1000,
        };
        let shown = |window| {
            let mut reader = Reader::open(&path(&dir)).unwrap();
            let mut meter = Meter::unlimited();
            let rows = reader.rows(&which, window, &mut meter).unwrap();
            rows.tables.into_iter().next().unwrap().rows
        };
        assert_eq!(shown(ALL).len(), 93);
        let times = shown(window(9, 10))
            .into_iter()
            .map(|mut row| row.values.remove("time_us"));
        let times: Vec<_> = times.map(Option::unwrap).collect();
        assert_eq!(times, [27, 28, 29]);
        assert!(
            crate::store::upkeep::check(&path(&dir))
                .unwrap()
                .faults
                .is_empty()
        );
    }
}

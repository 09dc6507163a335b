//! The bounds: by size, of the log, of the number of hosts, and a disk without room.

use rusqlite::{Connection, ErrorCode};
use tempfile::TempDir;
use wire::{EventKind, EventRow, Role};

use super::probe_tests;
use super::{
    ALL, NOW, ROOM, STORED, batch, count, edge, endpoint, opened, path, put, rows, sighting, window,
};
use crate::accept::Opened;
use crate::store::{Bounds, Deleted, Error, Outcome, Reader, Store};

const MIB: u64 = 1 << 20;
/// Later than anything these tests store.
const LATER: i64 = NOW + 10 * 3_600_000;

fn small(max_bytes: u64) -> Bounds {
    Bounds { max_bytes, ..ROOM }
}

pub(super) fn event(n: u64) -> EventRow {
    EventRow {
        kind: EventKind::Refused,
        time_us: n,
        role: Role::Client,
        process_id: 1,
        local: endpoint("10.0.0.1:4000"),
        remote: endpoint("10.0.0.2:80"),
        netns: 1,
        token: n,
        errno: 111,
        duration_us: 7,
        bytes_sent: 0,
        bytes_received: 0,
        retransmits: 0,
    }
}

/// Some rows of each kind: one flow that goes on, others that come and go.
fn full(sequence: u64) -> Opened {
    let mut batch = batch(sequence, vec![edge(0, sequence)]).batch;
    for n in 0..40 {
        let mut row = edge(sequence * 10_000 - 5, 3);
        row.remote.port = u16::try_from((sequence * 40 + n) % 60_000).unwrap() + 100;
        batch.edges.push(row);
    }
    batch.sightings = (0..100).map(|n| sighting(sequence << 32 | n)).collect();
    batch.events = (0..10).map(|n| event(sequence << 8 | n)).collect();
    let probe = probe_tests::Probe {
        total: false,
        since_ms: 0,
        device: 1,
        count: 3,
        depth: sequence,
    };
    batch.others = vec![probe_tests::probes(&[probe])];
    opened(batch)
}

pub(super) fn left(store: &Store, table: &str) -> u64 {
    // Rows that are packed count as those that are not.
    let packed = |kinds: &str| {
        format!("(SELECT coalesce(sum(row_count), 0) FROM block WHERE kind {kinds} AND pieces > 0)")
    };
    let sql = match table {
        "sample" => format!("SELECT {}", packed("= 0")),
        "event" => format!("SELECT {}", packed(">= 16")),
        "sighting" => format!(
            "SELECT count(*) + {} FROM sighting",
            packed("BETWEEN 1 AND 15")
        ),
        table => format!("SELECT count(*) FROM {table}"),
    };
    let left: i64 = store
        .connection
        .query_row(&sql, (), |row| row.get(0))
        .unwrap();
    left.unsigned_abs()
}

#[test]
fn a_full_store_evicts_the_oldest_accepts_for_ever_and_counts_it() {
    const BATCHES: u64 = 300;
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(&path(&dir), small(MIB)).unwrap();
    let mut evicted = Deleted::default();
    for sequence in 1..=BATCHES {
        assert_eq!(put(&mut store, &full(sequence)), STORED, "{sequence}");
        // As the writer does between groups, here with every other batch.
        if sequence % 2 == 0 {
            store.evict(NOW).unwrap();
        }
        evicted.add(&store.take_evicted());
        let size = store.size().unwrap();
        assert!(size.file_bytes <= MIB, "{size:?}");
        assert!(size.log_bytes <= 64 * MIB, "{size:?}");
    }
    // Accepted is what is there and what was evicted, of every kind.
    assert_eq!(evicted.batches + left(&store, "batch"), BATCHES);
    let samples = left(&store, "sample") + left(&store, "series_sample");
    assert_eq!(evicted.samples + samples, BATCHES * 42);
    assert_eq!(evicted.sightings + left(&store, "sighting"), BATCHES * 100);
    assert_eq!(evicted.events + left(&store, "event"), BATCHES * 10);
    let noted = Reader::open(&path(&dir))
        .unwrap()
        .evicted()
        .unwrap()
        .unwrap();
    assert_eq!(noted.rows, evicted.rows());
    // Of the oldest, and no more than needed.
    let oldest: i64 = store
        .connection
        .query_row("SELECT min(end_ms) FROM batch", (), |row| row.get(0))
        .unwrap();
    assert!(oldest > noted.before_ms);
    assert!(store.size().unwrap().used_bytes > MIB / 2);
    let last = i64::try_from(BATCHES).unwrap();
    assert_eq!(count(&dir, window(last - 1, last)), 40 * 3 + 1);
}

#[test]
fn what_was_counted_before_an_eviction_is_not_counted_after_it() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(&path(&dir), small(MIB)).unwrap();
    // A flow that is silent until its history is gone.
    let mut quiet = edge(0, 1000);
    quiet.remote.port = 81;
    quiet.closed = 999;
    put(&mut store, &batch(1, vec![quiet.clone()]));
    let mut sequence = 1;
    while Reader::open(&path(&dir))
        .unwrap()
        .evicted()
        .unwrap()
        .is_none()
        || sequence < 100
    {
        sequence += 1;
        put(&mut store, &full(sequence));
    }
    while store.evict(NOW).unwrap() {}
    let mut counted = |store: &mut Store, sequence: u64, opened: u64| {
        quiet.opened = opened;
        let mut row = quiet.clone();
        row.bytes_sent = opened * 100;
        row.rtt = edge(0, opened).rtt;
        put(store, &batch(sequence, vec![row]));
        let at = i64::try_from(sequence).unwrap();
        count(&dir, window(at - 1, at))
    };
    // Where it stood when it was seen again, and what it did since.
    assert_eq!(counted(&mut store, sequence + 1, 1005), 0);
    assert_eq!(counted(&mut store, sequence + 2, 1007), 2);
}

#[test]
fn a_store_whose_bound_is_lowered_becomes_smaller() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(&path(&dir), ROOM).unwrap();
    for sequence in 1..=150 {
        put(&mut store, &full(sequence));
    }
    assert!(store.size().unwrap().file_bytes > 2 * MIB);
    drop(store);
    let mut store = Store::open(&path(&dir), small(MIB)).unwrap();
    let mut steps = 0;
    while store.evict(NOW).unwrap() || store.size().unwrap().file_bytes > MIB {
        store.shrink().unwrap();
        steps += 1;
        assert!(steps < 10_000, "{:?}", store.size());
    }
    assert_eq!(put(&mut store, &full(151)), STORED);
    drop(store);
    assert!(path(&dir).metadata().unwrap().len() <= MIB);
}

#[test]
fn a_batch_that_never_fits_is_refused_and_evicts_nothing() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(&path(&dir), small(MIB)).unwrap();
    put(&mut store, &full(1));
    let mut huge = batch(2, vec![]).batch;
    huge.sightings = (0..20_000).map(sighting).collect();
    let refused = store.put(&[&opened(huge)], NOW).remove(0);
    assert!(matches!(refused, Err(Error::TooLarge { max_bytes: MIB })));
    assert_eq!(store.take_evicted().rows(), 0);
    assert_eq!(put(&mut store, &full(3)), STORED);
    assert_eq!(left(&store, "sighting"), 200);
}

#[test]
fn a_disk_without_room_is_refused_for_and_nothing_is_evicted_for_it() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(&path(&dir), ROOM).unwrap();
    // SQLite reports both as the same.
    store
        .connection
        .pragma_update(None, "max_page_count", 200)
        .unwrap();
    let mut stored = 0;
    let error = (1..200)
        .find_map(
            |sequence| match store.put(&[&full(sequence)], NOW).remove(0) {
                Ok(_) => {
                    stored = sequence;
                    None
                }
                Err(error) => Some(error),
            },
        )
        .expect("the bound is reached");
    let Error::Sqlite { source, .. } = error else {
        panic!("{error}");
    };
    assert_eq!(source.sqlite_error_code(), Some(ErrorCode::DiskFull));
    assert_eq!(left(&store, "sighting"), stored * 100);
    assert_eq!(store.take_evicted().rows(), 0);
    // Once there is room again it goes on by itself, with all that was answered.
    store
        .connection
        .pragma_update(None, "max_page_count", 100_000)
        .unwrap();
    assert_eq!(put(&mut store, &full(stored + 1)), STORED);
    assert_eq!(left(&store, "batch"), stored + 1);
}

#[test]
fn a_log_that_somebody_holds_is_bounded_and_goes_on_by_itself() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(&path(&dir), ROOM).unwrap();
    store.log_bytes = MIB;
    put(&mut store, &full(1));
    let reader = Connection::open(path(&dir)).unwrap();
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM batch")
        .unwrap();
    let refused = (2..500).find_map(|sequence| {
        let outcome = store.put(&[&full(sequence)], NOW).remove(0);
        outcome.err().map(|error| (sequence, error))
    });
    let (sequence, error) = refused.expect("the log has a bound");
    assert!(matches!(error, Error::Log { .. }), "{error}");
    assert!(store.size().unwrap().log_bytes < 4 * MIB);
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!(put(&mut store, &full(sequence)), STORED);
    assert_eq!(left(&store, "batch"), sequence);
}

fn of_host(host: u8, sequence: u64) -> Opened {
    let mut batch = full(sequence).batch;
    batch.header.host = [host; 16];
    batch.header.boot = [host; 16];
    opened(batch)
}

#[test]
fn the_host_unseen_for_longest_makes_room_with_all_it_sent() {
    let dir = TempDir::new().unwrap();
    let bounds = Bounds { hosts: 3, ..ROOM };
    let mut store = Store::open(&path(&dir), bounds).unwrap();
    let mut send = |host: u8, sequence: u64, at: i64| {
        let batch = of_host(host, sequence);
        store.put(&[&batch], at).remove(0).unwrap()
    };
    for host in [1, 2, 3] {
        assert_eq!(send(host, 1, NOW + i64::from(host)), STORED);
    }
    // All of them were seen a moment ago: whoever invents hosts drives out none of these.
    assert_eq!(send(4, 1, NOW + 10), Outcome::TooManyHosts);
    assert_eq!(send(1, 2, LATER), STORED);
    assert_eq!(send(3, 2, LATER), STORED);
    assert_eq!(send(4, 1, LATER), STORED);
    assert_eq!(store.take_hosts_forgotten(), 1);
    let hosts = || {
        let reader = Reader::open(&path(&dir)).unwrap();
        let hosts = reader.hosts(None, 10, 1 << 20).unwrap();
        hosts.iter().map(|host| host.host.0[0]).collect::<Vec<u8>>()
    };
    assert_eq!(hosts(), [1, 3, 4]);
    let mut purged = 0;
    while let Some(rows) = store.purge_hosts().unwrap() {
        assert!(rows <= 2000);
        purged += rows;
    }
    assert!(purged > 150, "{purged}");
    for (table, rows) in [("host", 3), ("boot", 3), ("batch", 5), ("sighting", 500)] {
        assert_eq!(left(&store, table), rows, "{table}");
    }
    assert_eq!((left(&store, "sample"), left(&store, "event")), (205, 50));
    // A host that comes back is a new one.
    assert_eq!(
        store
            .put(&[&of_host(2, 1)], LATER + 10 * 3_600_000)
            .remove(0)
            .unwrap(),
        STORED
    );
    assert_eq!(hosts().len(), 3);
}

#[test]
fn hosts_are_listed_page_by_page_each_once() {
    let dir = TempDir::new().unwrap();
    let mut store = Store::open(&path(&dir), ROOM).unwrap();
    for host in 1..=30_u8 {
        let mut batch = batch(1, vec![]).batch;
        batch.header.host = [host; 16];
        batch.hosts.push(wire::HostRow {
            // Some share a name, one has none.
            hostname: "abc"[..usize::from(host % 4).min(3)].to_owned(),
            facts: vec![(String::from("a"), "x".repeat(100))],
            ..wire::HostRow::default()
        });
        put(&mut store, &opened(batch));
    }
    let reader = Reader::open(&path(&dir)).unwrap();
    let all = reader.hosts(None, 100, usize::MAX).unwrap();
    assert_eq!(all.len(), 30);
    for (most, bytes) in [(1, usize::MAX), (7, usize::MAX), (100, 600)] {
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let page = reader.hosts(after.as_ref(), most, bytes).unwrap();
            let Some(last) = page.last() else { break };
            assert!(page.len() <= most);
            assert!(
                page.iter().map(|host| host.report.len()).sum::<usize>()
                    < bytes.saturating_add(600)
            );
            after = Some((last.hostname.clone(), last.host));
            paged.extend(page);
        }
        assert_eq!(paged, all);
    }
    assert!(reader.hosts(None, 100, 600).unwrap().len() < 10);
    drop(
        Reader::open(&path(&dir))
            .unwrap()
            .window(ALL, &mut rows(1000))
            .unwrap(),
    );
}

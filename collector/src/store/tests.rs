use std::path::Path;

use proptest::prelude::{ProptestConfig, Strategy, prop, prop_assert_eq, proptest};
use tempfile::TempDir;
use wire::{
    Batch, BatchHeader, EdgeRow, Endpoint, Histogram, HostRow, Kept, Life, Part, ProcessRow, Role,
    SightingRow,
};

#[path = "block_tests.rs"]
mod block_tests;
#[path = "clock_tests.rs"]
mod clock_tests;
#[path = "contract_tests.rs"]
pub(crate) mod contract_tests;
#[path = "copies_tests.rs"]
mod copies_tests;
#[path = "described_tests.rs"]
mod described_tests;
#[path = "history_tests.rs"]
pub(crate) mod history_tests;
#[path = "hostile_tests.rs"]
mod hostile_tests;
#[path = "lasting_tests.rs"]
mod lasting_tests;
#[path = "marks_tests.rs"]
mod marks_tests;
#[path = "nat_tests.rs"]
mod nat_tests;
#[path = "probe_tests.rs"]
mod probe_tests;
#[path = "retention_tests.rs"]
mod retention_tests;
#[path = "room_tests.rs"]
mod room_tests;
#[path = "series_tests.rs"]
mod series_tests;
#[path = "slices_tests.rs"]
mod slices_tests;
#[path = "window_tests.rs"]
mod window_tests;

use super::{Bounds, Error, Outcome, Reader, Retention, Store, Window};
use crate::accept::Opened;
use crate::join::{Presence, Sighting};
use crate::meter::{Exceeded, Meter};

const STORED: Outcome = Outcome::Stored {
    clock_ahead: false,
    copied: false,
    unplaced: 0,
    refused: 0,
};
const ALL: Window = Window {
    from_ms: i64::MIN,
    to_ms: i64::MAX,
};
/// Far after every batch of these tests.
pub(crate) const NOW: i64 = 1_000_000_000;
const ROOM: Bounds = Bounds {
    max_bytes: 1 << 30,
    hosts: 100,
};

/// At most so many rows.
pub(crate) fn rows(most: usize) -> Meter {
    Meter::new(most, usize::MAX)
}

fn endpoint(text: &str) -> Endpoint {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

fn edge(since_ms: u64, opened: u64) -> EdgeRow {
    let mut rtt = Histogram::default();
    for _ in 0..opened {
        rtt.record(300);
    }
    let ends = (
        1,
        Role::Client,
        endpoint("10.0.0.1:0"),
        endpoint("10.0.0.2:80"),
    );
    EdgeRow {
        opened,
        closed: opened,
        bytes_sent: opened * 100,
        rtt,
        ..EdgeRow::new(ends, 1, since_ms)
    }
}

fn sighting(token: u64) -> SightingRow {
    SightingRow {
        token,
        part: Part::Wrote,
        answer: false,
        role: Role::Client,
        kept: Kept::Sampled,
        life: Life::Unknown,
        sample_level: 0,
        process_id: 1,
        local: endpoint("10.0.0.1:4000"),
        remote: endpoint("10.0.0.2:80"),
        netns: 1,
        start_us: 5,
    }
}

/// The batch of interval `sequence`, ten seconds long.
fn batch(sequence: u64, edges: Vec<EdgeRow>) -> Opened {
    let batch = Batch {
        header: BatchHeader {
            host: [1; 16],
            boot: [2; 16],
            sequence,
            start_ms: (sequence - 1) * 10_000,
            end_ms: sequence * 10_000,
        },
        edges,
        ..Batch::default()
    };
    opened(batch)
}

pub(crate) fn opened(batch: Batch) -> Opened {
    let content = format!("{batch:?}");
    Opened {
        digest: crate::digest::sha256(content.as_bytes()),
        credential: None,
        payload: None,
        bytes: content.len(),
        batch,
    }
}

pub(crate) fn store(dir: &TempDir) -> Store {
    Store::open(&path(dir), ROOM).unwrap()
}

pub(crate) fn path(dir: &TempDir) -> std::path::PathBuf {
    dir.path().join("collector.db")
}

fn put(store: &mut Store, opened: &Opened) -> Outcome {
    store.put(&[opened], NOW).remove(0).unwrap()
}

/// Connections opened in a window.
fn count(dir: &TempDir, window: Window) -> u64 {
    let input = Reader::open(&path(dir))
        .unwrap()
        .window(window, &mut rows(1000))
        .unwrap();
    let counters = input.flows.iter().filter_map(|flow| flow.counters.as_ref());
    counters
        .map(|counters| {
            assert_eq!(counters.plain(6), counters.opened() * 100);
            assert_eq!(counters.counters().rtt.count(), counters.opened());
            counters.opened()
        })
        .sum()
}

fn window(from: i64, to: i64) -> Window {
    Window {
        from_ms: from * 10_000,
        to_ms: to * 10_000,
    }
}

#[test]
fn a_batch_is_stored_once_and_a_forgery_of_it_never() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let first = batch(1, vec![edge(0, 5)]);
    let forged = batch(1, vec![edge(0, 6)]);
    assert_eq!(put(&mut store, &first), STORED);
    assert_eq!(put(&mut store, &first), Outcome::Duplicate);
    assert_eq!(put(&mut store, &forged), Outcome::Conflict);
    let group = store.put(&[&batch(2, vec![]), &batch(2, vec![]), &forged], NOW);
    let group: Vec<_> = group.into_iter().map(Result::unwrap).collect();
    assert_eq!(group, [STORED, Outcome::Duplicate, Outcome::Conflict]);
    assert_eq!(count(&dir, ALL), 5);
}

#[test]
fn a_window_shows_what_happened_in_it() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    for (sequence, opened) in [(1, 5), (2, 7), (4, 20)] {
        put(&mut store, &batch(sequence, vec![edge(0, opened)]));
    }
    assert_eq!(count(&dir, ALL), 20);
    assert_eq!(count(&dir, window(0, 1)), 5);
    assert_eq!(count(&dir, window(1, 2)), 2);
    // Interval 3 was lost or silent: its part shows in the next one, and totals are right.
    assert_eq!(count(&dir, window(2, 3)), 0);
    assert_eq!(count(&dir, window(2, 4)), 13);
    assert_eq!(count(&dir, window(3, 4)), 13);
}

#[test]
fn counters_that_begin_again_are_added_up() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    put(&mut store, &batch(1, vec![edge(0, 5)]));
    put(&mut store, &batch(2, vec![edge(10_500, 3)]));
    let mut restarted = batch(1, vec![edge(25_000, 4)]).batch;
    restarted.header.boot = [3; 16];
    (restarted.header.start_ms, restarted.header.end_ms) = (25_000, 30_000);
    put(&mut store, &opened(restarted));
    assert_eq!(count(&dir, ALL), 12);
    assert_eq!(count(&dir, window(1, 2)), 3);
    assert_eq!(count(&dir, window(2, 3)), 4);
}

#[test]
fn an_open_and_silent_connection_stays_in_the_picture_while_its_agent_reports() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let mut row = edge(0, 2);
    row.closed = 1;
    put(&mut store, &batch(1, vec![row]));
    let flows = |w| {
        Reader::open(&path(&dir))
            .unwrap()
            .window(w, &mut rows(100))
            .unwrap()
            .flows
    };
    assert!(flows(window(1, 9)).is_empty());
    put(&mut store, &batch(5, vec![]));
    let silent = flows(window(1, 9));
    assert_eq!(silent.len(), 1);
    assert_eq!(silent[0].open_before, 1);
    assert!(silent[0].counters.as_ref().unwrap().is_zero());
    assert!(flows(window(5, 9)).is_empty());
}

#[test]
fn a_repeated_sighting_is_one_sighting() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    for sequence in [2, 1, 3] {
        let mut batch = batch(sequence, vec![]).batch;
        batch.sightings.push(sighting(u64::MAX - 7));
        put(&mut store, &opened(batch));
    }
    let input = Reader::open(&path(&dir))
        .unwrap()
        .window(ALL, &mut rows(100))
        .unwrap();
    assert_eq!(input.sightings.len(), 1);
    let seen = &input.sightings[0];
    assert_eq!((seen.token, seen.port), (u64::MAX - 7, 4000));
    assert_eq!((seen.first_ms, seen.last_ms), (0, 10_000));
}

#[test]
fn the_newest_names_stay_whatever_arrives_last() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    for sequence in [1, 3, 2] {
        let mut batch = batch(sequence, vec![edge(0, sequence)]).batch;
        batch.processes.push(ProcessRow {
            process_id: 1,
            service: format!("service {sequence}"),
            tags: vec![(String::from("team"), format!("{sequence}"))],
            ..ProcessRow::default()
        });
        batch.hosts.push(HostRow {
            hostname: format!("host {sequence}"),
            ..HostRow::default()
        });
        put(&mut store, &opened(batch));
    }
    let mut reader = Reader::open(&path(&dir)).unwrap();
    let input = reader.window(ALL, &mut rows(100)).unwrap();
    assert_eq!(input.processes[0].row.service, "service 3");
    assert_eq!(input.processes[0].row.tags[0].1, "3");
    let hosts = reader.hosts(None, 10, 1 << 20).unwrap();
    assert_eq!(
        (hosts[0].hostname.as_str(), hosts[0].batches),
        ("host 3", 3)
    );
    assert_eq!(hosts[0].last_sequence, 3);
}

#[test]
fn an_answer_from_too_many_rows_is_refused() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let mut batch = batch(1, vec![]).batch;
    batch.sightings = (0..50).map(sighting).collect();
    put(&mut store, &opened(batch));
    let mut reader = Reader::open(&path(&dir)).unwrap();
    assert!(reader.window(ALL, &mut rows(51)).is_ok());
    assert!(matches!(
        reader.window(ALL, &mut rows(50)),
        Err(Error::Exceeded(Exceeded::Rows { limit: 50 }))
    ));
}

#[test]
fn a_store_of_another_program_or_version_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let foreign = dir.path().join("foreign.db");
    let db = rusqlite::Connection::open(&foreign).unwrap();
    db.execute_batch("CREATE TABLE theirs (x)").unwrap();
    assert!(matches!(Store::open(&foreign, ROOM), Err(Error::Foreign)));
    assert!(matches!(Reader::open(&foreign), Err(Error::Foreign)));

    drop(store(&dir));
    let db = rusqlite::Connection::open(path(&dir)).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(
        Store::open(&path(&dir), ROOM),
        Err(Error::Newer { version: 99 })
    ));
    assert!(matches!(
        Reader::open(&path(&dir)),
        Err(Error::Newer { version: 99 })
    ));
    assert!(matches!(
        Reader::open(Path::new("/nowhere/x.db")),
        Err(Error::Open(_))
    ));
}

#[test]
fn others_cannot_read_a_new_store() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    put(&mut store, &batch(1, vec![]));
    for name in ["collector.db", "collector.db-wal", "collector.db-shm"] {
        let mode = dir
            .path()
            .join(name)
            .metadata()
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o007, 0, "{name}: {mode:o}");
    }
}

#[test]
fn a_damaged_store_is_an_error_and_not_a_panic() {
    let dir = TempDir::new().unwrap();
    let mut first = store(&dir);
    put(&mut first, &batch(1, vec![edge(0, 5)]));
    drop(first);
    let bytes = std::fs::read(path(&dir)).unwrap();
    for at in (0..bytes.len()).step_by(499) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x5a;
        std::fs::write(path(&dir), &damaged).unwrap();
        let answer = Reader::open(&path(&dir)).and_then(|mut r| r.window(ALL, &mut rows(1000)));
        drop(answer);
        if let Ok(mut store) = Store::open(&path(&dir), ROOM) {
            drop(store.put(&[&batch(2, vec![edge(0, 6)])], NOW));
        }
    }
}

proptest! {
    // Each case writes two databases.
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_order_of_arrival_changes_nothing(
        order in prop::collection::vec(0_usize..12, 0..30),
        windows in prop::collection::vec((0_i64..13, 0_i64..13), 3),
        rest in prop::sample::subsequence((0..12).collect::<Vec<usize>>(), 12).prop_shuffle(),
    ) {
        let batches: Vec<Opened> = (1..=12)
            .map(|n| {
                let open = EdgeRow {
                    closed: 0,
                    ..edge(0, n * n)
                };
                let mut batch = batch(n, vec![open]).batch;
                let life = if n % 4 == 3 { Life::Ended } else { Life::Open };
                batch.sightings.push(SightingRow {
                    life,
                    ..sighting(n / 4)
                });
                opened(batch)
            })
            .collect();
        let (in_order, mixed) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let mut first = store(&in_order);
        for batch in &batches {
            put(&mut first, batch);
        }
        let mut second = store(&mixed);
        let arrivals: Vec<&Opened> = order.iter().chain(&rest).map(|n| &batches[*n]).collect();
        for group in arrivals.chunks(5) {
            for outcome in second.put(group, NOW) {
                assert!(matches!(outcome.unwrap(), STORED | Outcome::Duplicate));
            }
        }
        let sightings = |dir: &TempDir, window| {
            let input = Reader::open(&path(dir)).unwrap().window(window, &mut rows(1000)).unwrap();
            let one = |s: &Sighting| (s.token, s.first_ms, s.last_ms, s.presence);
            let mut all: Vec<_> = input.sightings.iter().map(one).collect();
            all.sort_unstable();
            all
        };
        for window in windows.into_iter().map(|(from, to)| window(from, to)).chain([ALL]) {
            prop_assert_eq!(count(&in_order, window), count(&mixed, window));
            prop_assert_eq!(sightings(&in_order, window), sightings(&mixed, window));
        }
    }
}

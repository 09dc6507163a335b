//! What is deleted is missing from answers that say so, and from when they are whole.

use tempfile::TempDir;

use super::*;
use crate::store::tests::rows;
use crate::store::{Bounds, Retention, Which};

/// Of the shortest slices, and of the longest.
const SHORT: i64 = 20_000;
const LONG: i64 = 120_000;

fn window(from_ms: i64, to_ms: i64) -> Window {
    Window { from_ms, to_ms }
}

/// Connections all the time, told each second.
fn steady() -> History {
    let talks = (0..100).map(|n| Talk {
        client: n % CLIENTS,
        server: n % SERVERS,
        begin: 1000 * n as u64,
        end: 1000 * n as u64 + 500,
    });
    let agent = Agent {
        interval: 1_000,
        phase: 1_000,
        restarts: Vec::new(),
        tells_ends: true,
        adds: true,
    };
    History {
        talks: talks.collect(),
        agents: vec![agent; 4],
    }
}

fn connections(topology: &Topology) -> u64 {
    topology.edges.iter().map(|edge| edge.connections).sum()
}

fn retain(store: &mut Store, mut retention: Retention, now_ms: i64) {
    while store.retain(&mut retention, now_ms).unwrap().more {}
}

/// A store that has no room left.
fn full(dir: &TempDir) -> Store {
    let used = store(dir).size().unwrap().used_bytes;
    let bounds = Bounds {
        max_bytes: used,
        hosts: 100,
    };
    Store::open(&path(dir), bounds).unwrap()
}

#[test]
fn a_window_that_begins_where_rows_are_gone_says_from_when_it_is_whole() {
    let dir = steady().stored();
    let mut store = store(&dir);
    join_slices(&mut store, &dir, usize::MAX);
    // From the middle of the second slice: its rows are there.
    let cut = window(SHORT + 5_000, LONG);
    let before = shown(&dir, cut);
    assert_eq!((before.whole_from_ms, connections(&before)), (None, 75));
    retain(&mut store, Retention::new(1), 2 * SHORT + 10_001);
    // They went, and the slice has more than was asked for.
    let after = shown(&dir, cut);
    assert_eq!(after.whole_from_ms, Some(2 * SHORT));
    assert_eq!(connections(&after), 60);
    let whole = shown(&dir, window(2 * SHORT, LONG));
    assert_eq!((whole.whole_from_ms, connections(&whole)), (None, 60));
    assert_eq!(after.edges, whole.edges);
    // What was joined is whole, and so is what is young enough.
    let joined = shown(&dir, window(SHORT, LONG));
    assert_eq!((joined.whole_from_ms, connections(&joined)), (None, 80));
    let young = shown(&dir, window(2 * SHORT + 10_000, LONG));
    assert_eq!((young.whole_from_ms, connections(&young)), (None, 50));
    // Rows that have gone in part, of a slice of which they are asked for.
    let part = shown(&dir, window(2 * SHORT + 5_000, LONG));
    assert_eq!(part.whole_from_ms, Some(2 * SHORT + 10_000));
    assert_eq!(part.edges, young.edges);
}

#[test]
fn slices_that_are_gone_are_missing_and_said_so() {
    let dir = steady().stored();
    let mut store = store(&dir);
    join_slices(&mut store, &dir, usize::MAX);
    let ages = Retention::new(1).with_joined(1, 1);
    retain(&mut store, ages, LONG + 1);
    let all = shown(&dir, WHOLE);
    assert_eq!((all.whole_from_ms, connections(&all)), (Some(LONG), 0));
    let later = shown(&dir, window(LONG, END));
    assert_eq!(later.whole_from_ms, None);
}

#[test]
fn slices_that_were_never_joined_before_their_rows_went_are_said_to_be_missing() {
    let dir = steady().stored();
    let mut store = store(&dir);
    retain(&mut store, Retention::new(1), 50_001);
    join_slices(&mut store, &dir, usize::MAX);
    let all = shown(&dir, window(0, LONG));
    assert_eq!((all.whole_from_ms, connections(&all)), (Some(50_000), 50));
}

#[test]
fn nothing_is_said_to_be_missing_while_nothing_was_deleted() {
    let dir = steady().stored();
    let mut store = store(&dir);
    // Nothing is so old.
    retain(&mut store, Retention::new(NOW).with_joined(NOW, NOW), NOW);
    let all = window(-1_000_000, LONG);
    assert_eq!(shown(&dir, all).whole_from_ms, None);
    join_slices(&mut store, &dir, usize::MAX);
    assert_eq!(shown(&dir, all).whole_from_ms, None);
    assert_eq!(connections(&shown(&dir, all)), 100);
}

#[test]
fn rows_of_tables_say_from_when_they_are_whole() {
    let dir = steady().stored();
    let mut store = store(&dir);
    let which = Which {
        table: String::from("event"),
        host: None,
        intervals: false,
        silent: false,
        most: 10,
    };
    let whole = |window| {
        let mut reader = Reader::open(&path(&dir)).unwrap();
        let answer = reader.rows(&which, window, &mut rows(1000)).unwrap();
        answer.whole_from_ms
    };
    assert_eq!(whole(WHOLE), None);
    retain(&mut store, Retention::new(1), 50_001);
    assert_eq!(whole(WHOLE), Some(50_000));
    assert_eq!(whole(window(50_000, END)), None);
}

#[test]
fn what_made_room_is_missing_and_said_so() {
    let dir = steady().stored();
    let mut store = full(&dir);
    while store.evict(NOW).unwrap() {}
    assert!(store.take_evicted().samples > 0, "rows made room");
    let all = shown(&dir, WHOLE);
    assert!(all.whole_from_ms > Some(0), "{:?}", all.whole_from_ms);
    assert_eq!(all.whole_from_ms, all.evicted_before_ms);
}

#[test]
fn joined_slices_make_room_the_shortest_and_oldest_first_and_are_not_joined_again() {
    let dir = steady().stored();
    let mut store = store(&dir);
    join_slices(&mut store, &dir, usize::MAX);
    let before = shown(&dir, window(0, LONG));
    // As if each were large.
    let db = rusqlite::Connection::open(path(&dir)).unwrap();
    db.execute("UPDATE slice SET bytes = 1 << 20", ()).unwrap();
    drop(store);
    let mut store = full(&dir);
    let short = || -> Vec<i64> {
        let sql = "SELECT start_ms FROM slice WHERE length_ms = ?1 AND joined > 0 ORDER BY 1";
        let mut statement = db.prepare(sql).unwrap();
        let found = statement.query_map([SHORT], |row| row.get(0)).unwrap();
        found.collect::<Result<_, _>>().unwrap()
    };
    let all = short();
    assert!(all.len() > 5, "{all:?}");
    // One step: what was joined takes more than half.
    assert!(store.evict(NOW).unwrap(), "the store is full");
    let slices = store.take_evicted().slices;
    assert_eq!(slices, 16);
    assert_eq!(short(), all.iter().copied().skip(16).collect::<Vec<_>>());
    let mut reader = Reader::open(&path(&dir)).unwrap();
    let next = super::super::next(&mut reader, LATER, Meter::unlimited()).unwrap();
    assert_eq!(next.map(|finished| finished.waiting), None);
    // Longer ones still answer, and the rows are there for what they do not.
    let after = shown(&dir, window(0, LONG));
    assert_eq!(after.edges, before.edges);
    assert_eq!(after.whole_from_ms, None);
    let cut = shown(&dir, window(5_000, LONG));
    assert_eq!((cut.whole_from_ms, connections(&cut)), (None, 95));
}

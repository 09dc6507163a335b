//! Which slices a batch marks because of the other ends of its connections.

use tempfile::TempDir;
use wire::{Batch, BatchHeader, Life, Part, Role, SightingRow};

use super::{Opened, endpoint, opened, put, sighting, store};
use crate::store::Store;
use crate::store::slice::LENGTHS;

/// Of the shortest slices.
const LENGTH: i64 = LENGTHS[0];
const CLIENT: u8 = 1;
const SERVER: u8 = 2;

/// What a host tells of a connection in an interval.
fn told(host: u8, (begin, end): (u64, u64), start_ms: u64, life: Life) -> Opened {
    let ends = [endpoint("10.0.0.1:4000"), endpoint("10.0.0.2:80")];
    let (part, role, [local, remote]) = match host {
        SERVER => (Part::Read, Role::Server, [ends[1], ends[0]]),
        _ => (Part::Wrote, Role::Client, ends),
    };
    opened(Batch {
        header: BatchHeader {
            host: [host; 16],
            boot: [host; 16],
            sequence: end,
            start_ms: begin,
            end_ms: end,
        },
        sightings: vec![SightingRow {
            life,
            part,
            role,
            local,
            remote,
            start_us: start_ms * 1000,
            // Host 3 has a connection of its own.
            ..sighting(u64::from(host == 3) + 1)
        }],
        ..Batch::default()
    })
}

/// The shortest slices that wait, by their number; after that none does.
fn waiting(store: &Store) -> Vec<i64> {
    let mut statement = (store.connection)
        .prepare("SELECT start_ms / ?1 FROM slice WHERE length_ms = ?1 AND generation <> joined")
        .unwrap();
    let found = statement.query_map([LENGTH], |row| row.get(0)).unwrap();
    let mut found: Vec<i64> = found.collect::<Result<_, _>>().unwrap();
    found.sort_unstable();
    let joined = "UPDATE slice SET joined = generation";
    store.connection.execute(joined, ()).unwrap();
    found
}

/// A client's connection, told in slice 0, and others' in 1 and 9.
fn begun(dir: &TempDir, life: Life) -> Store {
    let mut store = store(dir);
    put(&mut store, &told(CLIENT, (10_000, 20_000), 12_000, life));
    put(&mut store, &told(3, (21_000, 22_000), 21_000, Life::Ended));
    put(&mut store, &told(3, (22_000, 190_000), 30_000, Life::Ended));
    assert_eq!(waiting(&store), (0..=9).collect::<Vec<_>>());
    store
}

#[test]
fn the_other_end_of_a_short_connection_marks_the_slice_that_tells_of_it_and_no_other() {
    for life in [Life::Ended, Life::Open] {
        let dir = TempDir::new().unwrap();
        let mut store = begun(&dir, Life::Ended);
        // By a clock that is ahead.
        put(&mut store, &told(SERVER, (61_000, 70_000), 62_000, life));
        assert_eq!(waiting(&store), [0, 3]);
    }
}

#[test]
fn a_collector_that_was_started_anew_marks_all_that_may_tell_of_a_connection() {
    let dir = TempDir::new().unwrap();
    drop(begun(&dir, Life::Ended));
    let mut store = store(&dir);
    put(
        &mut store,
        &told(SERVER, (161_000, 170_000), 162_000, Life::Ended),
    );
    assert_eq!(
        waiting(&store),
        (1..=9).collect::<Vec<_>>(),
        "up to what clocks differ"
    );
    put(
        &mut store,
        &told(SERVER, (61_000, 70_000), 62_000, Life::Ended),
    );
    assert_eq!(waiting(&store), (0..=9).collect::<Vec<_>>());
}

#[test]
fn an_end_marks_the_slices_in_which_others_tell_of_the_connection_later() {
    let dir = TempDir::new().unwrap();
    let mut store = begun(&dir, Life::Open);
    put(
        &mut store,
        &told(SERVER, (61_000, 70_000), 61_500, Life::Open),
    );
    assert!(
        waiting(&store).starts_with(&[0, 1, 2, 3]),
        "the client has it"
    );
    // Nothing but its own slice, and what follows it.
    put(
        &mut store,
        &told(CLIENT, (20_000, 39_000), 12_000, Life::Ended),
    );
    assert_eq!(waiting(&store), (1..=9).collect::<Vec<_>>());
}

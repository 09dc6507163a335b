//! What of a run goes on, in whatever order its batches come, and whatever of them is gone.

use std::collections::BTreeMap;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop, prop_assert_eq, proptest};

use super::*;
use crate::store::lasting;

/// Batches of the run.
const BATCHES: u64 = 40;

/// A connection: the batch that tells of it first, and the one that tells its end.
#[derive(Clone, Copy, Debug)]
struct Lived {
    begin: u64,
    end: Option<u64>,
}

fn lives() -> impl Strategy<Value = Vec<Lived>> {
    let one = (1..BATCHES, prop::option::of(1..BATCHES)).prop_map(|(begin, lasts)| Lived {
        begin,
        end: lasts
            .map(|lasts| begin + lasts)
            .filter(|end| *end <= BATCHES),
    });
    prop::collection::vec(one, 1..20)
}

fn batches(lives: &[Lived]) -> Vec<Opened> {
    let told = |sequence| {
        let mut batch = batch(sequence, vec![]).batch;
        for (token, one) in (1..).zip(lives) {
            let life = match (one.begin == sequence, one.end == Some(sequence)) {
                (true, _) => Life::Open,
                (_, true) => Life::Ended,
                _ => continue,
            };
            batch.sightings.push(SightingRow {
                life,
                start_us: one.begin * 10_000_000 - 5,
                ..sighting(token)
            });
        }
        opened(batch)
    };
    (1..=BATCHES).map(told).collect()
}

/// What goes on when batch `sequence` ends, with the interval that told of each first.
fn expected(lives: &[Lived], sequence: u64) -> BTreeMap<u64, (i64, i64)> {
    let goes_on = |one: &Lived| one.begin <= sequence && one.end.is_none_or(|end| end > sequence);
    let all = (1..).zip(lives).filter(|(_, one)| goes_on(one));
    all.map(|(token, one)| {
        let end_ms = one.begin.cast_signed() * 10_000;
        (token, (end_ms - 10_000, end_ms))
    })
    .collect()
}

fn found(store: &Store, sequence: u64) -> BTreeMap<u64, (i64, i64)> {
    let at_ms = sequence.cast_signed() * 10_000;
    let list = lasting::at(&store.connection, 1, at_ms).unwrap().list();
    let told = list
        .iter()
        .map(|row| (row.sighted.token, row.told.unwrap()));
    told.collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn what_goes_on_is_known_at_any_time(
        lives in lives(),
        order in Just((0..usize::try_from(BATCHES).unwrap()).collect::<Vec<_>>()).prop_shuffle(),
        in_order in any::<bool>(),
        restarts in prop::collection::vec(0..BATCHES, 0..3),
        gone in 0..BATCHES / 2,
    ) {
        let dir = TempDir::new().unwrap();
        let mut store = store(&dir);
        let batches = batches(&lives);
        for at in 0..batches.len() {
            if restarts.contains(&(at as u64)) {
                drop(store);
                store = super::store(&dir);
            }
            prop_assert_eq!(put(&mut store, &batches[if in_order { at } else { order[at] }]), STORED);
        }
        for sequence in 1..=BATCHES {
            prop_assert_eq!(found(&store, sequence), expected(&lives, sequence), "{}", sequence);
        }
        // What says what goes on may be gone: it follows from what comes later.
        if in_order {
            let sql = "DELETE FROM block WHERE pieces > 0 AND end_ms <= ?1";
            store.connection.execute(sql, [gone.cast_signed() * 10_000]).unwrap();
            for sequence in gone.max(1)..=BATCHES {
                prop_assert_eq!(found(&store, sequence), expected(&lives, sequence), "{}", sequence);
            }
        }
    }
}

#[test]
fn a_connection_goes_on_in_every_window_until_it_ends_and_for_some_time_without_a_report() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let both = |host: u8, sequence: u64, life: Option<Life>| {
        let row = EdgeRow {
            total: false,
            closed: u64::from(life == Some(Life::Ended)),
            ..edge(1, u64::from(life == Some(Life::Open)))
        };
        let mut batch = batch(sequence, vec![row]).batch;
        (batch.header.host, batch.header.boot) = ([host; 16], [host; 16]);
        batch.sightings.extend(life.map(|life| SightingRow {
            life,
            start_us: 9_999_995,
            part: if host == 1 { Part::Wrote } else { Part::Read },
            ..sighting(7)
        }));
        opened(batch)
    };
    // Each arrives at the end of its interval.
    let send = |store: &mut Store, batch: &Opened| {
        let now_ms = batch.batch.header.end_ms.cast_signed();
        store.put(&[batch], now_ms).remove(0).unwrap();
    };
    for host in [1, 2] {
        send(&mut store, &both(host, 1, Some(Life::Open)));
    }
    // One reports for two hours more, the other one for one minute.
    for sequence in 2..=720 {
        send(&mut store, &both(1, sequence, None));
    }
    for sequence in 2..=6 {
        send(&mut store, &both(2, sequence, None));
    }
    let presences = |window| {
        let mut reader = Reader::open(&path(&dir)).unwrap();
        let input = reader.window(window, &mut rows(10_000)).unwrap();
        let seen = input.sightings.iter().map(|one| (one.part, one.presence));
        let mut seen: Vec<_> = seen.collect();
        seen.sort_unstable_by_key(|(part, _)| *part as u8);
        seen
    };
    let open = [(Part::Wrote, Presence::Open), (Part::Read, Presence::Open)];
    assert_eq!(presences(window(3, 4)), open);
    assert_eq!(
        presences(window(359, 360)),
        open,
        "silent for less than an hour"
    );
    assert_eq!(presences(window(500, 501)), open[..1], "nobody knows");
    send(&mut store, &both(1, 721, Some(Life::Ended)));
    assert_eq!(presences(window(720, 721)), open[..1], "it ended in it");
    assert_eq!(presences(window(721, 722)), []);
}

#[test]
fn what_an_older_version_stored_as_a_row_ends_there() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let told = |sequence, life| {
        let mut batch = batch(sequence, vec![edge(0, sequence)]).batch;
        batch.sightings = vec![SightingRow {
            life,
            ..sighting(7)
        }];
        opened(batch)
    };
    put(&mut store, &told(1, Life::Unknown));
    let open = "UPDATE sighting SET ended_ms = 9223372036854775807";
    store.connection.execute(open, ()).unwrap();
    put(&mut store, &told(3, Life::Ended));
    let left = "SELECT ended_ms FROM sighting";
    let ended: i64 = store
        .connection
        .query_row(left, (), |row| row.get(0))
        .unwrap();
    assert_eq!((ended, room_tests::left(&store, "sighting")), (30_000, 1));
}

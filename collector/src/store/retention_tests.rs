//! What retention deletes, and what it leaves.

use super::*;

pub(super) fn retain(store: &mut Store, age: i64, now: i64) -> Vec<crate::store::Deleted> {
    let mut retention = Retention::new(age);
    let mut steps = Vec::new();
    loop {
        let deleted = store.retain(&mut retention, now).unwrap();
        steps.push(deleted);
        if !deleted.more {
            return steps;
        }
        assert!(steps.len() < 100, "retention does not end");
    }
}

#[test]
fn retention_keeps_what_younger_windows_need() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    for sequence in 1..=10 {
        store
            .put(&[&batch(sequence, vec![edge(0, sequence * 2)])], 0)
            .remove(0)
            .unwrap();
    }
    // Horizon at the end of interval 6: what came before is known without its rows.
    let deleted = retain(&mut store, 40_000, 100_000);
    assert_eq!(deleted.iter().map(|d| d.samples).sum::<u64>(), 6);
    assert_eq!(deleted.iter().map(|d| d.batches).sum::<u64>(), 6);
    assert_eq!(count(&dir, window(6, 7)), 2);
    assert_eq!(count(&dir, window(6, 10)), 8);
}

#[test]
fn the_sighting_of_what_is_open_stays_as_long_as_its_agent_reports() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    for sequence in 1..=14 {
        let mut batch = batch(sequence, vec![]).batch;
        if sequence == 1 {
            batch.edges.push(EdgeRow {
                closed: 1,
                ..edge(0, 2)
            });
            batch.sightings = [(1, Life::Open), (2, Life::Ended)]
                .map(|(token, life)| SightingRow {
                    life,
                    ..sighting(token)
                })
                .to_vec();
        }
        let outcome = store.put(&[&opened(batch)], 0).remove(0);
        outcome.unwrap();
    }
    let deleted = retain(&mut store, 40_000, 100_000);
    assert_eq!(deleted.iter().map(|step| step.sightings).sum::<u64>(), 2);
    let mut reader = Reader::open(&path(&dir)).unwrap();
    let input = reader.window(window(8, 9), &mut rows(100)).unwrap();
    let seen = input.sightings.iter();
    let seen: Vec<_> = seen.map(|s| (s.token, s.presence)).collect();
    assert_eq!(seen, [(1, Presence::Open)]);
    // Nobody reports any more.
    retain(&mut store, 40_000, 1_000_000);
    let left = "SELECT (SELECT count(*) FROM block) + (SELECT count(*) FROM flow)";
    let left: i64 = (store.connection)
        .query_row(left, (), |row| row.get(0))
        .unwrap();
    assert_eq!(left, 0);
}

#[test]
fn retention_ends_with_an_empty_store() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    for sequence in 1..=3 {
        let mut batch = batch(sequence, vec![edge(0, sequence)]).batch;
        batch.sightings.push(sighting(sequence));
        batch.nats.push(nat_tests::nat(sequence));
        batch.processes.push(ProcessRow {
            process_id: 1,
            ..ProcessRow::default()
        });
        store.put(&[&opened(batch)], 0).remove(0).unwrap();
    }
    retain(&mut store, 1000, NOW);
    retain(&mut store, 1000, NOW);
    for table in [
        "block",
        "subject",
        "sighting",
        "flow",
        "process",
        "nat",
        "nat_sample",
        "batch",
        "boot",
        "host",
    ] {
        let sql = format!("SELECT count(*) FROM {table}");
        let left: i64 = store
            .connection
            .query_row(&sql, (), |row| row.get(0))
            .unwrap();
        assert_eq!(left, 0, "{table}");
    }
}

#[test]
fn a_retention_step_is_bounded() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let mut batch = batch(1, vec![]).batch;
    batch.sightings = (0..5000).map(sighting).collect();
    store.put(&[&opened(batch)], 0).remove(0).unwrap();
    let steps = retain(&mut store, 1000, NOW);
    assert!(steps.iter().all(|step| step.sightings <= 2000));
    assert_eq!(steps.iter().map(|step| step.sightings).sum::<u64>(), 5000);
}

#[test]
fn a_batch_sent_again_after_a_long_time_is_still_a_duplicate() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let late = batch(1, vec![edge(0, 5)]);
    assert_eq!(put(&mut store, &late), STORED);
    // It is old by its interval, but it came just now.
    retain(&mut store, 1_000_000, NOW);
    assert_eq!(put(&mut store, &late), Outcome::Duplicate);
}

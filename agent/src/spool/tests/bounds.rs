//! Size, age and what the file may grow to.

use super::*;
use crate::spool::{Lost, read_only};

fn small(max_bytes: u64) -> Bounds {
    Bounds {
        max_bytes,
        max_age: Duration::from_secs(60),
    }
}

#[test]
fn the_oldest_go_when_the_size_bound_is_reached() {
    let place = Place::new();
    let mut spool = place.open_with(small(300));
    for sequence in 1..=5 {
        assert!(spool.put(&batch(sequence, 100)));
    }
    assert_eq!(held(&spool), [3, 4, 5]);
    let tally = spool.take_tally();
    assert_eq!((tally.stored, tally.evicted_size), (5, 2));
    let lost = Lost { first: 1, last: 2 };
    assert_eq!(spool.take_lost(), Some(lost), "told again by the agent");
    assert_eq!(spool.take_lost(), None);
    assert_sum(&tally, &spool);
}

#[test]
fn a_leased_batch_is_not_evicted() {
    let place = Place::new();
    let mut spool = place.open_with(small(300));
    spool.put(&batch(1, 100));
    assert_eq!(lease(&mut spool, 1), [1]);
    for sequence in 2..=5 {
        spool.put(&batch(sequence, 100));
    }
    assert_eq!(held(&spool), [1, 4, 5]);
    spool.evict(u64::MAX);
    assert_eq!(held(&spool), [1]);
    assert_eq!(spool.take_tally().evicted_age, 2);
}

#[test]
fn a_batch_larger_than_the_spool_evicts_nothing() {
    let place = Place::new();
    let mut spool = place.open_with(small(300));
    spool.put(&batch(1, 100));
    assert!(!spool.put(&batch(2, 301)));
    assert_eq!(held(&spool), [1]);
    assert_eq!(spool.take_tally().dropped_error, 1);
}

#[test]
fn batches_go_at_their_age_bound_counted_from_the_sealing() {
    let place = Place::new();
    let mut spool = place.open_with(small(1000));
    for sequence in 1..=3 {
        spool.put(&batch(sequence, 10));
    }
    spool.evict(61_999);
    assert_eq!(held(&spool), [2, 3]);
    spool.evict(62_000);
    assert_eq!(held(&spool), [2, 3], "exactly as old as allowed");
    spool.evict(62_001);
    assert_eq!(held(&spool), [3]);
    let tally = spool.take_tally();
    assert_eq!(tally.evicted_age, 2);
    assert_sum(&tally, &spool);
}

#[test]
fn a_clock_before_its_time_evicts_nothing() {
    let place = Place::new();
    let mut spool = place.open_with(small(1000));
    spool.put(&batch(9, 10));
    spool.evict(0);
    assert_eq!(held(&spool), [9]);
}

#[test]
fn a_smaller_bound_takes_effect_at_the_next_eviction() {
    let place = Place::new();
    let mut spool = place.open_with(small(1000));
    for sequence in 1..=9 {
        spool.put(&batch(sequence, 100));
    }
    drop(spool);
    let mut spool = place.open_with(small(300));
    spool.evict(10_000);
    assert_eq!(held(&spool), [7, 8, 9]);
}

#[test]
fn the_file_stays_within_bound_and_slack_whatever_the_sizes() {
    for bytes in [1_000, 4_000, 5_000, 40_000] {
        let place = Place::new();
        let bound = 1 << 20;
        let mut spool = place.open_with(small(bound));
        for sequence in 1..=3 * bound / bytes {
            assert!(spool.put(&batch(sequence, usize::try_from(bytes).expect("small"))));
        }
        let tally = spool.take_tally();
        assert_eq!(
            tally.evicted_disk, 0,
            "{bytes}: the payload's bound is reached first"
        );
        assert!(tally.evicted_size > 0);
        let file = spool.stat().expect("read numbers").file_bytes;
        assert!(
            file < bound + bound / 4 + (8 << 20) + (4 << 20),
            "{bytes}: {file}"
        );
        assert_sum(&tally, &spool);
    }
}

#[test]
fn space_is_given_back_after_an_outage() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in 1..=200 {
        spool.put(&batch(sequence, 100_000));
    }
    let full = spool.stat().expect("read numbers").file_bytes;
    for sequence in 1..=200 {
        assert_eq!(lease(&mut spool, 1), [sequence]);
        spool.ack(&id(sequence));
    }
    let mut turns = 0;
    while spool.give_back() {
        turns += 1;
    }
    // While it is open: nobody waits for a restart.
    let left = place.path().metadata().expect("a file").len();
    assert!(full > 20_000_000 && left < 500_000, "{full} {left}");
    assert!(turns >= 2, "some at a time: {turns}");
    drop(spool);
    let stat = read_only(&place.path()).expect("open").stat();
    assert!(stat.expect("read numbers").file_bytes <= left);
}

#[test]
fn a_small_spool_gives_its_space_back_too_and_keeps_some_for_what_comes_next() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in 1..=30 {
        spool.put(&batch(sequence, 100_000));
    }
    let full = place.path().metadata().expect("a file").len();
    for sequence in 1..=30 {
        lease(&mut spool, 1);
        spool.ack(&id(sequence));
    }
    while spool.give_back() {}
    let left = place.path().metadata().expect("a file").len();
    assert!(full > 2_000_000 && left < 500_000, "{full} {left}");
    assert!(
        left > 200_000,
        "the next batches need not ask the file system: {left}"
    );
}

#[test]
fn on_a_full_disk_the_spool_keeps_what_it_has() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in 1..=30 {
        spool.put(&batch(sequence, 100_000));
    }
    spool.fill_disk();
    for sequence in 1..=30 {
        lease(&mut spool, 1);
        spool.ack(&id(sequence));
    }
    let full = spool.stat().expect("read numbers").file_bytes;
    assert!(!spool.give_back());
    assert_eq!(spool.stat().expect("read numbers").file_bytes, full);
}

#[test]
fn a_reader_that_never_ends_cannot_make_the_log_grow_for_ever() {
    let place = Place::new();
    let mut spool = place.open();
    spool.put(&batch(1, 10));
    let reader = rusqlite::Connection::open(place.path()).expect("open");
    reader
        .execute_batch("BEGIN; SELECT count(*) FROM batch;")
        .expect("hold a snapshot");
    let mut put = 2..;
    let refused = put
        .by_ref()
        .take(100)
        .find(|sequence| !spool.put(&batch(*sequence, 100_000)));
    assert!(refused.is_some(), "the log grew without end");
    let log = std::fs::metadata(place.dir().join("spool.db-wal"))
        .expect("a log")
        .len();
    assert!(log < 3 << 20, "{log}");
    assert!(spool.take_tally().dropped_error > 0);

    reader.execute_batch("COMMIT").expect("end the snapshot");
    assert!(spool.put(&batch(put.next().expect("a number"), 100_000)));
}

//! stored -> leased -> acked, and back.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::spool::{Fault, read_only};

#[test]
fn a_batch_leaves_by_its_ack_and_not_before() {
    let place = Place::new();
    let mut spool = place.open();
    assert!(spool.put(&batch(1, 100)));
    let leased = spool.lease(1);
    assert_eq!(leased, [batch(1, 100)]);
    assert_eq!(held_as(&spool, State::Leased), [1]);
    spool.ack(&id(1));
    assert!(held(&spool).is_empty());
    let tally = spool.take_tally();
    assert_eq!((tally.stored, tally.acked, tally.acked_bytes), (1, 1, 100));
    assert_sum(&tally, &spool);
}

#[test]
fn batches_are_leased_oldest_first_and_once() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in [3, 1, 2] {
        spool.put(&batch(sequence, 10));
    }
    assert_eq!(lease(&mut spool, 2), [3, 1]);
    assert_eq!(lease(&mut spool, 2), [2]);
    assert!(lease(&mut spool, 2).is_empty());
}

#[test]
fn a_nack_makes_a_batch_stored_again() {
    let place = Place::new();
    let mut spool = place.open();
    spool.put(&batch(1, 10));
    spool.put(&batch(2, 10));
    assert_eq!(lease(&mut spool, 1), [1]);
    spool.nack(&id(1), Fault::Peer);
    assert_eq!(held_as(&spool, State::Stored), [1, 2]);
    assert_eq!(
        lease(&mut spool, 1),
        [1],
        "the collector's fault does not change the order"
    );
}

#[test]
fn a_batch_the_collector_chokes_on_lets_others_go_first() {
    let place = Place::new();
    let mut spool = place.open();
    spool.put(&batch(1, 10));
    spool.put(&batch(2, 10));
    assert_eq!(lease(&mut spool, 1), [1]);
    spool.nack(&id(1), Fault::Batch);
    assert_eq!(lease(&mut spool, 2), [2, 1]);
}

#[test]
fn a_final_refusal_deletes_and_counts() {
    let place = Place::new();
    let mut spool = place.open();
    spool.put(&batch(1, 10));
    assert_eq!(lease(&mut spool, 1), [1]);
    spool.refuse(&id(1));
    let tally = spool.take_tally();
    assert_eq!((tally.refused, tally.acked, spool.depth()), (1, 0, 0));
}

#[test]
fn a_lease_ends_with_the_process() {
    let place = Place::new();
    let mut spool = place.open();
    spool.put(&batch(1, 10));
    assert_eq!(lease(&mut spool, 1), [1]);
    let after_kill = place.killed_here();
    let mut spool = after_kill.open();
    assert_eq!(spool.take_tally().found, 1);
    assert_eq!(spool.lease(1), [batch(1, 10)]);
    assert_eq!(spool.ls(1).expect("list")[0].attempts, 2);
}

#[test]
fn a_lease_nobody_can_end_any_more_is_over() {
    let place = Place::new();
    let mut spool = place.open();
    spool.put(&batch(1, 10));
    assert_eq!(lease(&mut spool, 1), [1]);
    spool.nack_all();
    assert_eq!(lease(&mut spool, 1), [1]);
}

#[test]
fn no_more_than_a_few_batches_are_leased_at_a_time() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in 1..=20 {
        spool.put(&batch(sequence, 10));
    }
    assert_eq!(lease(&mut spool, 100).len(), 8);
    assert!(lease(&mut spool, 100).is_empty());
    spool.ack(&id(1));
    assert_eq!(lease(&mut spool, 100), [9]);
}

#[test]
fn an_ack_of_an_unknown_batch_changes_nothing() {
    let place = Place::new();
    let mut spool = place.open();
    spool.put(&batch(1, 10));
    spool.ack(&id(7));
    spool.nack(&id(7), Fault::Peer);
    spool.refuse(&id(7));
    let tally = spool.take_tally();
    assert_eq!((held(&spool), tally.acked, tally.refused), (vec![1], 0, 0));
}

#[test]
fn a_second_batch_of_the_same_name_is_dropped_and_counted() {
    let place = Place::new();
    let mut spool = place.open();
    assert!(spool.put(&batch(1, 10)));
    assert!(!spool.put(&batch(1, 20)));
    assert_eq!(spool.take_tally().dropped_error, 1);
    assert_eq!(spool.lease(1), [batch(1, 10)]);
}

#[test]
fn sequence_numbers_of_two_runs_do_not_meet() {
    let place = Place::new();
    let mut spool = place.open();
    let mut other = batch(1, 10);
    other.id.boot = [0xcc; 16];
    assert!(spool.put(&batch(1, 10)));
    assert!(spool.put(&other));
    assert_eq!(spool.lease(2), [batch(1, 10), other]);
}

#[test]
fn the_idempotency_key_names_host_boot_and_sequence() {
    let mut sealed = batch(77, 1);
    sealed.host[0] = 0;
    assert_eq!(
        sealed.idempotency_key(),
        format!("00{}-{}-77", "aa".repeat(15), "bb".repeat(16))
    );
}

#[test]
fn extreme_numbers_survive() {
    let place = Place::new();
    let mut spool = place.open();
    let extreme = Sealed {
        id: id(u64::MAX),
        host: [0xff; 16],
        sealed_ms: u64::MAX,
        rows: u64::MAX,
        bytes: Vec::new(),
    };
    assert!(spool.put(&extreme));
    assert_eq!(spool.lease(1), [extreme]);
    spool.ack(&id(u64::MAX));
    assert_eq!(spool.depth(), 0);
}

#[test]
fn only_the_owner_can_read_what_is_spooled() {
    let place = Place::new();
    let mut spool = place.open();
    spool.put(&batch(1, 10));
    for name in place.file_names() {
        let mode = std::fs::metadata(place.dir().join(&name))
            .expect("a file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn a_reader_sees_the_spool_while_it_is_in_use_and_after() {
    let place = Place::new();
    assert!(matches!(read_only(&place.path()), Err(Error::Io { .. })));
    let mut spool = place.open();
    spool.put(&batch(1, 100));
    spool.put(&batch(2, 50));
    assert_eq!(lease(&mut spool, 1), [1]);

    let reader = read_only(&place.path()).expect("open for reading");
    let stat = reader.stat().expect("read numbers");
    assert_eq!((stat.batches, stat.leased, stat.payload_bytes), (2, 1, 150));
    assert_eq!(
        (stat.oldest_sealed_ms, stat.newest_sealed_ms),
        (Some(1000), Some(2000))
    );
    assert!(stat.file_bytes > 150);
    let entries = reader.ls(1).expect("list");
    assert_eq!(
        (entries.len(), entries[0].id, entries[0].state),
        (1, id(1), State::Leased)
    );
    assert_eq!(
        (entries[0].rows, entries[0].bytes, entries[0].attempts),
        (3, 100, 1)
    );
    drop(reader);

    drop(spool);
    let reader = read_only(&place.path()).expect("open for reading");
    assert_eq!(reader.stat().expect("read numbers").batches, 2);
}

#[test]
fn listing_and_numbers_are_fit_for_json() {
    let place = Place::new();
    let mut spool = place.open();
    spool.put(&batch(1, 10));
    let entries = serde_json::to_value(spool.ls(1).expect("list")).expect("serialise");
    assert_eq!(entries[0]["id"], format!("{}-1", "bb".repeat(16)));
    assert_eq!(entries[0]["state"], "stored");
    let stat = serde_json::to_value(spool.stat().expect("read numbers")).expect("serialise");
    assert_eq!(stat["batches"], 1);
}

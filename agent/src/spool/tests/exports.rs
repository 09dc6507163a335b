//! Export beside an open spool.

use super::*;
use crate::spool::Exports;

/// Rows and numbers of what would be exported now.
fn waiting(exports: &Exports, again: bool) -> Vec<(i64, u64)> {
    let mut found = Vec::new();
    while let Some((row, sealed)) = exports
        .next(found.last().map_or(0, |(row, _)| *row), again)
        .expect("a spool")
    {
        found.push((row, sealed.id.sequence));
    }
    found
}

fn numbers(found: &[(i64, u64)]) -> Vec<u64> {
    found.iter().map(|(_, sequence)| *sequence).collect()
}

#[test]
fn what_was_exported_stays_and_is_not_exported_again_unless_asked_for() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in 1..=3 {
        assert!(spool.put(&batch(sequence, 100)));
    }
    let mut exports = Exports::open(&place.path()).expect("beside it");
    let found = waiting(&exports, false);
    assert_eq!(numbers(&found), [1, 2, 3]);
    exports.mark(&[found[0].0, found[1].0], 7).expect("marked");
    assert!(spool.put(&batch(4, 100)));
    assert_eq!(numbers(&waiting(&exports, false)), [3, 4]);
    assert_eq!(numbers(&waiting(&exports, true)), [1, 2, 3, 4]);
    let stat = spool.stat().expect("numbers");
    assert_eq!((stat.batches, stat.exported), (4, 2));
    // Exported or not, it is uploaded where there is a way.
    assert_eq!(spool.lease(1)[0].id, id(1));
}

#[test]
fn a_receipt_deletes_what_it_names_and_was_exported_and_nothing_else() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in 1..=40 {
        assert!(spool.put(&batch(sequence, 100)));
    }
    let mut exports = Exports::open(&place.path()).expect("beside it");
    let rows: Vec<i64> = waiting(&exports, false)
        .iter()
        .map(|(row, _)| *row)
        .collect();
    exports.mark(&rows[..30], 7).expect("marked");
    for (host, boot, expected) in [([1; 16], BOOT, 0), (HOST, [1; 16], 0), (HOST, BOOT, 26)] {
        let released = exports.release(Some((&host, &[(boot, 5, 99)])));
        assert_eq!(released.expect("released"), expected);
    }
    let left: Vec<u64> = (1..=4).chain(31..=40).collect();
    assert_eq!(numbers(&waiting(&exports, true)), left);
    assert_eq!(exports.release(None).expect("forgotten"), 4);
    assert_eq!(numbers(&waiting(&exports, true)), left[4..]);

    // The agent counts what went, and its bounds know of the room.
    assert_eq!((spool.depth(), spool.payload_bytes()), (40, 4000));
    spool.evict(0);
    assert_eq!((spool.depth(), spool.payload_bytes()), (10, 1000));
    let tally = spool.take_tally();
    assert_eq!((tally.stored, tally.released), (40, 30));
    spool.evict(0);
    assert_eq!(spool.take_tally().released, 0);
}

#[test]
fn room_that_a_receipt_made_is_used_before_anything_is_evicted() {
    let place = Place::new();
    let bounds = Bounds {
        max_bytes: 1000,
        ..roomy()
    };
    let mut spool = place.open_with(bounds);
    for sequence in 1..=10 {
        assert!(spool.put(&batch(sequence, 100)));
    }
    let mut exports = Exports::open(&place.path()).expect("beside it");
    let rows: Vec<i64> = waiting(&exports, false)
        .iter()
        .map(|(row, _)| *row)
        .collect();
    exports.mark(&rows[5..], 7).expect("marked");
    assert_eq!(exports.release(None).expect("released"), 5);
    for sequence in 11..=15 {
        assert!(spool.put(&batch(sequence, 100)));
    }
    let tally = spool.take_tally();
    assert_eq!(
        (tally.released, tally.evicted_size, spool.depth()),
        (5, 0, 10)
    );
}

#[test]
fn a_spool_of_an_older_agent_is_brought_up_to_date_by_the_agent_only() {
    let place = Place::new();
    drop(place.open());
    let conn = rusqlite::Connection::open(place.path()).expect("a database");
    conn.execute_batch("ALTER TABLE batch DROP COLUMN exported_ms; PRAGMA user_version = 1;")
        .expect("as it was");
    drop(conn);
    assert!(matches!(
        Exports::open(&place.path()),
        Err(Error::Older { found: 1, known: 2 })
    ));
    let stat = crate::spool::read_only(&place.path()).expect("read").stat();
    assert_eq!(stat.expect("numbers").exported, 0);
    drop(place.open());
    assert!(Exports::open(&place.path()).is_ok());
    assert!(matches!(
        Exports::open(&place.dir().join("none")),
        Err(Error::Io { .. })
    ));
}

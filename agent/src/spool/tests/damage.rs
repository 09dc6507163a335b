//! Damaged, foreign and future databases.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::spool::Fault;

/// Fills a spool with the given number of batches and closes it.
fn filled(place: &Place, batches: u64) {
    let mut spool = place.open();
    for sequence in 1..=batches {
        assert!(spool.put(&batch(sequence, 2_000)));
    }
}

pub(super) fn overwrite(path: &Path, offset: u64, with: &[u8]) {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .expect("open the file");
    file.write_all_at(with, offset).expect("overwrite");
}

/// Page of the root of a table, counted from 0.
pub(super) fn root_page(place: &Place, table: &str) -> u64 {
    let conn = rusqlite::Connection::open(place.path()).expect("open");
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    let page: i64 = conn
        .query_row(sql, [table], |row| row.get(0))
        .expect("a table");
    page.cast_unsigned() - 1
}

fn assert_usable(spool: &mut Spool) {
    assert!(spool.put(&batch(1000, 10)), "a put after the damage");
    let found = spool
        .lease(8)
        .iter()
        .any(|sealed| *sealed == batch(1000, 10));
    assert!(found, "a lease after the damage");
    spool.ack(&id(1000));
}

fn quarantined(place: &Place) -> Vec<String> {
    place
        .file_names()
        .into_iter()
        .filter(|name| name.contains(".quarantined-"))
        .collect()
}

#[test]
fn a_file_of_noise_is_set_aside() {
    let place = Place::new();
    fs::write(place.path(), [0x5a; 20_000]).expect("write noise");
    let mut spool = place.open();
    let tally = spool.take_tally();
    assert_eq!(
        (tally.quarantined_files, tally.quarantined_uncounted),
        (1, 1)
    );
    assert_eq!((tally.quarantined, tally.found), (0, 0));
    assert_usable(&mut spool);
    assert_eq!(quarantined(&place).len(), 1);
    let stat = spool.stat().expect("read numbers");
    assert_eq!(
        fs::read(&stat.quarantined[0]).expect("the noise"),
        [0x5a; 20_000]
    );
}

#[test]
fn damage_in_the_metadata_is_found_at_open() {
    let place = Place::new();
    filled(&place, 50);
    overwrite(
        &place.path(),
        root_page(&place, "batch") * 4096,
        &[0xff; 4096],
    );
    let mut spool = place.open();
    let tally = spool.take_tally();
    assert_eq!(tally.quarantined_files, 1);
    assert_eq!(
        tally.quarantined, tally.found,
        "found is lost: the sum holds"
    );
    assert_sum(&tally, &spool);
    assert_usable(&mut spool);
}

#[test]
fn batches_of_a_damaged_file_are_counted_where_they_can_be() {
    let place = Place::new();
    filled(&place, 50);
    overwrite(
        &place.path(),
        root_page(&place, "payload") * 4096,
        &[0xff; 4096],
    );
    let mut spool = place.open();
    let tally = spool.take_tally();
    assert_eq!(
        (tally.found, tally.quarantined, tally.quarantined_uncounted),
        (50, 50, 0)
    );
    assert_usable(&mut spool);
}

#[test]
fn a_truncated_file_is_set_aside() {
    let place = Place::new();
    filled(&place, 50);
    let file = OpenOptions::new()
        .write(true)
        .open(place.path())
        .expect("open the file");
    file.set_len(40_000).expect("truncate");
    let mut spool = place.open();
    assert_eq!(spool.take_tally().quarantined_files, 1);
    assert_usable(&mut spool);
}

#[test]
fn damage_during_a_run_costs_what_was_stored_and_not_the_next_batch() {
    let place = Place::new();
    filled(&place, 2000);
    // More than the page cache holds, so that the damage is read at some time.
    let mut spool = place.open();
    let mut total = spool.take_tally();
    assert_eq!(total.found, 2000);
    let pages = fs::metadata(place.path()).expect("a file").len() / 4096;
    for page in 2..pages {
        overwrite(&place.path(), page * 4096, &[0xff; 4096]);
    }
    let mut sequence = 3000;
    while total.quarantined_files == 0 {
        for leased in spool.lease(8) {
            spool.nack(&leased.id, Fault::Batch);
        }
        sequence += 1;
        assert!(sequence < 5000, "the damage is never found");
        assert!(spool.put(&batch(sequence, 2_000)), "batch {sequence}");
        add(&mut total, &spool.take_tally());
    }
    assert!(total.quarantined >= 2000);
    assert_eq!(total.dropped_error, 0);
    assert_sum(&total, &spool);
    assert_usable(&mut spool);
}

#[test]
fn a_lease_does_not_outlive_its_database() {
    let place = Place::new();
    filled(&place, 50);
    let mut spool = place.open();
    assert_eq!(lease(&mut spool, 1), [1]);
    let mut total = spool.take_tally();
    overwrite(
        &place.path(),
        root_page(&place, "payload") * 4096,
        &[0xff; 4096],
    );
    while total.quarantined_files == 0 {
        assert!(!spool.lease(7).is_empty(), "the damage is never found");
        spool.nack_all();
        add(&mut total, &spool.take_tally());
        // The cache must not hide the file.
        drop(spool);
        spool = place.open();
        add(&mut total, &spool.take_tally());
    }
    spool.ack(&id(1));
    add(&mut total, &spool.take_tally());
    assert_eq!(
        total.acked, 0,
        "counted as lost with its database, not twice"
    );
}

#[test]
fn at_most_two_damaged_files_are_kept() {
    let place = Place::new();
    for round in 0..4_u8 {
        fs::write(place.path(), [round + 1; 5000]).expect("write noise");
        assert_eq!(place.open().take_tally().quarantined_files, 1);
        fs::remove_file(place.path()).expect("remove the fresh one");
    }
    let spool = place.open();
    let kept = spool.stat().expect("read numbers").quarantined;
    let first = |path: &PathBuf| fs::read(path).expect("a damaged file")[0];
    assert_eq!(kept.iter().map(first).collect::<Vec<_>>(), [3, 4]);
    assert_eq!(quarantined(&place).len(), 2);
}

#[test]
fn a_database_of_another_program_is_left_alone() {
    let place = Place::new();
    let other = rusqlite::Connection::open(place.path()).expect("open");
    other
        .execute_batch("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
        .expect("fill");
    drop(other);
    let before = fs::read(place.path()).expect("the file");
    assert!(matches!(
        place.try_open(roomy()),
        Err(Error::Foreign {
            application_id: 0,
            ..
        })
    ));
    assert!(matches!(
        super::super::read_only(&place.path()),
        Err(Error::Foreign { .. })
    ));
    let other = rusqlite::Connection::open(place.path()).expect("open");
    other
        .pragma_update(None, "journal_mode", "DELETE")
        .expect("its own journal mode");
    drop(other);
    // Bytes 18 and 19 say which journal is in use, 24 to 27 and 92 to 95 count changes.
    let after = fs::read(place.path()).expect("the file");
    assert_eq!(before[100..], after[100..]);
}

#[test]
fn a_spool_of_a_newer_agent_is_set_aside() {
    let place = Place::new();
    filled(&place, 3);
    let conn = rusqlite::Connection::open(place.path()).expect("open");
    conn.pragma_update(None, "user_version", 99)
        .expect("a future schema");
    drop(conn);
    let mut spool = place.open();
    let tally = spool.take_tally();
    assert_eq!(
        (tally.found, tally.quarantined, tally.quarantined_files),
        (3, 3, 1)
    );
    assert_usable(&mut spool);
}

#[test]
fn a_missing_directory_is_an_error_with_its_name() {
    let bounds = roomy();
    let error = Spool::open(Path::new("/nonexistent/spool.db"), bounds).expect_err("no directory");
    assert!(
        error.to_string().contains("/nonexistent/spool.db"),
        "{error}"
    );
}

#[test]
fn a_page_that_cannot_be_read_is_damage_and_one_that_cannot_be_written_is_not() {
    let error = |code| rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None);
    let read = Error::from(error(rusqlite::ffi::SQLITE_IOERR_READ));
    assert!(matches!(read, Error::Corrupt(_)), "{read:?}");
    let written = Error::from(error(rusqlite::ffi::SQLITE_IOERR_WRITE));
    assert!(matches!(written, Error::Database(_)), "{written:?}");
}

#[test]
fn an_empty_file_becomes_a_spool() {
    let place = Place::new();
    fs::write(place.path(), []).expect("an empty file");
    let mut spool = place.open();
    assert_eq!(spool.take_tally(), Tally::default());
    assert_usable(&mut spool);
}

/// A closed spool of 20 batches.
static IMAGE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let place = Place::new();
    filled(&place, 20);
    fs::read(place.path()).expect("the file")
});

/// Damage at places that a random choice would rarely hit.
#[test]
fn no_byte_of_the_header_stops_the_spool() {
    for at in 0..100 {
        for with in [0x00, 0x03, 0xff] {
            let mut image = IMAGE.clone();
            image[at] = with;
            survives(&image);
        }
    }
}

/// Whatever happened to the file between two runs, the agent starts and stores.
fn survives(image: &[u8]) {
    let place = Place::new();
    fs::write(place.path(), image).expect("write the file");
    let mut spool = match place.try_open(roomy()) {
        Ok(spool) => spool,
        // The header itself says that the file is somebody else's.
        Err(Error::Foreign { .. }) => return,
        Err(error) => panic!("{error:?}"),
    };
    for round in 0..10 {
        for leased in spool.lease(8) {
            spool.ack(&leased.id);
        }
        spool.put(&batch(100 + round, 500));
        spool.evict(0);
    }
    assert!(spool.depth() > 0);
}

proptest! {
    #[test]
    fn no_damage_stops_the_spool(
        hits in proptest::collection::vec((any::<prop::sample::Index>(), any::<[u8; 7]>()), 1..40),
    ) {
        let mut image = IMAGE.clone();
        for (at, with) in hits {
            let at = at.index(image.len() - with.len());
            image[at..at + with.len()].copy_from_slice(&with);
        }
        survives(&image);
    }
}

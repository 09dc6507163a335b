//! A full disk: by SQLite's page limit, and by a real file system.

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

use super::*;

#[test]
fn the_oldest_go_when_the_disk_is_full() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in 1..=5 {
        spool.put(&batch(sequence, 10_000));
    }
    spool.fill_disk();
    assert!(spool.put(&batch(6, 20_000)));
    assert!(spool.put(&batch(7, 10_000)));
    let tally = spool.take_tally();
    assert!(tally.evicted_disk >= 3, "{tally:?}");
    assert_eq!(tally.dropped_error, 0);
    let left = held(&spool);
    assert_eq!(left, (left[0]..=7).collect::<Vec<_>>(), "oldest first");
    assert_sum(&tally, &spool);
}

#[test]
fn a_batch_that_finds_no_room_at_all_is_dropped_and_the_next_is_tried() {
    let place = Place::new();
    let mut spool = place.open();
    spool.put(&batch(1, 5_000));
    assert_eq!(lease(&mut spool, 1), [1]);
    spool.fill_disk();
    assert!(
        !spool.put(&batch(2, 100_000)),
        "only a leased batch is there to go"
    );
    let tally = spool.take_tally();
    assert_eq!((tally.dropped_error, tally.evicted_disk), (1, 0));
    spool.ack(&id(1));
    assert!(!spool.put(&batch(3, 100_000)), "still full");
    spool.evict(0);
    assert!(spool.put(&batch(4, 100_000)));
    assert_eq!(held(&spool), [4]);
}

#[test]
fn acks_are_written_on_a_full_disk() {
    let place = Place::new();
    let mut spool = place.open();
    for sequence in 1..=5 {
        spool.put(&batch(sequence, 10_000));
    }
    spool.fill_disk();
    assert_eq!(lease(&mut spool, 1), [1]);
    spool.ack(&id(1));
    assert_eq!(held(&spool), [2, 3, 4, 5]);
}

/// A file system of its own, seen by the calling thread only. None without the privilege.
fn tiny_disk(place: &Place, bytes: u64) -> Option<()> {
    unshare(CloneFlags::CLONE_NEWNS).ok()?;
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).ok()?;
    let options = format!("size={bytes}");
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mount(
        Some("tmpfs"),
        place.dir(),
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )
    .ok()
}

/// In a thread that ends with its mount: the harness' own threads go on to other tests.
fn on_a_tiny_disk(bytes: u64, test: impl FnOnce(&Place) + Send + 'static) {
    let thread = std::thread::Builder::new().name("tiny-disk".to_owned());
    let run = move || {
        let place = Place::new();
        if tiny_disk(&place, bytes).is_none() {
            eprintln!("skipped: needs CAP_SYS_ADMIN");
            return;
        }
        test(&place);
        // The directory cannot be removed while something is mounted there.
        nix::mount::umount2(place.dir(), nix::mount::MntFlags::MNT_DETACH).expect("unmount");
    };
    thread
        .spawn(run)
        .expect("start a thread")
        .join()
        .expect("the test");
}

#[test]
fn the_spool_goes_on_when_its_file_system_is_full() {
    on_a_tiny_disk(10 << 20, |place| {
        let mut spool = place.open();
        for sequence in 1..=500 {
            spool.put(&batch(sequence, 50_000));
        }
        let tally = spool.take_tally();
        assert!(tally.evicted_disk > 200, "{tally:?}");
        assert!(tally.dropped_error < 5, "{tally:?}");
        assert_sum(&tally, &spool);
        let left = held(&spool);
        assert_eq!(left.last(), Some(&500), "the newest is there");

        // Uploading works on a full disk, and makes room again.
        for sequence in &left {
            assert_eq!(lease(&mut spool, 1), [*sequence]);
            spool.ack(&id(*sequence));
        }
        assert!(held(&spool).is_empty());
        assert!(spool.put(&batch(1000, 50_000)));
        assert_eq!(spool.take_tally().dropped_error, 0);
    });
}

#[test]
fn the_spool_opens_on_a_full_file_system_and_works_once_there_is_room() {
    on_a_tiny_disk(10 << 20, |place| {
        let mut spool = place.open();
        spool.put(&batch(1, 50_000));
        drop(spool);
        let ballast = place.dir().join("ballast");
        // Fills what is left, to the last block.
        let mut file = std::fs::File::create(&ballast).expect("make a file");
        let full = (0..4096).any(|_| std::io::Write::write_all(&mut file, &[1; 4096]).is_err());
        assert!(full);

        let mut spool = place.open();
        assert!(spool.put(&batch(2, 50_000)), "the reserve is for this");
        assert!(!spool.put(&batch(3, 500_000)));
        let tally = spool.take_tally();
        assert_eq!(
            (tally.evicted_disk, tally.dropped_error),
            (2, 1),
            "{tally:?}"
        );
        std::fs::remove_file(&ballast).expect("remove");
        drop(file);
        spool.evict(0);
        assert!(spool.put(&batch(4, 500_000)));
        assert_eq!(held(&spool), [4]);
    });
}

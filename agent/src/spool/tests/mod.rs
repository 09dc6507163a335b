//! Tests of the spool, and what the tests of the upload share with them.

mod bounds;
mod damage;
mod exports;
mod full_disk;
mod lifecycle;
mod model;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::{Bounds, Error, Sealed, Spool, State, Tally};
use crate::spool::BatchId;

pub(crate) const HOST: [u8; 16] = [0xaa; 16];
pub(crate) const BOOT: [u8; 16] = [0xbb; 16];

/// A spool in a directory of its own.
pub(crate) struct Place {
    dir: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        // In memory where there is such a place: no test pulls the plug, so syncing to a disk
        // would only cost time.
        let dir = TempDir::new_in("/dev/shm").or_else(|_| TempDir::new());
        Self {
            dir: dir.expect("make a directory"),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("spool.db")
    }

    pub(crate) fn open(&self) -> Spool {
        self.open_with(roomy())
    }

    pub(crate) fn open_with(&self, bounds: Bounds) -> Spool {
        self.try_open(bounds).expect("open the spool")
    }

    fn try_open(&self, bounds: Bounds) -> Result<Spool, Error> {
        Spool::open(&self.path(), bounds)
    }

    /// The files as `kill -9` would leave them now, in a new place.
    fn killed_here(&self) -> Self {
        let copy = Self::new();
        for name in ["spool.db", "spool.db-wal"] {
            // Where there is no log, everything is in the database.
            let _copied = std::fs::copy(self.dir().join(name), copy.dir().join(name));
        }
        copy
    }

    fn file_names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir()).expect("list the directory");
        let mut names: Vec<String> = entries
            .map(|entry| {
                entry
                    .expect("an entry")
                    .file_name()
                    .into_string()
                    .expect("a name")
            })
            .collect();
        names.sort();
        names
    }
}

/// Bounds that no test reaches by accident.
pub(crate) fn roomy() -> Bounds {
    Bounds {
        max_bytes: 64 << 20,
        max_age: Duration::from_secs(1 << 36),
    }
}

pub(crate) fn id(sequence: u64) -> BatchId {
    BatchId {
        boot: BOOT,
        sequence,
    }
}

/// A batch whose content tells its number.
pub(crate) fn batch(sequence: u64, bytes: usize) -> Sealed {
    let content = sequence
        .to_le_bytes()
        .into_iter()
        .cycle()
        .take(bytes)
        .collect();
    Sealed {
        id: id(sequence),
        host: HOST,
        sealed_ms: sequence * 1000,
        rows: 3,
        bytes: content,
    }
}

/// Sequence numbers in the spool, in order of arrival.
fn held(spool: &Spool) -> Vec<u64> {
    let entries = spool.ls(usize::MAX).expect("list the spool");
    entries.iter().map(|entry| entry.id.sequence).collect()
}

fn held_as(spool: &Spool, state: State) -> Vec<u64> {
    let entries = spool.ls(usize::MAX).expect("list the spool");
    entries
        .iter()
        .filter(|e| e.state == state)
        .map(|e| e.id.sequence)
        .collect()
}

/// Sequence numbers that a lease hands out.
fn lease(spool: &mut Spool, max: usize) -> Vec<u64> {
    spool
        .lease(max)
        .iter()
        .map(|sealed| sealed.id.sequence)
        .collect()
}

/// `found + stored` is everything that left and what is still there.
fn assert_sum(total: &Tally, spool: &Spool) {
    let gone = total.acked
        + total.refused
        + total.evicted_size
        + total.evicted_age
        + total.evicted_disk
        + total.quarantined;
    assert_eq!(
        total.found + total.stored,
        gone + spool.depth(),
        "{total:?}"
    );
}

/// Adds up what `take_tally` gives.
fn add(total: &mut Tally, part: &Tally) {
    total.found += part.found;
    total.stored += part.stored;
    total.acked += part.acked;
    total.acked_bytes += part.acked_bytes;
    total.refused += part.refused;
    total.evicted_size += part.evicted_size;
    total.evicted_age += part.evicted_age;
    total.evicted_disk += part.evicted_disk;
    total.dropped_error += part.dropped_error;
    total.quarantined += part.quarantined;
    total.quarantined_files += part.quarantined_files;
    total.quarantined_uncounted += part.quarantined_uncounted;
}

/// Waits until `done` says so; the only place where a test lets time pass.
pub(crate) fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what}: not within 30 seconds");
        std::thread::sleep(Duration::from_millis(5));
    }
}

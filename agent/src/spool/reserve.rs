//! A few megabytes of disk held back, for the moment when the disk is full.
//!
//! Deleting needs space too: the log takes it before the database gives any back, and a log that
//! cannot be moved into the database cannot be used anew. Without a reserve, a full disk would stop
//! not only puts but also the acks that make room.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::posix_fallocate;

use crate::files;

/// The log between two checkpoints (1 MiB), once as log and once in the database, and a batch.
const RESERVE_BYTES: i64 = 4 << 20;

/// Makes the reserve, or keeps it. False: the disk is (nearly) full.
///
/// A file system that cannot hold space back is no reason to store nothing: there the spool does
/// without.
pub(super) fn make(database: &Path) -> bool {
    let Err(error) = allocate(&path(database)) else {
        return true;
    };
    // A part of it would only make the disk fuller.
    release(database);
    let full = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    );
    if !full {
        log::warn!(error:% = error; "no disk reserve");
    }
    !full
}

fn allocate(path: &Path) -> io::Result<()> {
    let file = files::make_own(File::options().write(true), path)?;
    Ok(posix_fallocate(&file, 0, RESERVE_BYTES)?)
}

/// Gives the reserve to the file system, for the database's next pages.
pub(super) fn release(database: &Path) {
    match fs::remove_file(path(database)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            log::warn!(error:% = error; "disk reserve not released");
        }
        _ => {}
    }
}

fn path(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-reserve");
    PathBuf::from(name)
}

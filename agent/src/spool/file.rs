//! The database's files: whose they are, how SQLite keeps them, and whether they are damaged.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::row::damage;
use super::types::Error;
use crate::files;

/// Pages between two looks at the budget of the check at open.
const CHECK_STEP_PAGES: i32 = 256;

/// Looks until that check ends: 64 MiB of pages, about a second on a slow disk.
const CHECK_STEPS: u32 = 64;

/// The write-ahead log beside a database.
pub(super) fn log_path(path: &Path) -> PathBuf {
    beside(path, "-wal")
}

/// The index of that log, which processes share; made anew when it is missing.
pub(super) fn index_path(path: &Path) -> PathBuf {
    beside(path, "-shm")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// SQLite opens these by name.
pub(super) fn own_files(path: &Path) -> Result<(), Error> {
    for end in ["-wal", "-shm", "-journal"] {
        let file = beside(path, end);
        files::refuse_strange(&file).map_err(|source| Error::io(&file, source))?;
    }
    Ok(())
}

/// How long to wait for another process (a reader that recovers the log, a person with a shell).
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(1);

pub(super) fn configure(conn: &Connection) -> Result<(), Error> {
    conn.busy_timeout(BUSY_TIMEOUT)?;
    // Free pages can be given back after a long outage without rewriting the file, as VACUUM
    // would, with as much free disk again. FULL would do so at every ack, only for the next put to
    // ask for the pages again. Has to come before the first table.
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // A put is one sequential write instead of a journal, a write and two syncs, and `spool ls`
    // reads while the agent writes.
    conn.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    // The log is synced at checkpoints only. Nothing is lost when the process dies, the kernel has
    // it. A power failure may take the last puts, up to a checkpoint's worth (1 MiB), never the
    // database's consistency: the run of the agent ends with it, what it had counted and not sent is
    // too low by that much, and the host has lost more than batches just now. A lost ack means that a
    // batch is sent again and found a duplicate. FULL would cost a disk sync, up to three a batch, on hosts
    // whose disks belong to somebody else's workload.
    conn.pragma_update(None, "synchronous", "NORMAL")?;
    // Pages. Checkpoints are small and often: the log stays small and so does each stall.
    conn.pragma_update(None, "wal_autocheckpoint", 256)?;
    // The log keeps this much space after a checkpoint: on a full disk, deletes can still be
    // logged. What an unusual transaction took beyond it is given back.
    conn.pragma_update(None, "journal_size_limit", 4 << 20)?;
    // KiB when negative. The working set is a few index pages; a large payload goes through
    // the cache once and need not stay in memory.
    conn.pragma_update(None, "cache_size", -512)?;
    // No mapping: its pages would count as resident memory, and a disk error would kill the
    // process by a signal instead of returning an error.
    conn.pragma_update(None, "mmap_size", 0)?;
    // The jail has no directory for temporary files.
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    // Damage in a page is found when the page is read, not when it has done harm.
    conn.pragma_update(None, "cell_size_check", true)?;
    // A tampered schema cannot call functions.
    conn.pragma_update(None, "trusted_schema", false)?;
    Ok(())
}

/// Looks for damage, first in the small tables, then in as much of the payload as the budget
/// allows. Damage beyond it is found when the batch is read.
pub(super) fn quick_check(conn: &mut Connection) -> Result<(), Error> {
    let mut steps = 0;
    conn.progress_handler(
        CHECK_STEP_PAGES,
        Some(move || {
            steps += 1;
            steps > CHECK_STEPS
        }),
    )?;
    let found = conn.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    conn.progress_handler(0, None::<fn() -> bool>)?;
    match found {
        Ok(text) if text == "ok" => Ok(()),
        Ok(text) => Err(damage(text)),
        Err(e) if e.sqlite_error_code() == Some(ErrorCode::OperationInterrupted) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

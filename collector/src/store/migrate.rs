//! Opens the database file: PRAGMAs, and the schema of this version.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use super::convert::{self, Progress};
use super::error::Error;
use crate::log::Limiter;
use crate::{files, time};

/// Marks the file as ours, in the bytes `WBYC`; another program's database is left alone.
const APPLICATION_ID: i32 = 0x5742_5943;

/// Steps from each version to the next; the first creates everything.
const STEPS: [&str; 15] = [
    include_str!("schema.sql"),
    include_str!("nat.sql"),
    include_str!("orders.sql"),
    include_str!("credentials.sql"),
    include_str!("bounds.sql"),
    include_str!("life.sql"),
    include_str!("adopted.sql"),
    include_str!("totals.sql"),
    include_str!("described.sql"),
    include_str!("blocks.sql"),
    include_str!("outbox.sql"),
    include_str!("joined.sql"),
    include_str!("gone.sql"),
    include_str!("indexes.sql"),
    include_str!("events.sql"),
];

/// How long one connection waits for another.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// Opens the database for the one writer, creating or upgrading it.
pub(super) fn open_writer(path: &Path) -> Result<Connection, Error> {
    // Who talks to whom is nobody else's business; the files beside it inherit the mode, or have
    // had another since an older version.
    files::make(&mut OpenOptions::new(), path, files::GROUP).map_err(Error::Open)?;
    for end in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(end);
        let beside = Path::new(&beside);
        if beside.symlink_metadata().is_ok() {
            files::make(&mut OpenOptions::new(), beside, files::GROUP).map_err(Error::Open)?;
        }
    }
    let mut connection = Connection::open(path).map_err(|e| Error::sqlite("open", e))?;
    prepare(&mut connection).map_err(|e| Error::sqlite("prepare", e))?;
    migrate(&mut connection)?;
    convert(&mut connection)?;
    Ok(connection)
}

/// A database in memory, for as long as it is open.
pub(super) fn in_memory() -> Result<Connection, Error> {
    let mut connection = Connection::open_in_memory().map_err(|e| Error::sqlite("open", e))?;
    connection.set_prepared_statement_cache_capacity(64);
    migrate(&mut connection)?;
    convert(&mut connection)?;
    Ok(connection)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    keep_statements(connection)?;
    // Only before the first table: lets retention give pages back to the file system.
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    // Readers (the API, `topology --store`) never wait for the writer, nor it for them.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // An acknowledged batch is deleted by its agent, so it must survive a power cut here. Batches
    // that arrive together share one commit, which keeps this affordable.
    connection.pragma_update(None, "synchronous", "FULL")?;
    // What is in the log is copied into the database once it has so many pages (32 MiB): most
    // of what batches write is written again by those that follow, and copied once.
    connection.pragma_update(None, "wal_autocheckpoint", 8192)?;
    // A large batch, or a reader that stays for long, makes the log grow; afterwards it is cut to
    // this.
    connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
    // 32 MiB (negative means KiB): flows and subjects of one batch are looked up again and again.
    connection.pragma_update(None, "cache_size", -32 * 1024)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // The file may have been tampered with: no functions from its schema, and pages are checked.
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

/// A statement is prepared once and stays so. Without the planner's guarantee, SQLite prepares one
/// again with each value that is bound to it, where an index is of some rows only: that value might
/// say that it can be used (<https://sqlite.org/c3ref/c_dbconfig_defensive.html>,
/// `SQLITE_DBCONFIG_ENABLE_QPSG`). Our statements name such conditions themselves.
fn keep_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(64);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(|e| Error::sqlite("lock", e))?;
    let done = version(&transaction)?;
    for (at, step) in STEPS.iter().enumerate().skip(done) {
        let next = i64::try_from(at + 1).expect("a handful of steps");
        transaction
            .execute_batch(step)
            .and_then(|()| transaction.pragma_update(None, "user_version", next))
            .map_err(|e| Error::sqlite("migrate", e))?;
    }
    transaction
        .pragma_update(None, "application_id", APPLICATION_ID)
        .and_then(|()| transaction.commit())
        .map_err(|e| Error::sqlite("migrate", e))
}

/// What no statement can do; goes on where it was ended.
fn convert(connection: &mut Connection) -> Result<(), Error> {
    let failed = |error| Error::sqlite("convert", error);
    let said = Limiter::new();
    if !convert::is_left(connection).map_err(failed)? {
        return Ok(());
    }
    while let Some(Progress { done, all }) = convert::step(connection).map_err(failed)? {
        if let Some(_lines) = said.admit(time::now_ms()) {
            log::info!(done, all; "converting the store of an older version, run by run");
        }
    }
    Ok(())
}

/// Steps that were applied; an error for a file of another program or a newer version.
fn version(connection: &Connection) -> Result<usize, Error> {
    let number = |name: &str| {
        connection
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(|e| Error::sqlite("read", e))
    };
    let (id, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .map_err(|e| Error::sqlite("read", e))?;
    let ours = id == i64::from(APPLICATION_ID) || (id == 0 && version == 0 && tables == 0);
    if !ours {
        return Err(Error::Foreign);
    }
    match usize::try_from(version) {
        Ok(version) if version <= STEPS.len() => Ok(version),
        _ => Err(Error::Newer { version }),
    }
}

/// Opens the database for questions; works while a writer has it open.
pub(super) fn open_reader(path: &Path) -> Result<Connection, Error> {
    files::open(path).map_err(Error::Open)?;
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection =
        Connection::open_with_flags(path, flags).map_err(|e| Error::sqlite("open", e))?;
    let prepare = || -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY)?;
        keep_statements(&connection)?;
        // 8 MiB: names of flows and processes are looked up again and again.
        connection.pragma_update(None, "cache_size", -8 * 1024)?;
        connection.pragma_update(None, "query_only", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        connection.pragma_update(None, "temp_store", "MEMORY")
    };
    prepare().map_err(|e| Error::sqlite("open", e))?;
    match version(&connection)? {
        version if version == STEPS.len() && !is_converting(&connection)? => Ok(connection),
        _ => Err(Error::Older),
    }
}

fn is_converting(connection: &Connection) -> Result<bool, Error> {
    convert::is_left(connection).map_err(|e| Error::sqlite("read", e))
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, StatementStatus};
    use tempfile::TempDir;

    use super::{open_reader, open_writer};

    /// How often a statement that may use an index of some rows only was prepared again.
    fn prepared_again(connection: &Connection) -> i32 {
        let mut statement = connection
            .prepare("SELECT count(*) FROM sighting WHERE flow_id = ?1 AND ended_ms > ?2")
            .unwrap();
        for n in 0..9 {
            let none: i64 = statement.query_row([n, n], |row| row.get(0)).unwrap();
            assert_eq!(none, 0);
        }
        statement.get_status(StatementStatus::RePrepare)
    }

    #[test]
    fn what_is_bound_to_a_statement_does_not_prepare_it_again() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("store.db");
        let writer = open_writer(&path).unwrap();
        assert_eq!(prepared_again(&writer), 0);
        assert_eq!(prepared_again(&open_reader(&path).unwrap()), 0);
    }
}

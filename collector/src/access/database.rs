//! Opens the file: PRAGMAs, and the schema of this version.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::error::Error;
use crate::files;

/// Marks the file as ours, in the bytes `WBYA`; another program's database is left alone.
const APPLICATION_ID: i32 = 0x5742_5941;

/// Steps from each version to the next; the first creates everything.
const STEPS: [&str; 4] = [
    include_str!("schema.sql"),
    include_str!("enrolment.sql"),
    include_str!("people.sql"),
    include_str!("matrix.sql"),
];

/// How long one connection waits for another.
const BUSY: Duration = Duration::from_secs(5);

pub(super) fn open(path: &Path) -> Result<Connection, Error> {
    files::make(&mut OpenOptions::new(), path, files::PRIVATE).map_err(Error::Open)?;
    // SQLite gives what it makes beside it to the same owner.
    if let Some(directory) = path.parent() {
        files::give_to_owner_of(directory, path).map_err(Error::Open)?;
    }
    let failed = |doing| move |source| Error::Sqlite { doing, source };
    let mut connection = Connection::open(path).map_err(failed("open"))?;
    prepare(&mut connection).map_err(failed("prepare"))?;
    migrate(&mut connection)?;
    Ok(connection)
}

fn prepare(connection: &mut Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What was locked out stays so after a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 4 << 20)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)
}

fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(Error::write)?;
    let number = |name: &str| {
        transaction
            .pragma_query_value(None, name, |row| row.get::<_, i64>(0))
            .map_err(Error::read)
    };
    let (id, version) = (number("application_id")?, number("user_version")?);
    let tables: i64 = transaction
        .query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0))
        .map_err(Error::read)?;
    if id != i64::from(APPLICATION_ID) && (id, version, tables) != (0, 0, 0) {
        return Err(Error::Foreign);
    }
    let done = usize::try_from(version)
        .ok()
        .filter(|done| *done <= STEPS.len())
        .ok_or(Error::Newer { version })?;
    if done == STEPS.len() {
        return Ok(());
    }
    for step in STEPS.iter().skip(done) {
        transaction.execute_batch(step).map_err(Error::write)?;
    }
    let version = i64::try_from(STEPS.len()).expect("a handful of steps");
    transaction
        .pragma_update(None, "user_version", version)
        .and_then(|()| transaction.pragma_update(None, "application_id", APPLICATION_ID))
        .and_then(|()| transaction.commit())
        .map_err(Error::write)
}

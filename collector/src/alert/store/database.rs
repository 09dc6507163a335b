//! The file: how it is opened, asked and changed.

use std::fs::OpenOptions;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, TransactionBehavior};

use crate::{files, time};

/// Marks the file as ours, in the bytes `WBYL`; another program's database is left alone.
const APPLICATION_ID: i32 = 0x5742_594c;
/// Steps from each version to the next; the first creates everything.
const STEPS: [&str; 1] = [include_str!("schema.sql")];
/// How long one connection waits for another.
const BUSY: Duration = Duration::from_secs(5);

/// Why the database of alerts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be opened.
    #[error("open the database of alerts")]
    Open(#[source] std::io::Error),
    /// It is of another program.
    #[error("this is no database of alerts of this program")]
    Foreign,
    /// It is of a newer version of this program.
    #[error("the database of alerts has version {version}, of a newer program")]
    Newer {
        /// Its version.
        version: i64,
    },
    /// SQLite refused.
    #[error("the database of alerts")]
    Sqlite(#[from] rusqlite::Error),
    /// What is in it cannot be read.
    #[error("the database of alerts has something that cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// What was changed cannot be written down.
    #[error(transparent)]
    Audit(#[from] crate::access::Error),
}

/// The database. One connection answers requests and never waits for the other one, which writes.
#[derive(Debug)]
pub struct AlertStore {
    read: Mutex<Connection>,
    write: Mutex<Connection>,
    pub(super) retention_ms: i64,
}

impl AlertStore {
    /// Opens the database, creating it. What resolved is kept for `retention`.
    ///
    /// # Errors
    /// When it cannot be opened, or is not ours.
    pub fn open(path: &Path, retention: Duration) -> Result<Self, Error> {
        files::make(&mut OpenOptions::new(), path, files::PRIVATE).map_err(Error::Open)?;
        if let Some(directory) = path.parent() {
            files::give_to_owner_of(directory, path).map_err(Error::Open)?;
        }
        Ok(Self {
            write: Mutex::new(open(path)?),
            read: Mutex::new(open(path)?),
            retention_ms: time::whole_ms(retention),
        })
    }

    pub(super) fn reading(&self) -> MutexGuard<'_, Connection> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something: all of it, or nothing.
    pub(super) fn change<T, E: From<Error>>(
        &self,
        change: impl FnOnce(&Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| E::from(error.into()))?;
        let done = change(&transaction)?;
        transaction
            .commit()
            .map_err(|error| E::from(error.into()))?;
        Ok(done)
    }
}

/// What a look at a database shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Up to when was judged, Unix milliseconds; 0: never.
    pub through_ms: i64,
    /// Alerts that fire.
    pub firing: u64,
    /// How many fire or are pending that cannot be judged, and one of them, with its rule and why.
    pub unknown: (u64, Option<(String, String)>),
}

/// Looks at a database and changes nothing.
///
/// # Errors
/// It is not there, or is not ours.
pub fn look(path: &Path) -> Result<Look, Error> {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    db.busy_timeout(BUSY)?;
    let number = |sql: &str| db.query_row(sql, (), |row| row.get::<_, i64>(0));
    if db.pragma_query_value(None, "application_id", |row| row.get::<_, i64>(0))?
        != i64::from(APPLICATION_ID)
    {
        return Err(Error::Foreign);
    }
    let unknown = "FROM alert WHERE phase < 2 AND body ->> '$.unknown_since_ms' IS NOT NULL";
    let one = format!(
        "SELECT body ->> '$.finding.rule', body ->> '$.unknown_why' {unknown} ORDER BY id LIMIT 1"
    );
    let one = db.query_row(&one, (), |row| {
        let why: Option<String> = row.get(1)?;
        Ok((row.get(0)?, why.unwrap_or_default()))
    });
    Ok(Look {
        through_ms: number("SELECT coalesce(max(through_ms), 0) FROM judged")?,
        firing: number("SELECT count(*) FROM alert WHERE phase = 0")?.unsigned_abs(),
        unknown: (
            number(&format!("SELECT count(*) {unknown}"))?.unsigned_abs(),
            one.optional()?,
        ),
    })
}

fn open(path: &Path) -> Result<Connection, Error> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(64);
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // What fires is found again by the next pass; an acknowledgement is not.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "journal_size_limit", 16 << 20)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    migrate(&mut connection)?;
    Ok(connection)
}

fn migrate(connection: &mut Connection) -> Result<(), Error> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let number =
        |name: &str| transaction.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (id, version) = (number("application_id")?, number("user_version")?);
    let count = "SELECT count(*) FROM sqlite_schema";
    let tables: i64 = transaction.query_row(count, (), |row| row.get(0))?;
    if id != i64::from(APPLICATION_ID) && (id, version, tables) != (0, 0, 0) {
        return Err(Error::Foreign);
    }
    let done = usize::try_from(version)
        .ok()
        .filter(|done| *done <= STEPS.len())
        .ok_or(Error::Newer { version })?;
    for step in STEPS.iter().skip(done) {
        transaction.execute_batch(step)?;
    }
    let version = i64::try_from(STEPS.len()).expect("a handful of steps");
    transaction.pragma_update(None, "user_version", version)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.commit()?;
    Ok(())
}

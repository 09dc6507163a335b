//! The store: batches in, rows of a window out. The only place that knows SQL.
//!
//! Owns the database file. One [`Store`] writes, on one thread ([`writer`]); any number of
//! [`Reader`]s ask, each on its own read-only connection and one consistent snapshot.
//!
//! Invariants:
//! - A batch is stored completely or not at all, in the same transaction as its key; an answered
//!   batch is on disk.
//! - The order of arrival does not change what is answered: samples are cumulative and kept under
//!   the end of their interval, sightings are merged by minimum and maximum.
//! - Retention deletes a bounded number of rows per step, and never the sample that is the
//!   baseline of a living subject.

mod credentials;
mod histogram;
mod migrate;
mod nat;
mod orders;
mod put;
mod read;
mod retention;
#[cfg(test)]
mod tests;
pub mod writer;

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

pub use credentials::{Binding, MIN_DIGITS};
pub use orders::SignedOrders;
pub use put::{AHEAD_TOLERANCE_MS, Outcome};
pub use read::{HostRecord, Reader, Window};
pub use retention::{Deleted, Retention};

use crate::accept::Opened;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite failed: disk full, damaged file, no permission.
    #[error("cannot {action} the store")]
    Sqlite {
        /// What was tried.
        action: &'static str,
        /// The cause.
        #[source]
        source: rusqlite::Error,
    },
    /// The file, or one beside it, cannot be opened or is no regular file.
    #[error("cannot open the store")]
    Open(#[source] std::io::Error),
    /// The file is a database of another program.
    #[error("the file is not a store of waybill-collector")]
    Foreign,
    /// The file was written by a newer version.
    #[error("the store has version {version}, which is newer than this program")]
    Newer {
        /// Its version.
        version: i64,
    },
    /// The file was written by an older version and only `serve` upgrades it.
    #[error("the store is of an older version; start `serve` once to upgrade it")]
    Older,
    /// A row cannot be what this program wrote.
    #[error("the store is damaged: {what}")]
    Damaged {
        /// What was found.
        what: &'static str,
    },
    /// The answer would be made from too many rows.
    #[error(
        "the window holds more than {limit} rows; choose a shorter one or raise limits.query_rows"
    )]
    TooManyRows {
        /// The configured limit.
        limit: usize,
    },
}

impl Error {
    fn sqlite(action: &'static str, source: rusqlite::Error) -> Self {
        Self::Sqlite { action, source }
    }
}

/// The one connection that writes.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
}

impl Store {
    /// Opens the database, creating or upgrading it; beyond `max_bytes` it refuses to grow.
    ///
    /// # Errors
    /// When it cannot be opened, or is not ours.
    pub fn open(path: &Path, max_bytes: u64) -> Result<Self, Error> {
        let connection = migrate::open_writer(path, max_bytes)?;
        Ok(Self { connection })
    }

    /// Stores batches that arrived together, with one commit.
    ///
    /// If the group fails, each batch is tried alone, so that one of them cannot take the others
    /// down; the result has one entry per batch.
    pub fn put(&mut self, batches: &[&Opened], now_ms: i64) -> Vec<Result<Outcome, Error>> {
        match self.try_put(batches, now_ms) {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(error) if batches.len() == 1 => vec![Err(error)],
            Err(_) => batches
                .iter()
                .map(|batch| {
                    let outcome = self.try_put(&[batch], now_ms)?;
                    outcome.into_iter().next().ok_or(Error::Damaged {
                        what: "a batch without an outcome",
                    })
                })
                .collect(),
        }
    }

    fn try_put(&mut self, batches: &[&Opened], now_ms: i64) -> Result<Vec<Outcome>, Error> {
        let failed = |e| Error::sqlite("write to", e);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let outcomes = batches
            .iter()
            .map(|batch| put_as(&transaction, batch, now_ms).map_err(failed))
            .collect::<Result<_, _>>()?;
        transaction.commit().map_err(failed)?;
        Ok(outcomes)
    }

    /// Deletes a bounded number of rows older than `retention`'s horizon.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn retain(&mut self, retention: &mut Retention, now_ms: i64) -> Result<Deleted, Error> {
        let failed = |e| Error::sqlite("write to", e);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let deleted = retention.step(&transaction, now_ms).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        self.shrink().map_err(failed)?;
        Ok(deleted)
    }

    /// Gives up to 1 MiB of free pages back to the file system.
    fn shrink(&self) -> rusqlite::Result<()> {
        // It frees one page per step of the statement.
        let mut statement = self
            .connection
            .prepare_cached("PRAGMA incremental_vacuum(256)")?;
        let mut rows = statement.query(())?;
        while rows.next()?.is_some() {}
        Ok(())
    }
}

/// Stores a batch, if the credential under which it came speaks for its host.
fn put_as(db: &Connection, opened: &Opened, now_ms: i64) -> rusqlite::Result<Outcome> {
    let host = &opened.batch.header.host;
    let Some(credential) = opened.credential else {
        return put::put(db, opened, now_ms);
    };
    if !credentials::admit(db, credential, host, now_ms)? {
        return Ok(Outcome::Foreign);
    }
    let outcome = put::put(db, opened, now_ms)?;
    if matches!(outcome, Outcome::Stored { .. } | Outcome::Duplicate) {
        credentials::bind(db, credential, host, now_ms)?;
    }
    Ok(outcome)
}

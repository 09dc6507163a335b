//! The spool as `export` and `receipt` use it, beside a running agent.
//!
//! A second writer, and a careful one: it reads one batch at a time, so that it never holds a
//! snapshot that makes the log grow, and each of its transactions changes a bounded number of rows.
//! SQLite lets one write after the other; both wait longer for their turn than either takes. The
//! agent notices that somebody else has written and counts again what it holds.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, TransactionBehavior, params};

use super::migrate;
use super::row::sealed;
use super::store::{delete_row, readable};
use super::types::{Error, Sealed};

/// Rows that one transaction changes.
const CHUNK: usize = 16;
/// How long to wait for the agent, whose transactions take milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Batches of one run, from and to.
pub type Range = ([u8; 16], u64, u64);

/// A spool to be exported.
#[derive(Debug)]
pub struct Exports {
    conn: Connection,
}

impl Exports {
    /// Opens a spool that an agent of this version has made.
    ///
    /// # Errors
    /// There is none, it is of another version, or it cannot be written.
    pub fn open(path: &Path) -> Result<Self, Error> {
        readable(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(PATIENCE)?;
        let found = migrate::check(&conn, path)?;
        if found < migrate::current() {
            return Err(Error::Older {
                found,
                known: migrate::current(),
            });
        }
        Ok(Self { conn })
    }

    /// The first batch behind row `after` that was not exported yet, or any if `again`; with its
    /// row.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn next(&self, after: i64, again: bool) -> Result<Option<(i64, Sealed)>, Error> {
        let found = self
            .conn
            .prepare_cached(
                "SELECT batch.id, boot, sequence, host, sealed_ms, rows, bytes, body
                 FROM batch JOIN payload USING (id)
                 WHERE batch.id > ?1 AND (?2 OR exported_ms = 0) ORDER BY batch.id LIMIT 1",
            )?
            .query_row(params![after, again], |row| Ok((row.get(0)?, sealed(row)?)))
            .optional()?;
        Ok(found)
    }

    /// Remembers that these rows are in a file.
    ///
    /// # Errors
    /// The database cannot be written; some may be marked then.
    pub fn mark(&mut self, rows: &[i64], now_ms: u64) -> Result<(), Error> {
        let now_ms = i64::try_from(now_ms).unwrap_or(i64::MAX).max(1);
        for chunk in rows.chunks(CHUNK) {
            let tx = self
                .conn
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            for row in chunk {
                tx.prepare_cached("UPDATE batch SET exported_ms = ?2 WHERE id = ?1")?
                    .execute([*row, now_ms])?;
            }
            tx.commit()?;
        }
        Ok(())
    }

    /// Deletes those of a host's batches in `ranges` that were exported, or all that were; gives
    /// their number.
    ///
    /// # Errors
    /// The database cannot be written; some may be deleted then.
    pub fn release(&mut self, of: Option<(&[u8; 16], &[Range])>) -> Result<u64, Error> {
        let everything = [([0; 16], 0, u64::MAX)];
        let (host, ranges) = match of {
            Some((host, ranges)) => (Some(host), ranges),
            None => (None, &everything[..]),
        };
        let mut released = 0;
        for (boot, from, to) in ranges {
            let bound = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
            loop {
                let tx = self
                    .conn
                    .transaction_with_behavior(TransactionBehavior::Immediate)?;
                let rows = tx
                    .prepare_cached(
                        "SELECT id FROM batch WHERE exported_ms > 0
                         AND (?1 IS NULL
                              OR host = ?1 AND boot = ?2 AND sequence BETWEEN ?3 AND ?4)
                         LIMIT ?5",
                    )?
                    .query_map(
                        params![host, boot, bound(*from), bound(*to), bound(CHUNK as u64)],
                        |row| row.get::<_, i64>(0),
                    )?
                    .collect::<Result<Vec<_>, _>>()?;
                for row in &rows {
                    delete_row(&tx, *row)?;
                }
                tx.commit()?;
                released += rows.len() as u64;
                if rows.len() < CHUNK {
                    break;
                }
            }
        }
        Ok(released)
    }
}

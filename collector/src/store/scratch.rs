//! A store in memory that holds rows of another one for as long as a question takes.

use std::path::PathBuf;

use rusqlite::params;
use wire::schema::Table;

use super::context::signed;
use super::database::{Bounds, Store};
use super::error::{Error, failed};
use super::reader::Reader;
use super::runs::Runs;
use super::{described, migrate, put};
use crate::accept::{BatchKey, Opened};

/// What is known of a run of an agent without its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunRecord {
    /// Host.
    pub host: [u8; 16],
    /// Run.
    pub boot: [u8; 16],
    /// Begin of its first interval and end of its last one; Unix milliseconds.
    pub span_ms: (i64, i64),
    /// Number and arrival of its first batch, and of its last one.
    pub ends: [(u64, i64); 2],
    /// Batches that were stored.
    pub batches: u64,
    /// By how much its host's clock is ahead, milliseconds.
    pub ahead_ms: i64,
}

/// Rows are put into it as they came; then it is asked as any other store.
#[derive(Debug)]
pub struct Scratch {
    store: Store,
    runs: Runs,
    known: Vec<RunRecord>,
}

impl Scratch {
    /// Of these runs; data up to `evicted_ms` may be missing.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn new(mut known: Vec<RunRecord>, evicted_ms: Option<i64>) -> Result<Self, Error> {
        // Whoever puts the same rows into one gets the same numbers.
        known.sort_unstable_by_key(|run| (run.host, run.span_ms, run.boot));
        let bounds = Bounds {
            max_bytes: u64::MAX >> 1,
            hosts: u64::MAX >> 1,
        };
        let store = Store::over(migrate::in_memory()?, bounds, PathBuf::new());
        let db = &store.connection;
        let write = || {
            if let Some(before_ms) = evicted_ms {
                db.execute("INSERT INTO evicted VALUES (1, ?1, ?1, 0)", [before_ms])?;
            }
            for run in &known {
                db.prepare_cached(
                    "INSERT INTO host (host, first_seen_ms, last_seen_ms) VALUES (?1, ?2, ?3)
                     ON CONFLICT DO UPDATE SET
                         first_seen_ms = min(first_seen_ms, excluded.first_seen_ms),
                         last_seen_ms = max(last_seen_ms, excluded.last_seen_ms)",
                )?
                .execute(params![run.host, run.ends[0].1, run.ends[1].1])?;
                db.prepare_cached(
                    "INSERT INTO boot (host_id, boot, first_ms, last_ms, batches, last_sequence)
                     SELECT id, ?2, ?3, ?4, 0, 0 FROM host WHERE host = ?1",
                )?
                .execute(params![run.host, run.boot, i64::MAX, i64::MIN])?;
            }
            Ok(())
        };
        write().map_err(failed)?;
        Ok(Self {
            store,
            runs: Runs::default(),
            known,
        })
    }

    /// It has this table, whether or not there are rows of it.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn describe(&self, table: &Table) -> Result<(), Error> {
        described::describe(&self.store.connection, table).map_err(failed)
    }

    /// Puts rows of a batch, which arrived then.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn put(&mut self, opened: &Opened, received_ms: i64) -> Result<(), Error> {
        let transaction = self.store.connection.transaction().map_err(failed)?;
        put::put(&transaction, &mut self.runs, opened, received_ms)
            .and_then(|_| transaction.commit())
            .map_err(failed)
    }

    /// The store, once all rows are in it.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn reader(self) -> Result<Reader, Error> {
        let db = &self.store.connection;
        let write =
            || {
                for run in &self.known {
                    let boot: i64 = db
                        .prepare_cached(
                            "SELECT boot.id FROM boot JOIN host ON host.id = host_id
                         WHERE host.host = ?1 AND boot = ?2",
                        )?
                        .query_row(params![run.host, run.boot], |row| row.get(0))?;
                    // What no row was asked for has happened all the same.
                    db.prepare_cached(
                        "UPDATE boot SET first_ms = min(first_ms, ?2), last_ms = max(last_ms, ?3),
                         batches = ?4, last_sequence = ?5, ahead_ms = ?6 WHERE id = ?1",
                    )?
                    .execute(params![
                        boot,
                        run.span_ms.0,
                        run.span_ms.1,
                        signed(run.batches),
                        signed(run.ends[1].0),
                        run.ahead_ms
                    ])?;
                    for ((sequence, received_ms), end_ms) in
                        run.ends.into_iter().zip([run.span_ms.0, run.span_ms.1])
                    {
                        db.prepare_cached(
                        "INSERT INTO batch (boot_id, sequence, digest, end_ms, received_ms, bytes,
                             row_count)
                         VALUES (?1, ?2, zeroblob(32), ?3, ?4, 0, 0) ON CONFLICT DO NOTHING",
                    )?
                    .execute(params![boot, signed(sequence), end_ms, received_ms])?;
                    }
                }
                Ok(())
            };
        write().map_err(failed)?;
        Ok(Reader {
            connection: self.store.connection,
        })
    }
}

impl From<&RunRecord> for BatchKey {
    fn from(run: &RunRecord) -> Self {
        Self {
            host: run.host,
            boot: run.boot,
            sequence: run.ends[1].0,
        }
    }
}

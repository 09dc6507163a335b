//! What is in a store, as batches again: for another store.
//!
//! Rows say what they said when they came: what an interval added, or the total that was told with
//! it. What is kept once, and was told more often (processes, hosts, connections that go on), comes
//! with the batch that told of it first or last, as the store has it.

mod chunk;
mod rows;

use std::path::Path;

use super::credentials::{self, Binding};
use super::error::{Error, failed};
use super::evicted::evicted;
use super::gone::gone;
use super::orders::SignedOrders;
use super::reader::Reader;
use super::slices::Slice;
use crate::accept::Opened;

/// A store that is read from its begin to its end.
#[derive(Debug)]
pub struct Contents {
    reader: Reader,
}

/// A run of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredRun {
    id: i64,
    first_ms: i64,
    /// Batches of it that are known.
    pub batches: u64,
}

/// A batch with the times under which it is stored, Unix milliseconds.
#[derive(Clone, Debug)]
pub struct StoredBatch {
    /// The batch; its header has these times.
    pub opened: Opened,
    /// When it arrived.
    pub received_ms: i64,
}

impl Contents {
    /// Opens the database of a store; works while `serve` writes to it.
    ///
    /// # Errors
    /// When it cannot be opened, is not ours, or has another version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let reader = Reader::open(path)?;
        Ok(Self { reader })
    }

    /// All runs of agents.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn runs(&self) -> Result<Vec<StoredRun>, Error> {
        let read = || {
            let mut statement = self.reader.connection.prepare(
                "SELECT id, first_ms, (SELECT count(*) FROM batch WHERE boot_id = id) FROM boot
                 ORDER BY id",
            )?;
            let runs = statement.query_map((), |row| {
                Ok(StoredRun {
                    id: row.get(0)?,
                    first_ms: row.get(1)?,
                    batches: row.get::<_, i64>(2)?.unsigned_abs(),
                })
            })?;
            runs.collect::<rusqlite::Result<_>>()
        };
        read().map_err(failed)
    }

    /// The next batches of a run behind one, in their order: so many, and with so many rows, at most;
    /// one at least, unless there is none.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn batches(
        &self,
        run: &StoredRun,
        after: Option<u64>,
        (most, rows): (u32, u64),
    ) -> Result<Vec<StoredBatch>, Error> {
        let db = &self.reader.connection;
        let read = || {
            let (host, boot) = db.query_row(
                "SELECT host.host, boot.boot FROM boot JOIN host ON host.id = host_id
                 WHERE boot.id = ?1",
                [run.id],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )?;
            let of = (run.id, run.first_ms);
            let mut chunk = chunk::read(db, of, after, (most, rows))?;
            rows::fill(db, &mut chunk)?;
            let batches = chunk.heads.into_iter();
            let batches = batches.map(|head| StoredBatch {
                received_ms: head.received_ms,
                opened: head.opened(host, boot),
            });
            Ok(batches.collect())
        };
        read().map_err(failed)
    }

    /// Everything that was joined, in the order of time.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn slices(&self) -> Result<Vec<Slice>, Error> {
        let read = || {
            let mut statement = self.reader.connection.prepare(
                "SELECT joined.length_ms, joined.start_ms FROM joined
                 JOIN slice ON slice.length_ms = joined.length_ms
                     AND slice.start_ms = joined.start_ms
                 WHERE slice.joined > 0 ORDER BY joined.start_ms, joined.length_ms",
            )?;
            let slices = statement.query_map((), |row| {
                Ok(Slice {
                    length_ms: row.get(0)?,
                    start_ms: row.get(1)?,
                })
            })?;
            slices.collect::<rusqlite::Result<_>>()
        };
        read().map_err(failed)
    }

    /// What was joined of a slice, and the number of its edges.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn joined(&mut self, slice: Slice) -> Result<(Vec<u8>, usize), Error> {
        let body = self.reader.view()?.joined(slice)?;
        let edges: i64 = self
            .reader
            .connection
            .query_row(
                "SELECT edges FROM slice WHERE length_ms = ?1 AND start_ms = ?2",
                [slice.length_ms, slice.start_ms],
                |row| row.get(0),
            )
            .map_err(failed)?;
        Ok((body, usize::try_from(edges).unwrap_or(0)))
    }

    /// Up to when rows may be missing, Unix milliseconds; `None` where none was deleted.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn gone_ms(&self) -> Result<Option<i64>, Error> {
        let db = &self.reader.connection;
        let evicted = evicted(db)?.map(|evicted| evicted.before_ms);
        Ok(gone(db).map_err(failed)?.rows_ms.max(evicted))
    }

    /// Which hosts credentials speak for.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn bindings(&self) -> Result<Vec<Binding>, Error> {
        credentials::all(&self.reader.connection).map_err(failed)
    }

    /// The newest orders.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn newest_orders(&self) -> Result<Option<SignedOrders>, Error> {
        self.reader.newest_orders()
    }
}

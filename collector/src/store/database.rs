//! The one connection that writes: batches in, and what makes room for them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::credentials::{self, Binding};
use super::deleted::Deleted;
use super::error::Error;
use super::outbox::{self, Outbox};
use super::put::Outcome;
use super::retention::Retention;
use super::room::{PAGE_BYTES, Pages, Room};
use super::runs::Runs;
use super::slices::{self, Finished};
use super::{hosts, migrate, put};
use crate::accept::Opened;
use crate::config::Config;

/// Bytes of the write-ahead log beyond which nothing is added to it, unless set otherwise. It is
/// folded into the database and begun again every 32 MiB, except while somebody reads.
const LOG_BYTES: u64 = 256 << 20;
/// Steps of eviction that one batch may wait for: some 100,000 rows of each kind.
const STEPS_PER_BATCH: usize = 64;

/// Bounds of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of the file.
    pub max_bytes: u64,
    /// Hosts that are known at once.
    pub hosts: u64,
}

impl From<&Config> for Bounds {
    fn from(config: &Config) -> Self {
        Self {
            max_bytes: config.store.max_bytes,
            hosts: config.limits.hosts as u64,
        }
    }
}

/// The one connection that writes.
#[derive(Debug)]
pub struct Store {
    pub(super) connection: Connection,
    room: Room,
    hosts: u64,
    /// The write-ahead log.
    log: PathBuf,
    pub(super) log_bytes: u64,
    hosts_forgotten: u64,
    runs: Runs,
    outbox: Option<Arc<Outbox>>,
}

/// How large the store is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Bytes of pages that hold something.
    pub used_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Bytes of the write-ahead log.
    pub log_bytes: u64,
}

impl Store {
    /// Opens the database, creating or upgrading it.
    ///
    /// # Errors
    /// When it cannot be opened, or is not ours.
    pub fn open(path: &Path, bounds: Bounds) -> Result<Self, Error> {
        let connection = migrate::open_writer(path)?;
        let mut log = path.as_os_str().to_owned();
        log.push("-wal");
        Ok(Self::over(connection, bounds, PathBuf::from(log)))
    }

    pub(super) fn over(connection: Connection, bounds: Bounds, log: PathBuf) -> Self {
        Self {
            connection,
            room: Room::new(bounds.max_bytes),
            hosts: bounds.hosts,
            log,
            log_bytes: LOG_BYTES,
            hosts_forgotten: 0,
            runs: Runs::default(),
            outbox: None,
        }
    }

    /// Keeps batches for these outputs from here on, at most so many bytes of them; for none, what
    /// was kept is deleted.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn keep_for(&mut self, outputs: &[String], most_bytes: u64) -> Result<Arc<Outbox>, Error> {
        let transaction = begin(&mut self.connection)?;
        let outbox = Outbox::open(&transaction, outputs, most_bytes).map_err(write_failed)?;
        transaction.commit().map_err(write_failed)?;
        let outbox = Arc::new(outbox);
        self.outbox = (!outputs.is_empty()).then(|| Arc::clone(&outbox));
        Ok(outbox)
    }

    /// Saves how far outputs are, and deletes what all of them are done with.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn tend_outbox(&mut self) -> Result<(), Error> {
        let Some(outbox) = &self.outbox else {
            return Ok(());
        };
        let transaction = begin(&mut self.connection)?;
        let tended = outbox.tend(&transaction).map_err(write_failed)?;
        transaction.commit().map_err(write_failed)?;
        outbox.committed(tended);
        Ok(())
    }

    /// Writes the version that it has once more: whether it can be written.
    ///
    /// # Errors
    /// When it cannot.
    pub fn probe(&mut self) -> Result<(), Error> {
        self.check_log()?;
        let transaction = begin(&mut self.connection)?;
        let version = "user_version";
        transaction
            .pragma_query_value(None, version, |row| row.get::<_, i64>(0))
            .and_then(|number| transaction.pragma_update(None, version, number))
            .and_then(|()| transaction.commit())
            .map_err(write_failed)
    }

    /// Stores batches that arrived together, with one commit.
    ///
    /// If the group fails, each batch is tried alone, so that one of them cannot take the others
    /// down; the result has one entry per batch. A batch for which there is no room waits for a
    /// bounded number of steps of eviction.
    pub fn put(&mut self, batches: &[&Opened], now_ms: i64) -> Vec<Result<Outcome, Error>> {
        match self.try_put(batches, now_ms) {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(_) => batches
                .iter()
                .map(|batch| self.put_alone(batch, now_ms))
                .collect(),
        }
    }

    fn put_alone(&mut self, batch: &Opened, now_ms: i64) -> Result<Outcome, Error> {
        let mut steps = 0;
        loop {
            let error = match self.try_put(&[batch], now_ms) {
                Ok(outcomes) => {
                    return outcomes.into_iter().next().ok_or(Error::Damaged {
                        what: "a batch without an outcome",
                    });
                }
                Err(error) => error,
            };
            if !matches!(error, Error::Full { .. }) {
                return Err(error);
            }
            // Until it is below the mark, or the batch has waited for long enough.
            while self.evict(now_ms)? {
                steps += 1;
                if steps >= STEPS_PER_BATCH {
                    return Err(error);
                }
            }
            // Once more where that may have helped.
            steps += STEPS_PER_BATCH / 4;
            if steps >= STEPS_PER_BATCH {
                return Err(error);
            }
        }
    }

    fn try_put(&mut self, batches: &[&Opened], now_ms: i64) -> Result<Vec<Outcome>, Error> {
        self.check_log()?;
        let mark = self.runs.mark();
        let outcomes = self.put_all(batches, now_ms);
        if outcomes.is_err() {
            self.runs.undo(mark);
        }
        outcomes
    }

    /// All in one transaction.
    fn put_all(&mut self, batches: &[&Opened], now_ms: i64) -> Result<Vec<Outcome>, Error> {
        let hosts = self.hosts;
        let transaction = begin(&mut self.connection)?;
        let before = Pages::of(&transaction).map_err(write_failed)?;
        let mut forgotten = 0;
        let mut outcomes = Vec::with_capacity(batches.len());
        for batch in batches {
            let (outcome, made_room) =
                put_as(&transaction, &mut self.runs, batch, hosts, now_ms).map_err(write_failed)?;
            forgotten += made_room;
            outcomes.push(outcome);
            if let (Outcome::Stored { .. }, Some(payload)) = (outcome, &batch.payload) {
                outbox::add(&transaction, payload, now_ms).map_err(write_failed)?;
            }
            let after = Pages::of(&transaction).map_err(write_failed)?;
            self.room.check(before, after)?;
        }
        let outbox = self.outbox.as_ref();
        let tended = outbox.map(|outbox| outbox.tend(&transaction));
        let tended = tended.transpose().map_err(write_failed)?;
        transaction.commit().map_err(write_failed)?;
        if let (Some(outbox), Some(tended)) = (outbox, tended) {
            outbox.committed(tended);
        }
        self.hosts_forgotten += forgotten;
        Ok(outcomes)
    }

    /// Refuses to write while the log is too long and cannot be begun again.
    fn check_log(&self) -> Result<(), Error> {
        let bytes = self.size_of_log();
        if bytes <= self.log_bytes {
            return Ok(());
        }
        // Not as long as usual: batches wait meanwhile.
        let truncated = self
            .connection
            .busy_timeout(Duration::from_millis(100))
            .and_then(|()| {
                self.connection
                    .query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |row| {
                        row.get::<_, i64>(0)
                    })
            });
        self.connection
            .busy_timeout(migrate::BUSY)
            .map_err(write_failed)?;
        match truncated {
            Ok(0) => Ok(()),
            Ok(_) => Err(Error::Log { bytes }),
            Err(error) => Err(write_failed(error)),
        }
    }

    fn size_of_log(&self) -> u64 {
        // Before the first write there is none.
        self.log.metadata().map_or(0, |file| file.len())
    }

    /// Deletes a bounded number of rows older than `retention`'s horizon.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn retain(&mut self, retention: &mut Retention, now_ms: i64) -> Result<Deleted, Error> {
        let transaction = begin(&mut self.connection)?;
        let mut boots = Vec::new();
        let deleted = retention
            .step(&transaction, now_ms, &mut boots)
            .and_then(|deleted| transaction.commit().map(|()| deleted))
            .map_err(write_failed)?;
        self.runs.forget(boots);
        self.shrink().map_err(write_failed)?;
        Ok(deleted)
    }

    /// One step of eviction, where the bound asks for one; false where nothing is to be done now.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn evict(&mut self, now_ms: i64) -> Result<bool, Error> {
        let pages = Pages::of(&self.connection).map_err(write_failed)?;
        if !self.room.is_short(pages) {
            self.room.enough();
            return Ok(false);
        }
        let transaction = begin(&mut self.connection)?;
        let mut boots = Vec::new();
        let step = self.room.step(transaction, now_ms, &mut boots);
        self.runs.forget(boots);
        let step = step.map_err(write_failed)?;
        self.shrink().map_err(write_failed)?;
        Ok(step.is_some())
    }

    /// What was evicted since the last call.
    pub fn take_evicted(&mut self) -> Deleted {
        self.room.take_evicted()
    }

    /// Hosts that made room for others since the last call.
    pub fn take_hosts_forgotten(&mut self) -> u64 {
        std::mem::take(&mut self.hosts_forgotten)
    }

    /// Deletes a bounded number of rows of hosts that made room; `None` where there are none.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn purge_hosts(&mut self) -> Result<Option<u64>, Error> {
        let transaction = begin(&mut self.connection)?;
        let purged = hosts::purge(&transaction).map_err(write_failed)?;
        transaction.commit().map_err(write_failed)?;
        if purged.is_some() {
            self.runs.clear();
        }
        Ok(purged)
    }

    /// Releases the credentials whose name begins so (at least [`super::MIN_DIGITS`]
    /// hexadecimal digits), or that speak for the host of this id: each speaks for the next host
    /// that uses it.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn release_credentials(&mut self, name: &str) -> Result<Vec<Binding>, Error> {
        credentials::release(&self.connection, name).map_err(write_failed)
    }

    /// Stores what was joined of a slice.
    ///
    /// # Errors
    /// When the database cannot be written, or is full.
    pub fn put_joined(&mut self, finished: &Finished, now_ms: i64) -> Result<(), Error> {
        self.check_log()?;
        let transaction = begin(&mut self.connection)?;
        let before = Pages::of(&transaction).map_err(write_failed)?;
        slices::put(&transaction, finished, now_ms).map_err(write_failed)?;
        let after = Pages::of(&transaction).map_err(write_failed)?;
        self.room.check(before, after)?;
        transaction.commit().map_err(write_failed)
    }

    /// How large it is now.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn size(&self) -> Result<Size, Error> {
        let pages = Pages::of(&self.connection).map_err(|e| Error::sqlite("read", e))?;
        Ok(Size {
            used_bytes: pages.used() * PAGE_BYTES,
            file_bytes: pages.all * PAGE_BYTES,
            log_bytes: self.size_of_log(),
        })
    }

    /// Gives up to 1 MiB of free pages back to the file system, where there are many.
    pub(super) fn shrink(&self) -> rusqlite::Result<()> {
        if !self.room.has_many_free(Pages::of(&self.connection)?) {
            return Ok(());
        }
        // It frees one page per step of the statement.
        let mut statement = self
            .connection
            .prepare_cached("PRAGMA incremental_vacuum(256)")?;
        let mut rows = statement.query(())?;
        while rows.next()?.is_some() {}
        Ok(())
    }
}

/// Stores a batch, if the credential under which it came speaks for its host, and there is room for
/// one more host; also the number of hosts that made room.
fn put_as(
    db: &Connection,
    runs: &mut Runs,
    opened: &Opened,
    hosts: u64,
    now_ms: i64,
) -> rusqlite::Result<(Outcome, u64)> {
    let host = &opened.batch.header.host;
    if let Some(credential) = opened.credential
        && !credentials::admit(db, credential, host, now_ms)?
    {
        return Ok((Outcome::Foreign, 0));
    }
    let Some(forgotten) = hosts::admit(db, host, hosts, now_ms)? else {
        return Ok((Outcome::TooManyHosts, 0));
    };
    let outcome = put::put(db, runs, opened, now_ms)?;
    if let Some(credential) = opened.credential
        && matches!(outcome, Outcome::Stored { .. } | Outcome::Duplicate)
    {
        credentials::bind(db, credential, host, now_ms)?;
    }
    Ok((outcome, forgotten))
}

fn begin(connection: &mut Connection) -> Result<Transaction<'_>, Error> {
    connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(write_failed)
}

fn write_failed(source: rusqlite::Error) -> Error {
    Error::sqlite("write to", source)
}

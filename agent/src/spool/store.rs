//! The database under the spool: the only place that knows SQL.
//!
//! Each function is one transaction and either done or not. What a failure means for the batches
//! (evict, set aside, count) is decided by the queue above.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};

use rusqlite::{
    Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params,
};

use super::file::{BUSY_TIMEOUT, configure, log_path, own_files, quick_check};
use super::migrate;
use super::row::{id, row_and_bytes, sealed, signed, unsigned};
use super::types::{BatchId, Entry, Error, Fault, Sealed, State};
use crate::files;

/// SQLite's default, and the size of a memory page and of most file systems' blocks.
const PAGE_BYTES: u64 = 4096;
/// Free pages that stay in the file for the next batches: as many as are in use and a few more, at
/// most 4 MiB.
const RESERVE_PAGES: std::ops::RangeInclusive<u64> = 64..=1024;
/// Free pages given back to the file system at a time: 8 MiB, a fraction of a second on any disk.
const GIVE_BACK_PAGES: u64 = 2048;

const STORED: i64 = 0;
const LEASED: i64 = 1;

/// Batches and payload bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) batches: u64,
    pub(super) bytes: u64,
}

#[derive(Debug)]
pub(super) struct Store {
    conn: Connection,
    path: PathBuf,
    /// Pages that the file may have when the disk has room.
    max_pages: u64,
}

impl Store {
    /// Opens for writing; makes the file where there is none. `max_bytes` is what the file, log
    /// apart, may grow to. Leases of an earlier run are over.
    pub(super) fn open(path: &Path, max_bytes: u64) -> Result<Self, Error> {
        // SQLite would make it readable for all; its other files take over this one's mode.
        let mut options = OpenOptions::new();
        files::make_own(options.write(true), path).map_err(|source| Error::io(path, source))?;
        own_files(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut conn = Connection::open_with_flags(path, flags)?;
        configure(&conn)?;
        migrate::run(&mut conn, path)?;
        quick_check(&mut conn)?;
        // SQLite's own limit is below 2^32.
        let max_pages = max_bytes.div_ceil(PAGE_BYTES).min(u64::from(u32::MAX) - 1);
        let store = Self {
            conn,
            path: path.to_owned(),
            max_pages,
        };
        store.grow()?;
        store.conn.execute(
            "UPDATE batch SET state = ?1 WHERE state = ?2",
            [STORED, LEASED],
        )?;
        Ok(store)
    }

    /// Opens a spool that may be in use, without changing it.
    pub(super) fn read_only(path: &Path) -> Result<Self, Error> {
        // SQLite says "unable to open" for everything; the system says why.
        readable(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(BUSY_TIMEOUT)?;
        migrate::check(&conn, path)?;
        Ok(Self {
            conn,
            path: path.to_owned(),
            max_pages: 0,
        })
    }

    /// Adds a batch as stored. False: one of its name is there already.
    pub(super) fn insert(&mut self, sealed: &Sealed) -> Result<bool, Error> {
        let tx = self.begin()?;
        let added = tx
            .prepare_cached(
                "INSERT INTO batch (boot, sequence, host, sealed_ms, rows, bytes)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (boot, sequence) DO NOTHING",
            )?
            .execute(params![
                sealed.id.boot,
                sealed.id.sequence.cast_signed(),
                sealed.host,
                sealed.sealed_ms.cast_signed(),
                sealed.rows.cast_signed(),
                signed(sealed.bytes.len()),
            ])?;
        if added == 0 {
            return Ok(false);
        }
        let id = tx.last_insert_rowid();
        tx.prepare_cached("INSERT INTO payload (id, body) VALUES (?1, ?2)")?
            .execute(params![id, sealed.bytes])?;
        tx.commit()?;
        Ok(true)
    }

    /// Hands out up to `max` stored batches whose turn it is, and marks them leased.
    pub(super) fn lease(&mut self, max: usize) -> Result<Vec<Sealed>, Error> {
        let tx = self.begin()?;
        let leased = tx
            .prepare_cached(
                "SELECT batch.id, boot, sequence, host, sealed_ms, rows, bytes, body
                 FROM batch LEFT JOIN payload USING (id)
                 WHERE state = ?1 ORDER BY faults, batch.id LIMIT ?2",
            )?
            .query_map([STORED, signed(max)], |row| Ok((row.get(0)?, sealed(row)?)))?
            .collect::<Result<Vec<(i64, Sealed)>, _>>()?;
        for (id, _) in &leased {
            tx.prepare_cached(
                "UPDATE batch SET state = ?1, attempts = attempts + 1 WHERE id = ?2",
            )?
            .execute([LEASED, *id])?;
        }
        tx.commit()?;
        Ok(leased.into_iter().map(|(_, sealed)| sealed).collect())
    }

    /// Makes a leased batch stored again. False: there is no such batch.
    pub(super) fn restore(&mut self, id: &BatchId, fault: Fault) -> Result<bool, Error> {
        let faults = i64::from(fault == Fault::Batch);
        let changed = self
            .conn
            .prepare_cached(
                "UPDATE batch SET state = ?1, faults = faults + ?2 WHERE boot = ?3 AND sequence = ?4",
            )?
            .execute(params![STORED, faults, id.boot, id.sequence.cast_signed()])?;
        Ok(changed > 0)
    }

    /// Makes all leased batches stored again; gives their number.
    pub(super) fn restore_all(&mut self) -> Result<usize, Error> {
        let sql = "UPDATE batch SET state = ?1 WHERE state = ?2";
        Ok(self.conn.execute(sql, [STORED, LEASED])?)
    }

    /// Deletes a batch; gives its payload bytes, or none where there is no such batch.
    pub(super) fn delete(&mut self, id: &BatchId) -> Result<Option<u64>, Error> {
        let tx = self.begin()?;
        let found = tx
            .prepare_cached("SELECT id, bytes FROM batch WHERE boot = ?1 AND sequence = ?2")?
            .query_row(params![id.boot, id.sequence.cast_signed()], row_and_bytes)
            .optional()?;
        let Some((row, bytes)) = found else {
            return Ok(None);
        };
        delete_row(&tx, row)?;
        tx.commit()?;
        Ok(Some(bytes))
    }

    /// Deletes the stored batch that arrived first; gives its name and payload bytes.
    pub(super) fn delete_oldest(&mut self) -> Result<Option<(BatchId, u64)>, Error> {
        let tx = self.begin()?;
        let sql =
            "SELECT id, bytes, boot, sequence FROM batch WHERE state = ?1 ORDER BY id LIMIT 1";
        let found = tx
            .prepare_cached(sql)?
            .query_row([STORED], |row| Ok((row_and_bytes(row)?, id(row)?)))
            .optional()?;
        let Some(((row, bytes), id)) = found else {
            return Ok(None);
        };
        delete_row(&tx, row)?;
        tx.commit()?;
        Ok(Some((id, bytes)))
    }

    /// Deletes stored batches sealed before `before_ms`; gives their names and payload bytes.
    pub(super) fn delete_older(&mut self, before_ms: u64) -> Result<Vec<(BatchId, u64)>, Error> {
        let tx = self.begin()?;
        let sql = "SELECT id, bytes, boot, sequence FROM batch WHERE state = ?1 AND sealed_ms < ?2";
        let old = tx
            .prepare_cached(sql)?
            .query_map(
                [STORED, i64::try_from(before_ms).unwrap_or(i64::MAX)],
                |row| Ok((row_and_bytes(row)?, id(row)?)),
            )?
            .collect::<Result<Vec<_>, _>>()?;
        let mut gone = Vec::with_capacity(old.len());
        for ((row, bytes), id) in old {
            delete_row(&tx, row)?;
            gone.push((id, bytes));
        }
        tx.commit()?;
        Ok(gone)
    }

    /// Batches and bytes in the database, leased ones included.
    pub(super) fn held(&self) -> Result<Held, Error> {
        let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM batch";
        Ok(self.conn.query_row(sql, [], |row| {
            Ok(Held {
                batches: unsigned(row, 0)?,
                bytes: unsigned(row, 1)?,
            })
        })?)
    }

    /// Leased batches, and the sealing times of the oldest and the newest batch.
    pub(super) fn summary(&self) -> Result<(u64, Option<u64>, Option<u64>), Error> {
        let sql = "SELECT coalesce(sum(state), 0), min(sealed_ms), max(sealed_ms) FROM batch";
        Ok(self.conn.query_row(sql, [], |row| {
            let oldest = row.get::<_, Option<i64>>(1)?.map(i64::cast_unsigned);
            let newest = row.get::<_, Option<i64>>(2)?.map(i64::cast_unsigned);
            Ok((unsigned(row, 0)?, oldest, newest))
        })?)
    }

    /// The first `limit` batches in order of arrival.
    pub(super) fn list(&self, limit: usize) -> Result<Vec<Entry>, Error> {
        let sql = "SELECT boot, sequence, sealed_ms, rows, bytes, state, attempts
                   FROM batch ORDER BY id LIMIT ?1";
        let mut statement = self.conn.prepare(sql)?;
        let entries = statement.query_map([signed(limit)], |row| {
            Ok(Entry {
                id: BatchId {
                    boot: row.get(0)?,
                    sequence: unsigned(row, 1)?,
                },
                sealed_ms: unsigned(row, 2)?,
                rows: unsigned(row, 3)?,
                bytes: unsigned(row, 4)?,
                state: if row.get::<_, i64>(5)? == LEASED {
                    State::Leased
                } else {
                    State::Stored
                },
                attempts: unsigned(row, 6)?,
            })
        })?;
        Ok(entries.collect::<Result<_, _>>()?)
    }

    /// Batches that are in a file for somebody to carry.
    pub(super) fn exported(&self) -> Result<u64, Error> {
        // A reader may look at the spool of an older agent.
        if self.pragma("user_version")? < 2 {
            return Ok(0);
        }
        let sql = "SELECT count(*) FROM batch WHERE exported_ms > 0";
        Ok(self.conn.query_row(sql, [], |row| unsigned(row, 0))?)
    }

    /// A number that changes when somebody else has written to the database.
    pub(super) fn foreign_changes(&self) -> Result<u64, Error> {
        self.pragma("data_version")
    }

    /// Bytes of the database file and of its log.
    pub(super) fn file_bytes(&self) -> (u64, u64) {
        let size = |path: &Path| std::fs::metadata(path).map_or(0, |m| m.len());
        (size(&self.path), size(&log_path(&self.path)))
    }

    /// Moves the log's content into the database, so that the next transaction writes over the
    /// log's beginning: on a full disk that space is what deleting works with.
    ///
    /// False: a reader still needs the log.
    pub(super) fn rewind_log(&self) -> Result<bool, Error> {
        let busy: bool = self
            .conn
            .query_row("PRAGMA wal_checkpoint(RESTART)", [], |r| r.get(0))?;
        Ok(!busy)
    }

    /// Gives free pages beyond a reserve back to the file system, a bounded number at a time; true
    /// when there are more.
    pub(super) fn give_back(&self) -> Result<bool, Error> {
        let free = self.pragma("freelist_count")?;
        let used = self.pragma("page_count")?.saturating_sub(free);
        let reserve = used.clamp(*RESERVE_PAGES.start(), *RESERVE_PAGES.end());
        let surplus = free.saturating_sub(reserve);
        if surplus == 0 {
            return Ok(false);
        }
        let pages = surplus.min(GIVE_BACK_PAGES);
        {
            // One page per step: the statement has to be run to its end.
            let mut statement = self
                .conn
                .prepare(&format!("PRAGMA incremental_vacuum({pages})"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
        }
        // The file is cut when the log is written into it, which would wait for more to be logged.
        self.rewind_log()?;
        Ok(surplus > pages)
    }

    /// Whether the file has free pages for a batch of that size.
    pub(super) fn has_room(&self, bytes: u64) -> Result<bool, Error> {
        let unused = self
            .pragma("max_page_count")?
            .saturating_sub(self.pragma("page_count")?);
        let free = unused + self.pragma("freelist_count")?;
        // An overflow page carries four bytes of its own; the rest is for the trees around it.
        Ok(free >= bytes.div_ceil(PAGE_BYTES - 4) + 8)
    }

    /// Lets the file grow up to its bound: the hard one, whatever the payload's bound makes of page
    /// and index overhead.
    pub(super) fn grow(&self) -> Result<(), Error> {
        self.limit_pages(self.max_pages)
    }

    /// Keeps the file at the size it has.
    pub(super) fn stop_growing(&self) -> Result<(), Error> {
        self.limit_pages(self.pragma("page_count")?)
    }

    fn limit_pages(&self, pages: u64) -> Result<(), Error> {
        let sql = format!("PRAGMA max_page_count = {pages}");
        Ok(self.conn.query_row(&sql, [], |_| Ok(()))?)
    }

    fn pragma(&self, name: &str) -> Result<u64, Error> {
        Ok(self
            .conn
            .pragma_query_value(None, name, |row| unsigned(row, 0))?)
    }

    fn begin(&mut self) -> Result<Transaction<'_>, Error> {
        Ok(self
            .conn
            .transaction_with_behavior(TransactionBehavior::Immediate)?)
    }
}

/// Whether the database can be read and is a file, as all that SQLite opens beside it must be.
pub(super) fn readable(path: &Path) -> Result<(), Error> {
    let mut options = OpenOptions::new();
    files::open_own(options.read(true), path).map_err(|source| Error::io(path, source))?;
    own_files(path)
}

/// Batches in a damaged database, where they can still be counted.
pub(super) fn count_damaged(path: &Path) -> Option<u64> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).ok()?;
    conn.query_row("SELECT count(*) FROM batch", [], |row| unsigned(row, 0))
        .ok()
}

pub(super) fn delete_row(tx: &Transaction<'_>, row: i64) -> Result<(), Error> {
    tx.prepare_cached("DELETE FROM payload WHERE id = ?1")?
        .execute([row])?;
    tx.prepare_cached("DELETE FROM batch WHERE id = ?1")?
        .execute([row])?;
    Ok(())
}

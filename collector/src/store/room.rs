//! The bound by size: what is oldest makes room, a bounded number of rows at a time.
//!
//! What counts are pages in use: pages that eviction freed are used again before the file grows.
//! Eviction begins a little below the bound and ends a little lower, so that it seldom begins and
//! batches seldom wait for it. Rows go in the order of the time of the data: each pass deletes what
//! the oldest eighth of the batches brought, of all kinds, as if retention were shorter.

use rusqlite::{Connection, Result, Transaction, params};

use super::deleted::Deleted;
use super::error::Error;
use super::frozen;
use super::retention::Pass;

/// Bytes of a page: rows are small, and 4 KiB is what file systems write anyway.
pub(super) const PAGE_BYTES: u64 = 4096;
/// The part of the bound at which eviction begins, and twice of it at which it ends.
const RESERVE_PART: u64 = 16;
/// The part of the batches that one pass is about.
const PASS_PART: i64 = 8;

/// Pages of the database file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pages {
    /// All.
    pub(super) all: u64,
    /// Those that hold nothing.
    pub(super) free: u64,
}

impl Pages {
    /// Inside a transaction: as if it were committed.
    pub(super) fn of(db: &Connection) -> Result<Self> {
        let number = |sql: &str| -> Result<u64> {
            let mut statement = db.prepare_cached(sql)?;
            let pages: i64 = statement.query_row((), |row| row.get(0))?;
            Ok(pages.unsigned_abs())
        };
        Ok(Self {
            all: number("PRAGMA page_count")?,
            free: number("PRAGMA freelist_count")?,
        })
    }

    /// Those that hold something.
    pub(super) fn used(self) -> u64 {
        self.all.saturating_sub(self.free)
    }
}

/// The bound, and what is being evicted because of it.
#[derive(Debug)]
pub(super) struct Room {
    /// Most pages of the file.
    most: u64,
    pass: Option<Pass>,
    /// Between the begin of eviction and the lower mark.
    evicting: bool,
    /// Pages that a batch lacked.
    wanted: u64,
    /// What was evicted since it was last asked for.
    evicted: Deleted,
}

impl Room {
    pub(super) fn new(max_bytes: u64) -> Self {
        Self {
            most: max_bytes / PAGE_BYTES,
            pass: None,
            evicting: false,
            wanted: 0,
            evicted: Deleted::default(),
        }
    }

    /// What was evicted since the last call.
    pub(super) fn take_evicted(&mut self) -> Deleted {
        std::mem::take(&mut self.evicted)
    }

    /// Whether a transaction that began with `before` may be committed.
    ///
    /// # Errors
    /// [`Error::Full`]; [`Error::TooLarge`] when no eviction makes enough room for it.
    pub(super) fn check(&mut self, before: Pages, after: Pages) -> std::result::Result<(), Error> {
        // A file that is larger, since the bound was lowered, need not shrink with every batch.
        let grows = after.all > self.most.max(before.all);
        if !grows && after.used() <= self.most.max(before.used()) {
            return Ok(());
        }
        let max_bytes = self.most.saturating_mul(PAGE_BYTES);
        let wanted = after.used().saturating_sub(before.used());
        if wanted > self.most / 2 {
            return Err(Error::TooLarge { max_bytes });
        }
        self.wanted = self.wanted.max(wanted);
        Err(Error::Full { max_bytes })
    }

    /// Whether something should be evicted now.
    pub(super) fn is_short(&self, pages: Pages) -> bool {
        let reserve = self.most / RESERVE_PART;
        let reserve = if self.evicting { 2 * reserve } else { reserve };
        // A pass is finished: what it left of the same age tells half of the story.
        self.pass.is_some() || pages.used() > self.most.saturating_sub(reserve + self.wanted)
    }

    /// One step of eviction in a transaction of its own; `None` where nothing is left to evict.
    /// `boots` are runs of which names were deleted.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub(super) fn step(
        &mut self,
        transaction: Transaction<'_>,
        now_ms: i64,
        boots: &mut Vec<i64>,
    ) -> Result<Option<Deleted>> {
        self.evicting = true;
        // What was joined takes no more than half.
        if self.pass.is_none() && frozen::bytes(&transaction)? > self.most * PAGE_BYTES / 2 {
            let slices = frozen::evict(&transaction)?;
            if slices > 0 {
                transaction.commit()?;
                let deleted = Deleted {
                    slices,
                    more: true,
                    ..Deleted::default()
                };
                self.evicted.add(&deleted);
                return Ok(Some(deleted));
            }
        }
        let (mut pass, began) = match self.pass.clone() {
            Some(pass) => (pass, None),
            None => match oldest(&transaction)? {
                Some(horizon_ms) => (Pass::by_size(horizon_ms), Some(horizon_ms)),
                None => return Ok(None),
            },
        };
        if let Some(horizon_ms) = began {
            frozen::freeze(&transaction, horizon_ms)?;
        }
        let deleted = pass.step(&transaction, boots)?;
        note(&transaction, began, now_ms, deleted.rows())?;
        transaction.commit()?;
        self.pass = deleted.more.then_some(pass);
        self.evicted.add(&deleted);
        Ok(Some(deleted))
    }

    /// Whether the file should give pages back: it is beyond its bound, or much of it is free.
    pub(super) fn has_many_free(&self, pages: Pages) -> bool {
        pages.free > 0 && (pages.all > self.most || pages.free > pages.all / 4)
    }

    /// Eviction has reached the lower mark.
    pub(super) fn enough(&mut self) {
        self.evicting = false;
        self.wanted = 0;
    }
}

/// The time up to which the oldest batches reach.
fn oldest(db: &Connection) -> Result<Option<i64>> {
    let mut statement = db.prepare_cached(
        "SELECT end_ms FROM batch ORDER BY end_ms
         LIMIT 1 OFFSET (SELECT count(*) / ?1 FROM batch)",
    )?;
    let mut rows = statement.query([PASS_PART])?;
    rows.next()?.map(|row| row.get(0)).transpose()
}

/// Keeps what readers and operators must know of it.
fn note(db: &Connection, began: Option<i64>, now_ms: i64, rows: u64) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO evicted (id, before_ms, at_ms, rows) VALUES (1, ?1, ?2, ?3)
         ON CONFLICT (id) DO UPDATE SET before_ms = max(before_ms, excluded.before_ms),
             at_ms = excluded.at_ms, rows = rows + excluded.rows",
    )?
    .execute(params![
        began.unwrap_or(i64::MIN),
        now_ms,
        i64::try_from(rows).unwrap_or(i64::MAX)
    ])?;
    Ok(())
}

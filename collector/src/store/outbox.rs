//! What is on its way to outputs: batches as they came, written in the transaction that stores them.
//!
//! Each output has a position of its own and sends what lies behind it, in order. A batch goes when
//! all of them are past it, or when the outbox is full. Positions are kept in memory by [`Progress`],
//! which the threads of outputs move, and saved by the writer with its next commit: what was sent
//! after the last save is sent again after a crash, and nothing is lost.
//!
//! Of each output: batches accepted since it was configured = sent + refused + dropped + waiting.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::error::{Error, failed};
use super::migrate;

/// Rows that one transaction deletes at most: others wait for it meanwhile.
const STEP_ROWS: i64 = 512;

/// How far an output is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct At {
    /// The newest batch that it is done with.
    pub position: i64,
    /// Batches that arrived.
    pub sent: u64,
    /// Batches that the other side does not take.
    pub refused: u64,
    /// Batches that made room for others before they were sent.
    pub dropped: u64,
}

impl At {
    /// Moves on to `position`; nothing where it is there already. Returns by how many batches.
    fn advance(&mut self, position: i64) -> u64 {
        let by = position.saturating_sub(self.position).max(0);
        self.position = self.position.max(position);
        by.unsigned_abs()
    }
}

/// One output, as its thread, the writer and whoever asks see it.
#[derive(Debug)]
pub struct Progress {
    /// Its name in the configuration.
    pub name: String,
    /// The newest position when it was configured.
    first: i64,
    at: Mutex<At>,
}

impl Progress {
    /// How far it is.
    #[must_use]
    pub fn at(&self) -> At {
        *self.lock()
    }

    /// Everything up to `position` is done with; so many of these batches were refused. What made
    /// room meanwhile stays counted as dropped.
    pub fn done(&self, position: i64, refused: u64) {
        let mut at = self.lock();
        let by = at.advance(position);
        let refused = refused.min(by);
        at.refused += refused;
        at.sent += by - refused;
    }

    fn drop_to(&self, position: i64) {
        let mut at = self.lock();
        at.dropped += at.advance(position);
    }

    fn lock(&self) -> MutexGuard<'_, At> {
        self.at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of the outbox without reading it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// The newest position.
    pub last: i64,
    /// Bytes of batches that are in it.
    pub bytes: u64,
    /// When the oldest of them was stored, Unix milliseconds.
    pub oldest_ms: Option<i64>,
}

#[derive(Debug, Default)]
struct Seen {
    level: Level,
    stopping: bool,
}

/// The outbox of a running collector.
#[derive(Debug)]
pub struct Outbox {
    /// The outputs, in the order in which they were named.
    pub outputs: Vec<Arc<Progress>>,
    most_bytes: u64,
    seen: Mutex<Seen>,
    changed: Condvar,
}

/// What a transaction did to the outbox, to be told once it is committed.
#[derive(Debug)]
pub(super) struct Tended {
    level: Level,
    /// Everything up to here made room.
    cut: Option<i64>,
}

impl Outbox {
    /// Begins where the store left off: outputs that are not named any more are forgotten, new ones
    /// begin with the next batch.
    pub(super) fn open(db: &Connection, names: &[String], most_bytes: u64) -> Result<Self> {
        let last = last(db)?;
        let known: Vec<String> = db
            .prepare("SELECT name FROM output")?
            .query_map((), |row| row.get(0))?
            .collect::<Result<_>>()?;
        for name in known.iter().filter(|name| !names.contains(name)) {
            db.execute("DELETE FROM output WHERE name = ?1", [name])?;
        }
        if names.is_empty() {
            db.execute("DELETE FROM outbox", ())?;
        }
        let mut outputs = Vec::new();
        for name in names {
            db.execute(
                "INSERT INTO output (name, first, position, sent, refused, dropped)
                 VALUES (?1, ?2, ?2, 0, 0, 0) ON CONFLICT (name) DO NOTHING",
                params![name, last],
            )?;
            outputs.push(db.query_row(
                "SELECT first, position, sent, refused, dropped FROM output WHERE name = ?1",
                [name],
                |row| {
                    let count = |at| row.get(at).map(i64::unsigned_abs);
                    Ok(Arc::new(Progress {
                        name: name.clone(),
                        first: row.get(0)?,
                        at: Mutex::new(At {
                            position: row.get(1)?,
                            sent: count(2)?,
                            refused: count(3)?,
                            dropped: count(4)?,
                        }),
                    }))
                },
            )?);
        }
        let seen = Seen {
            level: level(db)?,
            stopping: false,
        };
        Ok(Self {
            outputs,
            most_bytes,
            seen: Mutex::new(seen),
            changed: Condvar::new(),
        })
    }

    /// That of a store that keeps nothing for outputs.
    #[must_use]
    pub fn none() -> Self {
        Self {
            outputs: Vec::new(),
            most_bytes: 0,
            seen: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// What is in it.
    #[must_use]
    pub fn level(&self) -> Level {
        self.lock().level
    }

    /// Batches accepted since an output was configured, and those of them that wait.
    #[must_use]
    pub fn accepted(&self, output: &Progress) -> (u64, u64) {
        // In this order: what comes meanwhile waits.
        let position = output.at().position;
        let last = self.level().last.max(position);
        let since = |begin: i64| last.saturating_sub(begin).max(0).unsigned_abs();
        (since(output.first), since(position))
    }

    /// Waits until something is behind `position`, or for so long; false once it is to end.
    #[must_use]
    pub fn wait(&self, position: i64, most: Duration) -> bool {
        let waits = |seen: &mut Seen| !seen.stopping && seen.level.last <= position;
        let waited = self.changed.wait_timeout_while(self.lock(), most, waits);
        let (seen, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !seen.stopping
    }

    /// Waits for so long whatever comes; false once it is to end.
    #[must_use]
    pub fn pause(&self, time: Duration) -> bool {
        self.wait(i64::MAX, time)
    }

    /// Tells whoever waits to end.
    pub fn stop(&self) {
        self.lock().stopping = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Saves positions, deletes what all are done with, and makes room; inside of a transaction.
    pub(super) fn tend(&self, db: &Connection) -> Result<Tended> {
        let mut saved: Vec<At> = self.outputs.iter().map(|output| output.at()).collect();
        let first: Option<i64> = db
            .prepare_cached("SELECT min(position) FROM outbox")?
            .query_row((), |row| row.get(0))?;
        let mut cut = None;
        if let Some(first) = first {
            let step = first.saturating_add(STEP_ROWS);
            let least = saved.iter().map(|at| at.position).min();
            let least = least.unwrap_or(i64::MAX).min(step);
            delete(db, least)?;
            cut = self.too_old(db)?.map(|cut| cut.min(step));
            if let Some(cut) = cut {
                delete(db, cut)?;
                for at in &mut saved {
                    at.dropped += at.advance(cut);
                }
            }
        }
        let mut update = db.prepare_cached(
            "UPDATE output SET position = ?2, sent = ?3, refused = ?4, dropped = ?5
             WHERE name = ?1 AND (position, refused, dropped) <> (?2, ?4, ?5)",
        )?;
        for (output, at) in self.outputs.iter().zip(&saved) {
            let [sent, refused, dropped] = [at.sent, at.refused, at.dropped].map(u64::cast_signed);
            update.execute(params![output.name, at.position, sent, refused, dropped])?;
        }
        Ok(Tended {
            level: level(db)?,
            cut,
        })
    }

    /// The newest batch that has to go for what is left to be within the bound.
    fn too_old(&self, db: &Connection) -> Result<Option<i64>> {
        let most = i64::try_from(self.most_bytes).unwrap_or(i64::MAX);
        if i64::try_from(level(db)?.bytes).unwrap_or(i64::MAX) <= most {
            return Ok(None);
        }
        db.prepare_cached(
            "SELECT position FROM outbox
             WHERE total >= (SELECT total FROM outbox ORDER BY position DESC LIMIT 1) - ?1
             ORDER BY position LIMIT 1",
        )?
        .query_row([most], |row| row.get(0))
        .optional()
    }

    /// The transaction is committed.
    pub(super) fn committed(&self, tended: Tended) {
        let Tended { level, cut } = tended;
        if let Some(cut) = cut {
            for output in &self.outputs {
                output.drop_to(cut);
            }
        }
        self.lock().level = level;
        self.changed.notify_all();
    }
}

/// Adds a batch where there are outputs; inside of the transaction that stores it.
pub(super) fn add(db: &Connection, payload: &[u8], now_ms: i64) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO outbox (received_ms, total, payload)
         SELECT ?1, length(?2)
             + coalesce((SELECT total FROM outbox ORDER BY position DESC LIMIT 1), 0), ?2
         WHERE EXISTS (SELECT 1 FROM output)",
    )?
    .execute(params![now_ms, payload])?;
    Ok(())
}

fn delete(db: &Connection, position: i64) -> Result<()> {
    db.prepare_cached("DELETE FROM outbox WHERE position <= ?1")?
        .execute([position])?;
    Ok(())
}

/// The newest position that was ever given.
fn last(db: &Connection) -> Result<i64> {
    let found = db
        .prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'outbox'")?
        .query_row((), |row| row.get(0))
        .optional()?;
    Ok(found.unwrap_or(0))
}

fn level(db: &Connection) -> Result<Level> {
    let oldest: Option<(i64, i64)> = db
        .prepare_cached(
            "SELECT received_ms, total - length(payload) FROM outbox ORDER BY position LIMIT 1",
        )?
        .query_row((), |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    let total: Option<i64> = db
        .prepare_cached("SELECT total FROM outbox ORDER BY position DESC LIMIT 1")?
        .query_row((), |row| row.get(0))
        .optional()?;
    let before = oldest.map_or(0, |(_, before)| before);
    Ok(Level {
        last: last(db)?,
        bytes: total.map_or(0, |total| total.saturating_sub(before).unsigned_abs()),
        oldest_ms: oldest.map(|(at, _)| at),
    })
}

/// A batch that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its place in the order.
    pub position: i64,
    /// When it was stored, Unix milliseconds.
    pub received_ms: i64,
    /// The bytes as they came.
    pub payload: Vec<u8>,
}

/// Reads the outbox on a connection of its own.
#[derive(Debug)]
pub struct OutboxReader(Connection);

impl OutboxReader {
    /// Opens the store for reading.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub fn open(path: &Path) -> std::result::Result<Self, Error> {
        migrate::open_reader(path).map(Self)
    }

    /// The next batches behind a position, as many as `rows` and `bytes` let through, at least one.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn next(
        &self,
        position: i64,
        rows: usize,
        bytes: usize,
    ) -> std::result::Result<Vec<Waiting>, Error> {
        self.read(position, rows, bytes).map_err(failed)
    }

    fn read(&self, position: i64, rows: usize, bytes: usize) -> Result<Vec<Waiting>> {
        let mut statement = self.0.prepare_cached(
            "SELECT position, received_ms, payload FROM outbox WHERE position > ?1
             ORDER BY position",
        )?;
        let mut found = statement.query([position])?;
        let (mut all, mut held) = (Vec::new(), 0);
        while all.len() < rows
            && held < bytes
            && let Some(row) = found.next()?
        {
            let payload: Vec<u8> = row.get(2)?;
            held += payload.len();
            all.push(Waiting {
                position: row.get(0)?,
                received_ms: row.get(1)?,
                payload,
            });
        }
        Ok(all)
    }
}

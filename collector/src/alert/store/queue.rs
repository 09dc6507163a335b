//! What waits to be sent.

use rusqlite::{Connection, params};

use super::database::{AlertStore, Error};
use crate::alert::notify::Notice;

/// Notices that wait for one output; the oldest make room.
pub const MOST_WAITING: u32 = 1000;

/// A notice that waits.
#[derive(Clone, Debug, PartialEq)]
pub struct Waiting {
    /// Grows with each notice.
    pub id: i64,
    /// When it was made, Unix milliseconds.
    pub at_ms: i64,
    /// What is to be sent.
    pub notice: Notice,
}

/// Puts a notice into the queue; the number that made room for it.
pub(super) fn enqueue(db: &Connection, output: &str, notice: &Notice) -> Result<u64, Error> {
    db.prepare_cached("INSERT INTO notice (output, at_ms, body) VALUES (?1, ?2, ?3)")?
        .execute(params![
            output,
            notice.at_ms,
            serde_json::to_string(notice)?
        ])?;
    let dropped = db
        .prepare_cached(
            "DELETE FROM notice WHERE output = ?1 AND id IN
             (SELECT id FROM notice WHERE output = ?1 ORDER BY id DESC LIMIT -1 OFFSET ?2)",
        )?
        .execute(params![output, MOST_WAITING])?;
    Ok(dropped as u64)
}

impl AlertStore {
    /// The notice that waits longest for an output.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn next_notice(&self, output: &str) -> Result<Option<Waiting>, Error> {
        let db = self.reading();
        let mut statement = db.prepare_cached(
            "SELECT id, at_ms, body FROM notice WHERE output = ?1 ORDER BY id LIMIT 1",
        )?;
        let mut rows = statement.query([output])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        let body: String = row.get(2)?;
        Ok(Some(Waiting {
            id: row.get(0)?,
            at_ms: row.get(1)?,
            notice: serde_json::from_str(&body)?,
        }))
    }

    /// Takes a notice out of the queue: it was sent, or will never be.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn done_notice(&self, id: i64) -> Result<(), Error> {
        self.change(|db| {
            db.prepare_cached("DELETE FROM notice WHERE id = ?1")?
                .execute([id])?;
            Ok(())
        })
    }

    /// Notices that wait, of all outputs.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn waiting(&self) -> Result<u64, Error> {
        let db = self.reading();
        let count: i64 = db.query_row("SELECT count(*) FROM notice", (), |row| row.get(0))?;
        Ok(count.unsigned_abs())
    }

    /// Drops what waits for outputs that are not configured any more; how many.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub fn drop_others(&self, outputs: &[String]) -> Result<u64, Error> {
        self.change(|db| {
            let mut dropped = 0;
            let mut statement = db.prepare("SELECT DISTINCT output FROM notice")?;
            let known = statement.query_map((), |row| row.get::<_, String>(0))?;
            for output in known.collect::<Result<Vec<_>, _>>()? {
                if !outputs.contains(&output) {
                    dropped += db.execute("DELETE FROM notice WHERE output = ?1", [output])?;
                }
            }
            Ok(dropped as u64)
        })
    }
}

//! What was deleted because the store was full, as readers must know it.

use rusqlite::{Connection, OptionalExtension};

use super::error::{Error, failed};

/// What was deleted because the store was full.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, schemars::JsonSchema, serde::Serialize, serde::Deserialize,
)]
pub struct Evicted {
    /// Data up to then may be missing; Unix milliseconds.
    pub before_ms: i64,
    /// When something was evicted last; Unix milliseconds.
    pub at_ms: i64,
    /// Rows of all kinds, since the store was made.
    pub rows: u64,
}

/// `None` while nothing was.
pub(super) fn evicted(db: &Connection) -> Result<Option<Evicted>, Error> {
    db.query_row("SELECT before_ms, at_ms, rows FROM evicted", (), |row| {
        let rows: i64 = row.get(2)?;
        Ok(Evicted {
            before_ms: row.get(0)?,
            at_ms: row.get(1)?,
            rows: rows.unsigned_abs(),
        })
    })
    .optional()
    .map_err(failed)
}

//! What is gone because of its age or for want of room.

use rusqlite::{Connection, OptionalExtension, Result};

/// What may be gone; Unix milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Rows that ended up to then.
    pub rows_ms: Option<i64>,
    /// All slices that began before then.
    pub slices_ms: Option<i64>,
}

/// What may be gone of a store.
pub(super) fn gone(db: &Connection) -> Result<Gone> {
    let found = db
        .prepare_cached("SELECT rows_ms, slices_ms FROM gone")?
        .query_row((), |row| {
            Ok(Gone {
                rows_ms: row.get(0)?,
                slices_ms: row.get(1)?,
            })
        })
        .optional()?;
    Ok(found.unwrap_or_default())
}

/// Notes what was deleted in the transaction at hand.
pub(super) fn note(db: &Connection, more: Gone) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO gone (id, rows_ms, slices_ms) VALUES (1, ?1, ?2)
         ON CONFLICT (id) DO UPDATE SET
             rows_ms = max(coalesce(rows_ms, ?1), coalesce(?1, rows_ms)),
             slices_ms = max(coalesce(slices_ms, ?2), coalesce(?2, slices_ms))",
    )?
    .execute([more.rows_ms, more.slices_ms])
    .map(drop)
}

//! Runs of agents, as the join asks for them.

use rusqlite::{Connection, Result};

use crate::join::Run;

/// A run by its number. A later one of the host speaks for the host from its first report on, if
/// that is within the window that ends at `to_ms`.
pub(super) fn of(db: &Connection, boot: i64, to_ms: i64) -> Result<Run> {
    db.prepare_cached(
        "SELECT boot.first_ms, EXISTS (
             SELECT 1 FROM boot AS later WHERE later.host_id = boot.host_id
                 AND (later.first_ms, later.id) > (boot.first_ms, boot.id)
                 AND later.first_ms < ?2 AND coalesce((
                     SELECT end_ms FROM batch WHERE boot_id = later.id
                     ORDER BY sequence LIMIT 1), later.first_ms) <= ?2)
         FROM boot WHERE boot.id = ?1",
    )?
    .query_row([boot, to_ms], |row| {
        Ok(Run {
            order: (row.get(0)?, boot),
            ended: row.get(1)?,
        })
    })
}

//! Writing what is known of runs where it is not asked for by a batch.

use rusqlite::{Connection, OptionalExtension, Result};

use super::known::Run;

/// Writes what is known of those runs whose blocks up to a time are not in it yet, at most so many;
/// true when none is left. Of runs that are over by then nothing stays that has to be known.
pub(super) fn write_before(db: &Connection, horizon_ms: i64, most: i64) -> Result<bool> {
    let boots: Vec<i64> = db
        .prepare_cached(
            "SELECT id FROM boot WHERE last_ms > ?1 AND flushed < last_sequence AND coalesce((
                 SELECT end_ms FROM batch WHERE boot_id = boot.id AND sequence > boot.flushed
                 ORDER BY sequence LIMIT 1) <= ?1, 0)
             LIMIT ?2",
        )?
        .query_map([horizon_ms, most], |row| row.get(0))?
        .collect::<Result<_>>()?;
    for boot in &boots {
        Run::read(db, *boot)?.write(db, *boot)?;
    }
    Ok((boots.len() as u64) < most.unsigned_abs())
}

/// Writes what is known of a run, where blocks hold more.
pub(super) fn write_now(db: &Connection, boot: i64) -> Result<()> {
    let behind: Option<bool> = db
        .prepare_cached("SELECT flushed < last_sequence FROM boot WHERE id = ?1")?
        .query_row([boot], |row| row.get(0))
        .optional()?;
    if behind == Some(true) {
        Run::read(db, boot)?.write(db, boot)?;
    }
    Ok(())
}

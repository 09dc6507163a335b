//! What is kept of what was joined, and what is not joined again because its rows go.

use rusqlite::{Connection, OptionalExtension, Result, params};

use super::gone::{self, Gone};
use super::slice::{LENGTHS, slice};

/// What is kept of what was joined, milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ages {
    /// Of slices shorter than the longest ones.
    pub(super) short_ms: i64,
    /// Of the longest.
    pub(super) long_ms: i64,
}

/// Slices that one step of retention or eviction deletes: each may be some megabytes.
const STEP: i64 = 16;

/// From now on, what began before `before_ms` is not joined again: its rows go.
pub(super) fn freeze(db: &Connection, before_ms: i64) -> Result<()> {
    let [length, ..] = LENGTHS;
    // The slice that holds the moment has lost a part already.
    let before_ms = slice(length, before_ms).saturating_add(length);
    db.prepare_cached(
        "INSERT INTO slice_frozen (id, before_ms) VALUES (1, ?1)
         ON CONFLICT DO UPDATE SET before_ms = max(before_ms, excluded.before_ms)",
    )?
    .execute([before_ms])
    .map(drop)
}

/// Deletes some of the slices that are older than these ages; their number.
pub(super) fn retain(db: &Connection, ages: Ages, now_ms: i64) -> Result<u64> {
    let [_, _, longest] = LENGTHS;
    // All shorter ones of a longest one go together.
    let floor = |age_ms| {
        now_ms
            .saturating_sub(age_ms)
            .div_euclid(longest)
            .saturating_mul(longest)
    };
    let before = [floor(ages.short_ms), floor(ages.long_ms)];
    let old = "(length_ms < ?1 AND start_ms < ?2 OR length_ms = ?1 AND start_ms < ?3) LIMIT ?4";
    let mut statement = db.prepare_cached(&format!(
        "SELECT length_ms, start_ms FROM slice WHERE {old}"
    ))?;
    let old = statement.query_map(params![longest, before[0], before[1], STEP], |row| {
        Ok([row.get(0)?, row.get(1)?])
    })?;
    let old: Vec<[i64; 2]> = old.collect::<Result<_>>()?;
    if !old.is_empty() {
        // What is before the end of the last one.
        freeze(db, before[0])?;
    }
    if old.iter().any(|[length_ms, _]| *length_ms == longest) {
        let gone = Gone {
            rows_ms: None,
            slices_ms: Some(before[1]),
        };
        gone::note(db, gone)?;
    }
    for key in &old {
        for table in ["joined", "slice"] {
            let sql = format!("DELETE FROM {table} WHERE length_ms = ?1 AND start_ms = ?2");
            db.prepare_cached(&sql)?.execute(*key)?;
        }
    }
    Ok(old.len() as u64)
}

/// Bytes of what was joined.
pub(super) fn bytes(db: &Connection) -> Result<u64> {
    db.prepare_cached("SELECT coalesce(sum(bytes), 0) FROM slice")?
        .query_row((), |row| row.get(0).map(i64::unsigned_abs))
}

/// Deletes what was joined of some slices, the shortest and oldest first; their number. Questions
/// about their time read the longer ones, or the rows.
pub(super) fn evict(db: &Connection) -> Result<u64> {
    let mut statement = db.prepare_cached(
        "SELECT length_ms, start_ms FROM slice WHERE joined > 0
         ORDER BY length_ms, start_ms LIMIT ?1",
    )?;
    let old = statement.query_map([STEP], |row| Ok([row.get(0)?, row.get(1)?]))?;
    let old: Vec<[i64; 2]> = old.collect::<Result<_>>()?;
    for [length_ms, start_ms] in &old {
        freeze(db, start_ms.saturating_add(*length_ms))?;
        db.prepare_cached("DELETE FROM joined WHERE length_ms = ?1 AND start_ms = ?2")?
            .execute([length_ms, start_ms])?;
        db.prepare_cached(
            "UPDATE slice SET joined = 0, edges = 0, bytes = 0
             WHERE length_ms = ?1 AND start_ms = ?2",
        )?
        .execute([length_ms, start_ms])?;
    }
    Ok(old.len() as u64)
}

/// Slices that began before then are not joined again.
pub(super) fn frozen(db: &Connection) -> Result<i64> {
    let before = db
        .prepare_cached("SELECT before_ms FROM slice_frozen")?
        .query_row((), |row| row.get(0))
        .optional()?;
    Ok(before.unwrap_or(i64::MIN))
}

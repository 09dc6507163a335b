//! The bound of the number of hosts: the one unseen for longest makes room for a new one.
//!
//! It is no longer listed from then on, and its rows are deleted a bounded number at a time. A host
//! that was seen within [`GUARD_MS`] never makes room: whoever can invent hosts could drive out
//! real ones.

use rusqlite::{Connection, OptionalExtension, Result, params};

/// A host seen within this time is not forgotten for a new one. Milliseconds.
pub(super) const GUARD_MS: i64 = 3_600_000;

/// Rows of each kind that a step may delete.
const STEP_ROWS: i64 = 2000;
/// Flows whose rows a step looks at.
const STEP_FLOWS: i64 = 200;

/// Makes room for a host, unless it is known; the number of hosts forgotten, or `None` where no
/// room can be made.
pub(super) fn admit(
    db: &Connection,
    host: &[u8; 16],
    most: u64,
    now_ms: i64,
) -> Result<Option<u64>> {
    let known: Option<bool> = db
        .prepare_cached("SELECT forgotten = 0 FROM host WHERE host = ?1")?
        .query_row([host], |row| row.get(0))
        .optional()?;
    if known == Some(true) {
        return Ok(Some(0));
    }
    let hosts: i64 = db
        .prepare_cached("SELECT count(*) FROM host WHERE forgotten = 0")?
        .query_row((), |row| row.get(0))?;
    let mut forgotten = 0;
    // More than one where the bound was lowered, but no more than a batch may cost.
    let over = hosts.unsigned_abs().saturating_sub(most.saturating_sub(1));
    for _ in 0..over.min(16) {
        let done = db
            .prepare_cached(
                "UPDATE host SET forgotten = 1, hostname = '', report = '', report_end_ms = -1
                 WHERE id = (SELECT id FROM host WHERE forgotten = 0 AND last_seen_ms <= ?1
                     ORDER BY last_seen_ms, id LIMIT 1)",
            )?
            .execute([now_ms.saturating_sub(GUARD_MS)])?;
        if done == 0 {
            return Ok(None);
        }
        forgotten += 1;
    }
    Ok(Some(forgotten))
}

/// Deletes a bounded number of rows of hosts that were forgotten; `None` where there are none.
pub(super) fn purge(db: &Connection) -> Result<Option<u64>> {
    let host: Option<i64> = db
        .prepare_cached("SELECT id FROM host WHERE forgotten = 1 LIMIT 1")?
        .query_row((), |row| row.get(0))
        .optional()?;
    let Some(host) = host else { return Ok(None) };
    let flows = ids(
        db,
        "SELECT flow.id FROM boot JOIN flow ON flow.boot_id = boot.id
         WHERE boot.host_id = ?1 LIMIT ?2",
        host,
        STEP_FLOWS,
    )?;
    let mut left = STEP_ROWS;
    for flow in flows {
        for sql in OF_FLOW {
            left -= delete(db, sql, flow, left)?;
            if left <= 0 {
                return Ok(Some(STEP_ROWS.unsigned_abs()));
            }
        }
    }
    left -= blocks(db, host, left)?;
    if left <= 0 {
        return Ok(Some((STEP_ROWS - left).unsigned_abs()));
    }
    for sql in OF_HOST {
        left -= delete(db, sql, host, left)?;
        if left <= 0 {
            break;
        }
    }
    Ok(Some((STEP_ROWS - left).unsigned_abs()))
}

/// What belongs to a flow, then the flow; each only once nothing before it is left.
const OF_FLOW: [&str; 3] = [
    "DELETE FROM sighting WHERE (token, flow_id, part, port) IN (
         SELECT token, flow_id, part, port FROM sighting WHERE flow_id = ?1 LIMIT ?2)",
    "DELETE FROM subject WHERE id IN (SELECT id FROM subject WHERE flow_id = ?1 LIMIT ?2)",
    "DELETE FROM flow WHERE id = ?1 AND ?2 = ?2",
];

/// What belongs to a host and not to its flows.
const OF_HOST: [&str; 8] = [
    "DELETE FROM series_sample WHERE (series_id, end_ms) IN (
         SELECT series_id, end_ms FROM boot JOIN series ON series.boot_id = boot.id
         JOIN series_sample ON series_id = series.id WHERE host_id = ?1 LIMIT ?2)",
    "DELETE FROM series WHERE id IN (SELECT series.id FROM boot
         JOIN series ON series.boot_id = boot.id WHERE host_id = ?1 LIMIT ?2)",
    "DELETE FROM nat_sample WHERE (nat_id, end_ms) IN (
         SELECT nat_id, end_ms FROM boot JOIN nat ON nat.boot_id = boot.id
         JOIN nat_sample ON nat_id = nat.id WHERE host_id = ?1 LIMIT ?2)",
    "DELETE FROM nat WHERE id IN (SELECT nat.id FROM boot JOIN nat ON nat.boot_id = boot.id
         WHERE host_id = ?1 LIMIT ?2)",
    "DELETE FROM process WHERE (boot_id, process_id) IN (
         SELECT boot_id, process_id FROM boot JOIN process ON process.boot_id = boot.id
         WHERE host_id = ?1 LIMIT ?2)",
    "DELETE FROM batch WHERE (boot_id, sequence) IN (
         SELECT boot_id, sequence FROM boot JOIN batch ON batch.boot_id = boot.id
         WHERE host_id = ?1 LIMIT ?2)",
    "DELETE FROM boot WHERE host_id = ?1
         AND NOT EXISTS (SELECT 1 FROM flow WHERE flow.boot_id = boot.id)
         AND id IN (SELECT id FROM boot WHERE host_id = ?1 LIMIT ?2)",
    "DELETE FROM host WHERE id = ?1 AND ?2 = ?2
         AND NOT EXISTS (SELECT 1 FROM boot WHERE host_id = ?1)",
];

/// Deletes blocks of a host with about `most` rows; how many rows they had.
fn blocks(db: &Connection, host: i64, most: i64) -> Result<i64> {
    let mut statement = db.prepare_cached(
        "SELECT boot.id, batch.sequence, batch.first_block, batch.last_block
         FROM boot JOIN batch ON batch.boot_id = boot.id
         WHERE host_id = ?1 AND first_block IS NOT NULL",
    )?;
    let mut batches = statement.query([host])?;
    let mut deleted = 0;
    while let Some(batch) = batches.next()? {
        let of: [i64; 2] = [batch.get(2)?, batch.get(3)?];
        let rows: Option<i64> = db
            .prepare_cached("SELECT sum(row_count) FROM block WHERE id >= ?1 AND id <= ?2")?
            .query_row(of, |row| row.get(0))?;
        let sql = "DELETE FROM block WHERE id >= ?1 AND id <= ?2";
        db.prepare_cached(sql)?.execute(of)?;
        let key: [i64; 2] = [batch.get(0)?, batch.get(1)?];
        let sql = "UPDATE batch SET first_block = NULL, last_block = NULL
             WHERE boot_id = ?1 AND sequence = ?2";
        db.prepare_cached(sql)?.execute(key)?;
        // One without rows says what is open.
        deleted += rows.unwrap_or(0).max(1);
        if deleted >= most {
            break;
        }
    }
    Ok(deleted)
}

fn delete(db: &Connection, sql: &str, id: i64, most: i64) -> Result<i64> {
    let deleted = db.prepare_cached(sql)?.execute(params![id, most])?;
    Ok(i64::try_from(deleted).unwrap_or(i64::MAX))
}

fn ids(db: &Connection, sql: &str, id: i64, most: i64) -> Result<Vec<i64>> {
    db.prepare_cached(sql)?
        .query_map(params![id, most], |row| row.get(0))?
        .collect()
}

//! What is old of a series or a table, and deleting some of it.

use rusqlite::{Connection, Result, Row, params};

/// Rows of each kind that a step may delete.
pub(super) const STEP_ROWS: i64 = 2000;
/// A subject, translation or other series, and what is old of it.
pub(super) struct Old {
    pub(super) id: i64,
    /// Nothing of it stays.
    pub(super) over: bool,
    /// The newest sample that is old: the baseline of those that are not.
    newest_ms: Option<i64>,
    /// The first sample of all.
    oldest_ms: Option<i64>,
}

/// The next ones of a table.
pub(super) fn old(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<Vec<Old>> {
    let row = |row: &Row<'_>| {
        Ok(Old {
            id: row.get(0)?,
            over: row.get(1)?,
            newest_ms: row.get(2)?,
            oldest_ms: row.get(3)?,
        })
    };
    db.prepare_cached(sql)?.query_map(values, row)?.collect()
}

impl Old {
    /// Deletes samples, the oldest first, at most `most`.
    pub(super) fn delete(
        &self,
        db: &Connection,
        (table, key): (&str, &str),
        most: i64,
    ) -> Result<u64> {
        let before_ms = if self.over {
            Some(i64::MAX)
        } else {
            self.newest_ms
        };
        // Asked first, for most of them have nothing to delete.
        if self.oldest_ms >= before_ms {
            return Ok(0);
        }
        let sql = format!(
            "DELETE FROM {table} WHERE {key} = ?1 AND end_ms IN (
                 SELECT end_ms FROM {table} WHERE {key} = ?1 AND end_ms < ?2
                 ORDER BY end_ms LIMIT ?3)"
        );
        run(db, &sql, params![self.id, before_ms, most])
    }
}

/// Deletes some of the rows that a condition calls old.
pub(super) fn by_time(
    db: &Connection,
    table: &str,
    key: &str,
    old: &str,
    horizon: i64,
) -> Result<u64> {
    let sql = format!(
        "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM {table} WHERE {old} LIMIT ?2)"
    );
    run(db, &sql, params![horizon, STEP_ROWS])
}

/// Runs a statement; the number of rows that it changed.
pub(super) fn run(db: &Connection, sql: &str, values: impl rusqlite::Params) -> Result<u64> {
    Ok(db.prepare_cached(sql)?.execute(values)? as u64)
}

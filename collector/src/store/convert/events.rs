//! Events of version 14 become blocks.

use rusqlite::{Result, Transaction, params};

use super::super::block::{self, Events, Head, Kind};
use super::{Progress, STEP_ROWS, has, progress};

/// One step; `None` once all is done.
pub(super) fn step(db: &Transaction<'_>) -> Result<Option<Progress>> {
    if !has(db, "event")? {
        return Ok(None);
    }
    let mut statement = db.prepare_cached(
        "SELECT boot_id, sequence, table_id, end_ms, cells FROM event
         ORDER BY boot_id, sequence, table_id, place LIMIT ?1",
    )?;
    let mut rows = statement.query([STEP_ROWS])?;
    let mut of_batch: Option<([i64; 4], Vec<String>)> = None;
    // Blocks are in the order of their arrival, and these come behind all that are there.
    let received_ms: i64 = db.query_row(
        "SELECT coalesce((SELECT received_ms FROM block WHERE pieces > 0 ORDER BY id DESC LIMIT 1), 0)",
        (),
        |row| row.get(0),
    )?;
    let write = |([boot, sequence, table, end_ms], rows): ([i64; 4], Vec<String>)| {
        let head = Head::new((boot, sequence), (end_ms, end_ms), received_ms);
        block::write(db, &head, Kind::Events(table), &Events(rows)).map(drop)
    };
    while let Some(row) = rows.next()? {
        let of = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        let cells = row.get(4)?;
        match &mut of_batch {
            Some((known, all)) if *known == of => all.push(cells),
            _ => {
                if let Some(whole) = of_batch.replace((of, vec![cells])) {
                    write(whole)?;
                }
            }
        }
    }
    drop(rows);
    let Some(last) = of_batch else {
        db.execute_batch("DROP TABLE event")?;
        return Ok(None);
    };
    let boot = last.0[0];
    write(last)?;
    db.prepare_cached(
        "DELETE FROM event WHERE (boot_id, sequence, table_id, place) IN (
             SELECT boot_id, sequence, table_id, place FROM event
             ORDER BY boot_id, sequence, table_id, place LIMIT ?1)",
    )?
    .execute(params![STEP_ROWS])?;
    progress(db, boot.saturating_sub(1)).map(Some)
}

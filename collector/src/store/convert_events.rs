//! Events of version 14 become blocks.

use rusqlite::{Result, Transaction};

use super::block::{self, Events, Head, Kind};

/// One step of so many rows; the run at which it is, `None` once all is done.
pub(super) fn step(db: &Transaction<'_>, most: i64) -> Result<Option<i64>> {
    let mut statement = db.prepare_cached(
        "SELECT boot_id, sequence, table_id, end_ms, cells FROM event
         ORDER BY boot_id, sequence, table_id, place LIMIT ?1",
    )?;
    let mut rows = statement.query([most])?;
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
    .execute([most])?;
    Ok(Some(boot))
}

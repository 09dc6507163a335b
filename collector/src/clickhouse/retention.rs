//! What is old goes day by day: whole partitions, on each node, which costs nothing beside the
//! statement.

use super::cells::{Cells, Written};
use super::client::Server;
use super::tables::{GONE, columns};
use crate::store::{Deleted, Error, Size};

const DAY_MS: i64 = 86_400_000;

/// Drops the partitions of days that are older than these ages; milliseconds, of rows, of what was
/// joined of minutes and of hours.
pub(super) fn step(server: &Server, ages: [i64; 3], now_ms: i64) -> Result<Deleted, Error> {
    let mut deleted = Deleted::default();
    let [rows, _, hours] = ages;
    let mut noted = None;
    for (table, partition, count) in server.partitions()? {
        let age = if table.starts_with(super::tables::SLICE.0) {
            hours
        } else {
            rows
        };
        let Ok(day) = partition.parse::<i64>() else {
            continue;
        };
        // Its last moment is older.
        if day.saturating_add(1).saturating_mul(DAY_MS) > now_ms.saturating_sub(age) {
            continue;
        }
        // Before it is so: whoever asks in between knows that it may be.
        let before_ms = day.saturating_add(1).saturating_mul(DAY_MS) - 1;
        if !table.starts_with(super::tables::SLICE.0) && noted < Some(before_ms) {
            note(server, before_ms)?;
            noted = Some(before_ms);
        }
        server.drop_partition(&table, day)?;
        match table.trim_end_matches("_local") {
            "batch" => deleted.batches += count,
            "sighting" => deleted.sightings += count,
            "nat" => deleted.nats += count,
            "process" | "host" => deleted.identities += count,
            "slice" => deleted.slices += count,
            "edge" => deleted.samples += count,
            _ => deleted.events += count,
        }
    }
    Ok(deleted)
}

/// Writes down that rows up to a time may be missing.
pub(super) fn note(server: &Server, before_ms: i64) -> Result<(), Error> {
    let mut row = Written::default();
    row.signed(before_ms);
    let token = crate::digest::sha256(&row.0);
    server.insert(GONE.0, &columns(&GONE), &row.0, &token)
}

/// Up to when rows may be missing, Unix milliseconds; `None` where none was deleted.
pub(super) fn gone_ms(server: &Server) -> Result<Option<i64>, Error> {
    let (database, table) = (&server.dialect.database, GONE.0);
    let rows = server.ask_small(&format!(
        "SELECT count() > 0, max(before_ms) FROM `{database}`.{table}"
    ))?;
    let mut cells = Cells(&rows);
    let is_there = cells.number(1)? > 0;
    let before_ms = cells.signed()?;
    Ok(is_there.then_some(before_ms))
}

/// Bytes on the disks of all nodes.
pub(super) fn size(server: &Server) -> Result<Size, Error> {
    let mut size = Size::default();
    for bytes in server.sizes()? {
        let mut cells = Cells(&bytes);
        size.used_bytes += cells.number(8)?;
    }
    size.file_bytes = size.used_bytes;
    Ok(size)
}

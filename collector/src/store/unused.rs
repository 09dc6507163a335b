//! What a pass of retention deletes that is not a row with a time of its own: blocks, and names that
//! nothing refers to.

use rusqlite::{Connection, Result};

use super::block::Kind;
use super::deleted::Deleted;
use super::flush;
use super::old::run;

/// Blocks that a step may delete: deleting one costs as much as deleting a row.
const STEP_BLOCKS: i64 = if cfg!(test) { 4 } else { 500 };

/// Writes what is known of each of these runs.
pub(super) fn write_all(db: &Connection, boots: impl Iterator<Item = i64>) -> Result<()> {
    let boots: std::collections::BTreeSet<i64> = boots.collect();
    boots
        .into_iter()
        .try_for_each(|boot| flush::write_now(db, boot))
}

/// Deletes some of the blocks that are old; true when none is left.
pub(super) fn blocks(db: &Connection, horizon_ms: i64, deleted: &mut Deleted) -> Result<bool> {
    let mut statement = db.prepare_cached(
        "SELECT id, kind, row_count, pieces FROM block
         WHERE end_ms <= ?1 AND pieces > 0 ORDER BY end_ms LIMIT ?2",
    )?;
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?));
    let old: Vec<(i64, i64, i64, i64)> = statement
        .query_map([horizon_ms, STEP_BLOCKS], row)?
        .collect::<Result<_>>()?;
    for (id, kind, rows, pieces) in &old {
        let count = match Kind::of(*kind) {
            Kind::Edges => &mut deleted.samples,
            Kind::Sightings | Kind::Lasting => &mut deleted.sightings,
            Kind::Events(_) => &mut deleted.events,
        };
        *count += rows.unsigned_abs();
        let sql = "DELETE FROM block WHERE id >= ?1 AND id < ?1 + ?2 AND (id = ?1 OR pieces = 0)";
        run(db, sql, [id, pieces])?;
    }
    Ok((old.len() as u64) < STEP_BLOCKS.unsigned_abs())
}

pub(super) const UNUSED_FLOW: &str = "
    AND last_ms <= ?3
    AND NOT EXISTS (SELECT 1 FROM subject WHERE subject.flow_id = flow.id)
    AND NOT EXISTS (SELECT 1 FROM sighting WHERE sighting.flow_id = flow.id)";
pub(super) const UNUSED_BOOT: &str = "
    AND last_ms <= ?3
    AND NOT EXISTS (SELECT 1 FROM batch WHERE batch.boot_id = boot.id)
    AND NOT EXISTS (SELECT 1 FROM flow WHERE flow.boot_id = boot.id)
    AND NOT EXISTS (SELECT 1 FROM nat WHERE nat.boot_id = boot.id)
    AND NOT EXISTS (SELECT 1 FROM series WHERE series.boot_id = boot.id)
    AND NOT EXISTS (SELECT 1 FROM process WHERE process.boot_id = boot.id)";
pub(super) const UNUSED_HOST: &str = "
    AND last_seen_ms <= ?3
    AND NOT EXISTS (SELECT 1 FROM boot WHERE boot.host_id = host.id)";

pub(super) const UNUSED_TABLE: &str = "
    AND NOT EXISTS (SELECT 1 FROM series WHERE series.table_id = described.id)
    AND NOT EXISTS (SELECT 1 FROM event_last WHERE event_last.table_id = described.id)";

/// Where deleted samples are counted, and the series itself where that is somewhere else.
pub(super) type Count = fn(&mut Deleted) -> (&mut u64, Option<&mut u64>);

/// A table of series that belong to runs of agents.
pub(super) struct OfRun {
    pub(super) table: &'static str,
    pub(super) samples: &'static str,
    /// The column of the samples that names the series.
    pub(super) key: &'static str,
    pub(super) count: Count,
}

pub(super) const NATS: OfRun = OfRun {
    table: "nat",
    samples: "nat_sample",
    key: "nat_id",
    count: |deleted| (&mut deleted.nats, None),
};
pub(super) const SERIES: OfRun = OfRun {
    table: "series",
    samples: "series_sample",
    key: "series_id",
    count: |deleted| (&mut deleted.samples, Some(&mut deleted.identities)),
};

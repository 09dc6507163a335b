//! What becomes one row of an answer.

use rusqlite::{Connection, OptionalExtension, Row as SqlRow};
use serde_json::Value as Json;
use wire::schema::Column;

use super::cell::{Cell, Cells};
use crate::rows::{self, Process};

/// A host, its name, and the run of its agent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Whose {
    pub(super) hostname: String,
    pub(super) host: [u8; 16],
    pub(super) boot: i64,
}

/// What belongs into one row: whose it is, the run where processes are named by numbers, the
/// dimensions, and the end of the interval where each is a row of its own.
pub(super) type Group = (Whose, String, i64);

/// What was counted, since when and up to when.
pub(super) struct Sum {
    pub(super) since_ms: i64,
    pub(super) end_ms: i64,
    pub(super) cells: Cells,
    /// Of each gauge, the largest value in the window.
    pub(super) most: Vec<Option<u64>>,
}

impl Sum {
    /// Looks at a sample of the window.
    pub(super) fn see(&mut self, cells: &Cells, gauges: &[bool]) {
        self.most.resize(gauges.len(), None);
        for ((most, cell), is_gauge) in self.most.iter_mut().zip(&cells.0).zip(gauges) {
            if let (Cell::Latest((value,)), true) = (cell, is_gauge) {
                *most = (*most).max(value.as_u64());
            }
        }
    }
}

/// A cell of a sample as people know it.
pub(super) fn value(column: &Column, cell: Option<Cell>) -> Json {
    match cell {
        Some(Cell::Count(count)) => count.into(),
        Some(Cell::Latest((value,))) => rows::shown(column, value),
        Some(Cell::Histogram { sum, buckets }) => rows::histogram(sum, buckets),
        Some(Cell::Counts { counts }) => serde_json::json!(counts),
        Some(Cell::Unknown) | None => Json::Null,
    }
}

pub(super) fn whose(row: &SqlRow<'_>) -> rusqlite::Result<Whose> {
    Ok(Whose {
        hostname: row.get(0)?,
        host: row.get(1)?,
        boot: row.get(2)?,
    })
}

/// Whose a run is; `None` where it is gone.
pub(super) fn of_run(db: &Connection, boot: i64) -> rusqlite::Result<Option<Whose>> {
    db.prepare_cached(
        "SELECT host.hostname, host.host, boot.id FROM boot JOIN host ON host.id = boot.host_id
         WHERE boot.id = ?1",
    )?
    .query_row([boot], whose)
    .optional()
}

/// Who has a number in a run.
pub(super) fn process(
    db: &Connection,
    boot: i64,
    number: i64,
) -> rusqlite::Result<Option<Process>> {
    db.prepare_cached(
        "SELECT service, comm, exe FROM process WHERE boot_id = ?1 AND process_id = ?2",
    )?
    .query_row([boot, number], |row| {
        Ok(Process {
            service: row.get(0)?,
            comm: row.get(1)?,
            exe: row.get(2)?,
        })
    })
    .optional()
}

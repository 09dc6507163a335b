//! Some batches of a run that follow each other, while their rows are found.

use rusqlite::{Connection, OptionalExtension, Result, params};
use wire::{Batch, BatchHeader};

use crate::accept::Opened;
use crate::store::context::signed;

/// Some batches of a run that follow each other, while they are put together.
pub(super) struct Chunk {
    pub(super) run: i64,
    /// Of the batch before the first one; the least number where there is none.
    pub(super) after_ms: i64,
    /// Whether what was told with earlier batches, which are gone, belongs to the first of these.
    pub(super) is_first: bool,
    pub(super) heads: Vec<Head>,
}

/// A batch without its rows.
pub(super) struct Head {
    pub(super) sequence: i64,
    pub(super) digest: [u8; 32],
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    pub(super) received_ms: i64,
    pub(super) bytes: i64,
    pub(super) blocks: Option<(i64, i64)>,
    pub(super) batch: Batch,
}

impl Chunk {
    pub(super) fn upto_ms(&self) -> i64 {
        self.heads.last().map_or(i64::MIN, |head| head.end_ms)
    }

    /// The numbers of its first and last batch.
    pub(super) fn sequences(&self) -> (i64, i64) {
        let first = self.heads.first().map_or(0, |head| head.sequence);
        let last = self.heads.last().map_or(-1, |head| head.sequence);
        (if self.is_first { i64::MIN } else { first }, last)
    }

    /// The batch whose interval ended then, or the next one.
    pub(super) fn at_end(&mut self, end_ms: i64) -> Option<&mut Batch> {
        let at = self.heads.partition_point(|head| head.end_ms < end_ms);
        self.heads.get_mut(at).map(|head| &mut head.batch)
    }

    /// The batch of a number, or the next one.
    pub(super) fn numbered(&mut self, sequence: i64) -> Option<&mut Batch> {
        let at = self.heads.partition_point(|head| head.sequence < sequence);
        self.heads.get_mut(at).map(|head| &mut head.batch)
    }
}

/// The keys of some batches.
pub(super) fn read(
    db: &Connection,
    (run, first_ms): (i64, i64),
    after: Option<u64>,
    (most, rows): (u32, u64),
) -> Result<Chunk> {
    let after = after.map(signed);
    let after_ms: Option<i64> = db
        .prepare_cached(
            "SELECT end_ms FROM batch WHERE boot_id = ?1 AND sequence <= ?2
             ORDER BY sequence DESC LIMIT 1",
        )?
        .query_row(params![run, after], |row| row.get(0))
        .optional()?;
    let mut statement = db.prepare_cached(
        "SELECT sequence, digest, end_ms, received_ms, bytes, row_count, first_block, last_block
         FROM batch WHERE boot_id = ?1 AND sequence > ?2 ORDER BY sequence LIMIT ?3",
    )?;
    let mut found = statement.query(params![run, after.unwrap_or(i64::MIN), most])?;
    let mut heads: Vec<Head> = Vec::new();
    let (mut left, mut start_ms) = (rows, after_ms.unwrap_or(first_ms));
    while let Some(row) = found.next()? {
        let its_rows = row.get::<_, i64>(5)?.unsigned_abs();
        if its_rows > left && !heads.is_empty() {
            break;
        }
        left = left.saturating_sub(its_rows);
        let (first, last): (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
        let end_ms = row.get(2)?;
        heads.push(Head {
            sequence: row.get(0)?,
            digest: row.get(1)?,
            start_ms: start_ms.min(end_ms),
            end_ms,
            received_ms: row.get(3)?,
            bytes: row.get(4)?,
            blocks: first.zip(last),
            batch: Batch::default(),
        });
        start_ms = end_ms;
    }
    Ok(Chunk {
        run,
        after_ms: after_ms.unwrap_or(i64::MIN),
        is_first: after.is_none(),
        heads,
    })
}

impl Head {
    /// The batch of a host and a run.
    pub(super) fn opened(self, host: [u8; 16], boot: [u8; 16]) -> Opened {
        let unsigned = |number: i64| u64::try_from(number).unwrap_or(0);
        Opened {
            batch: Batch {
                header: BatchHeader {
                    host,
                    boot,
                    sequence: unsigned(self.sequence),
                    start_ms: unsigned(self.start_ms),
                    end_ms: unsigned(self.end_ms),
                },
                ..self.batch
            },
            digest: self.digest,
            bytes: usize::try_from(self.bytes).unwrap_or(0),
            credential: None,
            payload: None,
        }
    }
}

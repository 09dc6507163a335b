//! Rows of one interval become a sealed batch. Pure.

use wire::{Batch, BatchHeader};

use crate::spool::{BatchId, Sealed};

/// What one interval leaves behind.
#[derive(Debug, Default)]
pub struct Summary {
    /// What edges added, and totals.
    pub edges: Vec<wire::EdgeRow>,
    /// Sightings kept.
    pub sightings: Vec<wire::SightingRow>,
    /// Abnormal connections.
    pub events: Vec<wire::EventRow>,
    /// The rows of every other family, in a batch without a header.
    pub others: Batch,
    /// There are totals that found no place, and follow in the next batch.
    pub owes: bool,
}

/// Numbers the batches of one run.
#[derive(Debug)]
pub struct Sealer {
    host: [u8; 16],
    boot: [u8; 16],
    sequence: u64,
    start_ms: u64,
}

impl Sealer {
    /// The first batch has number 1 and begins at `start_ms` (Unix).
    #[must_use]
    pub const fn new(host: [u8; 16], boot: [u8; 16], start_ms: u64) -> Self {
        Self {
            host,
            boot,
            sequence: 0,
            start_ms,
        }
    }

    /// The number of the next batch.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.sequence + 1
    }

    /// Seals what there is; `None`, and no number used, when there is nothing.
    pub fn seal(&mut self, summary: Summary, now_ms: u64) -> Option<Sealed> {
        let mut batch = Batch {
            header: BatchHeader {
                host: self.host,
                boot: self.boot,
                sequence: self.sequence + 1,
                // A clock that was set back: the interval has no length that anybody knows.
                start_ms: self.start_ms.min(now_ms),
                end_ms: now_ms,
            },
            edges: summary.edges,
            sightings: summary.sightings,
            events: summary.events,
            ..summary.others
        };
        self.start_ms = now_ms;
        if batch.is_empty() {
            return None;
        }
        self.sequence += 1;
        batch.header.sequence = self.sequence;
        Some(Sealed {
            id: BatchId {
                boot: self.boot,
                sequence: self.sequence,
            },
            host: self.host,
            sealed_ms: now_ms,
            rows: batch.row_count() as u64,
            bytes: wire::encode(&batch),
        })
    }
}

#[cfg(test)]
mod tests {
    use wire::ProcessRow;

    use super::*;

    fn one_row() -> Summary {
        let mut summary = Summary::default();
        summary.others.processes = vec![ProcessRow::default()];
        summary
    }

    #[test]
    fn an_empty_interval_uses_no_number() {
        let mut sealer = Sealer::new([1; 16], [2; 16], 1000);
        assert!(sealer.seal(Summary::default(), 2000).is_none());
        let sealed = sealer.seal(one_row(), 3000).expect("one row");
        assert_eq!(sealed.id.sequence, 1);
        assert_eq!(sealed.rows, 1);
        let batch = wire::decode(&sealed.bytes, &wire::Limits::default()).expect("own bytes");
        assert_eq!(batch.header.start_ms, 2000);
        assert_eq!(batch.header.end_ms, 3000);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_batch_that_a_collector_refuses() {
        let mut sealer = Sealer::new([1; 16], [2; 16], 9_000);
        let sealed = sealer.seal(one_row(), 500);
        let batch = wire::decode(&sealed.expect("one row").bytes, &wire::Limits::default());
        let header = batch.expect("own bytes").header;
        assert_eq!((header.start_ms, header.end_ms), (500, 500));
    }
}

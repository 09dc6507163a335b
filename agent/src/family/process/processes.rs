//! The identities of this run with where they look.

use wire::ProcessRow;

use super::identity::Identities;
use super::observed::Observed;
use super::procfs::ProcFs;
use super::snapshot::Past;
use crate::metrics::Metrics;

/// Who is behind what families measure.
pub struct Processes {
    identities: Identities,
    procfs: Box<dyn ProcFs>,
    /// Batches that were lost when the rows were last sent.
    lost: u64,
}

impl std::fmt::Debug for Processes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.identities.fmt(f)
    }
}

impl Processes {
    /// Nobody is known yet.
    #[must_use]
    pub fn new(identities: Identities, procfs: Box<dyn ProcFs>) -> Self {
        Self {
            identities,
            procfs,
            lost: 0,
        }
    }

    /// The id of the identity behind what was seen; `now_ms` is Unix time.
    pub fn resolve(&mut self, observed: &Observed<'_>, now_ms: u64) -> u32 {
        let procfs = self.procfs.as_mut();
        self.identities.resolve(observed, procfs, now_ms)
    }

    /// Keeps what was seen of processes that may have ended by now.
    pub fn keep_past(&mut self, past: Past) {
        self.procfs.keep_past(past);
    }

    /// Publishes what found no room.
    pub fn publish(&self, metrics: &Metrics) {
        metrics
            .process_identities_dropped_overflow_total
            .set(self.identities.overflowed());
    }

    /// The rows of this interval. A batch that was lost may have carried the names of processes that
    /// are still in use: `lost` is how many were so far.
    pub fn close(&mut self, lost: u64, now_ms: u64) -> Vec<ProcessRow> {
        if self.lost != lost {
            self.lost = lost;
            self.identities.resend();
        }
        self.identities.take_rows(now_ms)
    }
}

//! From when series count: in steps from the begin of the run, which keeps batches small.

use wire::SINCE_STEP_MS;

/// What the begin of the next series depends on; Unix milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begins {
    run_ms: u64,
    /// The begin of the youngest series that was forgotten.
    forgotten_ms: u64,
}

impl Begins {
    /// Of a run that begins to count now.
    pub(super) const fn new(run_ms: u64) -> Self {
        Self {
            run_ms,
            forgotten_ms: 0,
        }
    }

    /// A series that began then is forgotten.
    pub(super) fn forget(&mut self, since_ms: u64) {
        self.forgotten_ms = self.forgotten_ms.max(since_ms);
    }

    /// From when a series counts that is new now: not from a step in which one that was forgotten
    /// may have counted, with whose numbers its own would be taken for one series.
    pub(super) fn since_ms(&self, now_ms: u64) -> u64 {
        // No steps are known of a clock that was set back.
        let past_ms = now_ms.saturating_sub(self.run_ms) % SINCE_STEP_MS;
        match (now_ms - past_ms..=now_ms).contains(&self.forgotten_ms) {
            true => now_ms,
            false => now_ms - past_ms,
        }
    }
}

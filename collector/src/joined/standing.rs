//! Topologies that end now are made before somebody asks: of an hour, of a day, and of what was asked
//! for lately. Who takes one that is some minutes old waits for none.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer::{self, Shown};
use super::kept::{Kept, SPARE, Wanted};
use super::runs::Runs;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::store::{AHEAD_TOLERANCE_MS, Error, Questions, Window};
use crate::time;

/// Each is made again after so long.
const EVERY: Duration = Duration::from_secs(60);
/// And not before so many times the time that it took: each takes a twentieth of a core at most.
const REST: u32 = 20;
/// One that cannot be made yet is looked at again after so long: what changed a slice that was joined
/// makes it wait to be joined again.
const RETRY: Duration = Duration::from_secs(10);
/// Longest that one keeps the snapshot that it reads, milliseconds.
const READ_MS: i64 = 60_000;

/// What is made, and what it is made of.
#[derive(Debug)]
pub(super) struct Standing {
    kept: Arc<Kept>,
    metrics: Arc<Metrics>,
    runs: Runs,
    /// By the length of its window, when each is made next.
    next: BTreeMap<i64, Instant>,
}

impl Standing {
    /// Gives them to `kept`, and has half of its memory for sums.
    pub(super) fn new(kept: Arc<Kept>, metrics: Arc<Metrics>) -> Self {
        let runs = Runs::new(kept.most_bytes() / 2);
        Self {
            kept,
            metrics,
            runs,
            next: BTreeMap::new(),
        }
    }

    /// Makes the next one that is due; false where none is.
    ///
    /// # Errors
    /// Whatever the store reports. It is tried again as if it had been made.
    pub(super) fn turn(
        &mut self,
        reader: &mut dyn Questions,
        now_ms: i64,
        meter: Meter,
    ) -> Result<bool, Error> {
        let begun = time::monotonic();
        let spans = self.kept.spans(begun);
        self.next.retain(|span, _| spans.contains(span));
        let is_due = |span: &&i64| self.next.get(span).is_none_or(|at| *at <= begun);
        let Some(span_ms) = spans.iter().find(is_due).copied() else {
            return Ok(false);
        };
        self.next.insert(span_ms, begun + EVERY);
        let meter = meter.within(READ_MS, time::now_ms);
        let made = self.make(reader, (span_ms, now_ms, begun), meter);
        let took = time::monotonic().duration_since(begun);
        let next = match made {
            Ok(false) => RETRY,
            Ok(true) | Err(Error::Exceeded(_)) => EVERY.max(took * REST),
            Err(error) => return Err(error),
        };
        if matches!(made, Ok(true)) {
            self.metrics.topology_standing_seconds.observe(took);
        } else {
            self.metrics.query_topologies_standing_skipped_total.add(1);
        }
        self.next.insert(span_ms, begun + next);
        Ok(true)
    }

    /// False where much of the window is not joined: whoever asks reads the rows, and nobody for
    /// nothing.
    pub(super) fn make(
        &mut self,
        reader: &mut dyn Questions,
        (span_ms, now_ms, since): (i64, i64, Instant),
        meter: Meter,
    ) -> Result<bool, Error> {
        let window = Window {
            from_ms: now_ms.saturating_sub(span_ms),
            to_ms: now_ms,
        };
        let read = Window {
            to_ms: now_ms.saturating_add(AHEAD_TOLERANCE_MS),
            ..window
        };
        let view = reader.moment()?;
        let spare_ms = time::whole_ms(SPARE);
        let shown = Shown::of(&*view, window, (read, spare_ms))?;
        if shown.rows_ms() > spare_ms {
            return Ok(false);
        }
        let picture = answer::made(&*view, shown, meter, &mut self.runs)?;
        let bytes = u64::try_from(self.runs.bytes()).unwrap_or(u64::MAX);
        self.metrics.query_topologies_standing_bytes.set(bytes);
        let wanted = Wanted {
            window,
            is_now: true,
        };
        self.kept.put(wanted, (since, SPARE), Arc::new(picture));
        Ok(true)
    }
}

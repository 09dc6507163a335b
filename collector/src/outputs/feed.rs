//! The thread of one output: reads the outbox behind its position, and lets the destination have it.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::sink::{Done, Later, Parcel, Sink};
use super::status::Counters;
use crate::log::Limiter;
use crate::store::outbox::{Outbox, OutboxReader, Progress, Waiting};
use crate::time;

/// Batches that are read at once, and bytes of them before they are decompressed.
const GROUP: usize = 32;
const GROUP_BYTES: usize = 1 << 20;
/// How long it waits for batches, before it looks whether another process stored some.
const IDLE: Duration = Duration::from_secs(1);
/// Pauses after the first failure, and after many.
const PAUSES: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(60)];
/// Lengths of a decoded batch: what was stored was within the limits of its time.
const LIMITS: wire::Limits = wire::Limits {
    max_bytes: usize::MAX,
    max_raw_bytes: usize::MAX,
    max_rows: usize::MAX,
};

/// What the thread of an output has.
pub(super) struct Feed {
    pub(super) progress: Arc<Progress>,
    pub(super) outbox: Arc<Outbox>,
    pub(super) counters: Arc<Counters>,
    pub(super) store: PathBuf,
    /// Tables that the destination gets; all where there is none.
    pub(super) tables: Vec<String>,
}

/// What changes while it runs.
struct Running {
    reader: Option<OutboxReader>,
    /// The newest batch that the destination took.
    taken: i64,
    /// Batches since the last word of the destination that cannot be read.
    unreadable: u64,
    failures: u32,
    lines: Limiter,
}

impl Feed {
    /// Runs until the outbox is told to stop.
    pub(super) fn run(self, mut sink: Box<dyn Sink>) {
        let mut running = Running {
            reader: None,
            taken: self.progress.at().position,
            unreadable: 0,
            failures: 0,
            lines: Limiter::new(),
        };
        while self.outbox.wait(running.taken, idle(&running, &*sink)) {
            let sent = self
                .read(&mut running, &mut *sink)
                .and_then(|()| sink.send(false));
            let pause = self.judge(&mut running, sent);
            self.counters.rows_left_out.set(sink.left_out());
            if pause.is_some_and(|pause| !self.outbox.pause(pause)) {
                break;
            }
        }
        // Once, so that what is whole is not repeated by the next start.
        if running.failures == 0 {
            let sent = sink.send(true);
            let _ended = self.judge(&mut running, sent);
        }
    }

    /// Lets the destination take what follows.
    fn read(&self, running: &mut Running, sink: &mut dyn Sink) -> Result<(), Later> {
        if sink.is_busy() {
            return Ok(());
        }
        let reader = match &mut running.reader {
            Some(reader) => reader,
            none => none.insert(OutboxReader::open(&self.store).map_err(anyhow::Error::new)?),
        };
        let found = reader.next(running.taken, GROUP, GROUP_BYTES);
        for waiting in found.map_err(anyhow::Error::new)? {
            running.taken = waiting.position;
            sink.take(self.parcel(&waiting, running));
        }
        Ok(())
    }

    fn parcel(&self, waiting: &Waiting, running: &mut Running) -> Parcel {
        let at = (waiting.position, waiting.received_ms);
        let wanted = |name: &str| self.tables.is_empty() || self.tables.iter().any(|t| t == name);
        match wire::decode(&waiting.payload, &LIMITS) {
            Ok(batch) => Parcel::new(at, &batch, wanted),
            Err(error) => {
                // It was read when it came.
                running.unreadable += 1;
                let (output, position) = (&self.progress.name, waiting.position);
                log::error!(output, position, error:%; "a stored batch cannot be read");
                Parcel::new(at, &wire::Batch::default(), |_| false)
            }
        }
    }

    /// Moves the position, or says how long to leave the destination alone.
    fn judge(&self, running: &mut Running, sent: Result<Option<Done>, Later>) -> Option<Duration> {
        let output = &self.progress.name;
        match sent {
            Ok(None) => None,
            Ok(Some(done)) => {
                let Done {
                    position,
                    refused,
                    why,
                } = done;
                let unreadable = std::mem::take(&mut running.unreadable);
                self.progress.done(position, refused + unreadable);
                if let Some(why) = why
                    && let Some(suppressed) = running.lines.admit(time::now_ms())
                {
                    log::warn!(output, batches = refused, why, suppressed; "output refuses batches");
                }
                if running.failures > 0 {
                    log::info!(output, failures = running.failures; "output works again");
                }
                running.failures = 0;
                self.counters.failing.set(0);
                None
            }
            Err(later) => {
                self.counters.failed.add(1);
                self.counters.failing.set(1);
                if let Some(suppressed) = running.lines.admit(time::now_ms()) {
                    let error = format!("{:#}", later.why);
                    log::warn!(output, error, suppressed; "output failed, tried again");
                }
                if later.again {
                    running.taken = self.progress.at().position;
                }
                running.reader = None;
                let pause = pause(running.failures, RandomState::new().hash_one(output));
                running.failures = running.failures.saturating_add(1);
                Some(later.wait.unwrap_or(pause))
            }
        }
    }
}

/// Nothing to wait for while the destination has something to send.
fn idle(running: &Running, sink: &dyn Sink) -> Duration {
    if !sink.is_busy() && running.failures == 0 {
        IDLE
    } else {
        Duration::ZERO
    }
}

/// Doubles with each failure; somewhere in the upper half, so that collectors do not come back all at
/// once.
fn pause(failures: u32, random: u64) -> Duration {
    let factor = 1_u32.checked_shl(failures.min(20)).unwrap_or(u32::MAX);
    let pause = PAUSES[0].saturating_mul(factor).min(PAUSES[1]);
    let part = u32::try_from(random % 1000).unwrap_or(0);
    pause / 2 + pause / 2 * part / 1000
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{PAUSES, pause};

    #[test]
    fn pauses_double_up_to_a_bound_and_differ() {
        assert_eq!(pause(0, 0), PAUSES[0] / 2);
        assert_eq!(pause(3, 0), PAUSES[0] * 4);
        assert_eq!(pause(u32::MAX, 0), PAUSES[1] / 2);
        assert_eq!(pause(u32::MAX, 500), PAUSES[1] / 4 * 3);
        assert!(pause(0, 999) < PAUSES[0] && pause(2, 7) > Duration::ZERO);
    }
}

//! The thread of an output: takes one notice after the other out of the database and sends it.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::alert::notify::Notice;
use crate::alert::store::{AlertStore, Error, Waiting};
use crate::log::Limiter;
use crate::metrics::Metrics;
use crate::outputs::Later;
use crate::time;

/// How long it waits before it looks for notices again.
const IDLE: Duration = Duration::from_secs(1);
/// Pauses after the first failure, and after many.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(60)];
/// A notice that could not be sent for so long is let go, milliseconds.
const MOST_AGE_MS: i64 = 86_400_000;

/// What became of a notice.
#[derive(Debug)]
pub(super) enum Sent {
    /// It has arrived.
    Taken,
    /// It will never be taken.
    Refused(String),
}

/// A destination of notices.
pub(super) trait Sink {
    /// Sends a notice; the number is the same when it is sent again.
    ///
    /// # Errors
    /// [`Later`]: it is sent again.
    fn send(&mut self, id: i64, notice: &Notice) -> Result<Sent, Later>;
}

/// Tells threads to end.
#[derive(Debug, Default)]
pub(super) struct Stop {
    told: Mutex<bool>,
    changed: Condvar,
}

impl Stop {
    pub(super) fn tell(&self) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.changed.notify_all();
    }

    /// Waits; false once it is told to end.
    pub(super) fn wait(&self, most: Duration) -> bool {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(told, most, |told| !*told);
        let (told, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !*told
    }
}

/// What the thread of an output has.
pub(super) struct Feed {
    pub(super) output: String,
    pub(super) store: Arc<AlertStore>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) stop: Arc<Stop>,
}

impl Feed {
    /// Runs until it is told to end.
    pub(super) fn run(&self, sink: &mut dyn Sink) {
        let mut lines = Limiter::new();
        let mut failures = 0;
        let mut pause = Duration::ZERO;
        while self.stop.wait(pause) {
            pause = match self.store.next_notice(&self.output) {
                Ok(None) => IDLE,
                Ok(Some(waiting)) => self.one(sink, &waiting, &mut failures, &mut lines),
                Err(error) => {
                    complain(&error);
                    PAUSES[1]
                }
            };
        }
    }

    /// Sends a notice; how long to wait before the next one.
    fn one(
        &self,
        sink: &mut dyn Sink,
        waiting: &Waiting,
        failures: &mut u32,
        lines: &mut Limiter,
    ) -> Duration {
        let counted = match sink.send(waiting.id, &waiting.notice) {
            Ok(Sent::Taken) => {
                *failures = 0;
                &self.metrics.alert_notices_sent_total
            }
            Ok(Sent::Refused(why)) => {
                *failures = 0;
                self.warn(lines, &why, "output of alerts refuses a notice");
                &self.metrics.alert_notices_refused_total
            }
            Err(later) => {
                self.metrics.alert_notices_failed_total.add(1);
                self.warn(
                    lines,
                    &format!("{:#}", later.why),
                    "notice not sent, tried again",
                );
                if time::now_ms().saturating_sub(waiting.at_ms) < MOST_AGE_MS {
                    let wait = later.wait.unwrap_or_else(|| pause(*failures));
                    *failures = failures.saturating_add(1);
                    return wait;
                }
                &self.metrics.alert_notices_dropped_total
            }
        };
        counted.add(1);
        match self.store.done_notice(waiting.id) {
            Ok(()) => Duration::ZERO,
            Err(error) => {
                complain(&error);
                PAUSES[1]
            }
        }
    }

    pub(super) fn warn(&self, lines: &mut Limiter, error: &str, what: &'static str) {
        if let Some(suppressed) = lines.admit(time::now_ms()) {
            let output = &self.output;
            log::warn!(output, error, suppressed; "{what}");
        }
    }
}

/// The database does not answer.
pub(super) fn complain(error: &Error) {
    log::error!(error:%; "notices about alerts cannot be read");
}

/// Doubles with each failure; somewhere in the upper half.
pub(super) fn pause(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures.min(20)).unwrap_or(u32::MAX);
    let pause = PAUSES[0].saturating_mul(factor).min(PAUSES[1]);
    let part = u32::try_from(RandomState::new().hash_one(failures) % 1000).unwrap_or(0);
    pause / 2 + pause / 2 * part / 1000
}

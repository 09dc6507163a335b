//! The thread that joins slices while batches arrive.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::answer;
use super::kept::Kept;
use super::standing::Standing;
use crate::log::Limiter;
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::store::writer::Message;
use crate::store::{Error, Finished, Questions, SliceCounts, Source};
use crate::time;

/// How long it waits where nothing is to be done.
const IDLE: Duration = Duration::from_secs(1);
/// It rests for as long as it worked, so that it takes half of a core; at least so long.
const REST: Duration = Duration::from_millis(20);
/// At most so long, whatever the clock says.
const MOST_REST: Duration = Duration::from_secs(30);

/// The thread. It ends when this is dropped, after the slice at hand.
#[derive(Debug)]
pub struct Joiner {
    /// Its end tells the thread to end.
    stop: Option<std::sync::mpsc::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Starts it on a store. What is joined goes to the one writer by `writer`; one slice
/// takes at most what `meter` has, while it holds what `turn` waits for. Where that gives nothing, it
/// asks again a second later. In between it makes topologies for `kept`, within the same.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn<T>(
    store: Arc<dyn Source>,
    meter: Meter,
    (writer, kept): (SyncSender<Message>, Arc<Kept>),
    metrics: Arc<Metrics>,
    turn: impl Fn() -> Option<T> + Send + 'static,
) -> std::io::Result<Joiner> {
    let (stop, stopped) = channel();
    let work = Work {
        store,
        meter,
        writer,
        standing: Standing::new(kept, Arc::clone(&metrics)),
        metrics,
        turn,
        failures: Limiter::new(),
    };
    let thread = std::thread::Builder::new()
        .name(String::from("join"))
        .spawn(move || work.run(&stopped))?;
    Ok(Joiner {
        stop: Some(stop),
        thread: Some(thread),
    })
}

impl Drop for Joiner {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the joining thread panicked");
        }
    }
}

struct Work<F> {
    store: Arc<dyn Source>,
    meter: Meter,
    writer: SyncSender<Message>,
    standing: Standing,
    metrics: Arc<Metrics>,
    turn: F,
    failures: Limiter,
}

impl<T, F: Fn() -> Option<T>> Work<F> {
    fn run(mut self, stopped: &Receiver<()>) {
        let mut reader = None;
        let mut rest = IDLE;
        while let Err(RecvTimeoutError::Timeout) = stopped.recv_timeout(rest) {
            let began_ms = time::now_ms();
            rest = match self.turn(&mut reader) {
                Ok(true) => {
                    let took_ms = time::now_ms().saturating_sub(began_ms);
                    Duration::from_millis(took_ms.unsigned_abs()).clamp(REST, MOST_REST)
                }
                Ok(false) => IDLE,
                Err(error) => {
                    reader = None;
                    self.metrics.join_failures_total.add(1);
                    self.complain(&error);
                    IDLE
                }
            };
        }
    }

    /// Makes a topology that is due, or joins one slice; false where there is neither.
    fn turn(&mut self, reader: &mut Option<Box<dyn Questions>>) -> Result<bool, Error> {
        let reader = match reader {
            Some(reader) => reader,
            None => reader.insert(self.store.open()?),
        };
        let now_ms = time::now_ms();
        self.measure(reader.moment()?.slice_counts()?, now_ms);
        let finished = match (self.turn)() {
            Some(_turn) => {
                if self.standing.turn(&mut **reader, now_ms, self.meter)? {
                    return Ok(true);
                }
                let begun = time::monotonic();
                let next = answer::next(&mut **reader, now_ms, self.meter)?;
                if next.is_some() {
                    let took = time::monotonic().duration_since(begun);
                    self.metrics.join_slice_seconds.observe(took);
                }
                next
            }
            None => None,
        };
        finished.map_or(Ok(false), |finished| self.store(finished))
    }

    /// True once it is stored.
    fn store(&self, finished: Finished) -> Result<bool, Error> {
        let (again, is_shortest, joined) = (
            finished.waiting.again,
            finished.waiting.slice.is_shortest(),
            finished.body.is_some(),
        );
        let (reply, stored) = sync_channel(1);
        // Neither fails but where the writer has ended, which ends this thread as well.
        if self.writer.send(Message::Joined(finished, reply)).is_err() {
            return Ok(false);
        }
        let Ok(stored) = stored.recv() else {
            return Ok(false);
        };
        stored?;
        if joined && is_shortest {
            self.metrics.join_slices_total.add(1);
            self.metrics.join_slices_again_total.add(again.into());
        }
        Ok(true)
    }

    fn measure(&self, counts: SliceCounts, now_ms: i64) {
        let metrics = &self.metrics;
        metrics.join_slices_waiting.set(counts.waiting);
        metrics.join_slices_too_large.set(counts.too_large);
        let age_ms = counts
            .oldest_ms
            .map_or(0, |oldest| now_ms.saturating_sub(oldest));
        let age = u64::try_from(age_ms / 1000).unwrap_or(0);
        metrics.join_oldest_waiting_seconds.set(age);
    }

    fn complain(&self, error: &Error) {
        if let Some(suppressed) = self.failures.admit(time::now_ms()) {
            let store = self.store.name();
            log::error!(store, error:%, suppressed; "slice not joined");
        }
    }
}

//! The writer thread: takes batches from a bounded queue, commits them in groups, and between
//! groups lets retention take a step.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::{Outcome, Retention, SignedOrders, Store};
use crate::accept::Opened;
use crate::log::Limiter;
use crate::metrics::Metrics;
use crate::time;

/// Most batches in one commit: enough to share its cost, few enough to answer soon.
const GROUP: usize = 32;
/// How often a round of retention begins.
const RETENTION_EVERY: Duration = Duration::from_secs(60);

/// A batch on its way to the store. Dropping the job drops `reply`, which the other side sees.
#[derive(Debug)]
pub struct Job {
    /// The batch.
    pub opened: Opened,
    /// Where the outcome goes; `None` means it was not stored and should be sent again.
    pub reply: oneshot::Sender<Option<Outcome>>,
}

/// The queue to the writer thread, and the thread.
#[derive(Debug)]
pub struct Writer {
    /// Where jobs go. The thread ends when every clone of it is gone.
    pub jobs: SyncSender<Job>,
    /// The thread.
    pub thread: JoinHandle<()>,
    /// False while the last commit failed.
    pub healthy: Arc<AtomicBool>,
    /// The newest orders as of the last commit.
    pub orders: Newest,
}

/// Orders that another process may have changed; looked at with every commit, so that an answer
/// to a batch carries those that were there when it was stored.
pub type Newest = Arc<Mutex<Option<Arc<SignedOrders>>>>;

/// Starts the writer thread with a queue of `queue` jobs.
///
/// # Errors
/// When the thread cannot be started.
pub fn spawn(
    store: Store,
    queue: usize,
    retention: Duration,
    metrics: Arc<Metrics>,
    path: PathBuf,
) -> std::io::Result<Writer> {
    let (jobs, receiver) = sync_channel(queue);
    let healthy = Arc::new(AtomicBool::new(true));
    let orders = Newest::default();
    let work = Work {
        orders: Arc::clone(&orders),
        store,
        metrics,
        healthy: Arc::clone(&healthy),
        retention: Retention::new(time::whole_ms(retention)),
        path,
        failures: Limiter::new(),
    };
    let thread = std::thread::Builder::new()
        .name(String::from("store"))
        .spawn(move || work.run(&receiver))?;
    Ok(Writer {
        jobs,
        thread,
        healthy,
        orders,
    })
}

struct Work {
    orders: Newest,
    store: Store,
    metrics: Arc<Metrics>,
    healthy: Arc<AtomicBool>,
    retention: Retention,
    path: PathBuf,
    failures: Limiter,
}

impl Work {
    fn run(mut self, jobs: &Receiver<Job>) {
        let mut due = Instant::now();
        loop {
            match jobs.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(job) => {
                    let more = std::iter::from_fn(|| jobs.try_recv().ok());
                    self.commit(std::iter::once(job).chain(more).take(GROUP).collect());
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if due <= Instant::now() {
                let more = self.retain();
                due = Instant::now()
                    + if more {
                        Duration::ZERO
                    } else {
                        RETENTION_EVERY
                    };
            }
        }
    }

    fn commit(&mut self, jobs: Vec<Job>) {
        let now_ms = time::now_ms();
        let batches: Vec<&Opened> = jobs.iter().map(|job| &job.opened).collect();
        let outcomes = self.store.put(&batches, now_ms);
        let healthy = outcomes.iter().all(Result::is_ok);
        // Before the answers: who is told that the store fails finds it said of the health too.
        self.healthy.store(healthy, Ordering::Relaxed);
        self.metrics.store_commits_total.add(u64::from(healthy));
        self.look_for_orders();
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            let outcome = match outcome {
                Ok(outcome) => {
                    self.count(&job.opened, outcome);
                    Some(outcome)
                }
                Err(error) => {
                    self.metrics.store_commits_failed_total.add(1);
                    self.complain("batch not stored", error);
                    None
                }
            };
            // The other side may have gone away; the batch is stored all the same, and comes
            // again as a duplicate.
            let _ = job.reply.send(outcome);
        }
    }

    /// Before the answers, too.
    fn look_for_orders(&self) {
        match self.store.newest_orders() {
            Ok(found) => {
                let mut known = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
                let version = |orders: Option<&SignedOrders>| orders.map(|orders| orders.version);
                if version(found.as_ref()) != version(known.as_deref()) {
                    *known = found.map(Arc::new);
                }
            }
            Err(error) => self.complain("orders not read", error),
        }
    }

    fn count(&self, opened: &Opened, outcome: Outcome) {
        let metrics = &self.metrics;
        match outcome {
            Outcome::Stored { clock_ahead } => {
                metrics.ingest_batches_stored_total.add(1);
                metrics
                    .ingest_rows_stored_total
                    .add(opened.batch.row_count() as u64);
                metrics.ingest_bytes_stored_total.add(opened.bytes as u64);
                metrics
                    .ingest_batches_clock_ahead_total
                    .add(u64::from(clock_ahead));
            }
            Outcome::Duplicate => metrics.ingest_batches_duplicate_total.add(1),
            // The request counts them as refusals.
            Outcome::Conflict | Outcome::Foreign => {}
        }
    }

    /// One step of retention; true when there is more to do.
    fn retain(&mut self) -> bool {
        match self.store.retain(&mut self.retention, time::now_ms()) {
            Ok(deleted) => {
                let metrics = &self.metrics;
                metrics.retention_deleted_batches_total.add(deleted.batches);
                metrics.retention_deleted_samples_total.add(deleted.samples);
                metrics
                    .retention_deleted_sightings_total
                    .add(deleted.sightings);
                metrics.retention_deleted_events_total.add(deleted.events);
                metrics.retention_deleted_nats_total.add(deleted.nats);
                metrics
                    .retention_deleted_identities_total
                    .add(deleted.identities);
                deleted.more
            }
            Err(error) => {
                self.metrics.retention_failures_total.add(1);
                self.complain("retention failed", error);
                false
            }
        }
    }

    fn complain(&self, what: &'static str, error: super::Error) {
        if let Some(suppressed) = self.failures.admit(time::now_ms()) {
            let error = format!("{:#}", anyhow::Error::new(error));
            let path = self.path.display();
            log::error!(path:%, error, suppressed; "{what}");
        }
    }
}

//! The writer thread: takes batches from a bounded queue, commits them in groups, and between
//! groups lets retention and eviction take steps.

mod message;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::contract::Batches;
use super::deleted::Deleted;
use super::error::Error;
use super::health::Health;
use super::orders::SignedOrders;
use super::pace::Pace;
use super::put::Outcome;
use super::retention::Retention;
use crate::accept::Opened;
use crate::config::Store as Kept;
use crate::log::Limiter;
use crate::metrics::Metrics;
use crate::time;
use message::group;
pub use message::{Job, Message};

/// A pass of retention looks at every subject, and need not delete to the minute: it begins when
/// this part of the age has passed, within these bounds.
const RETENTION_PART: u32 = 48;
const RETENTION_EVERY: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(3600)];
/// How long the thread waits for batches before it looks after the store.
const IDLE: Duration = Duration::from_secs(10);
/// The same while the store cannot be written: whoever asks whether it can sends no batches to it.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// Steps of eviction between two groups, at most.
const STEPS: usize = 16;

/// The queue to the writer thread, and the thread.
#[derive(Debug)]
pub struct Writer {
    /// Where jobs go. The thread ends when every clone of it is gone.
    pub jobs: SyncSender<Message>,
    /// The thread.
    pub thread: JoinHandle<()>,
    /// How it does.
    pub health: Arc<Health>,
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
    store: Box<dyn Batches>,
    queue: usize,
    kept: &Kept,
    metrics: Arc<Metrics>,
) -> std::io::Result<Writer> {
    let (jobs, receiver) = sync_channel(queue);
    let health = Arc::new(Health::new(Instant::now()));
    let orders = Newest::default();
    let pace = Pace::new(Instant::now(), queue, store.most_together());
    let work = Work {
        orders: Arc::clone(&orders),
        store,
        metrics,
        health: Arc::clone(&health),
        every: (kept.retention / RETENTION_PART).clamp(RETENTION_EVERY[0], RETENTION_EVERY[1]),
        retention: Retention::new(time::whole_ms(kept.retention)).with_joined(
            time::whole_ms(kept.retention_minutes),
            time::whole_ms(kept.retention_hours),
        ),
        name: kept.name(),
        failures: Limiter::new(),
        evictions: Limiter::new(),
        pace,
    };
    let thread = std::thread::Builder::new()
        .name(String::from("store"))
        .spawn(move || work.run(&receiver))?;
    Ok(Writer {
        jobs,
        thread,
        health,
        orders,
    })
}

/// Says that the thread has ended, however it does.
struct Ends(Arc<Health>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.end();
    }
}

struct Work {
    orders: Newest,
    store: Box<dyn Batches>,
    metrics: Arc<Metrics>,
    health: Arc<Health>,
    retention: Retention,
    /// From the begin of one pass of retention to that of the next.
    every: Duration,
    /// The store, for messages.
    name: String,
    failures: Limiter,
    evictions: Limiter,
    pace: Pace,
}

impl Work {
    fn run(mut self, jobs: &Receiver<Message>) {
        let _ends = Ends(Arc::clone(&self.health));
        self.probe();
        // When retention takes its next step.
        let mut due = Instant::now();
        let mut more = true;
        loop {
            let wait = match self.health.failing() {
                _ if more => Duration::ZERO,
                Some(_) => TRY_AGAIN,
                None => IDLE,
            };
            self.health.wait();
            let message = jobs.recv_timeout(wait);
            self.health.begin(Instant::now());
            let rows = match message {
                Ok(message) => self.take(message, jobs),
                Err(RecvTimeoutError::Timeout) => {
                    if self.health.failing().is_some() {
                        self.probe();
                    }
                    self.tend_outbox();
                    0
                }
                Err(RecvTimeoutError::Disconnected) => return self.tend_outbox(),
            };
            more = self.evict(rows);
            if due <= Instant::now() {
                let wait = self.retain();
                due = Instant::now() + wait;
                more |= wait.is_zero();
            }
            more |= self.purge();
            self.measure();
        }
    }

    /// Rows that were offered to the store.
    fn take(&mut self, message: Message, jobs: &Receiver<Message>) -> u64 {
        let (rows, joined) = match message {
            Message::Batch(job) => {
                let (group, joined) = group(*job, jobs, &mut self.pace);
                (self.commit(group), joined)
            }
            Message::Joined(finished, reply) => (0, Some((finished, reply))),
        };
        if let Some((finished, reply)) = joined {
            let stored = self.store.put_joined(&finished, time::now_ms());
            // Whoever has joined it may have ended.
            drop(reply.send(stored));
        }
        rows
    }

    /// Rows that were offered to the store.
    fn commit(&mut self, jobs: Vec<Job>) -> u64 {
        let now_ms = time::now_ms();
        let begun = time::monotonic();
        for job in &jobs {
            self.metrics.store_queue_batches.leave();
            let waited = begun.saturating_duration_since(job.queued);
            self.metrics.store_queue_seconds.observe(waited);
        }
        let batches: Vec<&Opened> = jobs.iter().map(|job| &job.opened).collect();
        let rows: usize = batches.iter().map(|opened| opened.batch.row_count()).sum();
        let outcomes = self.store.put(&batches, now_ms);
        let took = time::monotonic().duration_since(begun);
        self.metrics.store_commit_seconds.observe(took);
        // A batch that is too large for the store says nothing about the store.
        let fails = |outcome: &Result<_, Error>| matches!(outcome, Err(error) if !matches!(error, Error::TooLarge { .. }));
        let failure = outcomes.iter().find(|outcome| fails(outcome));
        let failure = failure.and_then(|outcome| outcome.as_ref().err());
        let healthy = failure.is_none();
        // Before the answers: who is told that the store fails finds it said of the health too.
        self.health.set(failure.map(Error::with_causes));
        self.metrics.store_commits_total.add(u64::from(healthy));
        self.look_for_orders();
        for (job, outcome) in jobs.into_iter().zip(outcomes) {
            match &outcome {
                Ok(outcome) => self.count(&job.opened, *outcome),
                // The request counts it as a refusal.
                Err(Error::TooLarge { .. }) => {}
                Err(error) => {
                    self.metrics.store_commits_failed_total.add(1);
                    self.complain("batch not stored", error);
                }
            }
            // The other side may have gone away; the batch is stored all the same, and comes
            // again as a duplicate.
            drop(job.reply.send(outcome));
        }
        rows as u64
    }

    /// Writes something, and says whether that works.
    fn probe(&mut self) {
        let probed = self.store.probe();
        let is_new = self
            .health
            .set(probed.as_ref().err().map(Error::with_causes));
        match probed {
            Ok(()) if is_new => log::info!("the store can be written again"),
            Ok(()) => {}
            Err(error) => self.complain("the store cannot be written", &error),
        }
    }

    fn tend_outbox(&mut self) {
        if let Err(error) = self.store.tend_outbox() {
            self.complain("positions of outputs not saved", &error);
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
            Err(error) => self.complain("orders not read", &error),
        }
    }

    fn count(&self, opened: &Opened, outcome: Outcome) {
        let metrics = &self.metrics;
        match outcome {
            Outcome::Stored {
                clock_ahead,
                copied,
                unplaced,
                refused,
            } => {
                metrics.ingest_rows_unplaced_total.add(unplaced);
                metrics.ingest_batches_copied_host_total.add(copied.into());
                metrics.ingest_batches_stored_total.add(1);
                metrics.ingest_rows_unknown_total.add(refused);
                let rows = opened.batch.row_count() as u64;
                metrics
                    .ingest_rows_stored_total
                    .add(rows.saturating_sub(refused));
                metrics.ingest_bytes_stored_total.add(opened.bytes as u64);
                metrics
                    .ingest_batches_clock_ahead_total
                    .add(u64::from(clock_ahead));
            }
            Outcome::Duplicate => metrics.ingest_batches_duplicate_total.add(1),
            // The request counts them as refusals.
            Outcome::Conflict | Outcome::Foreign | Outcome::TooManyHosts => {}
        }
    }

    /// Steps of eviction, about twice as many rows as came; true when there is more to do.
    fn evict(&mut self, came: u64) -> bool {
        let now_ms = time::now_ms();
        let mut evicted = self.store.take_evicted();
        let mut more = Ok(false);
        for _ in 0..STEPS {
            more = self.store.evict(now_ms);
            evicted.add(&self.store.take_evicted());
            if !matches!(more, Ok(true)) || evicted.rows() >= came.saturating_mul(2) {
                break;
            }
        }
        self.count_evicted(&evicted);
        match more {
            Ok(more) => more,
            Err(error) => {
                self.metrics.retention_failures_total.add(1);
                self.complain("eviction failed", &error);
                false
            }
        }
    }

    fn count_evicted(&self, evicted: &Deleted) {
        let metrics = &self.metrics;
        metrics.store_evicted_batches_total.add(evicted.batches);
        metrics.store_evicted_samples_total.add(evicted.samples);
        metrics.store_evicted_sightings_total.add(evicted.sightings);
        metrics.store_evicted_events_total.add(evicted.events);
        metrics.store_evicted_nats_total.add(evicted.nats);
        metrics
            .store_evicted_identities_total
            .add(evicted.identities);
        metrics.store_evicted_slices_total.add(evicted.slices);
        let rows = evicted.rows();
        if rows > 0
            && let Some(suppressed) = self.evictions.admit(time::now_ms())
        {
            let path = &self.name;
            log::warn!(path:%, rows, suppressed; "store full, the oldest rows evicted");
        }
    }

    /// One step for hosts that made room; true when there is more to do.
    fn purge(&mut self) -> bool {
        let forgotten = self.store.take_hosts_forgotten();
        if forgotten > 0 {
            self.metrics.store_forgotten_hosts_total.add(forgotten);
            if let Some(suppressed) = self.evictions.admit(time::now_ms()) {
                log::warn!(hosts = forgotten, suppressed; "too many hosts, those unseen longest forgotten");
            }
        }
        match self.store.purge_hosts() {
            Ok(Some(rows)) => {
                self.metrics.store_forgotten_rows_total.add(rows);
                true
            }
            Ok(None) => false,
            Err(error) => {
                self.metrics.retention_failures_total.add(1);
                self.complain("hosts not deleted", &error);
                false
            }
        }
    }

    fn measure(&self) {
        if let Ok(size) = self.store.size() {
            self.metrics.store_used_bytes.set(size.used_bytes);
            self.metrics.store_file_bytes.set(size.file_bytes);
            self.metrics.store_log_bytes.set(size.log_bytes);
        }
    }

    /// One step of retention; how long it is until the next one.
    fn retain(&mut self) -> Duration {
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
                metrics.retention_deleted_slices_total.add(deleted.slices);
                if deleted.more {
                    Duration::ZERO
                } else {
                    self.every
                }
            }
            Err(error) => {
                self.metrics.retention_failures_total.add(1);
                self.complain("retention failed", &error);
                RETENTION_EVERY[0]
            }
        }
    }

    fn complain(&self, what: &'static str, error: &Error) {
        if let Some(suppressed) = self.failures.admit(time::now_ms()) {
            let path = &self.name;
            log::error!(path:%, error = error.with_causes(), suppressed; "{what}");
        }
    }
}

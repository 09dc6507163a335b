//! The spool thread: owns the only writing connection, the clock and nothing else.
//!
//! It ends when the event loop's side of the queue is closed and everything queued is stored, and
//! nobody asks any more: the upload thread is gone or [`Side::stop`] is closed.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crossbeam_channel::{Receiver, RecvError, Sender, never, select, tick};

use crate::metrics::Metrics;

use super::{BatchId, Fault, Sealed, Spool, Tally};

/// Between two evictions by age.
const EVICTION_PERIOD: Duration = Duration::from_secs(60);

/// What the upload thread asks for.
#[derive(Debug)]
pub(crate) enum Request {
    /// Hand out up to `max` batches; everything queued before is stored first.
    Lease {
        /// Number of batches.
        max: usize,
        /// Takes exactly one answer, which may be empty.
        reply: Sender<Vec<Sealed>>,
    },
    /// The collector has it: delete it.
    Ack(BatchId),
    /// To be sent again.
    Nack(BatchId, Fault),
    /// The collector refused it for good: delete it.
    Refuse(BatchId),
    /// For tests of what the other threads do when this one dies.
    #[cfg(test)]
    Panic,
}

/// The thread's ends of its channels.
#[derive(Debug)]
pub(super) struct Side {
    /// From the event loop; closing it ends the thread once all is stored.
    pub(super) sealed: Receiver<Sealed>,
    /// From the upload thread.
    pub(super) requests: Receiver<Request>,
    /// Carries nothing; closing it means that nobody waits for the upload thread any more.
    pub(super) stop: Receiver<()>,
    /// To the upload thread, of capacity one: there is work.
    pub(super) work: Sender<()>,
}

/// Starts the thread; it gives the number of batches left in the spool.
pub(super) fn start(
    mut spool: Spool,
    side: Side,
    metrics: Arc<Metrics>,
) -> io::Result<JoinHandle<u64>> {
    let intake = Intake {
        sealed: side.sealed,
        metrics,
    };
    Builder::new().name("spool".to_owned()).spawn(move || {
        run(&mut spool, &intake, &side.requests, &side.stop, &side.work);
        spool.depth()
    })
}

/// What the event loop queued; if the thread dies, the rest is counted as lost.
struct Intake {
    sealed: Receiver<Sealed>,
    metrics: Arc<Metrics>,
}

impl Drop for Intake {
    fn drop(&mut self) {
        let lost = self.sealed.try_iter().count();
        self.metrics
            .spool_dropped_error_total
            .add(u64::try_from(lost).unwrap_or(u64::MAX));
    }
}

/// Who may still have something to say; a closed channel would be ready for ever.
struct Open {
    sealed: bool,
    requests: bool,
}

fn run(
    spool: &mut Spool,
    intake: &Intake,
    requests: &Receiver<Request>,
    stop: &Receiver<()>,
    work: &Sender<()>,
) {
    let (no_sealed, no_requests, no_stop) = (never(), never(), never());
    let evictions = tick(EVICTION_PERIOD);
    let mut open = Open {
        sealed: true,
        requests: true,
    };
    spool.evict(now_ms());
    while open.sealed || open.requests {
        account(spool, &intake.metrics);
        select! {
            recv(if open.sealed { &intake.sealed } else { &no_sealed }) -> batch => match batch {
                Ok(batch) => store(spool, &batch, work),
                Err(RecvError) => open.sealed = false,
            },
            recv(if open.requests { requests } else { &no_requests }) -> request => match request {
                Ok(request) => {
                    // What was queued before the request comes first.
                    for batch in intake.sealed.try_iter().take(intake.sealed.len()) {
                        store(spool, &batch, work);
                    }
                    answer(spool, request);
                }
                Err(RecvError) => {
                    open.requests = false;
                    spool.nack_all();
                }
            },
            recv(if open.sealed { &no_stop } else { stop }) -> _ => open.requests = false,
            recv(evictions) -> _ => spool.evict(now_ms()),
        }
    }
    account(spool, &intake.metrics);
}

fn store(spool: &mut Spool, batch: &Sealed, work: &Sender<()>) {
    if spool.put(batch) {
        // Full: the upload thread has been told already. Closed: there is none.
        let _told = work.try_send(());
    }
}

fn answer(spool: &mut Spool, request: Request) {
    match request {
        Request::Lease { max, reply } => {
            if let Err(unanswered) = reply.send(spool.lease(max)) {
                for batch in unanswered.into_inner() {
                    spool.nack(&batch.id, Fault::Peer);
                }
            }
        }
        Request::Ack(id) => spool.ack(&id),
        Request::Nack(id, fault) => spool.nack(&id, fault),
        Request::Refuse(id) => spool.refuse(&id),
        #[cfg(test)]
        Request::Panic => panic!("asked to by a test"),
    }
}

/// Moves the tally into the counters and sets the gauges.
pub(super) fn account(spool: &mut Spool, metrics: &Metrics) {
    let tally = spool.take_tally();
    if tally != Tally::default() {
        metrics.spool_found_total.add(tally.found);
        metrics.spool_stored_total.add(tally.stored);
        metrics.spool_dropped_error_total.add(tally.dropped_error);
        metrics.spool_evicted_size_total.add(tally.evicted_size);
        metrics.spool_evicted_age_total.add(tally.evicted_age);
        metrics.spool_evicted_disk_total.add(tally.evicted_disk);
        metrics.spool_quarantined_total.add(tally.quarantined);
        metrics
            .spool_quarantined_files_total
            .add(tally.quarantined_files);
        metrics
            .spool_quarantined_uncounted_files_total
            .add(tally.quarantined_uncounted);
        metrics.upload_acked_total.add(tally.acked);
        metrics.upload_acked_bytes_total.add(tally.acked_bytes);
        metrics.upload_dropped_refused_total.add(tally.refused);
    }
    metrics.spool_depth.set(spool.depth());
    metrics.spool_bytes.set(spool.payload_bytes());
}

fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

//! The spool thread: owns the only writing connection, the clock and nothing else.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{
    Receiver, RecvError, RecvTimeoutError, SendError, Sender, bounded, never, select, tick,
};

use crate::clock;
use crate::metrics::Metrics;

use super::{BatchId, Fault, Lost, Sealed, Spool, Tally};

/// Between two evictions by age.
const EVICTION_PERIOD: Duration = Duration::from_secs(60);
/// After an outage much is given back, some at a time, with pauses for whoever else needs the disk.
const GIVE_BACK_PERIOD: Duration = Duration::from_secs(1);

/// Requests of the upload thread, which waits for the answer to most of them anyway.
const REQUESTS_MAX: usize = 4;

/// What the upload thread asks for.
pub(crate) enum Request {
    /// Hand out the next batch; everything queued before is stored first.
    Lease {
        /// Takes exactly one answer: none when there is nothing to send.
        reply: Sender<Option<Sealed>>,
    },
    /// The collector has it: delete it.
    Ack(BatchId),
    /// To be sent again.
    Nack(BatchId, Fault),
    /// The collector refused it for good: delete it.
    Refuse(BatchId),
    /// For tests of what the other threads do while this one stands still or dies.
    #[cfg(test)]
    Run(Box<dyn FnOnce() + Send>),
}

/// The spool thread is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone;

/// The upload thread's end of the channels to the spool thread.
pub(crate) struct Client {
    requests: Sender<Request>,
    /// Says that a batch was stored; closed when the thread is gone.
    pub(crate) work: Receiver<()>,
    /// Carries nothing; closed when the thread is gone.
    alive: Receiver<()>,
}

impl Client {
    /// The next batch to send, if there is one.
    pub(crate) fn lease(&self) -> Result<Option<Sealed>, Gone> {
        let (reply, answer) = bounded(1);
        self.tell(Request::Lease { reply })?;
        // The request, and with it the answer's sender, outlives a dead thread in the channel: only
        // the second channel tells.
        select! {
            recv(answer) -> leased => leased.map_err(|RecvError| Gone),
            recv(self.alive) -> _ => Err(Gone),
        }
    }

    /// Waits for room in the queue only.
    pub(crate) fn tell(&self, request: Request) -> Result<(), Gone> {
        self.requests.send(request).map_err(|_| Gone)
    }

    #[cfg(test)]
    pub(crate) fn requests(&self) -> Sender<Request> {
        self.requests.clone()
    }
}

/// The thread's end.
struct Server {
    requests: Receiver<Request>,
    work: Sender<()>,
    alive: Sender<()>,
}

/// Starts the thread. It ends when `sealed` is closed and everything in it is stored, and the client
/// is dropped or `stop`, which carries nothing, is closed; it gives the number of batches left.
pub(crate) fn start(
    mut spool: Spool,
    sealed: Receiver<Sealed>,
    stop: Receiver<()>,
    metrics: Arc<Metrics>,
    lost: LostBatches,
) -> io::Result<(Running, Client)> {
    let (requests, requests_receiver) = bounded(REQUESTS_MAX);
    // One is enough: it says that there is work, not how much.
    let (work, work_receiver) = bounded(1);
    let (alive, alive_receiver) = bounded(0);
    let server = Server {
        requests: requests_receiver,
        work,
        alive,
    };
    let client = Client {
        requests,
        work: work_receiver,
        alive: alive_receiver,
    };
    let intake = Intake {
        sealed,
        metrics,
        lost,
    };
    let (end, ended) = bounded(0);
    let thread = Builder::new().name("spool".to_owned()).spawn(move || {
        let _end: Sender<()> = end;
        run(&mut spool, &intake, &server, &stop);
        spool.depth()
    })?;
    Ok((Running { thread, ended }, client))
}

/// The running thread.
#[derive(Debug)]
pub(crate) struct Running {
    thread: JoinHandle<u64>,
    /// Carries nothing; closed when the thread has ended.
    ended: Receiver<()>,
}

impl Running {
    /// Waits for the end, at most for `patience`; none when the thread panicked or its disk stands
    /// still.
    pub(crate) fn join(self, patience: Duration) -> Option<u64> {
        let ended = self.ended.recv_timeout(patience) == Err(RecvTimeoutError::Disconnected);
        ended.then(|| self.thread.join().ok())?
    }
}

/// What was lost since the event loop last looked, from wherever it was lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct LostBatches(Arc<Mutex<Option<Lost>>>);

impl LostBatches {
    pub(crate) fn add(&self, lost: Lost) {
        Lost::add(
            &mut self.0.lock().unwrap_or_else(PoisonError::into_inner),
            lost,
        );
    }

    pub(crate) fn take(&self) -> Option<Lost> {
        let mut lost = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lost.take()
    }
}

/// What the event loop queued; if the thread dies, the rest is counted as lost.
struct Intake {
    sealed: Receiver<Sealed>,
    metrics: Arc<Metrics>,
    lost: LostBatches,
}

impl Drop for Intake {
    fn drop(&mut self) {
        for batch in self.sealed.try_iter() {
            self.metrics.spool_dropped_error_total.add(1);
            self.lost.add(Lost::from(batch.id.sequence));
        }
    }
}

/// Who may still have something to say; a closed channel would be ready for ever.
struct Open {
    sealed: bool,
    requests: bool,
}

fn run(spool: &mut Spool, intake: &Intake, server: &Server, stop: &Receiver<()>) {
    let Server {
        requests,
        work,
        alive: _alive,
    } = server;
    let (no_sealed, no_requests, no_stop) = (never(), never(), never());
    let evictions = tick(EVICTION_PERIOD);
    let (pauses, no_pause) = (tick(GIVE_BACK_PERIOD), never());
    let mut open = Open {
        sealed: true,
        requests: true,
    };
    spool.evict(clock::unix_ms());
    let mut more = spool.give_back();
    while open.sealed || open.requests {
        account(spool, intake);
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
            recv(evictions) -> _ => {
                spool.evict(clock::unix_ms());
                more = spool.give_back();
            }
            recv(if more { &pauses } else { &no_pause }) -> _ => more = spool.give_back(),
        }
    }
    account(spool, intake);
}

fn store(spool: &mut Spool, batch: &Sealed, work: &Sender<()>) {
    if spool.put(batch) {
        // Full: the upload thread has been told already. Closed: there is none.
        let _told = work.try_send(());
    }
}

fn answer(spool: &mut Spool, request: Request) {
    match request {
        Request::Lease { reply } => {
            // Nobody takes it: the upload thread ended meanwhile.
            if let Err(SendError(Some(batch))) = reply.send(spool.lease(1).pop()) {
                spool.nack(&batch.id, Fault::Peer);
            }
        }
        Request::Ack(id) => spool.ack(&id),
        Request::Nack(id, fault) => spool.nack(&id, fault),
        Request::Refuse(id) => spool.refuse(&id),
        #[cfg(test)]
        Request::Run(test) => test(),
    }
}

/// Moves the tally into the counters, says what was lost and sets the gauges.
fn account(spool: &mut Spool, intake: &Intake) {
    let metrics = &intake.metrics;
    if let Some(lost) = spool.take_lost() {
        intake.lost.add(lost);
    }
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
        metrics.spool_released_total.add(tally.released);
    }
    metrics.spool_depth.set(spool.depth());
    metrics.spool_bytes.set(spool.payload_bytes());
}

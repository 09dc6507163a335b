//! The upload thread: lease, send, end the lease; wait where waiting was asked for.
//!
//! It owns the connection and the clock. It ends when it is told to drain, when whoever started it
//! is gone, or when the spool thread is.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{
    Receiver, RecvTimeoutError, Sender, TryRecvError, after, bounded, never, select,
};

use crate::clock;
use crate::metrics::Metrics;
use crate::spool::thread::{Client, Gone, Request};
use crate::spool::{Fault, Sealed};

use super::Transport;
use super::answer::{Answer, Pace, Retry, UnexpectedResponder, Verdict, judge};
use super::backoff;
use super::transport::{Interrupt, Unanswered};

/// How long a request that was cut off may take to notice.
const GRACE: Duration = Duration::from_secs(1);
/// Transports that wait to be used: more in the time of one request is more than anybody changes.
const CHANGES_MAX: usize = 4;
/// What a drain without a deadline gets.
const DRAIN_MAX: Duration = Duration::from_secs(24 * 3600);

/// The thread, as seen by whoever started it.
#[derive(Debug)]
pub(crate) struct Running {
    kick: Sender<()>,
    drain: Sender<Instant>,
    /// Closed when the thread has ended.
    ended: Receiver<()>,
    change: Option<Sender<Transport>>,
    /// Of the transport in use, and of the one before, which may still be at work.
    interrupts: Vec<Interrupt>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Ends a wait of the agent's own choice.
    pub(crate) fn kick(&self) {
        // Full: it is kicked already. Closed: it has ended.
        let _sent = self.kick.try_send(());
    }

    /// Sends by another transport from the next batch on, which ends a wait of the agent's own
    /// choice: credentials or the collector's certificate may have been what was wrong.
    pub(crate) fn change(&mut self, transport: Transport) {
        let Some(change) = &self.change else {
            return;
        };
        let interrupt = transport.interrupt();
        // Full: the thread is busy with one that was replaced meanwhile; the next change, or the next
        // look, brings this one. Closed: it has ended.
        if change.try_send(transport).is_ok() {
            self.interrupts.push(interrupt);
            let surplus = self.interrupts.len().saturating_sub(CHANGES_MAX + 2);
            self.interrupts.drain(..surplus);
        }
    }

    /// Lets it upload until the first failure or until `deadline` is over, then ends it.
    ///
    /// False: it hangs in a name lookup or a connect that cannot be cut off, and is left to the end
    /// of the process; or it had died.
    pub(crate) fn end(self, deadline: Duration) -> bool {
        let now = Instant::now();
        let until = now.checked_add(deadline).unwrap_or(now + DRAIN_MAX);
        // Closed: it has ended already. It takes one, so it cannot be full.
        let _sent = self.drain.try_send(until);
        if self.ended.recv_deadline(until) == Err(RecvTimeoutError::Timeout) {
            for interrupt in self.interrupts {
                interrupt.now();
            }
            if self.ended.recv_timeout(GRACE) == Err(RecvTimeoutError::Timeout) {
                log::warn!("upload thread hangs, left behind");
                return false;
            }
        }
        self.thread.join().is_ok()
    }
}

/// Starts the thread.
pub(crate) fn start(
    transport: Transport,
    spool: Client,
    metrics: Arc<Metrics>,
) -> io::Result<Running> {
    let interrupt = transport.interrupt();
    let (change, changes) = bounded(CHANGES_MAX);
    let mut running = start_with(transport, changes, spool, metrics)?;
    running.interrupts.push(interrupt);
    running.change = Some(change);
    Ok(running)
}

/// How a batch is sent.
pub(crate) trait Way: Send + 'static {
    /// Sends it and waits for the answer, at most that long.
    fn send(&mut self, batch: &Sealed, at_most: Duration) -> Result<Answer, Unanswered>;
}

impl Way for Transport {
    fn send(&mut self, batch: &Sealed, at_most: Duration) -> Result<Answer, Unanswered> {
        Self::send(self, batch, at_most)
    }
}

impl<F> Way for F
where
    F: FnMut(&Sealed, Duration) -> Result<Answer, Unanswered> + Send + 'static,
{
    fn send(&mut self, batch: &Sealed, at_most: Duration) -> Result<Answer, Unanswered> {
        self(batch, at_most)
    }
}

/// The same for any way to send a batch, and another one for each that comes by `changes`.
pub(crate) fn start_with<S: Way>(
    send: S,
    changes: Receiver<S>,
    spool: Client,
    metrics: Arc<Metrics>,
) -> io::Result<Running> {
    let (kick, kick_receiver) = bounded(1);
    let (drain, drain_receiver) = bounded(1);
    let (ended_sender, ended) = bounded(0);
    let uploader = Uploader {
        send,
        spool,
        kick: kick_receiver,
        drain: drain_receiver,
        changes,
        metrics,
        failures: 0,
        wait: None,
    };
    let thread = Builder::new().name("upload".to_owned()).spawn(move || {
        // Dropped at the end, also by a panic.
        let _ended: Sender<()> = ended_sender;
        uploader.run();
    })?;
    Ok(Running {
        kick,
        drain,
        ended,
        change: None,
        interrupts: Vec::new(),
        thread,
    })
}

/// Not before `until`.
#[derive(Clone, Copy)]
struct Wait {
    until: Instant,
    /// By the collector: a kick does not end it.
    asked: bool,
}

struct Uploader<S> {
    send: S,
    spool: Client,
    kick: Receiver<()>,
    drain: Receiver<Instant>,
    changes: Receiver<S>,
    metrics: Arc<Metrics>,
    /// In a row.
    failures: u32,
    wait: Option<Wait>,
}

/// What a pause ended with.
enum Woken {
    /// It is time.
    Go,
    /// The last attempt, until then.
    Drain(Instant),
    /// Nobody is left to wait for.
    End,
}

impl<S: Way> Uploader<S> {
    fn run(mut self) {
        let last = loop {
            match self.pause() {
                Woken::Go => {}
                Woken::Drain(until) => break until,
                Woken::End => return,
            }
            match self.spool.lease() {
                Ok(Some(batch)) => {
                    if self.deliver(&batch, Duration::MAX).is_err() {
                        return;
                    }
                }
                Ok(None) => match self.idle() {
                    Woken::Go => {}
                    Woken::Drain(until) => break until,
                    Woken::End => return,
                },
                Err(Gone) => return,
            }
        };
        // The collector's wish outlives the agent's wish to be done.
        if self
            .wait
            .is_some_and(|wait| wait.asked && wait.until > Instant::now())
        {
            return;
        }
        while let Ok(Some(batch)) = self.spool.lease() {
            let left = last.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let _told = self.spool.tell(Request::Nack(batch.id, Fault::Peer));
                return;
            }
            if !matches!(self.deliver(&batch, left), Ok(true)) {
                return;
            }
        }
    }

    /// Waits out what has to be waited for, if anything.
    fn pause(&mut self) -> Woken {
        loop {
            self.take_changes();
            let left = self.wait.map_or(Duration::ZERO, |wait| {
                wait.until.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                self.wait = None;
                return match self.drain.try_recv() {
                    Ok(until) => Woken::Drain(until),
                    Err(TryRecvError::Empty) => Woken::Go,
                    Err(TryRecvError::Disconnected) => Woken::End,
                };
            }
            let asked = self.wait.is_some_and(|wait| wait.asked);
            match self.sleep(&after(left), &never()) {
                Woken::Go if !asked => self.wait = None,
                Woken::Go => {}
                other => return other,
            }
        }
    }

    fn take_changes(&mut self) {
        while let Ok(send) = self.changes.try_recv() {
            self.use_from_now_on(send);
        }
    }

    /// What the collector answered to another credential says nothing about this one, unless it asked
    /// for time.
    fn use_from_now_on(&mut self, send: S) {
        self.send = send;
        self.failures = 0;
        self.wait = self.wait.filter(|wait| wait.asked);
    }

    /// Waits for work.
    fn idle(&mut self) -> Woken {
        let work = self.spool.work.clone();
        self.sleep(&never(), &work)
    }

    fn sleep(&mut self, timer: &Receiver<Instant>, work: &Receiver<()>) -> Woken {
        let mut changed = None;
        let woken = select! {
            recv(self.changes) -> change => match change {
                Ok(send) => {
                    changed = Some(send);
                    Woken::Go
                }
                Err(_) => Woken::End,
            },
            recv(self.drain) -> until => until.map_or(Woken::End, Woken::Drain),
            recv(self.kick) -> kick => kick.map_or(Woken::End, |()| Woken::Go),
            recv(work) -> work => work.map_or(Woken::End, |()| Woken::Go),
            recv(timer) -> _ => Woken::Go,
        };
        if let Some(send) = changed {
            self.use_from_now_on(send);
        }
        woken
    }

    /// Sends one batch and ends its lease. True: the collector answered for good.
    fn deliver(&mut self, batch: &Sealed, at_most: Duration) -> Result<bool, Gone> {
        let verdict = match self.send.send(batch, at_most) {
            Ok(answer) => judge(&answer, &batch.idempotency_key(), clock::wall()),
            Err(unanswered) => {
                if unanswered.by_proxy {
                    self.metrics.upload_proxy_failed_total.add(1);
                }
                Verdict::Retry(Retry {
                    reason: unanswered.reason,
                    pace: Pace::Backoff,
                    fault: if unanswered.timed_out {
                        Fault::Batch
                    } else {
                        Fault::Peer
                    },
                })
            }
        };
        let (done, request) = match verdict {
            Verdict::Delivered { duplicate } => {
                if duplicate {
                    self.metrics.upload_duplicate_total.add(1);
                }
                log::debug!(batch:% = batch.id, duplicate; "batch delivered");
                (true, Request::Ack(batch.id))
            }
            Verdict::Refused { reason } => {
                log::warn!(batch:% = batch.id, error:% = reason; "batch refused for good");
                (true, Request::Refuse(batch.id))
            }
            Verdict::Retry(retry) => {
                self.put_off(batch, &retry);
                (false, Request::Nack(batch.id, retry.fault))
            }
        };
        if done && self.failures > 0 {
            log::info!(failures = self.failures; "uploads work again");
            self.failures = 0;
        }
        self.spool.tell(request)?;
        Ok(done)
    }

    /// Counts a failure and decides when to try again.
    fn put_off(&mut self, batch: &Sealed, retry: &Retry) {
        self.failures = self.failures.saturating_add(1);
        self.metrics.upload_retried_total.add(1);
        let random = backoff::random();
        let delay = match retry.pace {
            Pace::Backoff => backoff::jittered(self.failures, random),
            Pace::Asked(wish) => backoff::asked(wish, random),
            Pace::UnexpectedResponder(_, wish) => backoff::stranger(self.failures, wish, random),
            Pace::Unauthorized => backoff::slow(random),
        };
        let asked = matches!(retry.pace, Pace::Asked(_));
        self.wait = Some(Wait {
            until: Instant::now() + delay,
            asked,
        });
        let message = match retry.pace {
            Pace::Unauthorized => "collector does not accept this agent's credential",
            Pace::UnexpectedResponder(..) => "something between answers in the collector's place",
            Pace::Backoff | Pace::Asked(_) => "upload failed, will be repeated",
        };
        let level = match retry.pace {
            Pace::Unauthorized | Pace::UnexpectedResponder(..) => log::Level::Error,
            Pace::Backoff | Pace::Asked(_) => log::Level::Warn,
        };
        match retry.pace {
            Pace::Unauthorized => self.metrics.upload_unauthorized_total.add(1),
            Pace::UnexpectedResponder(kind, _) => self.count(kind),
            Pace::Backoff | Pace::Asked(_) => {}
        }
        log::log!(
            level, batch:% = batch.id, retry_s = delay.as_secs(), error:% = retry.reason;
            "{message}"
        );
    }

    fn count(&self, kind: UnexpectedResponder) {
        let counter = match kind {
            UnexpectedResponder::Page => &self.metrics.upload_stranger_pages_total,
            UnexpectedResponder::Redirection => &self.metrics.upload_stranger_redirections_total,
            UnexpectedResponder::Refusal => &self.metrics.upload_stranger_refusals_total,
            UnexpectedResponder::Failure => &self.metrics.upload_stranger_failures_total,
        };
        counter.add(1);
    }
}

//! Between the upload thread, which hears from the collector, and the event loop, which obeys.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use mio::Waker;

use super::signed::Signed;

/// How far the collector was reached; requests are numbered from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UploadProgress {
    /// The last request that was begun.
    pub begun: u64,
    /// The last that was answered, whatever the answer.
    pub answered: u64,
    /// The last that was not.
    pub unanswered: u64,
}

/// Orders on their way in, and versions and trials on their way out.
#[derive(Debug)]
pub struct Mailbox {
    /// What was asked for has a key to be verified by.
    wanted: bool,
    newest: AtomicU64,
    on_trial: AtomicBool,
    begun: AtomicU64,
    answered: AtomicU64,
    unanswered: AtomicU64,
    inbox: (Sender<Signed>, Receiver<Signed>),
    waker: OnceLock<Waker>,
}

impl Mailbox {
    /// `wanted`: orders are asked for; else what comes is only counted.
    #[must_use]
    pub fn new(wanted: bool) -> Self {
        Self {
            wanted,
            newest: AtomicU64::new(0),
            on_trial: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            unanswered: AtomicU64::new(0),
            // One is enough: the collector repeats what was not taken.
            inbox: bounded(1),
            waker: OnceLock::new(),
        }
    }

    /// The version to name in a request; `None` where no orders are wanted.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.wanted.then(|| self.newest.load(Ordering::Relaxed))
    }

    /// Whether each request shall go over a connection of its own.
    #[must_use]
    pub fn on_trial(&self) -> bool {
        self.on_trial.load(Ordering::SeqCst)
    }

    /// A request begins.
    pub fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// The request that began last has ended. Only one is under way at a time.
    pub fn end(&self, answered: bool) {
        let place = if answered {
            &self.answered
        } else {
            &self.unanswered
        };
        place.store(self.begun.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Hands orders to the event loop.
    pub fn deliver(&self, signed: Signed) {
        // Full: those before were not looked at yet, and these will come again.
        let _sent = self.inbox.0.try_send(signed);
        // Without one, or if it fails, the loop looks at its next tick.
        let _woken = self.waker.get().map(Waker::wake);
    }

    /// Has the event loop woken when orders come; the first one stays.
    pub fn wake_by(&self, waker: Waker) {
        let _first = self.waker.set(waker);
    }

    /// Orders that came.
    #[must_use]
    pub fn take(&self) -> Option<Signed> {
        self.inbox.1.try_recv().ok()
    }

    /// Begins a trial, and says how far the collector was reached before it: each later request asks for
    /// a connection of its own. (Who begins looks whether there is a trial, who begins a trial looks what
    /// was begun: one of both sees the other, in the one order that all of these have.)
    #[must_use]
    pub fn begin_trial(&self) -> UploadProgress {
        self.on_trial.store(true, Ordering::SeqCst);
        self.progress()
    }

    /// How far the collector was reached.
    #[must_use]
    pub fn progress(&self) -> UploadProgress {
        UploadProgress {
            begun: self.begun.load(Ordering::SeqCst),
            answered: self.answered.load(Ordering::Relaxed),
            unanswered: self.unanswered.load(Ordering::Relaxed),
        }
    }

    /// Says how orders stand.
    pub fn tell(&self, newest: u64, on_trial: bool) {
        self.newest.store(newest, Ordering::Relaxed);
        self.on_trial.store(on_trial, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::Mailbox;

    #[test]
    fn every_request_after_a_trial_began_asks_for_a_connection_of_its_own() {
        for _ in 0..200 {
            let mailbox = Mailbox::new(true);
            let (before, kept) = std::thread::scope(|scope| {
                let uploads = scope.spawn(|| {
                    let request = |_| {
                        mailbox.begin();
                        mailbox.on_trial()
                    };
                    // The first of them that is on trial ends it.
                    (0..1_000_000)
                        .map(request)
                        .take_while(|alone| !alone)
                        .count()
                });
                let before = mailbox.begin_trial();
                (before.begun, uploads.join().expect("no panic"))
            });
            assert!(
                kept as u64 <= before,
                "{kept} kept theirs, {before} were begun"
            );
        }
    }
}

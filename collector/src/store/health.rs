//! How the writer thread does, for whoever asks.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How the writer thread does.
#[derive(Debug)]
pub struct Health {
    failing: Mutex<Option<String>>,
    made: Instant,
    /// Milliseconds since `made` when the piece of work began that the thread is at, and one more;
    /// 0 while it waits.
    begun: AtomicU64,
    ended: AtomicBool,
}

impl Health {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            failing: Mutex::default(),
            made: now,
            begun: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        }
    }

    /// Why the store could not be written last; `None` while it can.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        let failing = self.failing.lock();
        failing.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How long the thread has been at what it does; zero while it waits.
    #[must_use]
    pub fn at_work(&self, now: Instant) -> Duration {
        match self.begun.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            begun => {
                let begun = Duration::from_millis(begun - 1);
                now.duration_since(self.made).saturating_sub(begun)
            }
        }
    }

    /// Whether the thread has ended: nothing will be stored any more.
    #[must_use]
    pub fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    /// The store can be written, or why not; true where that is new.
    pub(super) fn set(&self, failing: Option<String>) -> bool {
        let mut known = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = known.is_some() != failing.is_some();
        *known = failing;
        is_new
    }

    pub(super) fn begin(&self, now: Instant) {
        let since = now.duration_since(self.made).as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX).saturating_add(1);
        self.begun.store(since, Ordering::Relaxed);
    }

    pub(super) fn wait(&self) {
        self.begun.store(0, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::Health;

    #[test]
    fn how_long_a_piece_of_work_takes_is_known_while_it_goes_on() {
        let begin = Instant::now();
        let health = Health::new(begin);
        assert_eq!(health.at_work(begin), Duration::ZERO);
        health.begin(begin);
        let after = health.at_work(begin + Duration::from_secs(7));
        assert!(after >= Duration::from_secs(7) && after < Duration::from_secs(8));
        health.wait();
        assert_eq!(
            health.at_work(begin + Duration::from_secs(9)),
            Duration::ZERO
        );
    }

    #[test]
    fn a_change_is_told_once() {
        let health = Health::new(Instant::now());
        assert!(!health.set(None));
        assert!(health.set(Some("full".into())));
        assert!(!health.set(Some("still full".into())));
        assert_eq!(health.failing().as_deref(), Some("still full"));
        assert!(health.set(None));
        assert!(!health.ended());
    }
}

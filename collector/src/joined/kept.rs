//! Topologies that were made for somebody, for others who take one that is a little older.
//!
//! Whoever asks says how old an answer may be. Several who ask the same at once wait for one of them.
//! What was asked for lately is made again before somebody asks (`standing.rs`).

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::join::Picture;
use crate::metrics::Metrics;
use crate::store::{Error, Window};
use crate::time;

/// Longest that a question waits for another one that makes the same.
const WAIT: Duration = Duration::from_secs(30);
/// One whose window begins and ends within so much of a newer one's makes room for it, and so does one
/// until now whose length differs by no more, milliseconds.
const REPLACED_MS: u64 = 60_000;
/// Oldest that is kept.
const OLDEST: Duration = Duration::from_secs(600);
/// What is made before somebody asks leaves out so much at its ends where it is not joined yet, and
/// those who take it let it be so old at least: a slice of a minute settles, is joined and added up in
/// less.
pub(super) const SPARE: Duration = Duration::from_secs(120);
/// Windows until now that are made before somebody asks, milliseconds: an hour, a day.
const ALWAYS: [i64; 2] = [3_600_000, 86_400_000];
/// And so many others, which were asked for in so long a time.
const MOST_ASKED: usize = 2;
const ASKED: Duration = Duration::from_secs(1800);

/// What was made, within a bound of memory.
#[derive(Debug)]
pub struct Kept {
    most_bytes: usize,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// The last one that was used is the last.
    made: Vec<Made>,
    /// Those that are being made.
    making: Vec<Wanted>,
    /// Lengths of windows until now, milliseconds, and when each was asked for last.
    asked: Vec<(i64, Instant)>,
}

#[derive(Debug)]
struct Made {
    wanted: Wanted,
    since: Instant,
    /// So much may be left out at its ends.
    spare: Duration,
    picture: Arc<Picture>,
    bytes: usize,
}

/// What a question wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The window, as it was asked for.
    pub window: Window,
    /// Whether it ends now, whenever that is.
    pub is_now: bool,
}

impl Wanted {
    /// Whether what was made for this one will do for another one that lets its begin and end be so
    /// much apart.
    fn will_do(&self, other: &Self, apart_ms: u64) -> bool {
        let near = |a: i64, b: i64| a.abs_diff(b) <= apart_ms;
        let (mine, theirs) = (self.window, other.window);
        self.is_now == other.is_now
            && near(mine.from_ms, theirs.from_ms)
            && near(mine.to_ms, theirs.to_ms)
    }

    /// Whether what was made for this one is of no use any more beside what was made for a newer one.
    fn is_replaced_by(&self, newer: &Self) -> bool {
        let span = |window: Window| window.to_ms.saturating_sub(window.from_ms);
        if self.is_now && newer.is_now {
            return span(self.window).abs_diff(span(newer.window)) <= REPLACED_MS;
        }
        self.will_do(newer, REPLACED_MS)
    }
}

/// Takes it out of those that are being made, however that ends.
struct Making<'a>(&'a Kept, Wanted);

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        if let Some(at) = state.making.iter().position(|one| *one == self.1) {
            state.making.swap_remove(at);
        }
        self.0.changed.notify_all();
    }
}

impl Kept {
    /// Keeps at most so many bytes.
    #[must_use]
    pub fn new(most_bytes: usize, metrics: Arc<Metrics>) -> Self {
        Self {
            most_bytes,
            metrics,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// One that is at most so old and whose window begins and ends at most so far away; `make` makes
    /// it where there is none and nobody makes it.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn get(
        &self,
        wanted: Wanted,
        max_age: Duration,
        make: impl FnOnce() -> Result<Picture, Error>,
    ) -> Result<Arc<Picture>, Error> {
        let until = time::monotonic() + WAIT;
        let apart_ms = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
        let mut state = self.state();
        if wanted.is_now && max_age >= SPARE {
            state.note(wanted.window, time::monotonic());
        }
        loop {
            let now = time::monotonic();
            state
                .made
                .retain(|one| now.duration_since(one.since) < OLDEST);
            let young =
                |one: &Made| now.duration_since(one.since) <= max_age && one.spare <= max_age;
            let found = state
                .made
                .iter()
                .rposition(|one| young(one) && one.wanted.will_do(&wanted, apart_ms));
            if let Some(at) = found {
                let one = state.made.remove(at);
                let picture = Arc::clone(&one.picture);
                state.made.push(one);
                self.metrics.query_topologies_again_total.add(1);
                return Ok(picture);
            }
            let is_made = state
                .making
                .iter()
                .any(|one| one.will_do(&wanted, apart_ms));
            if !is_made || now >= until {
                break;
            }
            let waited = self.changed.wait_timeout(state, until - now);
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        state.making.push(wanted);
        drop(state);
        let making = Making(self, wanted);
        // What it shows is of the time when it was begun.
        let since = time::monotonic();
        let picture = Arc::new(make()?);
        self.put(wanted, (since, max_age), Arc::clone(&picture));
        drop(making);
        Ok(picture)
    }

    /// Bytes that it keeps at most.
    pub(super) fn most_bytes(&self) -> usize {
        self.most_bytes
    }

    /// Lengths of windows until now that are to be made before somebody asks, milliseconds.
    pub(super) fn spans(&self, now: Instant) -> Vec<i64> {
        let mut state = self.state();
        state
            .asked
            .retain(|(_, last)| now.duration_since(*last) < ASKED);
        let others = state.asked.iter().map(|(span_ms, _)| *span_ms);
        ALWAYS.into_iter().chain(others).collect()
    }

    /// Keeps what was begun then, with so much left out at its ends.
    pub(super) fn put(
        &self,
        wanted: Wanted,
        (since, spare): (Instant, Duration),
        picture: Arc<Picture>,
    ) {
        let bytes = picture.bytes();
        self.keep(Made {
            wanted,
            since,
            spare,
            picture,
            bytes,
        });
    }

    /// In the place of the one that was used longest ago.
    fn keep(&self, made: Made) {
        if made.bytes > self.most_bytes {
            return;
        }
        let mut state = self.state();
        state
            .made
            .retain(|one| !one.wanted.is_replaced_by(&made.wanted));
        state.made.push(made);
        let sum = |made: &[Made]| made.iter().map(|one| one.bytes).sum::<usize>();
        while sum(&state.made) > self.most_bytes {
            state.made.remove(0);
        }
        let bytes = u64::try_from(sum(&state.made)).unwrap_or(u64::MAX);
        self.metrics.query_topologies_kept_bytes.set(bytes);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Notes that it was asked for, in the place of what was not for longest.
    fn note(&mut self, window: Window, now: Instant) {
        let span_ms = window.to_ms.saturating_sub(window.from_ms);
        let is_same = |known: i64| known.abs_diff(span_ms) <= REPLACED_MS;
        if ALWAYS.into_iter().any(is_same) {
            return;
        }
        self.asked.retain(|(known, _)| !is_same(*known));
        if self.asked.len() >= MOST_ASKED {
            self.asked.remove(0);
        }
        self.asked.push((span_ms, now));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::{Kept, Wanted};
    use crate::join::{Joined, Picture};
    use crate::store::{Error, Window};

    const LONG: Duration = Duration::from_secs(60);

    fn wanted(from_ms: i64, to_ms: i64, is_now: bool) -> Wanted {
        let window = Window { from_ms, to_ms };
        Wanted { window, is_now }
    }

    fn kept(most_bytes: usize) -> Kept {
        Kept::new(most_bytes, Arc::default())
    }

    fn picture() -> Result<Picture, Error> {
        Ok(Picture::new((0, 1), Joined::default(), Vec::new(), None))
    }

    fn failing() -> Result<Picture, Error> {
        Err(Error::Damaged { what: "a test" })
    }

    #[test]
    fn one_that_is_near_enough_will_do_and_no_other() {
        let kept = kept(1 << 20);
        let first = wanted(0, 3_600_000, true);
        let made = kept.get(first, LONG, picture).unwrap();
        let same = |wanted| {
            let found = kept.get(wanted, LONG, failing).ok()?;
            Some(Arc::ptr_eq(&found, &made))
        };
        assert_eq!(same(first), Some(true));
        assert_eq!(same(wanted(60_000, 3_660_000, true)), Some(true));
        assert_eq!(same(wanted(60_001, 3_660_001, true)), None, "too far away");
        assert_eq!(
            same(wanted(0, 3_600_000, false)),
            None,
            "it ends then, and not now"
        );
        let late = kept.get(first, Duration::ZERO, failing);
        assert!(late.is_err(), "too old");
        assert_eq!(kept.metrics.query_topologies_again_total.get(), 2);
    }

    #[test]
    fn what_is_kept_has_a_bound() {
        let one = picture().unwrap().bytes();
        let kept = kept(one);
        let hour = |n: i64| wanted(n * 3_600_000, n * 3_600_000 + 1, false);
        for n in 0..3 {
            kept.get(hour(n), LONG, picture).unwrap();
        }
        let bytes = |state: &super::State| state.made.iter().map(|one| one.bytes).sum::<usize>();
        assert!(bytes(&kept.state()) <= one);
        assert!(kept.get(hour(2), LONG, failing).is_ok());
        assert_eq!(kept.state().making, [], "also of those that failed");
    }

    #[test]
    fn those_who_ask_at_once_wait_for_one() {
        let kept = kept(1 << 20);
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let make = || {
                        made.fetch_add(1, Ordering::Relaxed);
                        std::thread::park_timeout(Duration::from_millis(100));
                        picture()
                    };
                    kept.get(wanted(0, 9, true), LONG, make).unwrap();
                });
            }
        });
        assert_eq!(made.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn one_that_fails_leaves_it_to_the_next() {
        let kept = kept(1 << 20);
        assert!(kept.get(wanted(0, 9, true), LONG, failing).is_err());
        assert!(kept.get(wanted(0, 9, true), LONG, picture).is_ok());
    }
}

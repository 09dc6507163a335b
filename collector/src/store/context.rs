//! What the rows of one batch share when they are stored.

use wire::SINCE_STEP_MS;

/// Where and when rows of a batch belong.
#[derive(Clone, Copy)]
pub(super) struct Context {
    pub(super) boot: i64,
    pub(super) sequence: i64,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
    /// Begin of the interval by the host's own clock.
    pub(super) own_start_ms: i64,
    /// Up to when data was evicted.
    pub(super) evicted_ms: Option<i64>,
}

impl Context {
    /// Whether a series that is not known may have been, and was evicted: it began before this
    /// interval, and before then or by a clock that says nothing. Agents tell of the begin in steps,
    /// so by such a clock one of this interval may seem to be older than it.
    pub(super) fn is_cut(&self, since_ms: i64) -> bool {
        let is_older = since_ms.saturating_add(signed(SINCE_STEP_MS)) <= self.own_start_ms;
        since_ms < self.own_start_ms
            && self
                .evicted_ms
                .is_some_and(|before| since_ms <= before || is_older && since_ms > self.end_ms)
    }
}

/// SQLite's integers are signed; a counter that reaches 2^63 stays there.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

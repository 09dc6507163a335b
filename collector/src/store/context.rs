//! What the rows of one batch share when they are stored.

/// Where and when rows of a batch belong.
#[derive(Clone, Copy)]
pub(super) struct Context {
    pub(super) boot: i64,
    pub(super) sequence: i64,
    pub(super) start_ms: i64,
    pub(super) end_ms: i64,
}

/// SQLite's integers are signed; a counter that reaches 2^63 stays there.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

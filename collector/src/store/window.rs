//! Which part of the time a question is about.

/// A window of time, Unix milliseconds: after `from_ms`, up to and including `to_ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Exclusive.
    pub from_ms: i64,
    /// Inclusive.
    pub to_ms: i64,
}

//! Into which pieces time is cut.

/// Lengths of slices, milliseconds; each is a multiple of the one before.
pub(crate) const LENGTHS: [i64; 3] = if cfg!(test) {
    [20_000, 60_000, 120_000]
} else {
    [60_000, 600_000, 3_600_000]
};
/// The slice that holds a moment.
pub(crate) fn slice(length_ms: i64, at_ms: i64) -> i64 {
    let last = at_ms.saturating_sub(1);
    last.div_euclid(length_ms).saturating_mul(length_ms)
}

//! Counters of one side of an edge: arithmetic that loses nothing.

use wire::{Columns, EdgeRow, HISTOGRAM_BUCKETS, Histogram};

/// Number of plain counters of an edge row.
pub const COUNTERS: usize = 14;

/// Index of the connections that reached ESTABLISHED.
pub const OPENED: usize = 0;
/// Index of the connections that ended after that.
pub const CLOSED: usize = 1;
/// Index of the attempts that led to no connection.
pub const FAILED: usize = 2;
/// Index of the part of these that the other side answered with a reset.
pub const REFUSED: usize = 3;
/// Index of the connections that this side ended with a reset.
pub const RESET_LOCAL: usize = 4;
/// Index of those that the other side did.
pub const RESET_REMOTE: usize = 5;
/// Index of the payload bytes that this side sent.
pub const BYTES_SENT: usize = 6;
/// Index of those that it received.
pub const BYTES_RECEIVED: usize = 7;
/// Index of the segments that it sent.
pub const SEGMENTS_SENT: usize = 8;
/// Index of those that it received.
pub const SEGMENTS_RECEIVED: usize = 9;
/// Index of the segments that it sent again.
pub const RETRANSMITS: usize = 10;
/// Index of the segments that it received out of order.
pub const OUT_OF_ORDER: usize = 11;
/// Index of the zero windows that it received.
pub const ZERO_WINDOWS: usize = 12;
/// Index of the connections that were open before the agent's run; summed over runs each counts
/// once (see [`crate::join::Run`]).
pub const ADOPTED: usize = 13;
/// Indexes that count only on established connections: closed, reset by either side, bytes.
pub const ESTABLISHED: [usize; 5] = [1, 4, 5, 6, 7];

/// What one side counted, cumulative or for a window.
///
/// The plain counters are in the order of the fields of [`EdgeRow`], from `opened` on, and `adopted`
/// is the last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// `opened` to `zero_windows`, then `adopted`.
    pub plain: [u64; COUNTERS],
    /// SYN to ESTABLISHED.
    pub connect_latency: Histogram,
    /// Round-trip time.
    pub rtt: Histogram,
    /// What one of the hosts it was added up from cannot measure: such a counter means nothing.
    pub absent: Columns,
}

impl From<&EdgeRow> for Counters {
    fn from(row: &EdgeRow) -> Self {
        Self {
            plain: [
                row.opened,
                row.closed,
                row.failed,
                row.refused,
                row.reset_local,
                row.reset_remote,
                row.bytes_sent,
                row.bytes_received,
                row.segments_sent,
                row.segments_received,
                row.retransmits,
                row.out_of_order,
                row.zero_windows,
                row.adopted,
            ],
            connect_latency: row.connect_latency.clone(),
            rtt: row.rtt.clone(),
            absent: row.absent,
        }
    }
}

impl Counters {
    /// Connections that reached ESTABLISHED.
    #[must_use]
    pub fn opened(&self) -> u64 {
        self.plain[OPENED]
    }

    /// Connections that are open, where these are totals.
    #[must_use]
    pub fn open(&self) -> u64 {
        let known = self.plain[OPENED].saturating_add(self.plain[ADOPTED]);
        known.saturating_sub(self.plain[CLOSED])
    }

    /// A plain counter by its index; `None` where one of the hosts cannot measure it.
    #[must_use]
    pub fn known(&self, at: usize) -> Option<u64> {
        let absent = column(at).is_some_and(|column| self.absent.has(column));
        (!absent).then_some(self.plain[at])
    }

    /// True when nothing was counted.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        let nothing = Self {
            absent: self.absent,
            ..Self::default()
        };
        *self == nothing
    }

    /// Adds another subject's counters; at the end of the range it stays there.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, u64::saturating_add);
    }

    /// What was counted since `baseline`; a counter that went backwards counts as unchanged.
    #[must_use]
    pub fn since(mut self, baseline: &Self) -> Self {
        self.combine(baseline, u64::saturating_sub);
        self
    }

    fn combine(&mut self, other: &Self, op: impl Fn(u64, u64) -> u64) {
        self.absent = self.absent.with(other.absent);
        for (mine, theirs) in self.plain.iter_mut().zip(other.plain) {
            *mine = op(*mine, theirs);
        }
        for (mine, theirs) in [
            (&mut self.connect_latency, &other.connect_latency),
            (&mut self.rtt, &other.rtt),
        ] {
            for (bucket, other) in mine.buckets.iter_mut().zip(theirs.buckets) {
                *bucket = op(*bucket, other);
            }
            mine.sum_us = op(mine.sum_us, theirs.sum_us);
        }
    }

    /// Divides each counter in proportion to `weights`, and what connections count when they begin
    /// in proportion to `new`; the parts sum up to the whole. Where all of `new` are zero, `weights`
    /// stand for them.
    ///
    /// Part `i` is `floor(total * W(i) / W) - floor(total * W(i-1) / W)` with the running sums
    /// `W(i)`, so rounding neither loses nor invents anything and the order decides who gets it.
    #[must_use]
    pub fn split(&self, weights: &[u64], new: &[u64]) -> Vec<Self> {
        let begun = if new.iter().all(|n| *n == 0) {
            weights
        } else {
            new
        };
        let empty = Self {
            absent: self.absent,
            ..Self::default()
        };
        let mut parts = vec![empty; weights.len()];
        for i in 0..COUNTERS {
            let weights = if i == OPENED { begun } else { weights };
            divide(self.plain[i], weights, |part, n| parts[part].plain[i] = n);
        }
        for i in 0..HISTOGRAM_BUCKETS {
            let (latency, rtt) = (self.connect_latency.buckets[i], self.rtt.buckets[i]);
            divide(latency, begun, |part, n| {
                parts[part].connect_latency.buckets[i] = n;
            });
            divide(rtt, weights, |part, n| parts[part].rtt.buckets[i] = n);
        }
        divide(self.connect_latency.sum_us, begun, |part, n| {
            parts[part].connect_latency.sum_us = n;
        });
        divide(self.rtt.sum_us, weights, |part, n| {
            parts[part].rtt.sum_us = n
        });
        parts
    }
}

/// The column of a plain counter that not every host can measure.
pub(crate) fn column(at: usize) -> Option<Columns> {
    Some(match at {
        RESET_LOCAL => Columns::RESET_LOCAL,
        RESET_REMOTE => Columns::RESET_REMOTE,
        BYTES_SENT => Columns::BYTES_SENT,
        BYTES_RECEIVED => Columns::BYTES_RECEIVED,
        SEGMENTS_SENT => Columns::SEGMENTS_SENT,
        SEGMENTS_RECEIVED => Columns::SEGMENTS_RECEIVED,
        RETRANSMITS => Columns::RETRANSMITS,
        OUT_OF_ORDER => Columns::OUT_OF_ORDER,
        ZERO_WINDOWS => Columns::ZERO_WINDOWS,
        _ => return None,
    })
}

/// Divides one number in proportion to `weights`, as [`Counters::split`] does.
#[must_use]
pub fn shares(total: u64, weights: &[u64]) -> Vec<u64> {
    let mut parts = vec![0; weights.len()];
    divide(total, weights, |part, n| parts[part] = n);
    parts
}

/// Divides `total` in proportion to `weights`, as [`Counters::split`].
pub(crate) fn divide(total: u64, weights: &[u64], mut put: impl FnMut(usize, u64)) {
    let sum: u128 = weights.iter().map(|w| u128::from(*w)).sum();
    // Shifted so that their sum, and with it the product below, stays in range.
    let shift = (128 - sum.leading_zeros()).saturating_sub(64);
    let scaled = |weight: &u64| u128::from(*weight) >> shift;
    let sum: u128 = weights.iter().map(scaled).sum();
    let (mut running, mut given) = (0_u128, 0_u64);
    for (part, weight) in weights.iter().enumerate() {
        running += scaled(weight);
        // A sum of zero has no parts to give to.
        let upto = (u128::from(total) * running).checked_div(sum).unwrap_or(0);
        let upto = u64::try_from(upto).expect("running is at most sum");
        put(part, upto - given);
        given = upto;
    }
}

/// The value below which `per_cent` of the values lie, in microseconds; `None` without values.
///
/// Within a bucket the values are taken as evenly spread, so the answer is within a factor of two.
#[must_use]
pub fn percentile(histogram: &Histogram, per_cent: u64) -> Option<u64> {
    // Not `Histogram::count`: what a hostile host reported may overflow it.
    let count: u128 = histogram.buckets.iter().map(|n| u128::from(*n)).sum();
    if count == 0 {
        return None;
    }
    // The rank of the value looked for, from 1.
    let rank = (count * u128::from(per_cent)).div_ceil(100).max(1);
    let mut below = 0_u128;
    for (i, n) in histogram.buckets.iter().enumerate() {
        let n = u128::from(*n);
        if n > 0 && below + n >= rank {
            let low = if i == 0 { 0 } else { 1_u128 << i };
            let width = (1_u128 << (i + 1)) - low;
            // The middle of the value's own share of the bucket.
            let value = low + width * (2 * (rank - below) - 1) / (2 * n);
            return u64::try_from(value).ok();
        }
        below += n;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Counters, percentile};
    use proptest::prelude::{any, prop, proptest};
    use wire::Histogram;

    fn histogram(values: &[u64]) -> Histogram {
        let mut histogram = Histogram::default();
        for value in values {
            histogram.record(*value);
        }
        histogram
    }

    #[test]
    fn percentiles_are_in_the_bucket_of_the_value() {
        let spread = histogram(&[100, 100, 100, 100, 100, 100, 100, 100, 100, 5000]);
        let p50 = percentile(&spread, 50).unwrap();
        let p95 = percentile(&spread, 95).unwrap();
        assert!((64..128).contains(&p50), "{p50}");
        assert!((4096..8192).contains(&p95), "{p95}");
        assert_eq!(percentile(&Histogram::default(), 50), None);
        assert!(percentile(&histogram(&[0]), 99).unwrap() < 2);
    }

    #[test]
    fn a_counter_that_went_backwards_counts_as_unchanged() {
        let mut now = Counters::default();
        now.plain[0] = 3;
        let mut before = Counters::default();
        before.plain[0] = 5;
        assert!(now.since(&before).is_zero());
    }

    proptest! {
        #[test]
        fn parts_sum_up_to_the_whole(
            total in any::<u64>(),
            weights in prop::collection::vec(any::<u64>(), 1..8),
        ) {
            let mut whole = Counters { plain: [total; super::COUNTERS], ..Counters::default() };
            whole.rtt.buckets[5] = total;
            whole.rtt.sum_us = total;
            let mut sum = Counters::default();
            for part in whole.split(&weights, &[]) {
                sum.add(&part);
            }
            if weights.iter().any(|w| *w > 0) {
                assert_eq!(sum, whole);
            }
        }

        #[test]
        fn equal_shares_are_exact(n in 0_u64..1_000_000, parts in 1_usize..9) {
            let mut whole = Counters::default();
            whole.plain[0] = n * parts as u64;
            for part in whole.split(&vec![7; parts], &vec![0; parts]) {
                assert_eq!(part.opened(), n);
            }
        }

        #[test]
        fn percentiles_never_panic(buckets in any::<[u64; 32]>(), p in 0_u64..101) {
            let histogram = Histogram { buckets, sum_us: 0 };
            let _ = percentile(&histogram, p);
        }
    }
}

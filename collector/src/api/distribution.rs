//! Histograms as people read them: percentiles with the bounds of what is known, and buckets.

use schemars::JsonSchema;
use serde::Serialize;
use wire::{HISTOGRAM_BUCKETS, Histogram};

use crate::counters::percentile;

/// A distribution in microseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Distribution {
    /// Values.
    pub(super) count: u64,
    /// Their sum.
    pub(super) sum_us: u64,
    /// Not there without values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p50: Option<Quantile>,
    /// Not there without values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p90: Option<Quantile>,
    /// Not there without values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) p99: Option<Quantile>,
    /// Those that hold something.
    pub(super) buckets: Vec<Bucket>,
}

/// A percentile, and between which values it lies for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Quantile {
    /// As if the values of the bucket were evenly spread in it.
    pub(super) value_us: u64,
    /// The bucket's lower bound, inclusive.
    pub(super) low_us: u64,
    /// Its upper bound, exclusive; null where it has none.
    pub(super) high_us: Option<u64>,
}

/// Values between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Bucket {
    /// Inclusive.
    pub(super) low_us: u64,
    /// Exclusive; null where there is no bound.
    pub(super) high_us: Option<u64>,
    /// How many.
    pub(super) count: u64,
}

impl Distribution {
    /// Of a histogram.
    pub(super) fn of(histogram: &Histogram) -> Self {
        let buckets = histogram.buckets.iter().enumerate();
        let buckets = buckets.filter(|(_, count)| **count > 0);
        let buckets: Vec<_> = buckets
            .map(|(at, count)| {
                let (low_us, high_us) = bounds(at);
                Bucket {
                    low_us,
                    high_us,
                    count: *count,
                }
            })
            .collect();
        let count = buckets
            .iter()
            .fold(0, |sum: u64, b| sum.saturating_add(b.count));
        Self {
            count,
            sum_us: histogram.sum_us,
            p50: Quantile::of(histogram, 50),
            p90: Quantile::of(histogram, 90),
            p99: Quantile::of(histogram, 99),
            buckets,
        }
    }

    /// The histogram of a row as it is shown: `sum_us`, and counts by powers of two.
    pub(super) fn read(value: &serde_json::Value) -> Option<Histogram> {
        let mut histogram = Histogram {
            sum_us: value.get("sum_us")?.as_u64()?,
            ..Histogram::default()
        };
        let buckets = value.get("buckets")?.as_array()?;
        for (mine, told) in histogram.buckets.iter_mut().zip(buckets) {
            *mine = told.as_u64()?;
        }
        Some(histogram)
    }
}

impl Quantile {
    pub(super) fn of(histogram: &Histogram, per_cent: u64) -> Option<Self> {
        let value_us = percentile(histogram, per_cent)?;
        let at = value_us.checked_ilog2().unwrap_or(0) as usize;
        let (low_us, high_us) = bounds(at.min(HISTOGRAM_BUCKETS - 1));
        Some(Self {
            value_us,
            low_us,
            high_us,
        })
    }
}

/// The bounds of a bucket (`wire::Histogram`).
fn bounds(at: usize) -> (u64, Option<u64>) {
    let low = if at == 0 { 0 } else { 1 << at };
    (low, (at < HISTOGRAM_BUCKETS - 1).then(|| 1 << (at + 1)))
}

#[cfg(test)]
mod tests {
    use super::{Bucket, Distribution};
    use proptest::prelude::{prop, proptest};
    use wire::Histogram;

    #[test]
    fn percentiles_say_between_which_values_they_lie() {
        let mut histogram = Histogram::default();
        for value in [0, 100, 100, 5000] {
            histogram.record(value);
        }
        let found = Distribution::of(&histogram);
        assert_eq!((found.count, found.sum_us), (4, 5200));
        let bucket = |low_us, high_us, count| Bucket {
            low_us,
            high_us: Some(high_us),
            count,
        };
        let buckets = [bucket(0, 2, 1), bucket(64, 128, 2), bucket(4096, 8192, 1)];
        assert_eq!(found.buckets, buckets);
        let p99 = found.p99.unwrap();
        assert_eq!((p99.low_us, p99.high_us), (4096, Some(8192)));
        assert_eq!(
            found.p50.map(|p| (p.low_us, p.high_us)),
            Some((64, Some(128)))
        );
        assert_eq!(Distribution::of(&Histogram::default()).p50, None);
    }

    proptest! {
        #[test]
        fn the_true_percentile_lies_between_the_bounds(
            mut values in prop::collection::vec(0_u64..10_000_000_000, 1..200),
        ) {
            let mut histogram = Histogram::default();
            values.iter().for_each(|value| histogram.record(*value));
            values.sort_unstable();
            let found = Distribution::of(&histogram);
            for (per_cent, quantile) in [(50, found.p50), (90, found.p90), (99, found.p99)] {
                let rank = (values.len() * per_cent).div_ceil(100).max(1);
                let (value, quantile) = (values[rank - 1], quantile.unwrap());
                assert!(quantile.low_us <= value, "{value} {quantile:?}");
                assert!(quantile.high_us.is_none_or(|high| value < high), "{value} {quantile:?}");
            }
        }
    }
}

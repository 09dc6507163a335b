//! How long something took, as a histogram of Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of buckets, in microseconds; one more has no bound.
const BOUNDS_US: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000, 30_000_000,
];

/// How often something took how long. Each part rises for itself; what one scrape shows adds up.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [AtomicU64; BOUNDS_US.len() + 1],
    sum_us: AtomicU64,
}

impl Durations {
    /// Counts one.
    pub fn observe(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let at = BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[at].fetch_add(1, Ordering::Relaxed);
        self.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        let buckets = self.buckets.iter();
        buckets.map(|bucket| bucket.load(Ordering::Relaxed)).sum()
    }

    /// The lines of a series; `labels` is empty or `name="value"`.
    pub(super) fn write(&self, text: &mut String, name: &str, labels: &str) {
        let (comma, braces) = match labels {
            "" => ("", String::new()),
            labels => (",", format!("{{{labels}}}")),
        };
        let mut count = 0;
        for (at, bucket) in self.buckets.iter().enumerate() {
            count += bucket.load(Ordering::Relaxed);
            let bound = BOUNDS_US.get(at);
            let bound = bound.map_or(String::from("+Inf"), |us| seconds(*us));
            // Writing to a string cannot fail.
            let _ = writeln!(
                text,
                "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"
            );
        }
        let sum = seconds(self.sum_us.load(Ordering::Relaxed));
        let _ = writeln!(
            text,
            "{name}_sum{braces} {sum}\n{name}_count{braces} {count}"
        );
    }
}

fn seconds(us: u64) -> String {
    format!("{}", us as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::Durations;
    use std::time::Duration;

    #[test]
    fn buckets_add_up_and_bounds_belong_to_what_is_below() {
        let durations = Durations::default();
        for ms in [0, 1, 2, 30, 31_000] {
            durations.observe(Duration::from_millis(ms));
        }
        assert_eq!(durations.count(), 5);
        let mut text = String::new();
        durations.write(&mut text, "x_seconds", "route=\"a\"");
        for line in [
            "x_seconds_bucket{route=\"a\",le=\"0.0005\"} 1\n",
            "x_seconds_bucket{route=\"a\",le=\"0.001\"} 2\n",
            "x_seconds_bucket{route=\"a\",le=\"0.0025\"} 3\n",
            "x_seconds_bucket{route=\"a\",le=\"30\"} 4\n",
            "x_seconds_bucket{route=\"a\",le=\"+Inf\"} 5\n",
            "x_seconds_sum{route=\"a\"} 31.033\n",
            "x_seconds_count{route=\"a\"} 5\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        let mut bare = String::new();
        Durations::default().write(&mut bare, "y_seconds", "");
        assert!(
            bare.ends_with("y_seconds_sum 0\ny_seconds_count 0\n"),
            "{bare}"
        );
        assert!(
            bare.starts_with("y_seconds_bucket{le=\"0.0005\"} 0\n"),
            "{bare}"
        );
    }
}

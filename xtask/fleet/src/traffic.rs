//! What the connections of one edge add up to.

use wire::{HISTOGRAM_BUCKETS, Histogram};

use super::random::{Random, count, float};

/// Cumulative distribution of the standard normal law (Abramowitz and Stegun 7.1.26).
fn normal_below(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * (x.abs() / std::f64::consts::SQRT_2));
    let polynomial = t
        * (0.254_829_592
            + t * (-0.284_496_736
                + t * (1.421_413_741 + t * (-1.453_152_027 + t * 1.061_405_429))));
    let error = 1.0 - polynomial * (-x * x / 2.0).exp();
    0.5 * (1.0 + error * x.signum())
}

/// `samples` durations around a median in microseconds.
///
/// Few are drawn one by one, many by the law of each bucket; the sum follows the same draw.
pub(crate) fn durations(
    random: &mut Random,
    samples: u64,
    median_us: f64,
    sigma: f64,
) -> Histogram {
    let mut histogram = Histogram::default();
    if samples <= 400 {
        for _ in 0..samples {
            histogram.record(count(random.around(median_us, sigma)));
        }
        return histogram;
    }
    let mut left = samples;
    let mut mass_left = 1.0;
    let mut below = 0.0;
    for bucket in 0..HISTOGRAM_BUCKETS {
        let exponent = i32::try_from(bucket).expect("few buckets");
        let (start, end) = (2f64.powi(exponent), 2f64.powi(exponent + 1));
        let upto = normal_below((end / median_us).ln() / sigma);
        let mass = upto - std::mem::replace(&mut below, upto);
        let share = if mass_left > 1e-12 {
            (mass / mass_left).clamp(0.0, 1.0)
        } else {
            0.0
        };
        let hits = random.binomial(left, share);
        mass_left -= mass;
        left -= hits;
        histogram.buckets[bucket] = hits;
        if hits > 0 {
            // The mean inside a bucket leans towards the mode.
            let lean = if end < median_us {
                0.6
            } else if start > median_us {
                0.4
            } else {
                0.5
            };
            let spread = (end - start) / (12.0 * float(hits)).sqrt();
            let mean = start + (end - start) * lean + spread * random.normal();
            histogram.sum_us += count(mean * float(hits));
        }
    }
    histogram
}

/// A total of `events` sizes around `mean`, as the sum of as many draws would be.
pub(crate) fn total(random: &mut Random, events: f64, mean: f64) -> f64 {
    (events * mean * (1.0 + 0.6 * random.normal() / events.max(1.0).sqrt())).max(events.min(1.0))
}

//! Histograms of a family's rows.
//!
//! Durations of one path have one mode. So a row says where its fullest bucket is and how many
//! buckets below and above it are in use; their counts, outwards from the mode, are a table of their
//! own; and the fullest bucket's count is what remains of the total.

use super::number::{Expected, bits};
use super::source::{Column, Expect, Source, column, first, second};
use crate::error::DecodeError;
use crate::value::{HISTOGRAM_BUCKETS, Histogram};

/// Columns of one histogram of each row.
#[derive(Debug, Default)]
pub(crate) struct HistogramColumns {
    /// Number of values beyond what the row's connections make certain, wrapping.
    extra: Vec<u64>,
    /// The fullest bucket.
    pub(crate) peak: Vec<u64>,
    below: Vec<u64>,
    above: Vec<u64>,
    sum: Vec<u64>,
    /// Number of values, wrapping.
    totals: Vec<u64>,
    counts: Vec<[u64; HISTOGRAM_BUCKETS]>,
}

fn total(buckets: &[u64; HISTOGRAM_BUCKETS]) -> u64 {
    buckets
        .iter()
        .fold(0, |sum, count| sum.wrapping_add(*count))
}

impl HistogramColumns {
    /// The totals: what they are beyond `certain`.
    pub(crate) fn read_totals(
        &mut self,
        source: &mut impl Source,
        column: Column,
        certain: &[u64],
        expect: Expect<'_>,
    ) -> Result<(), DecodeError> {
        self.extra = source.numbers(column, expect)?;
        let totals = certain.iter().zip(&self.extra);
        self.totals = totals
            .map(|(certain, extra)| certain.wrapping_add(*extra))
            .collect();
        Ok(())
    }

    /// How many values a row lacks to as many as are certain, after [`Self::read_totals`]; 0 where
    /// it has more.
    pub(crate) fn lacks(&self, row: usize) -> u64 {
        let lacks = self.extra[row].wrapping_neg();
        if lacks.cast_signed() < 0 { 0 } else { lacks }
    }

    /// How many buckets are in use on both sides of the peaks.
    pub(crate) fn read_sides(
        &mut self,
        source: &mut impl Source,
        name: &'static str,
    ) -> Result<(), DecodeError> {
        let totals = &self.totals;
        // The more values, the further the outermost ones are from the mode.
        let mut wide =
            |row: usize, _: &[u64]| Expected::near(u64::from(bits(totals[row]) * 5 / 32));
        let note = "high: below the peak, low: above; near 5/32 of the total's bits";
        self.below = source.numbers(first(name, note), &mut wide)?;
        self.above = source.numbers(second(name), &mut wide)?;
        self.check()
    }

    fn check(&self) -> Result<(), DecodeError> {
        let last = HISTOGRAM_BUCKETS as u64 - 1;
        for ((peak, below), above) in self.peak.iter().zip(&self.below).zip(&self.above) {
            if *peak > last || below > peak || *above > last - peak {
                let what = "histogram reaches beyond its buckets";
                return Err(DecodeError::Malformed(String::from(what)));
            }
        }
        Ok(())
    }

    /// The counts beside the peaks, in a table of their own: those of `path`, then those of another
    /// histogram of the same path.
    pub(crate) fn read_counts(
        path: &mut Self,
        other: &mut Self,
        source: &mut impl Source,
        table: &'static str,
    ) -> Result<(), DecodeError> {
        let all = path.side_count() + other.side_count();
        let rows = source.table(table);
        // Before anything is allocated for them.
        if rows != all {
            let what = format!("{rows} rows of {table}, not {all}");
            return Err(DecodeError::Malformed(what));
        }
        let (sides, other_sides) = (path.sides(), other.sides());
        for columns in [&mut *path, &mut *other] {
            columns.counts = vec![[0; HISTOGRAM_BUCKETS]; columns.peak.len()];
        }
        let mut counts = Vec::new();
        if rows > 0 {
            let note = "in bits: falling from the peak; of the second histogram like the first";
            counts = source.numbers(column("count", note), &mut |index, before| {
                // Counts are expected from those further in, or from the other histogram's.
                if let Some(last) = index.checked_sub(1).and_then(|last| sides.get(last)) {
                    path.counts[last.row][last.bucket()] = last.count(before[index - 1]);
                }
                if index == sides.len() {
                    path.fill_peaks();
                }
                Expected::Bits(match sides.get(index) {
                    Some(side) => path.falling(side),
                    None => {
                        let side = &other_sides[index - sides.len()];
                        path.scaled(side, other.totals[side.row])
                    }
                })
            })?;
        }
        let (counts, other_counts) = counts.split_at(sides.len());
        path.fill(&sides, counts);
        other.fill(&other_sides, other_counts);
        Ok(())
    }

    fn fill(&mut self, sides: &[Side], counts: &[u64]) {
        for (side, count) in sides.iter().zip(counts) {
            self.counts[side.row][side.bucket()] = side.count(*count);
        }
        self.fill_peaks();
    }

    /// Counts fall like a parabola in bits from the mode to the last bucket in use.
    fn falling(&self, side: &Side) -> u32 {
        let inner = match side.step {
            1 => self.totals[side.row],
            _ => self.counts[side.row][side.inner()],
        };
        let (step, end) = (u32::from(side.step), u32::from(side.steps) + 1);
        let left = |step: u32| end * end - step * step;
        let falling = (bits(inner) + 1) * left(step) / left(step - 1);
        // The mode leans towards the longer side.
        let longer = if step == 1 {
            side.steps.saturating_sub(side.other_steps) / 2
        } else {
            0
        };
        (falling + u32::from(longer)).clamp(1, u64::BITS)
    }

    /// The fullest bucket has what the others leave of the total.
    fn fill_peaks(&mut self) {
        for (row, peak) in self.peak.iter().enumerate() {
            let buckets = &mut self.counts[row];
            let peak = index(*peak);
            buckets[peak] = 0;
            buckets[peak] = self.totals[row].wrapping_sub(total(buckets));
        }
    }

    /// Bits of a bucket's count in another histogram with that total.
    fn scaled(&self, side: &Side, total: u64) -> u32 {
        let count = u128::from(self.counts[side.row][side.bucket()]) * u128::from(total);
        let count = count
            .checked_div(u128::from(self.totals[side.row]))
            .unwrap_or(0);
        bits(u64::try_from(count).unwrap_or(u64::MAX)).max(1)
    }

    /// Number of [`Self::sides`].
    fn side_count(&self) -> usize {
        let steps = self.below.iter().zip(&self.above);
        steps
            .map(|(below, above)| index(*below) + index(*above))
            .sum()
    }

    /// Buckets in use beside the peaks: those next to a peak first, and of equal distance those last
    /// which are the last in use on their side.
    fn sides(&self) -> Vec<Side> {
        let mut list = Vec::new();
        for row in 0..self.peak.len() {
            let peak = index(self.peak[row]);
            let (below, above) = (index(self.below[row]), index(self.above[row]));
            let side = |below, step, steps, other_steps| {
                let bucket = if below { peak - step } else { peak + step };
                let [bucket, step, steps, other_steps] = [bucket, step, steps, other_steps]
                    .map(|bucket| u8::try_from(bucket).expect("checked to be a bucket"));
                Side {
                    row,
                    below,
                    bucket,
                    step,
                    steps,
                    other_steps,
                }
            };
            list.extend((1..=below).map(|step| side(true, step, below, above)));
            list.extend((1..=above).map(|step| side(false, step, above, below)));
        }
        list.sort_by_key(Side::kind);
        list
    }

    /// The sums, after the counts.
    pub(crate) fn read_sums(
        &mut self,
        source: &mut impl Source,
        name: &'static str,
    ) -> Result<(), DecodeError> {
        let counts = &self.counts;
        let sum = column(name, "about the sum that the counts suggest");
        self.sum = source.numbers(sum, &mut |row, _| expected_sum(&counts[row]))?;
        Ok(())
    }

    /// One histogram, after all columns are read.
    pub(crate) fn row(&self, row: usize) -> Histogram {
        Histogram {
            buckets: self.counts[row],
            sum_us: self.sum[row],
        }
    }
}

/// A bucket beside the peak of a row: the `step`th of `steps` on its side. Small, because a batch has
/// several per row.
#[derive(Debug)]
struct Side {
    row: usize,
    below: bool,
    bucket: u8,
    step: u8,
    steps: u8,
    /// Steps on the other side of the peak.
    other_steps: u8,
}

impl Side {
    fn bucket(&self) -> usize {
        usize::from(self.bucket)
    }

    /// The bucket next to it, towards the peak.
    fn inner(&self) -> usize {
        if self.below {
            self.bucket() + 1
        } else {
            self.bucket() - 1
        }
    }

    /// The count that was written as `code`: the last bucket in use has at least one value.
    fn count(&self, code: u64) -> u64 {
        code.wrapping_add(u64::from(self.step == self.steps))
    }

    /// Buckets of one kind have similar counts.
    fn kind(&self) -> (u8, bool) {
        (self.step, self.step == self.steps)
    }
}

fn index(bucket: u64) -> usize {
    usize::try_from(bucket).expect("checked to be a bucket")
}

/// Values lie in the middle of their bucket, or towards the fuller one of its neighbours.
fn expected_sum(buckets: &[u64; HISTOGRAM_BUCKETS]) -> Expected {
    let mut sum: i128 = 0;
    let mut variance: u128 = 0;
    for (bucket, count) in buckets.iter().enumerate().filter(|(_, count)| **count > 0) {
        let before = if bucket > 0 { buckets[bucket - 1] } else { 0 };
        let after = buckets.get(bucket + 1).copied().unwrap_or(0);
        let (before, count, after) = (i128::from(before), i128::from(*count), i128::from(after));
        // At most a sixth of the bucket's width, in parts of 1/64.
        let lean = (after - before) * 64 / (6 * (before + count + after));
        sum += (count << bucket) * (96 + lean) / 64;
        variance = variance.saturating_add(count.cast_unsigned() << (2 * bucket));
    }
    let base = u64::try_from(sum).unwrap_or(u64::MAX);
    let deviation = (u128::BITS - (variance / 12).leading_zeros()) / 2;
    // Beyond chance, the middle is off by a few thousandths.
    let noise = deviation
        .max(bits(base).saturating_sub(8))
        .saturating_sub(2);
    Expected::About { base, noise }
}

//! Histograms of a family's rows.
//!
//! Durations of one path have one mode. So a row says where its fullest bucket is and how many
//! buckets below and above it are in use; their counts, outwards from the mode, are a table of their
//! own; and the fullest bucket's count is what remains of the total.

use crate::DecodeError;
use crate::codec::{Codec, column, previous};
use crate::number::{Expected, bits};
use crate::rate::{Rate, Spread};
use crate::rows::{HISTOGRAM_BUCKETS, Histogram};

/// Columns of one histogram of each row.
#[derive(Debug, Default)]
pub(crate) struct HistogramColumns {
    /// Number of values beyond what the row's connections make certain, wrapping.
    extra: Vec<u64>,
    peak: Vec<u64>,
    below: Vec<u64>,
    above: Vec<u64>,
    sum: Vec<u64>,
    /// Number of values, wrapping.
    totals: Vec<u64>,
    counts: Vec<[u64; HISTOGRAM_BUCKETS]>,
}

/// Names of the columns of one histogram.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) extra: &'static str,
    pub(crate) peak: &'static str,
    pub(crate) below: &'static str,
    pub(crate) above: &'static str,
    pub(crate) sum: &'static str,
    pub(crate) counts: &'static str,
}

fn total(buckets: &[u64; HISTOGRAM_BUCKETS]) -> u64 {
    buckets
        .iter()
        .fold(0, |sum, count| sum.wrapping_add(*count))
}

/// First, fullest and last bucket in use.
fn shape(buckets: &[u64; HISTOGRAM_BUCKETS]) -> Option<(usize, usize, usize)> {
    let first = buckets.iter().position(|count| *count > 0)?;
    let last = buckets.iter().rposition(|count| *count > 0)?;
    let peak = (first..=last).rev().max_by_key(|bucket| buckets[*bucket])?;
    Some((first, peak, last))
}

/// What the totals of a column of histograms are expected from.
#[derive(Debug)]
pub(crate) struct Totals<'a> {
    /// Connections that make one value each, per row.
    pub(crate) certain: &'a [u64],
    /// Group of rows whose connections make further values at a similar rate.
    pub(crate) group: &'a [usize],
}

impl HistogramColumns {
    pub(crate) fn of<'a>(
        histograms: impl Iterator<Item = &'a Histogram>,
        certain: &[u64],
        like: Option<&Self>,
    ) -> Self {
        let mut columns = Self::default();
        for (row, histogram) in histograms.enumerate() {
            // An empty one takes the place where the next column expects it.
            let near = like.map_or_else(|| previous(row, &columns.peak), |like| like.peak[row]);
            let near = usize::try_from(near).expect("a bucket");
            let (first, peak, last) = shape(&histogram.buckets).unwrap_or((near, near, near));
            columns
                .extra
                .push(total(&histogram.buckets).wrapping_sub(certain[row]));
            columns.peak.push(peak as u64);
            columns.below.push((peak - first) as u64);
            columns.above.push((last - peak) as u64);
            columns.sum.push(histogram.sum_us);
            columns.counts.push(histogram.buckets);
        }
        columns
    }

    /// Totals and places; `like` is a histogram of the same path.
    pub(crate) fn code_places(
        &mut self,
        codec: &mut impl Codec,
        names: &Names,
        totals: &Totals<'_>,
        like: Option<&Self>,
    ) -> Result<(), DecodeError> {
        if like.is_some() {
            let extra = column(names.extra, "near 0; added to the connections of a client");
            codec.numbers(extra, &mut self.extra, &mut |_, _| Expected::near(0))?;
        } else {
            let extra = column(names.extra, "about a share of opened; added to it");
            let mut rate = Rate::new(totals.certain, totals.group);
            codec.numbers(extra, &mut self.extra, &mut |row, before| {
                rate.about(Spread::Share(1), row, before)
            })?;
        }
        codec.numbers(
            column(names.peak, "near the path's"),
            &mut self.peak,
            &mut |row, before| {
                Expected::near(like.map_or_else(|| previous(row, before), |like| like.peak[row]))
            },
        )?;
        let below = column(names.below, "buckets in use below the peak");
        codec.numbers(below, &mut self.below, &mut |_, _| Expected::ANY)?;
        let above = column(names.above, "buckets in use above the peak");
        codec.numbers(above, &mut self.above, &mut |_, _| Expected::ANY)?;
        let certain = totals.certain.iter().zip(&self.extra);
        self.totals = certain
            .map(|(certain, extra)| certain.wrapping_add(*extra))
            .collect();
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

    /// The table of counts beside the peaks. `like` was coded before.
    pub(crate) fn code_counts(
        &mut self,
        codec: &mut impl Codec,
        names: &Names,
        like: Option<&Self>,
    ) -> Result<(), DecodeError> {
        let sides = self.sides();
        self.counts.resize(self.peak.len(), [0; HISTOGRAM_BUCKETS]);
        let mut counts: Vec<_> = sides
            .iter()
            .map(|side| self.counts[side.row][side.bucket])
            .collect();
        let mut rows = counts.len();
        codec.table(names.counts, &mut rows)?;
        if rows != sides.len() {
            let what = format!("{rows} rows of {}, not {}", names.counts, sides.len());
            return Err(DecodeError::Malformed(what));
        }
        if rows > 0 {
            let note = "in bits: like the path's other histogram, else falling from the peak";
            let totals = &self.totals;
            codec.numbers(column("count", note), &mut counts, &mut |index, before| {
                let side = &sides[index];
                Expected::Bits(match like {
                    Some(like) => like.scaled(side, totals[side.row]),
                    None if side.step == 1 => side.falling(totals[side.row]),
                    None => side.falling(before[index - 1]),
                })
            })?;
        }
        self.fill(&sides, &counts);
        Ok(())
    }

    /// Bits of a bucket's count in another histogram with that total.
    fn scaled(&self, side: &Side, total: u64) -> u32 {
        let count = u128::from(self.counts[side.row][side.bucket]) * u128::from(total);
        let count = count
            .checked_div(u128::from(self.totals[side.row]))
            .unwrap_or(0);
        bits(u64::try_from(count).unwrap_or(u64::MAX)).max(1)
    }

    fn fill(&mut self, sides: &[Side], counts: &[u64]) {
        for (side, count) in sides.iter().zip(counts) {
            self.counts[side.row][side.bucket] = *count;
        }
        for (row, peak) in self.peak.iter().enumerate() {
            let buckets = &mut self.counts[row];
            let peak = index(*peak);
            buckets[peak] = 0;
            buckets[peak] = self.totals[row].wrapping_sub(total(buckets));
        }
    }

    /// Buckets in use beside the peaks, outwards from them.
    fn sides(&self) -> Vec<Side> {
        let mut list = Vec::new();
        for row in 0..self.peak.len() {
            let peak = index(self.peak[row]);
            let (below, above) = (index(self.below[row]), index(self.above[row]));
            let down = (1..=below).map(|step| Side {
                row,
                bucket: peak - step,
                step,
                steps: below,
            });
            list.extend(down);
            let up = (1..=above).map(|step| Side {
                row,
                bucket: peak + step,
                step,
                steps: above,
            });
            list.extend(up);
        }
        list
    }

    /// The sums, after the counts.
    pub(crate) fn code_sums(
        &mut self,
        codec: &mut impl Codec,
        names: &Names,
    ) -> Result<(), DecodeError> {
        let counts = &self.counts;
        let sum = column(names.sum, "about the sum that the counts suggest");
        codec.numbers(sum, &mut self.sum, &mut |row, _| expected_sum(&counts[row]))
    }

    /// One histogram, after all columns are coded.
    pub(crate) fn row(&self, row: usize) -> Histogram {
        Histogram {
            buckets: self.counts[row],
            sum_us: self.sum[row],
        }
    }
}

/// A bucket beside the peak of a row: the `step`th of `steps` on its side.
#[derive(Debug)]
struct Side {
    row: usize,
    bucket: usize,
    step: usize,
    steps: usize,
}

impl Side {
    /// Counts fall like a parabola in bits from the mode to the last bucket in use.
    fn falling(&self, inner: u64) -> u32 {
        let end = u32::try_from(self.steps + 1).expect("a bucket");
        let step = u32::try_from(self.step).expect("a bucket");
        let left = |step: u32| end * end - step * step;
        ((bits(inner) + 1) * left(step) / left(step - 1)).clamp(1, u64::BITS)
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
    let noise = deviation
        .max(bits(base).saturating_sub(6))
        .saturating_sub(2)
        .min(u64::BITS - 1);
    Expected::About { base, noise }
}

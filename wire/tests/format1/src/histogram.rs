//! Histograms of rows: where the fullest bucket is, how many buckets below and above it are in use,
//! and the counts of these.

use wire::{HISTOGRAM_BUCKETS, Histogram};

/// One histogram.
#[derive(Debug)]
pub(crate) struct Shape<'a> {
    pub(crate) histogram: &'a Histogram,
    /// Number of values beyond what the row's connections make certain, wrapping.
    pub(crate) extra: u64,
    /// The fullest bucket.
    pub(crate) peak: usize,
    pub(crate) below: usize,
    pub(crate) above: usize,
}

/// The shapes of all rows; `certain` is how many values a row has for certain.
pub(crate) fn shapes<'a>(
    histograms: impl Iterator<Item = &'a Histogram>,
    certain: impl Fn(usize) -> u64,
    like: Option<&[Shape<'_>]>,
) -> Vec<Shape<'a>> {
    let mut shapes: Vec<Shape<'_>> = Vec::new();
    for (row, histogram) in histograms.enumerate() {
        // An empty one takes the place where the next column expects it.
        let before = shapes.last().map_or(0, |before| before.peak);
        let near = like.map_or(before, |like| like[row].peak);
        let (first, peak, last) = span(&histogram.buckets).unwrap_or((near, near, near));
        let total = histogram
            .buckets
            .iter()
            .fold(0u64, |a, b| a.wrapping_add(*b));
        shapes.push(Shape {
            histogram,
            extra: total.wrapping_sub(certain(row)),
            peak,
            below: peak - first,
            above: last - peak,
        });
    }
    shapes
}

/// First, fullest and last bucket in use.
fn span(buckets: &[u64; HISTOGRAM_BUCKETS]) -> Option<(usize, usize, usize)> {
    let first = buckets.iter().position(|count| *count > 0)?;
    let last = buckets.iter().rposition(|count| *count > 0)?;
    let peak = (first..=last).rev().max_by_key(|bucket| buckets[*bucket])?;
    Some((first, peak, last))
}

/// A bucket beside the peak: the `step`th of `steps` on its side, and its count.
type Side = (usize, usize, u64);

/// What is written for the counts beside the peaks, and from where on they are of another kind.
pub(crate) fn counts(all: &[&[Shape<'_>]]) -> (Vec<u64>, Vec<usize>) {
    let (mut counts, mut turns) = (Vec::new(), Vec::new());
    for shapes in all {
        let mut sides: Vec<Side> = shapes.iter().flat_map(sides).collect();
        // Buckets of one kind have similar counts.
        sides.sort_by_key(|(step, steps, _)| (*step, step == steps));
        turns.push(counts.len());
        // Those of many steps are too few to tell apart.
        let kind = |(step, steps, _): &Side| ((*step).min(3), *step < 3 && step == steps);
        let changes = sides.windows(2).enumerate();
        let changes = changes.filter(|(_, pair)| kind(&pair[0]) != kind(&pair[1]));
        turns.extend(changes.map(|(index, _)| counts.len() + index + 1));
        // The last bucket in use has at least one value.
        let written = |(step, steps, count): &Side| count.wrapping_sub(u64::from(step == steps));
        counts.extend(sides.iter().map(written));
    }
    (counts, turns)
}

fn sides<'a>(shape: &'a Shape<'_>) -> impl Iterator<Item = Side> + 'a {
    let buckets = &shape.histogram.buckets;
    let below = (1..=shape.below).map(|step| (step, shape.below, buckets[shape.peak - step]));
    let above = (1..=shape.above).map(|step| (step, shape.above, buckets[shape.peak + step]));
    below.chain(above)
}

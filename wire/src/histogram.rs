//! Histograms of a family: sums beside the rows, non-empty buckets in a table of their own.

use crate::DecodeError;
use crate::rows::{HISTOGRAM_BUCKETS, Histogram};
use crate::table::{Number, TableReader, TableWriter, narrow};
use crate::tables::{Opened, Tables};

struct Columns {
    table: &'static str,
    filled: Number,
    sum: Number,
}

const BUCKET: Number = Number::plain("bucket", 1);
const COUNT: Number = Number::plain("count", 4);

fn columns(name: &str) -> Columns {
    if name == "rtt" {
        Columns {
            table: "edge_rtt",
            filled: Number::plain("rtt_buckets", 1),
            sum: Number::plain("rtt_sum_us", 6),
        }
    } else {
        Columns {
            table: "edge_connect_latency",
            filled: Number::plain("connect_latency_buckets", 1),
            sum: Number::plain("connect_latency_sum_us", 6),
        }
    }
}

fn filled(histogram: &Histogram) -> impl Iterator<Item = (usize, u64)> + '_ {
    histogram
        .buckets
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, count)| *count > 0)
}

pub(crate) fn write_heads(name: &str, list: &[&Histogram], table: &mut TableWriter<'_>) {
    let columns = columns(name);
    table.number(
        &columns.filled,
        list.iter()
            .map(|histogram| filled(histogram).count() as u64),
    );
    table.number(&columns.sum, list.iter().map(|histogram| histogram.sum_us));
}

pub(crate) fn write_buckets(name: &str, list: &[&Histogram], tables: &mut Tables) {
    let buckets: Vec<_> = list
        .iter()
        .flat_map(|histogram| filled(histogram))
        .collect();
    tables.add(columns(name).table, buckets.len(), |table, _| {
        table.number(&BUCKET, buckets.iter().map(|(bucket, _)| *bucket as u64));
        table.number(&COUNT, buckets.iter().map(|(_, count)| *count));
    });
}

/// Decoded histograms, one after the other.
pub(crate) struct Histograms {
    heads: std::iter::Zip<std::vec::IntoIter<u64>, std::vec::IntoIter<u64>>,
    buckets: std::iter::Zip<std::vec::IntoIter<u64>, std::vec::IntoIter<u64>>,
}

impl Histograms {
    pub(crate) fn read(
        name: &str,
        table: &TableReader<'_>,
        opened: &Opened<'_>,
    ) -> Result<Self, DecodeError> {
        let columns = columns(name);
        let (buckets, counts) = match opened.table(columns.table) {
            Some(table) => (table.number(&BUCKET)?, table.number(&COUNT)?),
            None => (Vec::new(), Vec::new()),
        };
        let (filled, sums) = (table.number(&columns.filled)?, table.number(&columns.sum)?);
        Ok(Self {
            heads: filled.into_iter().zip(sums),
            buckets: buckets.into_iter().zip(counts),
        })
    }

    pub(crate) fn next(&mut self) -> Result<Histogram, DecodeError> {
        let missing = || DecodeError::Malformed(String::from("histogram without its buckets"));
        let (filled, sum_us) = self.heads.next().ok_or_else(missing)?;
        let mut histogram = Histogram {
            sum_us,
            ..Histogram::default()
        };
        for _ in 0..filled.min(HISTOGRAM_BUCKETS as u64) {
            let (bucket, count) = self.buckets.next().ok_or_else(missing)?;
            let slot = histogram
                .buckets
                .get_mut(narrow::<usize>(bucket, "bucket")?);
            *slot.ok_or_else(missing)? = count;
        }
        Ok(histogram)
    }
}

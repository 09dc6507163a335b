//! Columns become Arrow columns that standard readers read and zstd shortens.

use std::borrow::Cow;

use super::layout::{FIRST, LAST_PART, LAST_PART_OF_TIME, LENGTH, SUM, is_before_end, unit_end};
use crate::batch::BatchHeader;
use crate::schema::Column;
use crate::stream::Kind;
use crate::stream::{ArrowColumn, ArrowTable, Values as Arrow};
use crate::table::{DynamicTable, Values};
use crate::value::Histogram;

/// One table and those of its lists, which have rows.
pub(crate) fn arrange(
    table: &DynamicTable,
    description: &str,
    header: &BatchHeader,
) -> Vec<ArrowTable> {
    let mut main = Parts::default();
    let mut lists = Vec::new();
    for (column, values) in table.table.columns.iter().zip(&table.columns) {
        let mut list = Parts::default();
        push(column, values, header, &mut main, &mut list);
        let rows = list.rows;
        if rows > 0 {
            let name = format!("{}.{}", table.table.name, column.name);
            lists.push(list.finish(Cow::Owned(name)));
        }
    }
    main.rows = table.rows;
    let mut all = vec![main.finish(Cow::Owned(description.to_owned()))];
    all.append(&mut lists);
    all
}

fn push(
    column: &Column,
    values: &Values,
    header: &BatchHeader,
    main: &mut Parts,
    list: &mut Parts,
) {
    let name = column.name.as_str();
    match values {
        Values::Numbers(numbers) if is_before_end(column) => {
            let end = unit_end(column, header);
            let before: Vec<_> = numbers.iter().map(|time| end.wrapping_sub(*time)).collect();
            let name = format!("{name}.before_end");
            main.parts(name, (u64::BITS, LAST_PART_OF_TIME), &before);
        }
        Values::Numbers(numbers) => {
            let bits = column.values.bits().unwrap_or(u64::BITS);
            main.number(name.to_owned(), bits, numbers);
        }
        Values::Texts(texts) => main.text(name.to_owned(), texts.iter().map(String::as_str)),
        Values::Addresses(addresses) => {
            let half = |at: usize| {
                addresses
                    .iter()
                    .map(move |addr| half(*addr, at))
                    .collect::<Vec<_>>()
            };
            // Always in parts: those of a network have most in common, and whether a host has more
            // of IPv6 must not change the schema, which the dictionary knows.
            main.parts(format!("{name}.high"), (u64::BITS, LAST_PART), &half(0));
            main.parts(format!("{name}.low"), (u64::BITS, LAST_PART), &half(8));
        }
        Values::Histograms(histograms) => push_histograms(name, histograms, main, list),
        Values::Labels(labels) => {
            main.length(name, labels.iter().map(Vec::len));
            let pairs = || labels.iter().flatten();
            list.text(String::from("key"), pairs().map(|(key, _)| key.as_str()));
            list.text(
                String::from("value"),
                pairs().map(|(_, value)| value.as_str()),
            );
        }
        Values::Counts(counts) => {
            main.length(name, counts.iter().map(Vec::len));
            let pairs = || counts.iter().flatten();
            let values: Vec<_> = pairs().map(|(_, value)| *value).collect();
            list.number(String::from("value"), u64::BITS, &values);
            list.text(String::from("name"), pairs().map(|(name, _)| name.as_str()));
        }
    }
}

/// The counts from the first bucket that is not empty to the last one: which buckets those are
/// depends on the path, and changes less from row to row than the numbers of all.
fn push_histograms(name: &str, histograms: &[Histogram], main: &mut Parts, list: &mut Parts) {
    let used = |histogram: &Histogram| {
        let is_used = |count: &u64| *count > 0;
        let first = histogram.buckets.iter().position(is_used).unwrap_or(0);
        let last = histogram.buckets.iter().rposition(is_used);
        first..last.map_or(first, |last| last + 1)
    };
    let used: Vec<_> = histograms.iter().map(used).collect();
    let lengths: Vec<_> = used.iter().map(|used| used.len() as u64).collect();
    main.number(format!("{name}{LENGTH}"), u8::BITS, &lengths);
    let firsts: Vec<_> = used.iter().map(|used| used.start as u64).collect();
    main.number(format!("{name}{FIRST}"), u8::BITS, &firsts);
    let sums: Vec<_> = histograms
        .iter()
        .map(|histogram| histogram.sum_us)
        .collect();
    main.number(format!("{name}{SUM}"), u64::BITS, &sums);
    let counts = histograms.iter().zip(used);
    let counts = counts.flat_map(|(histogram, used)| &histogram.buckets[used]);
    let counts: Vec<_> = counts.copied().collect();
    list.number(String::from("count"), u64::BITS, &counts);
}

/// The bytes of an address from `at` on, as a number.
fn half(address: [u8; 16], at: usize) -> u64 {
    let whole = u128::from_be_bytes(address);
    let [low, high] = [whole, whole >> 64].map(|part| u64::try_from(part & u128::from(u64::MAX)));
    let half = if at == 0 { high } else { low };
    half.expect("64 bits")
}

/// Columns of a table; parts with the same shift lie side by side, because the high ones are mostly
/// zero.
#[derive(Debug, Default)]
struct Parts {
    rows: usize,
    columns: Vec<(u32, ArrowColumn)>,
}

impl Parts {
    fn number(&mut self, name: String, bits: u32, numbers: &[u64]) {
        if bits == u64::BITS && is_random(numbers) {
            self.rows = numbers.len();
            self.push(0, name, whole(bits, numbers));
            let column = self.columns.last_mut().map(|(_, column)| column);
            column.expect("just pushed").turns = vec![(0, Kind::Noise)];
            return;
        }
        self.parts(name, (bits, LAST_PART), numbers);
    }

    /// Bytes of so many bits, and the rest from the last part on.
    fn parts(&mut self, name: String, (bits, last): (u32, u32), numbers: &[u64]) {
        self.rows = numbers.len();
        if self.rows < MIN_PARTED {
            return self.push(0, name, whole(bits, numbers));
        }
        let mut shift = 0;
        while shift < bits {
            let part = if shift == 0 {
                name.clone()
            } else {
                format!("{name}<<{shift}")
            };
            let shifted = numbers.iter().map(|number| number >> shift);
            if shift == last {
                self.push(shift, part, Arrow::Longs(shifted.collect()));
                break;
            }
            if bits - shift == u16::BITS && bits == u32::BITS {
                let rest: Vec<_> = shifted.collect();
                self.push(shift, part, whole(u16::BITS, &rest));
                break;
            }
            let bytes = shifted.map(|number| number.to_le_bytes()[0]);
            self.push(shift, part, Arrow::Bytes(bytes.collect()));
            shift += u8::BITS;
        }
    }

    fn length(&mut self, name: &str, lengths: impl Iterator<Item = usize>) {
        let lengths: Vec<_> = lengths.map(|length| length as u64).collect();
        self.number(format!("{name}{LENGTH}"), u32::BITS, &lengths);
    }

    fn text<'a>(&mut self, name: String, texts: impl Iterator<Item = &'a str>) {
        let mut rows = 0;
        let values = Arrow::texts(texts.inspect(|_| rows += 1));
        self.rows = rows;
        self.push(u32::MAX, name, values);
    }

    fn push(&mut self, shift: u32, name: String, values: Arrow) {
        let column = ArrowColumn {
            name: Cow::Owned(name),
            note: None,
            turns: Vec::new(),
            values,
        };
        self.columns.push((shift, column));
    }

    fn finish(mut self, name: Cow<'static, str>) -> ArrowTable {
        self.columns.sort_by_key(|(shift, _)| *shift);
        let columns: Vec<_> = self.columns.into_iter().map(|(_, column)| column).collect();
        ArrowTable {
            name,
            rows: self.rows,
            columns,
            shares_zeros: true,
        }
    }
}

/// Fewer numbers are not worth the description of several columns.
const MIN_PARTED: usize = 48;

/// Whether most numbers need all of their bytes, which then have nothing in common with each other.
fn is_random(numbers: &[u64]) -> bool {
    let long = numbers
        .iter()
        .filter(|number| number.leading_zeros() < u8::BITS);
    long.count() * 2 > numbers.len()
}

/// Numbers of so many bits in one column.
fn whole(bits: u32, numbers: &[u64]) -> Arrow {
    let low = |number: &u64| number.to_le_bytes();
    match bits {
        0..=8 => Arrow::Bytes(numbers.iter().map(|number| low(number)[0]).collect()),
        9..=16 => Arrow::Shorts(
            numbers
                .iter()
                .map(|n| u16::from_le_bytes([low(n)[0], low(n)[1]]))
                .collect(),
        ),
        17..=32 => Arrow::Words(
            numbers
                .iter()
                .map(|n| u32::from_le_bytes([low(n)[0], low(n)[1], low(n)[2], low(n)[3]]))
                .collect(),
        ),
        _ => Arrow::Longs(numbers.to_vec()),
    }
}

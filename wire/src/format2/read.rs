//! Arrow columns become columns again.

use std::borrow::Cow;
use std::collections::HashMap;

use super::layout::{FIRST, LENGTH, MAX_STREAMS, SUM, descriptions, is_before_end, unit_end};
use crate::batch::{BatchHeader, tables};
use crate::bounds::{self, Limits, ROWS_PER_ROW};
use crate::error::DecodeError;
use crate::schema::{Column, Table, Type};
use crate::stream::ReadTable;
use crate::table::{DynamicTable, Values};
use crate::value::Histogram;

/// Most bytes of a description.
const MAX_DESCRIPTION: usize = 64 << 10;

/// All tables of a batch as they lie in the decompressed bytes.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    /// With their descriptions and the version of each, in the order in which they came.
    mains: Vec<(Cow<'static, Table>, u16, ReadTable<'a>)>,
    /// Those of lists, as `TABLE.COLUMN`.
    lists: HashMap<&'a str, ReadTable<'a>>,
}

impl<'a> Reader<'a> {
    /// Finds the tables of concatenated streams.
    pub(crate) fn open(mut raw: &'a [u8], limits: &Limits) -> Result<Self, DecodeError> {
        let mut reader = Self {
            mains: Vec::new(),
            lists: HashMap::new(),
        };
        while !raw.is_empty() {
            let read = ReadTable::read(&mut raw)?;
            if reader.mains.len() + reader.lists.len() >= MAX_STREAMS {
                return Err(malformed("too many tables"));
            }
            if read.rows > limits.max_rows.saturating_mul(ROWS_PER_ROW) {
                return Err(malformed("a list is longer than rows could need"));
            }
            if read.name.starts_with('{') {
                let (table, version) = describe(read.name)?;
                if reader
                    .mains
                    .iter()
                    .any(|(other, _, _)| other.name == table.name)
                {
                    return Err(malformed(format!("table {} comes twice", table.name)));
                }
                reader.mains.push((table, version, read));
            } else if let Some(twice) = reader.lists.insert(read.name, read) {
                return Err(malformed(format!("list {} comes twice", twice.name)));
            }
        }
        Ok(reader)
    }

    /// Bytes that the columns of all tables take once they are unpacked.
    pub(crate) fn bytes(&self) -> usize {
        let mains = self.mains.iter().map(|(table, _, read)| {
            let cells = read.rows.saturating_mul(row_bytes(table));
            cells.saturating_add(read.text_bytes())
        });
        let lists = self.lists.values().map(ReadTable::unpacked_bytes);
        mains.chain(lists).fold(0, usize::saturating_add)
    }

    /// Bytes of all texts of a table and its lists.
    pub(crate) fn text_bytes(&self, name: &str) -> usize {
        let mains = self.mains.iter().filter(|(table, _, _)| table.name == name);
        let lists = self
            .lists
            .iter()
            .filter(|(list, _)| list.split_once('.').is_some_and(|(table, _)| table == name));
        let lists = lists.map(|(_, read)| read.text_bytes());
        mains
            .map(|(_, _, read)| read.text_bytes())
            .chain(lists)
            .sum()
    }

    /// Takes the tables one by one, in the order in which they came.
    pub(crate) fn tables(
        self,
        header: &BatchHeader,
    ) -> impl Iterator<Item = Result<DynamicTable, DecodeError>> {
        let Self { mains, lists } = self;
        let header = header.clone();
        mains.into_iter().map(move |(table, version, read)| {
            let reading = Reading {
                table: &table,
                version,
                read: &read,
                lists: &lists,
                header: &header,
            };
            let columns = table.columns.iter().map(|column| reading.column(column));
            let columns = columns.collect::<Result<Vec<_>, _>>()?;
            let rows = read.rows;
            Ok(DynamicTable {
                table,
                rows,
                columns,
            })
        })
    }
}

/// Bytes of memory of a row of columns.
pub(crate) fn row_bytes(table: &Table) -> usize {
    let cell = |column: &Column| match column.values {
        Type::Text => 2 * size_of::<String>(),
        Type::Address => size_of::<[u8; 16]>(),
        Type::Histogram => size_of::<Histogram>(),
        Type::Labels | Type::Counts => size_of::<Vec<(String, String)>>(),
        Type::Bool
        | Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::Enum(_)
        | Type::Columns => size_of::<u64>(),
    };
    table.columns.iter().map(cell).sum()
}

/// The reader's own description where it has one, else the one that came; and the version that the
/// sender has of it.
fn describe(text: &str) -> Result<(Cow<'static, Table>, u16), DecodeError> {
    let own = descriptions().iter().zip(tables());
    for (description, table) in own {
        if description == text {
            return Ok((Cow::Borrowed(table), table.version));
        }
    }
    if text.len() > MAX_DESCRIPTION {
        return Err(malformed("description of a table is too long"));
    }
    let table: Table = serde_json::from_str(text)
        .map_err(|error| malformed(format!("description of a table: {error}")))?;
    table.check().map_err(malformed)?;
    let version = table.version;
    if let Some(own) = tables().into_iter().find(|own| own.name == table.name) {
        return Ok((Cow::Borrowed(own), version));
    }
    if row_bytes(&table) > bounds::MAX_OTHER_ROW {
        return Err(malformed(format!("rows of {} are too long", table.name)));
    }
    Ok((Cow::Owned(table), version))
}

/// One table.
struct Reading<'r, 'a> {
    table: &'r Table,
    version: u16,
    read: &'r ReadTable<'a>,
    lists: &'r HashMap<&'a str, ReadTable<'a>>,
    header: &'r BatchHeader,
}

impl<'a> Reading<'_, 'a> {
    fn column(&self, column: &Column) -> Result<Values, DecodeError> {
        let found = match &column.values {
            Type::Text => self.read.has(&column.name).then(|| self.text(column)),
            Type::Address => self.addresses(&column.name)?.map(Ok),
            Type::Histogram => self.histograms(column).transpose(),
            Type::Labels => self.labels(column).transpose(),
            Type::Counts => self.counts(column).transpose(),
            Type::Bool
            | Type::U8
            | Type::U16
            | Type::U32
            | Type::U64
            | Type::Enum(_)
            | Type::Columns => self.numbers(column).transpose(),
        };
        match found {
            Some(values) => values,
            None if column.since > self.version => {
                Ok(Values::nothing(&column.values, self.read.rows))
            }
            None => Err(malformed(format!(
                "{} lacks {}",
                self.table.name, column.name
            ))),
        }
    }

    fn numbers(&self, column: &Column) -> Result<Option<Values>, DecodeError> {
        if is_before_end(column) {
            let end = unit_end(column, self.header);
            let before = numbers(self.read, &format!("{}.before_end", column.name), u64::MAX)?;
            let times = |before: Vec<u64>| before.iter().map(|n| end.wrapping_sub(*n)).collect();
            return Ok(before.map(times).map(Values::Numbers));
        }
        let found = numbers(self.read, &column.name, column.values.max())?;
        Ok(found.map(Values::Numbers))
    }

    fn text(&self, column: &Column) -> Result<Values, DecodeError> {
        self.read.texts(&column.name).map(Values::Texts)
    }

    fn addresses(&self, name: &str) -> Result<Option<Values>, DecodeError> {
        let high = numbers(self.read, &format!("{name}.high"), u64::MAX)?;
        let low = numbers(self.read, &format!("{name}.low"), u64::MAX)?;
        let (Some(high), Some(low)) = (high, low) else {
            return Ok(None);
        };
        let halves = high.into_iter().zip(low);
        let whole = halves.map(|(high, low)| u128::from(high) << 64 | u128::from(low));
        Ok(Some(Values::Addresses(
            whole.map(u128::to_be_bytes).collect(),
        )))
    }

    /// The lengths of a column's lists and the table that they lie in, `None` where all are empty.
    #[expect(clippy::type_complexity, reason = "a pair of what belongs together")]
    fn list(
        &self,
        column: &Column,
    ) -> Result<Option<(Vec<usize>, Option<&ReadTable<'a>>)>, DecodeError> {
        let lengths = numbers(
            self.read,
            &format!("{}{LENGTH}", column.name),
            u64::from(u32::MAX),
        )?;
        let Some(lengths) = lengths else {
            return Ok(None);
        };
        let name = format!("{}.{}", self.table.name, column.name);
        let list = self.lists.get(name.as_str());
        let sum = lengths
            .iter()
            .try_fold(0u64, |sum, length| sum.checked_add(*length));
        let rows = list.map_or(0, |list| list.rows as u64);
        if sum != Some(rows) {
            return Err(malformed(format!(
                "{name} has another length than its rows say"
            )));
        }
        let lengths = lengths
            .into_iter()
            .map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        Ok(Some((lengths.collect(), list)))
    }

    fn histograms(&self, column: &Column) -> Result<Option<Values>, DecodeError> {
        let of_row = |part, max| numbers(self.read, &format!("{}{part}", column.name), max);
        let (firsts, sums) = (of_row(FIRST, u8::MAX.into())?, of_row(SUM, u64::MAX)?);
        let (Some((lengths, list)), Some(firsts), Some(sums)) = (self.list(column)?, firsts, sums)
        else {
            return Ok(None);
        };
        let counts = match list {
            Some(list) => numbers(list, "count", u64::MAX)?.ok_or_else(|| lacks(list, "count"))?,
            None => Vec::new(),
        };
        let mut rest = counts.as_slice();
        let histogram = |((length, first), sum_us): ((usize, u64), u64)| {
            let mut histogram = Histogram {
                sum_us,
                ..Histogram::default()
            };
            let from = usize::try_from(first).expect("a byte");
            let buckets = histogram.buckets.get_mut(from..from.saturating_add(length));
            let (Some(buckets), Some((counts, after))) = (buckets, rest.split_at_checked(length))
            else {
                return Err(malformed("more buckets than a histogram has"));
            };
            buckets.copy_from_slice(counts);
            rest = after;
            Ok(histogram)
        };
        let histograms = lengths.into_iter().zip(firsts).zip(sums).map(histogram);
        histograms
            .collect::<Result<_, _>>()
            .map(Values::Histograms)
            .map(Some)
    }

    fn labels(&self, column: &Column) -> Result<Option<Values>, DecodeError> {
        let Some((lengths, list)) = self.list(column)? else {
            return Ok(None);
        };
        let Some(list) = list else {
            return Ok(Some(Values::Labels(vec![Vec::new(); lengths.len()])));
        };
        let pairs = list.texts("key")?.into_iter().zip(list.texts("value")?);
        Ok(Some(Values::Labels(cut(&lengths, pairs))))
    }

    fn counts(&self, column: &Column) -> Result<Option<Values>, DecodeError> {
        let Some((lengths, list)) = self.list(column)? else {
            return Ok(None);
        };
        let Some(list) = list else {
            return Ok(Some(Values::Counts(vec![Vec::new(); lengths.len()])));
        };
        let values = numbers(list, "value", u64::MAX)?.ok_or_else(|| lacks(list, "value"))?;
        let pairs = list.texts("name")?.into_iter().zip(values);
        Ok(Some(Values::Counts(cut(&lengths, pairs))))
    }
}

/// Cuts what lies one after the other into lists.
fn cut<T>(lengths: &[usize], mut items: impl Iterator<Item = T>) -> Vec<Vec<T>> {
    let list = |length: &usize| items.by_ref().take(*length).collect();
    lengths.iter().map(list).collect()
}

/// The sum of a column's parts, each shifted by what its name says.
fn numbers(read: &ReadTable<'_>, name: &str, max: u64) -> Result<Option<Vec<u64>>, DecodeError> {
    let out_of_range = || malformed(format!("a number of {name} is out of range"));
    let Some(first) = read.numbers(name) else {
        return Ok(None);
    };
    let mut values: Vec<u64> = first.collect();
    let bits = u64::BITS - max.leading_zeros();
    for shift in (u8::BITS..bits).step_by(8) {
        let Some(part) = read.numbers(&format!("{name}<<{shift}")) else {
            continue;
        };
        for (value, part) in values.iter_mut().zip(part) {
            let shifted = Some(part << shift).filter(|shifted| shifted >> shift == part);
            let sum = shifted.and_then(|shifted| value.checked_add(shifted));
            *value = sum.ok_or_else(out_of_range)?;
        }
    }
    if values.iter().any(|value| *value > max) {
        return Err(out_of_range());
    }
    Ok(Some(values))
}

fn lacks(read: &ReadTable<'_>, column: &str) -> DecodeError {
    malformed(format!("{} lacks {column}", read.name))
}

fn malformed(what: impl Into<String>) -> DecodeError {
    DecodeError::Malformed(what.into())
}

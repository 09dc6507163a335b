//! The columns of a table, by its description.

use std::collections::HashMap;
use std::net::Ipv6Addr;
use std::sync::Arc;

use arrow_array::types::UInt64Type;
use arrow_array::{
    ArrayRef, BooleanArray, ListArray, StringArray, TimestampMicrosecondArray,
    TimestampMillisecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array,
};
use arrow_schema::{DataType, Field, TimeUnit};
use serde::Serialize;
use wire::schema::{Column, Kind, Table, Type};
use wire::{BatchHeader, DynamicTable, HISTOGRAM_BUCKETS, Histogram, Values};

use crate::digest::hex;

/// All instants are Unix time.
const ZONE: &str = "UTC";

/// The fields of a table's rows: first those of their batch, then its columns, each with its kind,
/// unit and help in the metadata.
pub(super) fn fields(table: &Table) -> Vec<Field> {
    let mut fields = of_batch(&BatchHeader::default(), 0, |name, values| {
        Field::new(name, values.data_type().clone(), true)
    });
    let before = fields.len();
    for column in &table.columns {
        for (name, kind) in parts(column) {
            let is_taken = fields[..before].iter().any(|field| *field.name() == name);
            let name = if is_taken {
                format!("{}.{name}", table.name)
            } else {
                name
            };
            let kind_of = format!("{:?}", column.kind).to_lowercase();
            let about = [
                ("kind", &kind_of),
                ("unit", &column.unit),
                ("help", &column.help),
            ];
            let about = about.map(|(key, value)| (key.to_owned(), value.clone()));
            fields.push(Field::new(name, kind, true).with_metadata(HashMap::from(about)));
        }
    }
    fields
}

/// The rows of a table as one array for each of its [`fields`].
pub(super) fn arrays(header: &BatchHeader, table: &DynamicTable) -> Vec<ArrayRef> {
    let mut arrays = of_batch(header, table.rows, |_, values| values);
    let mut columns = table.table.columns.iter().zip(&table.columns);
    let absent = columns.find_map(|(column, values)| match (&column.values, values) {
        (Type::Columns, Values::Numbers(bits)) => Some(&bits[..]),
        _ => None,
    });
    for (column, values) in table.table.columns.iter().zip(&table.columns) {
        let is_there = |row: usize| {
            let bits = absent.map_or(0, |absent| absent[row]);
            let is_absent = |bit: u8| bits.checked_shr(bit.into()).unwrap_or(0) & 1 == 1;
            !column.absent.is_some_and(is_absent)
        };
        push(column, values, is_there, &mut arrays);
    }
    arrays
}

/// What every row begins with.
fn of_batch<T>(head: &BatchHeader, rows: usize, make: fn(&str, ArrayRef) -> T) -> Vec<T> {
    let text = |id: &[u8; 16]| -> ArrayRef {
        let ids = std::iter::repeat_n(Some(hex(id)), rows);
        Arc::new(ids.collect::<StringArray>())
    };
    let ms = |at: u64| milliseconds(std::iter::repeat_n(Some(at), rows));
    let sequence: UInt64Array = std::iter::repeat_n(Some(head.sequence), rows).collect();
    vec![
        make("host", text(&head.host)),
        make("boot", text(&head.boot)),
        make("sequence", Arc::new(sequence)),
        make("interval_start", ms(head.start_ms)),
        make("interval_end", ms(head.end_ms)),
    ]
}

fn is_instant(column: &Column, unit: &str) -> bool {
    column.kind == Kind::Time && column.values == Type::U64 && column.unit == unit
}

/// Names and types of what a column becomes: a histogram its sum and its buckets, what could not be
/// measured a null in the column itself, all others one column of their name.
fn parts(column: &Column) -> Vec<(String, DataType)> {
    let one = |kind| vec![(column.name.clone(), kind)];
    match &column.values {
        Type::Columns => Vec::new(),
        Type::Histogram => {
            let item = Arc::new(Field::new_list_field(DataType::UInt64, true));
            vec![
                (format!("{}_sum_us", column.name), DataType::UInt64),
                (format!("{}_buckets", column.name), DataType::List(item)),
            ]
        }
        Type::U64 if is_instant(column, "ms") => one(DataType::Timestamp(
            TimeUnit::Millisecond,
            Some(ZONE.into()),
        )),
        Type::U64 if is_instant(column, "us") => one(DataType::Timestamp(
            TimeUnit::Microsecond,
            Some(ZONE.into()),
        )),
        Type::Bool => one(DataType::Boolean),
        Type::U8 => one(DataType::UInt8),
        Type::U16 => one(DataType::UInt16),
        Type::U32 => one(DataType::UInt32),
        Type::U64 => one(DataType::UInt64),
        Type::Enum(_) | Type::Text | Type::Address | Type::Labels | Type::Counts => {
            one(DataType::Utf8)
        }
    }
}

/// Appends an array for each of a column's [`parts`].
fn push(
    column: &Column,
    values: &Values,
    is_there: impl Fn(usize) -> bool,
    arrays: &mut Vec<ArrayRef>,
) {
    match values {
        Values::Numbers(numbers) => {
            let numbers = numbers.iter().enumerate();
            let numbers = numbers.map(|(row, number)| is_there(row).then_some(*number));
            arrays.extend(self::numbers(column, numbers));
        }
        Values::Histograms(values) => {
            let there = |(row, value)| is_there(row).then_some(value);
            let values: Vec<Option<&Histogram>> = values.iter().enumerate().map(there).collect();
            let sums = values.iter().map(|value| value.map(|value| value.sum_us));
            arrays.push(Arc::new(sums.collect::<UInt64Array>()));
            let buckets = values.iter().map(|value| {
                let buckets: Option<[_; HISTOGRAM_BUCKETS]> =
                    value.map(|value| value.buckets.map(Some));
                buckets
            });
            let lists = ListArray::from_iter_primitive::<UInt64Type, _, _>(buckets);
            arrays.push(Arc::new(lists));
        }
        Values::Texts(texts) => arrays.push(text(texts, is_there, String::clone)),
        Values::Addresses(all) => arrays.push(text(all, is_there, |address| {
            Ipv6Addr::from(*address).to_canonical().to_string()
        })),
        Values::Labels(lists) => arrays.push(text(lists, is_there, json)),
        Values::Counts(lists) => arrays.push(text(lists, is_there, json)),
    }
}

fn text<T>(values: &[T], is_there: impl Fn(usize) -> bool, of: fn(&T) -> String) -> ArrayRef {
    let texts = values.iter().enumerate();
    let texts = texts.map(|(row, value)| is_there(row).then(|| of(value)));
    Arc::new(texts.collect::<StringArray>())
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("lists of text and numbers are JSON")
}

/// A column of numbers; `None` for what has no column of its own.
fn numbers(column: &Column, numbers: impl Iterator<Item = Option<u64>>) -> Option<ArrayRef> {
    // A reader of batches has checked the ranges.
    fn narrow<T: TryFrom<u64>>(number: Option<u64>) -> Option<T> {
        number.and_then(|number| T::try_from(number).ok())
    }
    Some(match &column.values {
        Type::Columns => return None,
        Type::Enum(names) => {
            let name = |number| names.get(narrow::<usize>(number)?);
            Arc::new(numbers.map(name).collect::<StringArray>())
        }
        Type::Bool => {
            let flags = numbers.map(|number| number.map(|number| number == 1));
            Arc::new(flags.collect::<BooleanArray>())
        }
        Type::U8 => Arc::new(numbers.map(narrow).collect::<UInt8Array>()),
        Type::U16 => Arc::new(numbers.map(narrow).collect::<UInt16Array>()),
        Type::U32 => Arc::new(numbers.map(narrow).collect::<UInt32Array>()),
        _ if is_instant(column, "ms") => milliseconds(numbers),
        _ if is_instant(column, "us") => {
            let at = numbers.map(|us| us.map(u64::cast_signed));
            Arc::new(
                at.collect::<TimestampMicrosecondArray>()
                    .with_timezone(ZONE),
            )
        }
        _ => Arc::new(numbers.collect::<UInt64Array>()),
    })
}

fn milliseconds(numbers: impl Iterator<Item = Option<u64>>) -> ArrayRef {
    let at = numbers.map(|ms| ms.map(u64::cast_signed));
    Arc::new(
        at.collect::<TimestampMillisecondArray>()
            .with_timezone(ZONE),
    )
}

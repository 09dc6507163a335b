//! A row as a line of JSON.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use serde_json::{Map, Value as Json, json};
use wire::schema::{Column, Type};
use wire::{BatchHeader, DynamicTable, Values};

use crate::digest::hex;
use crate::rows;

/// Appends the rows of a table, each with what its batch is known by.
pub(super) fn lines(header: &BatchHeader, table: &DynamicTable, out: &mut Vec<u8>) {
    for row in 0..table.rows {
        out.extend(line(header, table, row).into_bytes());
        out.push(b'\n');
    }
}

/// One row with what its batch is known by.
pub(super) fn line(header: &BatchHeader, table: &DynamicTable, row: usize) -> String {
    let line = json!({
        "table": table.table.name,
        "host": hex(&header.host),
        "boot": hex(&header.boot),
        "sequence": header.sequence,
        "start_ms": header.start_ms,
        "end_ms": header.end_ms,
        "row": self::row(table, row),
    });
    line.to_string()
}

/// One row by column; null is what the host cannot measure.
pub(super) fn row(table: &DynamicTable, row: usize) -> Map<String, Json> {
    let columns = || table.table.columns.iter().zip(&table.columns);
    let absent = columns().find_map(|(column, values)| match (&column.values, values) {
        (Type::Columns, Values::Numbers(bits)) => Some(bits[row]),
        _ => None,
    });
    let bits = absent.unwrap_or(0);
    let is_absent = |bit: u8| bits.checked_shr(bit.into()).unwrap_or(0) & 1 == 1;
    let values = columns().filter(|(column, _)| column.values != Type::Columns);
    let values = values.map(|(column, values)| {
        let value = match column.absent.is_some_and(is_absent) {
            true => Json::Null,
            false => value(column, values, row),
        };
        (column.name.clone(), value)
    });
    values.collect()
}

fn value(column: &Column, values: &Values, row: usize) -> Json {
    match values {
        Values::Numbers(numbers) => rows::shown(column, numbers[row].into()),
        Values::Texts(texts) => texts[row].as_str().into(),
        Values::Addresses(all) => Ipv6Addr::from(all[row]).to_canonical().to_string().into(),
        Values::Histograms(all) => rows::histogram(all[row].sum_us, all[row].buckets.to_vec()),
        Values::Labels(all) => json!(all[row]),
        Values::Counts(all) => {
            json!(all[row].iter().cloned().collect::<BTreeMap<String, u64>>())
        }
    }
}

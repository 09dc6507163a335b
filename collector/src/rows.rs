//! What tables hold that are stored by their description, as a document.

mod form;

use std::net::Ipv6Addr;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value, json};
use wire::schema::{Column, Table, Type};

use crate::digest::unhex;

/// Every table that is stored.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Tables {
    /// By name.
    pub tables: Vec<Listed>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Listed {
    /// Its description.
    #[serde(flatten)]
    #[schemars(with = "form::Table")]
    pub table: Table,
    /// The command that shows it, where that is another one than `rows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shown_by: Option<&'static str>,
    /// The end of the interval of its newest rows, Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_ms: Option<i64>,
}

/// Rows of a window.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Answer {
    /// Begin of the window, exclusive; Unix milliseconds.
    pub from_ms: i64,
    /// Its end, inclusive.
    pub to_ms: i64,
    /// Data up to then may be missing, because the store was full.
    pub evicted_before_ms: Option<i64>,
    /// From when it is whole, where something of the window was deleted because of its age or because
    /// the store was full; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole_from_ms: Option<i64>,
    /// One for each description that hosts have of the table.
    pub tables: Vec<Rows>,
}

/// Rows of one table.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Rows {
    /// Its description.
    #[schemars(with = "form::Table")]
    pub table: Table,
    /// Series by host and dimensions, events from the newest one on.
    pub rows: Vec<Row>,
    /// Rows beyond as many as were asked for.
    pub rows_left_out: u64,
}

/// One row.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize)]
pub struct Row {
    /// Id of the host, 32 hexadecimal digits.
    pub host: String,
    /// Its name; empty until it has reported it.
    pub hostname: String,
    /// End of the newest interval that told of it, Unix milliseconds.
    pub end_ms: i64,
    /// Who has the number in `process_id`, where the table has one and it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<Process>,
    /// By column; null where it is not known.
    pub values: Map<String, Value>,
    /// Of gauges of a series, the largest value in the window.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub most: Map<String, Value>,
}

/// A process identity.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Process {
    /// Its service.
    pub service: String,
    /// The kernel's name of the task.
    pub comm: String,
    /// Path of the executable.
    pub exe: String,
}

/// A stored value of a column as people know it: names of enumerations, addresses as text,
/// histograms as `count`, `sum_us` and `buckets`.
#[must_use]
pub fn shown(column: &Column, stored: Value) -> Value {
    match (&column.values, &stored) {
        (Type::Bool, Value::Number(number)) => (number.as_u64() == Some(1)).into(),
        (Type::Enum(names), Value::Number(number)) => {
            let at = number.as_u64().and_then(|n| usize::try_from(n).ok());
            let name = at.and_then(|at| names.get(at));
            name.map_or(stored, |name| name.as_str().into())
        }
        (Type::Address, Value::String(digits)) => match unhex::<16>(digits) {
            Some(octets) => Ipv6Addr::from(octets).to_canonical().to_string().into(),
            None => stored,
        },
        (Type::Histogram, Value::Array(numbers)) => match numbers.split_first() {
            Some((sum, buckets)) => histogram(sum.as_u64().unwrap_or(0), numbers_of(buckets)),
            None => stored,
        },
        _ => stored,
    }
}

/// A histogram: bucket `i` counts values from `2^i` up to `2^(i+1)` microseconds.
#[must_use]
pub fn histogram(sum_us: u64, mut buckets: Vec<u64>) -> Value {
    while buckets.last() == Some(&0) {
        buckets.pop();
    }
    let count = buckets.iter().fold(0, |sum: u64, n| sum.saturating_add(*n));
    json!({ "count": count, "sum_us": sum_us, "buckets": buckets })
}

fn numbers_of(values: &[Value]) -> Vec<u64> {
    values.iter().map(|n| n.as_u64().unwrap_or(0)).collect()
}

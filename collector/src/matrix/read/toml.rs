//! TOML: `[[flow]]` with a key for each column.

use toml::{Table, Value};

use super::table::{Line, Lines, Mistakes};
use crate::escape::shorten;
use crate::matrix::flow::{Fields, column};

pub(super) fn lines(text: &str) -> Result<Lines, Mistakes> {
    let mut table: Table = text.parse().map_err(|error| format!("not TOML: {error}"))?;
    let flows = match table.remove("flow") {
        Some(Value::Array(flows)) => flows,
        _ => return Err(String::from("expected [[flow]] tables").into()),
    };
    if let Some(other) = table.keys().next() {
        let shown = shorten(other, 40);
        return Err(format!("{shown}: expected nothing but [[flow]] tables").into());
    }
    let mut read = Lines::default();
    let mut mistakes = Vec::new();
    for (number, flow) in (1..).zip(flows) {
        let Value::Table(flow) = flow else {
            mistakes.push(format!("flow {number}: expected a table"));
            continue;
        };
        let mut fields = Fields::default();
        for (key, value) in flow {
            let shown = shorten(&key, 40);
            match (column(&key), as_text(value)) {
                (None, _) => mistakes.push(format!("flow {number}: {shown} is no column")),
                (_, None) => mistakes.push(format!("flow {number}: {shown}: expected text")),
                (Some(column), Some(text)) => *fields.field(column) = text,
            }
        }
        read.lines.push(Line { number, fields });
    }
    if mistakes.is_empty() {
        Ok(read)
    } else {
        Err(Mistakes(mistakes))
    }
}

fn as_text(value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Integer(number) => Some(number.to_string()),
        Value::Datetime(at) => Some(at.to_string()),
        Value::Array(parts) => {
            let parts = parts.into_iter().map(as_text);
            let parts: Option<Vec<String>> = parts.collect();
            parts.map(|parts| parts.join(", "))
        }
        Value::Float(_) | Value::Boolean(_) | Value::Table(_) => None,
    }
}

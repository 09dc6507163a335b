//! Rows of described tables.

use serde_json::Value;
use wire::Histogram;

use crate::alert::evaluate::{Cell, Row};
use crate::rows;

/// A row, by these columns.
pub(super) fn row(told: &rows::Row, columns: &[String]) -> Row {
    let process = told.process.as_ref();
    let text = |text: Option<&str>| match text {
        Some(text) if !text.is_empty() => Cell::Text(String::from(text)),
        _ => Cell::Absent,
    };
    let cell = |name: &String| match name.as_str() {
        "host" => text(Some(&told.host)),
        "hostname" => text(Some(&told.hostname)),
        "service" => text(process.map(|process| process.service.as_str())),
        "comm" => text(process.map(|process| process.comm.as_str())),
        "exe" => text(process.map(|process| process.exe.as_str())),
        name => told.values.get(name).map_or(Cell::Absent, cell),
    };
    let most = columns.iter().enumerate().filter_map(|(at, name)| {
        let most = told.most.get(name)?.as_f64()?;
        Some((at, most))
    });
    Row {
        cells: columns.iter().map(cell).collect(),
        most: most.collect(),
        end_ms: told.end_ms,
        host: told.host.clone(),
        hostname: told.hostname.clone(),
        service: process.map_or_else(String::new, |process| process.service.clone()),
        ends: None,
    }
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Number(number) => number.as_f64().map_or(Cell::Absent, Cell::Number),
        Value::String(text) => Cell::Text(text.clone()),
        Value::Bool(flag) => Cell::Flag(*flag),
        Value::Object(told) => {
            let Some(buckets) = told.get("buckets").and_then(Value::as_array) else {
                return Cell::Absent;
            };
            let mut histogram = Histogram::default();
            for (mine, told) in histogram.buckets.iter_mut().zip(buckets) {
                *mine = told.as_u64().unwrap_or(0);
            }
            histogram.sum_us = told.get("sum_us").and_then(Value::as_u64).unwrap_or(0);
            Cell::Histogram(Box::new(histogram))
        }
        Value::Null | Value::Array(_) => Cell::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::row;
    use crate::alert::evaluate::Cell;
    use crate::rows;

    #[test]
    fn what_is_null_is_not_known_and_not_zero() {
        let values = serde_json::json!({ "drops": null, "queue": 3, "local_address": "::" });
        let told = rows::Row {
            host: String::from("aa"),
            hostname: String::new(),
            end_ms: 7,
            process: None,
            values: values.as_object().cloned().unwrap_or_default(),
            most: serde_json::Map::from_iter([(String::from("queue"), 9.into())]),
        };
        let columns = ["drops", "queue", "local_address", "service"].map(String::from);
        let row = row(&told, &columns);
        let address = Cell::Text(String::from("::"));
        assert_eq!(
            row.cells,
            [Cell::Absent, Cell::Number(3.0), address, Cell::Absent]
        );
        assert_eq!(row.most, [(1, 9.0)]);
    }
}

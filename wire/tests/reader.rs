//! A reader of standard tools reads what Rust reads.

#![forbid(unsafe_code)]

mod skipped;

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use wire::schema::{Kind, Type};
use wire::{Batch, DynamicTable, Endpoint, Histogram, Limits, Row, Values, decode};

/// All rows as the script prints them: an object for each, its table first.
fn expected(batch: &Batch) -> Vec<Value> {
    let mut rows = of(&batch.edges);
    rows.extend(of(&batch.sightings));
    rows.extend(of(&batch.processes));
    rows.extend(of(&batch.hosts));
    rows.extend(of(&batch.events));
    rows.extend(of(&batch.nats));
    rows.extend(batch.others.iter().flat_map(objects));
    rows
}

fn of<R: Row>(rows: &[R]) -> Vec<Value> {
    objects(&DynamicTable::of(rows))
}

fn objects(table: &DynamicTable) -> Vec<Value> {
    let object = |row: usize| {
        let mut object = serde_json::Map::new();
        object.insert(String::from("table"), json!(table.table.name));
        for (column, values) in table.table.columns.iter().zip(&table.columns) {
            if column.values == Type::Histogram
                && let Values::Histograms(histograms) = values
            {
                object.insert(
                    format!("{}.sum", column.name),
                    json!(histograms[row].sum_us),
                );
            }
            assert!(column.kind != Kind::Time || column.values == Type::U64);
            object.insert(column.name.clone(), cell(values, row));
        }
        Value::Object(object)
    };
    (0..table.rows).map(object).collect()
}

fn cell(values: &Values, row: usize) -> Value {
    match values {
        Values::Numbers(numbers) => json!(numbers[row]),
        Values::Texts(texts) => json!(texts[row]),
        Values::Addresses(addresses) => json!(address(addresses[row])),
        Values::Histograms(histograms) => json!(buckets(&histograms[row])),
        Values::Labels(labels) => json!(labels[row]),
        Values::Counts(counts) => json!(counts[row]),
    }
}

fn address(addr: [u8; 16]) -> String {
    std::net::Ipv6Addr::from(Endpoint { addr, port: 0 }.addr).to_string()
}

fn buckets(histogram: &Histogram) -> Vec<(usize, u64)> {
    let used = histogram.buckets.iter().copied().enumerate();
    used.filter(|(_, count)| *count > 0).collect()
}

/// Addresses are compared as numbers: the notation of mapped ones is a matter of taste.
fn plain(mut row: Value) -> Value {
    for value in row.as_object_mut().expect("an object").values_mut() {
        if let Some(address) = value
            .as_str()
            .and_then(|text| text.parse::<std::net::IpAddr>().ok())
        {
            let v6 = match address {
                std::net::IpAddr::V4(v4) => v4.to_ipv6_compatible(),
                std::net::IpAddr::V6(v6) => v6,
            };
            *value = json!(u128::from(v6).to_string());
        }
    }
    row
}

#[test]
fn the_reader_made_of_standard_tools_reads_every_number() {
    let python = |arguments: &[&str]| Command::new("python3").args(arguments).output();
    let tools = python(&["-c", "import pyarrow, zstandard"]);
    if !tools.is_ok_and(|output| output.status.success()) {
        skipped::skipped("python3 has no pyarrow and zstandard");
        return;
    }
    let wire = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = wire.join("tools/read_batch.py");
    for name in [
        "empty", "edges", "host", "interval", "observed", "totals", "others",
    ] {
        let file = wire.join(format!("golden/2/{name}.bin"));
        let output = python(&[script.to_str().expect("text"), file.to_str().expect("text")]);
        let output = output.expect("python3 runs");
        assert!(
            output.status.success(),
            "{name}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let text = String::from_utf8(output.stdout).expect("text");
        let rows = text
            .lines()
            .map(|line| plain(serde_json::from_str(line).expect("JSON")));
        let mut found: Vec<_> = rows.map(|row| row.to_string()).collect();
        let bytes = std::fs::read(&file).expect("a golden batch");
        let batch = decode(&bytes, &Limits::default()).expect("a golden batch");
        let mut wanted: Vec<_> = expected(&batch)
            .into_iter()
            .map(|row| plain(row).to_string())
            .collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{name}");
    }
}

//! Of format 2: descriptions, lists, parts and buckets that cannot be.

use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt8Type;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt64Array};
use arrow_schema::Field;
use wire::{Batch, DecodeError};

use crate::formats::{FORMAT2, bytes, fields, is_malformed, label, named, with_column};
use crate::support::sorted;

/// The table of that name, or that list.
fn position(tables: &[RecordBatch], name: &str) -> usize {
    let described = format!("{{\"name\":\"{name}\"");
    let found = |table: &RecordBatch| {
        let label = label(table);
        label == name || label.starts_with(&described)
    };
    tables.iter().position(found).expect(name)
}

/// The table with one column's values changed.
fn changed(table: &RecordBatch, name: &str, values: ArrayRef) -> RecordBatch {
    let index = table.schema().index_of(name).expect(name);
    let (mut fields, mut columns) = (fields(table), table.columns().to_vec());
    fields[index] = Field::new(name, values.data_type().clone(), false);
    columns[index] = values;
    named(fields, columns, &label(table))
}

/// The table with another label.
fn labelled(table: &RecordBatch, label: &str) -> RecordBatch {
    named(fields(table), table.columns().to_vec(), label)
}

/// Opens the full batch with one table replaced.
fn with(name: &str, change: impl Fn(&RecordBatch) -> RecordBatch) -> Result<Batch, DecodeError> {
    let mut tables = FORMAT2.tables_of_full();
    let at = position(&tables, name);
    tables[at] = change(&tables[at]);
    FORMAT2.open_with(&tables)
}

#[test]
fn columns_of_a_newer_version_are_skipped_and_those_of_an_older_one_are_empty() {
    let version =
        |table: &RecordBatch, version: &str| label(table).replace("\"version\":1,", version);
    let newer =
        |table: &RecordBatch| with_column(table, "newer", &version(table, "\"version\":2,"));
    let opened = with("edge", newer).expect("readable");
    assert_eq!(sorted(opened), sorted((FORMAT2.full)()));
    let older = |table: &RecordBatch| {
        let mut table = labelled(table, &version(table, "\"version\":0,"));
        table.remove_column(table.schema().index_of("opened").expect("a column"));
        table
    };
    let opened = with("edge", older).expect("readable");
    assert!(opened.edges.iter().all(|row| row.opened == 0));
}

#[test]
fn lengths_of_lists_that_are_not_those_of_the_list_are_malformed() {
    for (table, column) in [
        ("edge", "rtt.length"),
        ("process", "tags.length"),
        ("host", "counters.length"),
    ] {
        for value in [0, 1, 255] {
            let opened = with(table, |table| {
                changed(table, column, bytes(table.num_rows(), value))
            });
            assert!(is_malformed(&opened), "{column} {value}");
        }
        let huge = |table: &RecordBatch| {
            let values = UInt64Array::from(vec![u64::from(u32::MAX); table.num_rows()]);
            changed(table, column, Arc::new(values))
        };
        assert!(is_malformed(&with(table, huge)), "{column} huge");
    }
}

#[test]
fn buckets_that_cannot_be_are_malformed() {
    let first = |value| {
        with("edge", |table| {
            changed(table, "rtt.first", bytes(table.num_rows(), value))
        })
    };
    assert!(first(0).is_ok());
    for value in [31, 32, 255] {
        assert!(is_malformed(&first(value)), "there are 32 buckets: {value}");
    }
    // All that the list has belongs to the first row.
    let long = |table: &RecordBatch| {
        let lengths = table.column_by_name("rtt.length").expect("lengths");
        let lengths = lengths.as_primitive::<UInt8Type>().values();
        let all = lengths.iter().copied().map(u64::from).sum::<u64>();
        assert!(all > 32, "{all}");
        let mut values = vec![0; table.num_rows()];
        values[0] = all;
        changed(table, "rtt.length", Arc::new(UInt64Array::from(values)))
    };
    assert!(is_malformed(&with("edge", long)), "a row of many buckets");
}

#[test]
fn parts_that_do_not_fit_into_a_number_are_malformed() {
    let over = |table: &RecordBatch| {
        let values = UInt64Array::from(vec![1 << 40; table.num_rows()]);
        changed(table, "opened<<24", Arc::new(values))
    };
    assert!(is_malformed(&with("edge", over)));
    let wide = |table: &RecordBatch| {
        let values = UInt64Array::from(vec![1 << 32; table.num_rows()]);
        changed(table, "process_id", Arc::new(values))
    };
    assert!(is_malformed(&with("edge", wide)));
    let role = with("edge", |table| {
        changed(table, "role", bytes(table.num_rows(), 2))
    });
    assert!(is_malformed(&role), "there are two roles");
    let mode = with("block", |table| {
        changed(table, "mode", bytes(table.num_rows(), 2))
    });
    assert!(
        is_malformed(&mode),
        "there are two modes, as the sender says"
    );
}

#[test]
fn descriptions_out_of_bounds_are_malformed() {
    let described = |change: &dyn Fn(String) -> String| {
        with("block", |table| labelled(table, &change(label(table))))
    };
    assert!(described(&|text| text).is_ok());
    let bad: [&dyn Fn(String) -> String; 7] = [
        &|text| text.replace("\"block\"", "\"Block\""),
        &|text| text.replace("\"block\"", &format!("\"{}\"", "b".repeat(65))),
        &|text| text.replace("What depth is.", &"x".repeat(600)),
        &|text| text.replace("What depth is.", "one\\nline"),
        &|text| text.replace("\"depth\"", "\"queue\""),
        &|text| text.replace("\"u16\"", "\"u17\""),
        &|text| format!("{text}{}", " ".repeat(70_000)),
    ];
    for (at, change) in bad.into_iter().enumerate() {
        assert!(is_malformed(&described(change)), "description {at}");
    }
    let histogram = |at| {
        format!(
            "{{\"name\":\"h{at}\",\"kind\":\"histogram\",\"type\":\"histogram\",\"help\":\"\"}}"
        )
    };
    let many: Vec<_> = (0..100).map(histogram).collect();
    let long = |text: String| {
        let columns = format!("\"columns\":[{}]}}", many.join(","));
        text.split_once("\"columns\"")
            .expect("columns")
            .0
            .to_owned()
            + &columns
    };
    assert!(is_malformed(&described(&long)), "a row of many histograms");
}

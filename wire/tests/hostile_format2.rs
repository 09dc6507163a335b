//! What a hostile sender can put into a batch of format 2 is refused, without a panic and within
//! the limits.

#![forbid(unsafe_code)]

mod support;

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::UInt8Type;
use arrow_array::{Array, ArrayRef, RecordBatch, UInt8Array, UInt64Array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;
use support::{any_batch, sorted};
use wire::format2::arrow_streams;
use wire::{Batch, DecodeError, Limits, decode, encode, memory};

const COUNTS: usize = 72;

/// CRC-32 by its definition, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

fn resum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 4);
    let sum = crc32(&bytes).to_le_bytes();
    bytes.extend_from_slice(&sum);
    bytes
}

/// The head of a batch, with other contents and lengths and a checksum that is right.
fn resealed(batch: &Batch, compressed: &[u8], raw: usize) -> Vec<u8> {
    let sealed = encode(batch);
    let entries = usize::from(sealed[6]);
    let mut bytes = sealed[..COUNTS + 5 * entries].to_vec();
    bytes[8..12].copy_from_slice(&u32::try_from(raw).expect("small").to_le_bytes());
    let length = u32::try_from(compressed.len()).expect("small");
    bytes[12..16].copy_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(compressed);
    bytes.extend_from_slice(&[0; 4]);
    resum(bytes)
}

/// A batch whose Arrow streams are these bytes.
fn around(batch: &Batch, raw: &[u8]) -> Vec<u8> {
    let compressed = zstd::bulk::compress(raw, 1).expect("compresses");
    resealed(batch, &compressed, raw.len())
}

fn open(bytes: &[u8]) -> Result<Batch, DecodeError> {
    decode(bytes, &Limits::default())
}

fn is_malformed(result: &Result<Batch, DecodeError>) -> bool {
    matches!(result, Err(DecodeError::Malformed(_)))
}

fn is_unsupported(result: &Result<Batch, DecodeError>) -> bool {
    matches!(result, Err(DecodeError::Unsupported(_)))
}

fn is_too_large(result: &Result<Batch, DecodeError>) -> bool {
    matches!(result, Err(DecodeError::TooLarge { .. }))
}

/// Some batch that has all tables, and one more.
fn full() -> Batch {
    let mut batch = open(include_bytes!("../golden/2/interval.bin")).expect("golden");
    batch.others = open(include_bytes!("../golden/2/others.bin"))
        .expect("golden")
        .others;
    batch
}

/// All record batches of concatenated streams.
fn tables(raw: &[u8]) -> Vec<RecordBatch> {
    let mut input = Cursor::new(raw);
    let mut tables = Vec::new();
    while input.position() < raw.len() as u64 {
        let reader = StreamReader::try_new(&mut input, None).expect("a stream");
        tables.extend(reader.map(|batch| batch.expect("a record batch")));
    }
    tables
}

fn streams(tables: &[RecordBatch]) -> Vec<u8> {
    let mut raw = Vec::new();
    for table in tables {
        let mut writer = StreamWriter::try_new(&mut raw, &table.schema()).expect("a stream");
        writer.write(table).expect("writes");
        writer.finish().expect("finishes");
    }
    raw
}

/// What the schema's metadata says.
fn label(table: &RecordBatch) -> String {
    table.schema().metadata()["waybill"].clone()
}

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
    let schema = table.schema();
    let index = schema.index_of(name).expect(name);
    let mut fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    fields[index] = Field::new(name, values.data_type().clone(), false);
    let mut columns = table.columns().to_vec();
    columns[index] = values;
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    RecordBatch::try_new(Arc::new(schema), columns).expect("fits")
}

/// The table with another label.
fn labelled(table: &RecordBatch, label: &str) -> RecordBatch {
    let fields: Vec<Field> = table
        .schema()
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    let metadata = HashMap::from([("waybill".to_owned(), label.to_owned())]);
    let schema = Schema::new_with_metadata(fields, metadata);
    RecordBatch::try_new(Arc::new(schema), table.columns().to_vec()).expect("fits")
}

fn bytes(rows: usize, value: u8) -> ArrayRef {
    Arc::new(UInt8Array::from(vec![value; rows]))
}

/// Opens the full batch with one table replaced.
fn with(name: &str, change: impl Fn(&RecordBatch) -> RecordBatch) -> Result<Batch, DecodeError> {
    let batch = full();
    let mut tables = tables(&arrow_streams(&batch));
    let at = position(&tables, name);
    tables[at] = change(&tables[at]);
    open(&around(&batch, &streams(&tables)))
}

#[test]
fn another_arrow_implementation_reads_the_streams_and_its_streams_are_read() {
    let batch = full();
    let tables = tables(&arrow_streams(&batch));
    assert!(tables.len() > 10);
    let opened = open(&around(&batch, &streams(&tables))).expect("the same tables");
    assert_eq!(sorted(opened), sorted(batch));
}

#[test]
fn columns_of_a_newer_version_are_skipped_and_those_of_an_older_one_are_empty() {
    let batch = full();
    let newer = |table: &RecordBatch| {
        let schema = table.schema();
        let mut fields: Vec<Field> = schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect();
        fields.push(Field::new("newer", DataType::UInt8, false));
        let mut columns = table.columns().to_vec();
        columns.push(bytes(table.num_rows(), 7));
        let label = label(table).replace("\"version\":1,", "\"version\":2,");
        let metadata = HashMap::from([("waybill".to_owned(), label)]);
        let schema = Schema::new_with_metadata(fields, metadata);
        RecordBatch::try_new(Arc::new(schema), columns).expect("fits")
    };
    assert_eq!(
        sorted(with("edge", newer).expect("readable")),
        sorted(batch)
    );
    let older = |table: &RecordBatch| {
        let mut table = labelled(
            table,
            &label(table).replace("\"version\":1,", "\"version\":0,"),
        );
        table.remove_column(table.schema().index_of("opened").expect("a column"));
        table
    };
    let opened = with("edge", older).expect("readable");
    assert!(opened.edges.iter().all(|row| row.opened == 0));
}

#[test]
fn other_versions_and_dictionaries_are_named_as_unsupported() {
    let sealed = encode(&full());
    for (position, value) in [(4, 3), (7, 99)] {
        let mut bytes = sealed.clone();
        bytes[position] = value;
        assert!(is_unsupported(&open(&resum(bytes))), "byte {position}");
    }
}

#[test]
fn a_row_count_that_is_not_that_of_the_table_is_malformed() {
    let sealed = encode(&full());
    for entry in 0..usize::from(sealed[6]) {
        for change in [1, 255] {
            let mut bytes = sealed.clone();
            let count = COUNTS + 5 * entry + 1;
            bytes[count] = bytes[count].wrapping_add(change);
            assert!(is_malformed(&open(&resum(bytes))), "entry {entry}");
        }
    }
}

#[test]
fn a_bomb_is_refused_by_what_it_claims_and_by_what_it_holds() {
    let batch = full();
    let bomb = zstd::bulk::compress(&vec![0; 256 << 20], 3).expect("compresses");
    assert!(bomb.len() < 64 << 10);
    assert!(is_too_large(&open(&resealed(&batch, &bomb, 256 << 20))));
    assert!(is_malformed(&open(&resealed(&batch, &bomb, 1000))));
    assert!(is_malformed(&open(&around(&batch, &vec![0; 32 << 20]))));
}

#[test]
fn every_limit_is_kept() {
    let sealed = encode(&full());
    let limits = Limits::default();
    let few_rows = Limits {
        max_rows: full().row_count() - 1,
        ..limits
    };
    let few_bytes = Limits {
        max_bytes: sealed.len() - 1,
        ..limits
    };
    let few_raw = Limits {
        max_raw_bytes: arrow_streams(&full()).len() - 1,
        ..limits
    };
    for limits in [few_rows, few_bytes, few_raw] {
        assert!(is_too_large(&decode(&sealed, &limits)));
        assert_eq!(memory(&sealed, &limits), 0);
    }
    let enough = Limits {
        max_rows: full().row_count(),
        max_bytes: sealed.len(),
        max_raw_bytes: arrow_streams(&full()).len(),
    };
    assert_eq!(
        sorted(decode(&sealed, &enough).expect("fits")),
        sorted(full())
    );
}

#[test]
fn a_table_that_is_missing_or_comes_twice_is_malformed() {
    let batch = full();
    let tables = tables(&arrow_streams(&batch));
    for (index, table) in tables.iter().enumerate() {
        let mut twice = tables.clone();
        twice.push(table.clone());
        assert!(
            is_malformed(&open(&around(&batch, &streams(&twice)))),
            "table {index} twice"
        );
        let mut fewer = tables.clone();
        fewer.remove(index);
        assert!(
            is_malformed(&open(&around(&batch, &streams(&fewer)))),
            "table {index} missing"
        );
    }
}

#[test]
fn a_column_that_is_missing_is_never_taken_for_another_number() {
    let batch = full();
    let tables = tables(&arrow_streams(&batch));
    for (index, table) in tables.iter().enumerate() {
        for column in 0..table.num_columns() {
            let name = table.schema().field(column).name().clone();
            let mut fewer = tables.clone();
            fewer[index].remove_column(column);
            let opened = open(&around(&batch, &streams(&fewer)));
            // Without one of the higher parts a number is another one, if it needed it.
            let part = name.contains("<<");
            assert!(part || is_malformed(&opened), "table {index} column {name}");
        }
    }
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

/// Overwrites some bytes of `raw`.
fn mutate(raw: &mut [u8], changes: &[(prop::sample::Index, u8)]) {
    for (position, value) in changes {
        let position = position.index(raw.len());
        raw[position] = *value;
    }
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    let value = prop_oneof![any::<u8>(), Just(0), Just(0x7f), Just(0xff), 0..80u8];
    prop::collection::vec((any::<prop::sample::Index>(), value), 1..6)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_streams_are_other_rows_or_refused(batch in any_batch(), changes in changes()) {
        let mut raw = arrow_streams(&batch);
        prop_assume!(!raw.is_empty());
        mutate(&mut raw, &changes);
        if let Ok(opened) = open(&around(&batch, &raw)) {
            prop_assert_eq!(opened.row_count(), batch.row_count());
            // Whatever was read can be sealed and opened again.
            let again = open(&encode(&opened)).expect("own batch");
            prop_assert_eq!(sorted(again), sorted(opened));
        }
    }

    #[test]
    fn changed_frames_and_heads_are_other_rows_or_refused(
        batch in any_batch(),
        changes in changes(),
    ) {
        let mut bytes = encode(&batch);
        mutate(&mut bytes, &changes);
        if let Ok(opened) = open(&resum(bytes)) {
            prop_assert!(opened.row_count() <= Limits::default().max_rows);
        }
    }

    #[test]
    fn cut_streams_are_malformed(batch in any_batch(), end in any::<prop::sample::Index>()) {
        let raw = arrow_streams(&batch);
        prop_assume!(!raw.is_empty());
        prop_assert!(open(&around(&batch, &raw[..end.index(raw.len())])).is_err());
    }
}

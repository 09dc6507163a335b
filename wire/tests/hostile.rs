//! What a hostile sender can put into a batch is refused, without a panic and within the limits.

#![forbid(unsafe_code)]

mod support;

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt8Array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use proptest::prelude::*;
use support::{any_batch, sorted};
use wire::format1::{arrow_streams, encode};
use wire::{Batch, DecodeError, Limits, decode};

const COUNTS: usize = 76;

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
    let entries = usize::from(sealed[7]);
    let mut bytes = sealed[..COUNTS + 5 * entries].to_vec();
    bytes[12..16].copy_from_slice(&u32::try_from(raw).expect("small").to_le_bytes());
    let length = u32::try_from(compressed.len()).expect("small");
    bytes[16..20].copy_from_slice(&length.to_le_bytes());
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

/// Some batch that has all tables.
fn full() -> Batch {
    open(include_bytes!("../golden/1/interval.bin")).expect("golden")
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

fn with_column(table: &RecordBatch, name: &str) -> RecordBatch {
    let schema = table.schema();
    let mut fields: Vec<Field> = schema
        .fields()
        .iter()
        .map(|field| field.as_ref().clone())
        .collect();
    fields.push(Field::new(name, DataType::UInt8, false));
    let mut columns = table.columns().to_vec();
    columns.push(Arc::new(UInt8Array::from(vec![7; table.num_rows()])) as ArrayRef);
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    RecordBatch::try_new(Arc::new(schema), columns).expect("fits")
}

#[test]
fn another_arrow_implementation_reads_the_streams_and_its_streams_are_read() {
    let batch = full();
    let tables = tables(&arrow_streams(&batch));
    assert!(tables.len() > 8);
    let opened = open(&around(&batch, &streams(&tables))).expect("the same tables");
    assert_eq!(opened, batch);
}

#[test]
fn columns_tables_and_families_of_a_newer_minor_schema_are_skipped() {
    let batch = full();
    let mut tables: Vec<_> = tables(&arrow_streams(&batch))
        .iter()
        .map(|table| with_column(table, "newer"))
        .collect();
    let newer = Schema::new_with_metadata(
        vec![Field::new("thing", DataType::UInt8, false)],
        std::collections::HashMap::from([("waybill".to_owned(), "newer".to_owned())]),
    );
    let things: ArrayRef = Arc::new(UInt8Array::from(vec![1, 2, 3]));
    tables.push(RecordBatch::try_new(Arc::new(newer), vec![things]).expect("fits"));
    let mut bytes = around(&batch, &streams(&tables));
    // Schema 1.9, with three rows of family 77.
    bytes[6] = 9;
    let entries = usize::from(bytes[7]);
    bytes[7] += 1;
    let end = COUNTS + 5 * entries;
    bytes.splice(end..end, [77, 3, 0, 0, 0]);
    assert_eq!(open(&resum(bytes)).expect("readable"), batch);
}

#[test]
fn other_versions_and_dictionaries_are_named_as_unsupported() {
    let sealed = encode(&full());
    for (position, value) in [(4, 3), (5, 2), (8, 99), (11, 1)] {
        let mut bytes = sealed.clone();
        bytes[position] = value;
        assert!(is_unsupported(&open(&resum(bytes))), "byte {position}");
    }
}

#[test]
fn a_row_count_that_is_not_that_of_the_table_is_malformed() {
    let sealed = encode(&full());
    for entry in 0..usize::from(sealed[7]) {
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
fn many_frames_of_nothing_are_malformed() {
    let batch = full();
    let nothing = zstd::bulk::compress(&[], 1)
        .expect("compresses")
        .repeat(100_000);
    assert!(is_malformed(&open(&resealed(&batch, &nothing, 0))));
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
    }
    let enough = Limits {
        max_rows: full().row_count(),
        max_bytes: sealed.len(),
        max_raw_bytes: arrow_streams(&full()).len(),
    };
    assert_eq!(decode(&sealed, &enough).expect("fits"), full());
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
        let opened = open(&around(&batch, &streams(&fewer)));
        // Lists of a row may be empty; everything else is needed.
        assert!(
            opened.map_or(true, |opened| opened != batch),
            "table {index} missing"
        );
    }
}

#[test]
fn a_column_that_is_missing_is_malformed() {
    let batch = full();
    let tables = tables(&arrow_streams(&batch));
    for (index, table) in tables.iter().enumerate() {
        for column in 0..table.num_columns() {
            let mut fewer = tables.clone();
            fewer[index].remove_column(column);
            let raw = streams(&fewer);
            assert!(
                is_malformed(&open(&around(&batch, &raw))),
                "table {index} column {column}"
            );
        }
    }
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
        let batch = Batch { others: Vec::new(), ..batch };
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

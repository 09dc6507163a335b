//! Both formats as what a hostile sender changes: bytes of the head, and Arrow streams.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow_array::{ArrayRef, RecordBatch, UInt8Array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema};
use wire::{Batch, DecodeError, Limits, decode};

/// A format, and where its head says what.
#[derive(Debug)]
pub(crate) struct Format {
    pub(crate) encode: fn(&Batch) -> Vec<u8>,
    pub(crate) arrow_streams: fn(&Batch) -> Vec<u8>,
    /// Some batch that has all tables.
    pub(crate) full: fn() -> Batch,
    /// The number of row counts.
    pub(crate) tables: usize,
    /// Bytes after decompression, and then those before.
    raw: usize,
    /// The row counts.
    pub(crate) counts: usize,
    /// Bytes that say what no reader knows: where, and what.
    pub(crate) unknown: &'static [(usize, u8)],
}

pub(crate) const FORMAT1: Format = Format {
    encode: format1::encode,
    arrow_streams: format1::arrow_streams,
    full: || open(include_bytes!("../../golden/1/interval.bin")).expect("golden"),
    tables: 7,
    raw: 12,
    counts: 76,
    unknown: &[(4, 3), (5, 2), (8, 99), (11, 1)],
};

pub(crate) const FORMAT2: Format = Format {
    encode: wire::encode,
    arrow_streams: wire::format2::arrow_streams,
    full: || {
        let mut batch = open(include_bytes!("../../golden/2/interval.bin")).expect("golden");
        let others = open(include_bytes!("../../golden/2/others.bin")).expect("golden");
        batch.others = others.others;
        batch
    },
    tables: 6,
    raw: 8,
    counts: 72,
    unknown: &[(4, 3), (7, 99)],
};

impl Format {
    /// The head of a batch, with other contents and lengths and a checksum that is right.
    pub(crate) fn resealed(&self, batch: &Batch, compressed: &[u8], raw: usize) -> Vec<u8> {
        let sealed = (self.encode)(batch);
        let mut bytes = sealed[..self.counts + 5 * usize::from(sealed[self.tables])].to_vec();
        for (at, length) in [(self.raw, raw), (self.raw + 4, compressed.len())] {
            let length = u32::try_from(length).expect("small");
            bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
        }
        bytes.extend_from_slice(compressed);
        bytes.extend_from_slice(&[0; 4]);
        resum(bytes)
    }

    /// A batch whose Arrow streams are these bytes.
    pub(crate) fn around(&self, batch: &Batch, raw: &[u8]) -> Vec<u8> {
        let compressed = zstd::bulk::compress(raw, 1).expect("compresses");
        self.resealed(batch, &compressed, raw.len())
    }

    /// Opens the full batch with these tables.
    pub(crate) fn open_with(&self, tables: &[RecordBatch]) -> Result<Batch, DecodeError> {
        open(&self.around(&(self.full)(), &streams(tables)))
    }

    /// The tables of the full batch.
    pub(crate) fn tables_of_full(&self) -> Vec<RecordBatch> {
        tables(&(self.arrow_streams)(&(self.full)()))
    }
}

pub(crate) fn resum(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - 4);
    let sum = format1::checksum(&bytes).to_le_bytes();
    bytes.extend_from_slice(&sum);
    bytes
}

pub(crate) fn open(bytes: &[u8]) -> Result<Batch, DecodeError> {
    decode(bytes, &Limits::default())
}

pub(crate) fn is_malformed(result: &Result<Batch, DecodeError>) -> bool {
    matches!(result, Err(DecodeError::Malformed(_)))
}

pub(crate) fn is_unsupported(result: &Result<Batch, DecodeError>) -> bool {
    matches!(result, Err(DecodeError::Unsupported(_)))
}

pub(crate) fn is_too_large(result: &Result<Batch, DecodeError>) -> bool {
    matches!(result, Err(DecodeError::TooLarge { .. }))
}

/// All record batches of concatenated streams.
pub(crate) fn tables(raw: &[u8]) -> Vec<RecordBatch> {
    let mut input = Cursor::new(raw);
    let mut tables = Vec::new();
    while input.position() < raw.len() as u64 {
        let reader = StreamReader::try_new(&mut input, None).expect("a stream");
        tables.extend(reader.map(|batch| batch.expect("a record batch")));
    }
    tables
}

pub(crate) fn streams(tables: &[RecordBatch]) -> Vec<u8> {
    let mut raw = Vec::new();
    for table in tables {
        let mut writer = StreamWriter::try_new(&mut raw, &table.schema()).expect("a stream");
        writer.write(table).expect("writes");
        writer.finish().expect("finishes");
    }
    raw
}

/// The table with one more column of bytes, and another label.
pub(crate) fn with_column(table: &RecordBatch, name: &str, label: &str) -> RecordBatch {
    let mut fields = fields(table);
    fields.push(Field::new(name, DataType::UInt8, false));
    let mut columns = table.columns().to_vec();
    columns.push(bytes(table.num_rows(), 7));
    named(fields, columns, label)
}

pub(crate) fn fields(table: &RecordBatch) -> Vec<Field> {
    let schema = table.schema();
    let fields = schema.fields().iter();
    fields.map(|field| field.as_ref().clone()).collect()
}

/// A table with a label in the schema's metadata.
pub(crate) fn named(fields: Vec<Field>, columns: Vec<ArrayRef>, label: &str) -> RecordBatch {
    let metadata = HashMap::from([("waybill".to_owned(), label.to_owned())]);
    let schema = Schema::new_with_metadata(fields, metadata);
    RecordBatch::try_new(Arc::new(schema), columns).expect("fits")
}

/// What the schema's metadata says.
pub(crate) fn label(table: &RecordBatch) -> String {
    table.schema().metadata()["waybill"].clone()
}

/// A column of so many times that byte.
pub(crate) fn bytes(rows: usize, value: u8) -> ArrayRef {
    Arc::new(UInt8Array::from(vec![value; rows]))
}

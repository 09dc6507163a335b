//! Writes tables with the flatbuffer types of `arrow-ipc`.

use std::borrow::Cow;
use std::collections::HashMap;

use arrow_ipc::convert::IpcSchemaEncoder;
use arrow_ipc::{
    Buffer, FieldNode, MessageBuilder, MessageHeader, MetadataVersion, RecordBatchBuilder,
};
use arrow_schema::{DataType, Field, Schema};
use flatbuffers::{FlatBufferBuilder, UnionWIPOffset, WIPOffset};

use super::framing::{CONTINUATION, END, KEY};

/// What bytes are like from some place on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Schemas and texts: long matches among themselves and in the dictionary.
    Text,
    /// Tokens of a few kinds: small numbers without an order.
    Tokens,
    /// Bits that no compressor shortens.
    Noise,
}

/// The values of one Arrow column.
#[derive(Debug)]
pub enum Values {
    /// UInt8.
    Bytes(Vec<u8>),
    /// UInt16.
    Shorts(Vec<u16>),
    /// UInt32.
    Words(Vec<u32>),
    /// UInt64.
    Longs(Vec<u64>),
    /// Utf8.
    Text {
        /// Where each begins, and the end of the last.
        offsets: Vec<i32>,
        /// All of them.
        data: Vec<u8>,
    },
    /// Binary.
    Blob {
        /// Where each begins, and the end of the last.
        offsets: Vec<i32>,
        /// All of them.
        data: Vec<u8>,
    },
}

/// One Arrow column.
#[derive(Debug)]
pub struct ArrowColumn {
    /// Name of the field.
    pub name: Cow<'static, str>,
    /// Metadata of the field.
    pub note: Option<&'static str>,
    /// Rows from which on its bytes are of another kind than those before.
    pub turns: Vec<(usize, Kind)>,
    /// As many as the table has rows.
    pub values: Values,
}

/// One table to write.
#[derive(Debug)]
pub struct ArrowTable {
    /// What the schema's metadata says under `waybill`.
    pub name: Cow<'static, str>,
    /// Number of rows.
    pub rows: usize,
    /// In the order of the fields.
    pub columns: Vec<ArrowColumn>,
    /// Columns of zeros refer to the same bytes.
    pub shares_zeros: bool,
}

impl Values {
    /// Whether it is a column of numbers that are all zero.
    fn is_zero(&self) -> bool {
        match self {
            Self::Bytes(numbers) => numbers.iter().all(|number| *number == 0),
            Self::Shorts(numbers) => numbers.iter().all(|number| *number == 0),
            Self::Words(numbers) => numbers.iter().all(|number| *number == 0),
            Self::Longs(numbers) => numbers.iter().all(|number| *number == 0),
            Self::Text { .. } | Self::Blob { .. } => false,
        }
    }

    /// Bytes of the numbers.
    fn bytes(&self) -> usize {
        match self {
            Self::Bytes(numbers) => numbers.len(),
            Self::Shorts(numbers) => size_of_val(numbers.as_slice()),
            Self::Words(numbers) => size_of_val(numbers.as_slice()),
            Self::Longs(numbers) => size_of_val(numbers.as_slice()),
            Self::Text { data, .. } | Self::Blob { data, .. } => data.len(),
        }
    }

    /// Utf8.
    ///
    /// # Panics
    /// Where they have 2 GiB together.
    pub fn texts<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let (offsets, data) = join(values.map(str::as_bytes));
        Self::Text { offsets, data }
    }

    /// Binary.
    ///
    /// # Panics
    /// Where they have 2 GiB together.
    pub fn blobs<'a>(values: impl Iterator<Item = &'a [u8]>) -> Self {
        let (offsets, data) = join(values);
        Self::Blob { offsets, data }
    }
}

fn join<'a>(values: impl Iterator<Item = &'a [u8]>) -> (Vec<i32>, Vec<u8>) {
    let (mut offsets, mut data) = (vec![0], Vec::new());
    for value in values {
        data.extend_from_slice(value);
        offsets.push(i32::try_from(data.len()).expect("a column of one batch is below 2 GiB"));
    }
    (offsets, data)
}

/// Appends a table as a complete Arrow IPC stream, and to `kinds` where its bytes change in kind.
///
/// # Panics
/// Where the table has 2 GiB.
pub fn write(table: &ArrowTable, out: &mut Vec<u8>, kinds: &mut Vec<(usize, Kind)>) {
    let mut body = Body::default();
    let zeros = table
        .columns
        .iter()
        .filter(|column| table.shares_zeros && column.values.is_zero());
    let zeros = zeros.map(|column| column.values.bytes()).max().unwrap_or(0);
    body.bytes.resize(zeros.next_multiple_of(8), 0);
    for column in &table.columns {
        body.push(column, table.shares_zeros);
    }
    kinds.push((out.len(), Kind::Text));
    write_message(&schema_message(table), out);
    write_message(&batch_message(table, &body), out);
    kinds.extend(
        body.kinds
            .iter()
            .map(|(start, kind)| (out.len() + start, *kind)),
    );
    out.extend_from_slice(&body.bytes);
    kinds.push((out.len(), Kind::Text));
    out.extend_from_slice(&END);
}

#[derive(Debug, Default)]
struct Body {
    bytes: Vec<u8>,
    buffers: Vec<Buffer>,
    kinds: Vec<(usize, Kind)>,
}

impl Body {
    fn push(&mut self, column: &ArrowColumn, shares_zeros: bool) {
        // No validity bitmap: there are no nulls.
        self.buffers.push(Buffer::new(0, 0));
        if shares_zeros && column.values.is_zero() {
            // They stand at the begin.
            let buffer = Buffer::new(0, length(column.values.bytes()));
            self.buffers.push(buffer);
            return;
        }
        let start = self.bytes.len();
        let turns = column.turns.iter();
        self.kinds
            .extend(turns.map(|(row, kind)| (start + row, *kind)));
        match &column.values {
            Values::Bytes(bytes) => self.append(bytes),
            Values::Shorts(numbers) => self.append_all(numbers.iter().map(|n| n.to_le_bytes())),
            Values::Words(numbers) => self.append_all(numbers.iter().map(|n| n.to_le_bytes())),
            Values::Longs(numbers) => {
                self.append_all(numbers.iter().map(|n| n.to_le_bytes()));
                if column.turns.iter().any(|(_, kind)| *kind == Kind::Noise) {
                    self.kinds.push((self.bytes.len(), Kind::Tokens));
                }
            }
            Values::Text { offsets, data } => {
                self.kinds.push((start, Kind::Text));
                self.append_all(offsets.iter().map(|offset| offset.to_le_bytes()));
                self.append(data);
            }
            Values::Blob { offsets, data } => {
                self.kinds.push((start, Kind::Text));
                self.append_all(offsets.iter().map(|offset| offset.to_le_bytes()));
                self.kinds.push((self.bytes.len(), Kind::Noise));
                self.append(data);
            }
        }
    }

    fn append_all<const N: usize>(&mut self, numbers: impl Iterator<Item = [u8; N]>) {
        self.append(&numbers.flatten().collect::<Vec<u8>>());
    }

    fn append(&mut self, bytes: &[u8]) {
        self.buffers
            .push(Buffer::new(length(self.bytes.len()), length(bytes.len())));
        self.bytes.extend_from_slice(bytes);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
    }
}

fn length(value: usize) -> i64 {
    i64::try_from(value).expect("memory sizes fit")
}

fn schema_message(table: &ArrowTable) -> Vec<u8> {
    let fields: Vec<Field> = table
        .columns
        .iter()
        .map(|column| {
            let kind = match column.values {
                Values::Bytes(_) => DataType::UInt8,
                Values::Shorts(_) => DataType::UInt16,
                Values::Words(_) => DataType::UInt32,
                Values::Longs(_) => DataType::UInt64,
                Values::Text { .. } => DataType::Utf8,
                Values::Blob { .. } => DataType::Binary,
            };
            let field = Field::new(column.name.as_ref(), kind, false);
            match column.note {
                Some(text) => field.with_metadata(note(text)),
                None => field,
            }
        })
        .collect();
    let schema = Schema::new_with_metadata(fields, note(&table.name));
    let mut fbb = FlatBufferBuilder::new();
    let header = IpcSchemaEncoder::new().schema_to_fb_offset(&mut fbb, &schema);
    finish(fbb, MessageHeader::Schema, header.as_union_value(), 0)
}

fn note(text: &str) -> HashMap<String, String> {
    HashMap::from([(KEY.to_owned(), text.to_owned())])
}

fn batch_message(table: &ArrowTable, body: &Body) -> Vec<u8> {
    let mut fbb = FlatBufferBuilder::new();
    let node = FieldNode::new(length(table.rows), 0);
    let nodes = fbb.create_vector(&vec![node; table.columns.len()]);
    let buffers = fbb.create_vector(&body.buffers);
    let mut batch = RecordBatchBuilder::new(&mut fbb);
    batch.add_length(length(table.rows));
    batch.add_nodes(nodes);
    batch.add_buffers(buffers);
    let header = batch.finish().as_union_value();
    finish(fbb, MessageHeader::RecordBatch, header, body.bytes.len())
}

fn finish(
    mut fbb: FlatBufferBuilder<'_>,
    kind: MessageHeader,
    header: WIPOffset<UnionWIPOffset>,
    body: usize,
) -> Vec<u8> {
    let mut message = MessageBuilder::new(&mut fbb);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(kind);
    message.add_bodyLength(length(body));
    message.add_header(header);
    let message = message.finish();
    fbb.finish(message, None);
    fbb.finished_data().to_vec()
}

fn write_message(metadata: &[u8], out: &mut Vec<u8>) {
    let padded = metadata.len().next_multiple_of(8);
    let size = i32::try_from(padded).expect("schemas are small");
    out.extend_from_slice(&CONTINUATION);
    out.extend_from_slice(&size.to_le_bytes());
    out.extend_from_slice(metadata);
    out.resize(out.len() + padded - metadata.len(), 0);
}

//! Arrow IPC streams: one schema message, one record batch, end of stream.
//!
//! Written with the flatbuffer types of `arrow-ipc`. Read by own code, because bytes from a hostile
//! sender must not panic: every flatbuffer goes through its verifier and every buffer is cut with a
//! bounds check. Only the two column types of this format exist here, UInt8 and Utf8 without nulls.

use std::collections::HashMap;

use arrow_ipc::convert::IpcSchemaEncoder;
use arrow_ipc::{
    Buffer, FieldNode, Message, MessageBuilder, MessageHeader, MetadataVersion, RecordBatchBuilder,
    Type, root_as_message,
};
use arrow_schema::{DataType, Field, Schema};
use flatbuffers::FlatBufferBuilder;

use crate::DecodeError;

/// Metadata key of the table's name in the schema and of the transform in a field.
const KEY: &str = "waybill";
const CONTINUATION: [u8; 4] = [0xff; 4];

/// The values of one Arrow column.
#[derive(Debug)]
pub(crate) enum Values {
    /// UInt8.
    Bytes(Vec<u8>),
    /// Utf8.
    Text { offsets: Vec<i32>, data: Vec<u8> },
}

/// One Arrow column.
#[derive(Debug)]
pub(crate) struct ArrowColumn {
    pub(crate) name: String,
    pub(crate) note: String,
    pub(crate) values: Values,
}

/// One table to write.
#[derive(Debug)]
pub(crate) struct ArrowTable {
    pub(crate) name: String,
    pub(crate) rows: usize,
    pub(crate) columns: Vec<ArrowColumn>,
}

/// Appends a table as a complete Arrow IPC stream.
pub(crate) fn write(table: &ArrowTable, out: &mut Vec<u8>) {
    write_message(&schema_message(table), out);
    let mut body = Vec::new();
    let mut buffers = Vec::new();
    for column in &table.columns {
        buffers.push(Buffer::new(length(body.len()), 0));
        match &column.values {
            Values::Bytes(bytes) => append(bytes, &mut body, &mut buffers),
            Values::Text { offsets, data } => {
                let offsets: Vec<u8> = offsets.iter().flat_map(|o| o.to_le_bytes()).collect();
                append(&offsets, &mut body, &mut buffers);
                append(data, &mut body, &mut buffers);
            }
        }
    }
    write_message(&batch_message(table, &buffers, body.len()), out);
    out.extend_from_slice(&body);
    out.extend_from_slice(&CONTINUATION);
    out.extend_from_slice(&[0; 4]);
}

fn length(value: usize) -> i64 {
    i64::try_from(value).expect("memory sizes fit")
}

fn append(bytes: &[u8], body: &mut Vec<u8>, buffers: &mut Vec<Buffer>) {
    buffers.push(Buffer::new(length(body.len()), length(bytes.len())));
    body.extend_from_slice(bytes);
    body.resize(body.len().next_multiple_of(8), 0);
}

fn schema_message(table: &ArrowTable) -> Vec<u8> {
    let fields: Vec<Field> = table
        .columns
        .iter()
        .map(|column| {
            let kind = match column.values {
                Values::Bytes(_) => DataType::UInt8,
                Values::Text { .. } => DataType::Utf8,
            };
            let note = HashMap::from([(KEY.to_owned(), column.note.clone())]);
            Field::new(&column.name, kind, false).with_metadata(note)
        })
        .collect();
    let name = HashMap::from([(KEY.to_owned(), table.name.clone())]);
    let schema = Schema::new_with_metadata(fields, name);
    let mut fbb = FlatBufferBuilder::new();
    let header = IpcSchemaEncoder::new().schema_to_fb_offset(&mut fbb, &schema);
    let mut message = MessageBuilder::new(&mut fbb);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::Schema);
    message.add_bodyLength(0);
    message.add_header(header.as_union_value());
    let message = message.finish();
    fbb.finish(message, None);
    fbb.finished_data().to_vec()
}

fn batch_message(table: &ArrowTable, buffers: &[Buffer], body: usize) -> Vec<u8> {
    let mut fbb = FlatBufferBuilder::new();
    let node = FieldNode::new(length(table.rows), 0);
    let nodes = fbb.create_vector(&vec![node; table.columns.len()]);
    let buffers = fbb.create_vector(buffers);
    let mut batch = RecordBatchBuilder::new(&mut fbb);
    batch.add_length(length(table.rows));
    batch.add_nodes(nodes);
    batch.add_buffers(buffers);
    let header = batch.finish().as_union_value();
    let mut message = MessageBuilder::new(&mut fbb);
    message.add_version(MetadataVersion::V5);
    message.add_header_type(MessageHeader::RecordBatch);
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

#[derive(Clone, Copy, Debug)]
enum Cut<'a> {
    Bytes(&'a [u8]),
    Text(&'a [u8], &'a [u8]),
}

/// One table as it lies in the decompressed bytes.
#[derive(Debug)]
pub(crate) struct ReadTable<'a> {
    pub(crate) name: String,
    pub(crate) rows: usize,
    columns: HashMap<String, Cut<'a>>,
}

fn malformed(what: impl Into<String>) -> DecodeError {
    DecodeError::Malformed(what.into())
}

impl<'a> ReadTable<'a> {
    /// Cuts the first stream off `input`.
    pub(crate) fn read(input: &mut &'a [u8]) -> Result<Self, DecodeError> {
        let schema = read_message(input, MessageHeader::Schema)?;
        let schema = schema
            .header_as_schema()
            .ok_or_else(|| malformed("first message is not a schema"))?;
        let name = schema
            .custom_metadata()
            .into_iter()
            .flatten()
            .find(|pair| pair.key() == Some(KEY))
            .and_then(|pair| pair.value())
            .ok_or_else(|| malformed("table without a name"))?;
        let mut kinds = Vec::new();
        for field in schema.fields().into_iter().flatten() {
            let name = field
                .name()
                .ok_or_else(|| malformed("column without a name"))?;
            let int = field.type_as_int();
            let text = match (field.type_type(), int) {
                (Type::Int, Some(int)) if int.bitWidth() == 8 && !int.is_signed() => false,
                (Type::Utf8, _) => true,
                _ => return Err(malformed(format!("column {name} has a foreign type"))),
            };
            if field.dictionary().is_some() {
                return Err(malformed(format!("column {name} is dictionary-encoded")));
            }
            kinds.push((name, text));
        }
        let message = read_message(input, MessageHeader::RecordBatch)?;
        let (rows, columns) = read_columns(&message, &kinds, input)?;
        match input.split_at_checked(8) {
            Some((end, rest)) if end[..4] == CONTINUATION && end[4..] == [0; 4] => *input = rest,
            _ => return Err(malformed("stream without an end")),
        }
        Ok(Self {
            name: name.to_owned(),
            rows,
            columns,
        })
    }

    /// The UInt8 column of that name.
    pub(crate) fn bytes(&self, name: &str) -> Result<&'a [u8], DecodeError> {
        match self.columns.get(name) {
            Some(Cut::Bytes(bytes)) => Ok(bytes),
            _ => Err(malformed(format!("{} has no number {name}", self.name))),
        }
    }

    /// The Utf8 column of that name.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, DecodeError> {
        let Some(Cut::Text(offsets, data)) = self.columns.get(name) else {
            return Err(malformed(format!("{} has no text {name}", self.name)));
        };
        let mut ends = offsets
            .as_chunks::<4>()
            .0
            .iter()
            .map(|bytes| i32::from_le_bytes(*bytes));
        let mut start = ends.next().unwrap_or(0);
        let mut texts = Vec::with_capacity(self.rows);
        for end in ends {
            let text = usize::try_from(start)
                .ok()
                .zip(usize::try_from(end).ok())
                .and_then(|(start, end)| data.get(start..end))
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .ok_or_else(|| malformed(format!("column {name} has a broken text")))?;
            texts.push(text.to_owned());
            start = end;
        }
        Ok(texts)
    }
}

fn read_message<'a>(input: &mut &'a [u8], kind: MessageHeader) -> Result<Message<'a>, DecodeError> {
    let cut = |input: &mut &'a [u8], size: usize| {
        let (head, rest) = input
            .split_at_checked(size)
            .ok_or_else(|| malformed("stream ends within a message"))?;
        *input = rest;
        Ok(head)
    };
    if cut(input, 4)? != CONTINUATION {
        return Err(malformed("no message where one should begin"));
    }
    let size = cut(input, 4)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes));
    let size = size
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(usize::MAX);
    let message = root_as_message(cut(input, size)?)
        .map_err(|error| malformed(format!("message metadata: {error}")))?;
    if message.version() != MetadataVersion::V5 || message.header_type() != kind {
        return Err(malformed("unexpected message"));
    }
    Ok(message)
}

fn read_columns<'a>(
    message: &Message<'_>,
    kinds: &[(&str, bool)],
    input: &mut &'a [u8],
) -> Result<(usize, HashMap<String, Cut<'a>>), DecodeError> {
    let batch = message
        .header_as_record_batch()
        .ok_or_else(|| malformed("second message is not a record batch"))?;
    if batch.compression().is_some() || batch.variadicBufferCounts().is_some() {
        return Err(malformed("record batch with a foreign encoding"));
    }
    let body = usize::try_from(message.bodyLength()).unwrap_or(usize::MAX);
    let (body, rest) = input
        .split_at_checked(body)
        .ok_or_else(|| malformed("record batch ends within its body"))?;
    *input = rest;
    let rows = usize::try_from(batch.length()).map_err(|_| malformed("negative row count"))?;
    if rows > body.len() {
        return Err(malformed("record batch with more rows than bytes"));
    }
    let nodes = batch.nodes().into_iter().flatten();
    if nodes.clone().count() != kinds.len() {
        return Err(malformed(
            "record batch has another number of columns than its schema",
        ));
    }
    if nodes
        .clone()
        .any(|node| node.length() != batch.length() || node.null_count() != 0)
    {
        return Err(malformed("column with another length or with nulls"));
    }
    let mut buffers = batch.buffers().into_iter().flatten();
    let mut next = |size: Option<usize>| {
        let buffer = buffers
            .next()
            .ok_or_else(|| malformed("record batch lacks a buffer"))?;
        let start = usize::try_from(buffer.offset()).unwrap_or(usize::MAX);
        let length = usize::try_from(buffer.length()).unwrap_or(usize::MAX);
        if size.is_some_and(|size| size != length) {
            return Err(malformed("buffer of another size than its column"));
        }
        start
            .checked_add(length)
            .and_then(|end| body.get(start..end))
            .ok_or_else(|| malformed("buffer outside of the body"))
    };
    let mut columns = HashMap::with_capacity(kinds.len());
    for (name, text) in kinds {
        let _validity = next(None)?;
        let cut = if *text {
            let ends = rows.checked_add(1).and_then(|count| count.checked_mul(4));
            Cut::Text(next(Some(ends.unwrap_or(usize::MAX)))?, next(None)?)
        } else {
            Cut::Bytes(next(Some(rows))?)
        };
        columns.insert((*name).to_owned(), cut);
    }
    Ok((rows, columns))
}

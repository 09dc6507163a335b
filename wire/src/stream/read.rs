//! Reads tables. Own code, because bytes from a hostile sender must not panic: every flatbuffer goes
//! through its verifier, and every buffer is cut with a bounds check.

use std::collections::HashMap;

use arrow_ipc::{
    Message, MessageHeader, MetadataVersion, RecordBatch, Type, root_as_message_with_opts,
};
use flatbuffers::VerifierOptions;

use super::framing::{CONTINUATION, END, KEY};
use crate::error::DecodeError;

/// More than any version of this format will have.
const MAX_COLUMNS: usize = 256;

/// Bounds of what a hostile message can make the verifier do; the largest real one is far below.
const VERIFIER: VerifierOptions = VerifierOptions {
    max_depth: 16,
    max_tables: 8 * MAX_COLUMNS,
    max_apparent_size: 1 << 20,
    ignore_missing_null_terminator: false,
};

/// One table as it lies in the decompressed bytes.
#[derive(Debug)]
pub(crate) struct ReadTable<'a> {
    pub(crate) name: &'a str,
    pub(crate) rows: usize,
    columns: HashMap<&'a str, Cut<'a>>,
}

#[derive(Clone, Copy, Debug)]
enum Cut<'a> {
    /// Little-endian numbers of so many bytes each.
    Numbers(usize, &'a [u8]),
    Text(Spans<'a>),
    Blob(Spans<'a>),
}

#[derive(Clone, Copy, Debug)]
struct Spans<'a> {
    offsets: &'a [u8],
    data: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Numbers(usize),
    Text,
    Blob,
}

impl<'a> ReadTable<'a> {
    /// Cuts the first stream off `input`.
    pub(crate) fn read(input: &mut &'a [u8]) -> Result<Self, DecodeError> {
        let (name, kinds) = read_schema(input)?;
        let message = read_message(input, MessageHeader::RecordBatch)?;
        let batch = message
            .header_as_record_batch()
            .ok_or_else(|| malformed("second message is not a record batch"))?;
        let body = cut(
            input,
            usize::try_from(message.bodyLength()).unwrap_or(usize::MAX),
        )?;
        let rows = usize::try_from(batch.length()).unwrap_or(usize::MAX);
        if rows > body.len() {
            return Err(malformed("record batch with more rows than bytes"));
        }
        let columns = read_columns(batch, rows, &kinds, body)?;
        if cut(input, END.len())? != END {
            return Err(malformed("stream without an end"));
        }
        Ok(Self {
            name,
            rows,
            columns,
        })
    }

    /// Bytes that its columns take as numbers and texts; a text is in its column and in its row.
    pub(crate) fn unpacked_bytes(&self) -> usize {
        let cell = |cut: &Cut<'_>| match cut {
            Cut::Numbers(..) => size_of::<u64>(),
            Cut::Text(_) => 2 * size_of::<String>(),
            Cut::Blob(_) => size_of::<&[u8]>(),
        };
        let cells = self.columns.values().map(cell).sum::<usize>();
        self.rows
            .saturating_mul(cells)
            .saturating_add(self.text_bytes())
    }

    /// Bytes of all texts.
    pub(crate) fn text_bytes(&self) -> usize {
        let text = |cut: &Cut<'_>| match cut {
            Cut::Text(spans) => spans.data.len(),
            Cut::Numbers(..) | Cut::Blob(_) => 0,
        };
        self.columns.values().map(text).sum()
    }

    /// The UInt8 column of that name.
    pub(crate) fn bytes(&self, name: &str) -> Result<&'a [u8], DecodeError> {
        match self.columns.get(name) {
            Some(Cut::Numbers(1, bytes)) => Ok(bytes),
            _ => Err(malformed(format!("{} has no number {name}", self.name))),
        }
    }

    /// The column of numbers of that name, `None` where there is none.
    pub(crate) fn numbers(&self, name: &str) -> Option<impl Iterator<Item = u64> + use<'a>> {
        let Some(Cut::Numbers(size, bytes)) = self.columns.get(name) else {
            return None;
        };
        Some(bytes.chunks_exact(*size).map(|bytes| {
            let mut number = [0; 8];
            number[..bytes.len()].copy_from_slice(bytes);
            u64::from_le_bytes(number)
        }))
    }

    /// Whether there is a column of that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.columns.contains_key(name)
    }

    /// The Utf8 column of that name.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>, DecodeError> {
        let Some(Cut::Text(spans)) = self.columns.get(name) else {
            return Err(malformed(format!("{} has no text {name}", self.name)));
        };
        let text = |span: Option<&'a [u8]>| {
            let text = span.and_then(|bytes| std::str::from_utf8(bytes).ok());
            text.map(str::to_owned)
                .ok_or_else(|| malformed(format!("broken text in {name}")))
        };
        spans.iter().map(text).collect()
    }

    /// The Binary column of that name.
    pub(crate) fn blobs(&self, name: &str) -> Result<Vec<&'a [u8]>, DecodeError> {
        let Some(Cut::Blob(spans)) = self.columns.get(name) else {
            return Err(malformed(format!("{} has no blob {name}", self.name)));
        };
        let blob = |span: Option<&'a [u8]>| span.ok_or_else(|| malformed("broken blob"));
        spans.iter().map(blob).collect()
    }
}

impl<'a> Spans<'a> {
    /// The values; none where the offsets are broken.
    fn iter(self) -> impl Iterator<Item = Option<&'a [u8]>> {
        let (offsets, _) = self.offsets.as_chunks::<4>();
        let offset = |bytes: &[u8; 4]| usize::try_from(i32::from_le_bytes(*bytes)).ok();
        // Each span begins where the one before ends, so all together are no longer than the data.
        offsets
            .windows(2)
            .map(move |pair| self.data.get(offset(&pair[0])?..offset(&pair[1])?))
    }
}

fn malformed(what: impl Into<String>) -> DecodeError {
    DecodeError::Malformed(what.into())
}

fn cut<'a>(input: &mut &'a [u8], size: usize) -> Result<&'a [u8], DecodeError> {
    let (head, rest) = input
        .split_at_checked(size)
        .ok_or_else(|| malformed("stream ends within a message"))?;
    *input = rest;
    Ok(head)
}

fn read_message<'a>(input: &mut &'a [u8], kind: MessageHeader) -> Result<Message<'a>, DecodeError> {
    if cut(input, 4)? != CONTINUATION {
        return Err(malformed("no message where one should begin"));
    }
    let size = cut(input, 4)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes));
    let size = size
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(usize::MAX);
    let message = root_as_message_with_opts(&VERIFIER, cut(input, size)?)
        .map_err(|error| malformed(format!("message metadata: {error}")))?;
    if message.version() != MetadataVersion::V5 || message.header_type() != kind {
        return Err(malformed("unexpected message"));
    }
    Ok(message)
}

type Kinds<'a> = Vec<(&'a str, Kind)>;

fn read_schema<'a>(input: &mut &'a [u8]) -> Result<(&'a str, Kinds<'a>), DecodeError> {
    let message = read_message(input, MessageHeader::Schema)?;
    let schema = message
        .header_as_schema()
        .ok_or_else(|| malformed("first message is not a schema"))?;
    let mut metadata = schema.custom_metadata().into_iter().flatten();
    let name = metadata
        .find(|pair| pair.key() == Some(KEY))
        .and_then(|pair| pair.value());
    let name = name.ok_or_else(|| malformed("table without a name"))?;
    let fields = schema.fields();
    if fields.is_some_and(|fields| fields.len() > MAX_COLUMNS) {
        return Err(malformed("table with too many columns"));
    }
    let mut kinds = Vec::new();
    for field in fields.into_iter().flatten() {
        let name = field
            .name()
            .ok_or_else(|| malformed("column without a name"))?;
        let kind = match (field.type_type(), field.type_as_int()) {
            (Type::Int, Some(int)) if !int.is_signed() => match int.bitWidth() {
                bits @ (8 | 16 | 32 | 64) => Kind::Numbers(bits.unsigned_abs() as usize / 8),
                _ => return Err(malformed(format!("column {name} has a foreign type"))),
            },
            (Type::Utf8, _) => Kind::Text,
            (Type::Binary, _) => Kind::Blob,
            _ => return Err(malformed(format!("column {name} has a foreign type"))),
        };
        if field.dictionary().is_some() || field.children().is_some_and(|list| !list.is_empty()) {
            return Err(malformed(format!("column {name} has a foreign encoding")));
        }
        kinds.push((name, kind));
    }
    Ok((name, kinds))
}

fn read_columns<'a>(
    batch: RecordBatch<'_>,
    rows: usize,
    kinds: &Kinds<'a>,
    body: &'a [u8],
) -> Result<HashMap<&'a str, Cut<'a>>, DecodeError> {
    if batch.compression().is_some() || batch.variadicBufferCounts().is_some() {
        return Err(malformed("record batch with a foreign encoding"));
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
        let end = start.checked_add(length);
        end.and_then(|end| body.get(start..end))
            .ok_or_else(|| malformed("buffer out of bounds"))
    };
    // `rows` is at most the body's length, so this cannot overflow.
    let offsets = Some((rows + 1) * size_of::<i32>());
    let mut columns = HashMap::with_capacity(kinds.len());
    for (name, kind) in kinds {
        let _validity = next(None)?;
        let cut = match kind {
            // No more than eight times the body's length.
            Kind::Numbers(size) => Cut::Numbers(*size, next(Some(rows.saturating_mul(*size)))?),
            Kind::Text => Cut::Text(Spans {
                offsets: next(offsets)?,
                data: next(None)?,
            }),
            Kind::Blob => Cut::Blob(Spans {
                offsets: next(offsets)?,
                data: next(None)?,
            }),
        };
        if columns.insert(*name, cut).is_some() {
            return Err(malformed(format!("column {name} comes twice")));
        }
    }
    Ok(columns)
}

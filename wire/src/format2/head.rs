//! The uncompressed head of a batch: what a collector needs before it unpacks anything.

use crate::batch::{BatchHeader, MAGIC, tables};
use crate::bounds::Limits;
use crate::checksum::crc32;
use crate::error::DecodeError;

/// Layout of the head.
pub(crate) const VERSION: u8 = 2;
/// Rises with each change of a table that has a struct; for people, because each table travels with
/// its own version.
pub const SCHEMA: u8 = 1;

/// Number of a table for which the reader may have no struct.
pub(crate) const OTHER: u8 = 255;

/// Most tables of a batch.
pub(crate) const MAX_TABLES: usize = 64;

const FIXED: usize = 72;
const ENTRY: usize = 5;
const CHECKSUM: usize = 4;

/// The head of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) batch: BatchHeader,
    pub(crate) dictionary: u8,
    /// Decompressed bytes.
    pub(crate) raw: u32,
    /// The number of each table, which is its place in the registry or [`OTHER`], and its rows.
    pub(crate) rows: Vec<(u8, u32)>,
}

impl Head {
    /// Puts head, compressed rows and checksum together.
    pub(crate) fn seal(&self, compressed: &[u8]) -> Vec<u8> {
        let size = FIXED + ENTRY * self.rows.len() + compressed.len() + CHECKSUM;
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(&MAGIC);
        let entries = u8::try_from(self.rows.len()).expect("few tables exist");
        out.extend_from_slice(&[VERSION, SCHEMA, entries, self.dictionary]);
        out.extend_from_slice(&self.raw.to_le_bytes());
        let length = u32::try_from(compressed.len()).expect("a batch is far below 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.batch.host);
        out.extend_from_slice(&self.batch.boot);
        for number in [self.batch.sequence, self.batch.start_ms, self.batch.end_ms] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for (table, rows) in &self.rows {
            out.push(*table);
            out.extend_from_slice(&rows.to_le_bytes());
        }
        out.extend_from_slice(compressed);
        let sum = crc32(&out);
        out.extend_from_slice(&sum.to_le_bytes());
        out
    }

    /// Checks head and checksum, and returns the compressed rows.
    pub(crate) fn open<'a>(
        bytes: &'a [u8],
        limits: &Limits,
    ) -> Result<(Self, &'a [u8]), DecodeError> {
        if bytes.len() > limits.max_bytes {
            return Err(too_large("compressed bytes", limits.max_bytes));
        }
        let mut input = Input(bytes);
        if input.array()? != MAGIC {
            return Err(malformed("does not begin like a batch"));
        }
        let [format, _schema, entries, dictionary] = input.array()?;
        if format != VERSION {
            return Err(DecodeError::Unsupported(format!("format version {format}")));
        }
        let (content, sum) = bytes
            .split_last_chunk::<CHECKSUM>()
            .ok_or_else(|| malformed("is truncated"))?;
        // A fuzzer would never get past it, and what is behind must hold by itself.
        if !cfg!(fuzzing) && crc32(content) != u32::from_le_bytes(*sum) {
            return Err(malformed("checksum does not match"));
        }
        let raw = u32::from_le_bytes(input.array()?);
        let length = u32::from_le_bytes(input.array()?);
        let batch = BatchHeader {
            host: input.array()?,
            boot: input.array()?,
            sequence: u64::from_le_bytes(input.array()?),
            start_ms: u64::from_le_bytes(input.array()?),
            end_ms: u64::from_le_bytes(input.array()?),
        };
        let rows = read_rows(&mut input, entries)?;
        let compressed = input
            .0
            .split_last_chunk::<CHECKSUM>()
            .ok_or_else(|| malformed("is truncated"))?
            .0;
        if u32::try_from(compressed.len()) != Ok(length) {
            return Err(malformed("length does not match"));
        }
        let head = Self {
            batch,
            dictionary,
            raw,
            rows,
        };
        head.check(limits)?;
        Ok((head, compressed))
    }

    /// Decompressed bytes.
    pub(crate) fn raw(&self) -> usize {
        usize::try_from(self.raw).unwrap_or(usize::MAX)
    }

    fn check(&self, limits: &Limits) -> Result<(), DecodeError> {
        if self.raw() > limits.max_raw_bytes {
            return Err(too_large("decompressed bytes", limits.max_raw_bytes));
        }
        let rows: u64 = self.rows.iter().map(|(_, rows)| u64::from(*rows)).sum();
        if usize::try_from(rows).unwrap_or(usize::MAX) > limits.max_rows {
            return Err(too_large("rows", limits.max_rows));
        }
        Ok(())
    }
}

fn read_rows(input: &mut Input<'_>, entries: u8) -> Result<Vec<(u8, u32)>, DecodeError> {
    if usize::from(entries) > MAX_TABLES {
        return Err(malformed("too many tables"));
    }
    let known = tables().len();
    let mut rows: Vec<(u8, u32)> = Vec::with_capacity(usize::from(entries));
    for _ in 0..entries {
        let [table] = input.array()?;
        let count = u32::from_le_bytes(input.array()?);
        // A number that this reader does not know is that of a newer one's struct.
        let table = if usize::from(table) < known {
            table
        } else {
            OTHER
        };
        let twice = table != OTHER && rows.iter().any(|(other, _)| *other == table);
        if twice || count == 0 {
            return Err(malformed("row counts are not distinct"));
        }
        rows.push((table, count));
    }
    Ok(rows)
}

fn malformed(what: &str) -> DecodeError {
    DecodeError::Malformed(what.to_owned())
}

fn too_large(what: &'static str, limit: usize) -> DecodeError {
    DecodeError::TooLarge { what, limit }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self
            .0
            .split_first_chunk::<N>()
            .ok_or_else(|| malformed("is truncated"))?;
        self.0 = rest;
        Ok(*head)
    }
}

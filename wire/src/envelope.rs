//! What the heads of all formats have in common: who sealed the batch, sizes, row counts and the
//! checksum around what is compressed.

use crate::batch::{BatchHeader, MAGIC};
use crate::bounds::{self, Limits};
use crate::checksum::crc32;
use crate::error::DecodeError;

/// Number of a table for which the reader may have no struct; a batch may have several.
pub(crate) const OTHER: u8 = 255;

const ENTRY: usize = 5;
const CHECKSUM: usize = 4;

/// The head of one batch, without what a format has of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Envelope {
    pub(crate) batch: BatchHeader,
    /// Decompressed bytes.
    pub(crate) raw: u32,
    /// The number of each table and its rows.
    pub(crate) rows: Vec<(u8, u32)>,
}

impl Envelope {
    /// Puts head, compressed rows and checksum together; `own` is what a format has after [`MAGIC`].
    pub(crate) fn seal(&self, own: &[u8], compressed: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(128 + ENTRY * self.rows.len() + compressed.len());
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(own);
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

    /// Checks head and checksum, and returns what the format has of its own, the rest and the
    /// compressed rows.
    ///
    /// `own` says of the former how many tables follow, once it is known that its first byte is
    /// `version` and that the bytes are whole.
    pub(crate) fn open<'a, const N: usize>(
        bytes: &'a [u8],
        limits: &Limits,
        version: u8,
        own: impl Fn(&[u8; N]) -> Result<u8, DecodeError>,
    ) -> Result<([u8; N], Self, &'a [u8]), DecodeError> {
        if bytes.len() > limits.max_bytes {
            return Err(too_large("compressed bytes", limits.max_bytes));
        }
        let mut input = Input(bytes);
        if input.array()? != MAGIC {
            return Err(malformed("does not begin like a batch"));
        }
        let bytes_of_format: [u8; N] = input.array()?;
        if bytes_of_format[0] != version {
            let found = format!("format version {}", bytes_of_format[0]);
            return Err(DecodeError::Unsupported(found));
        }
        let (content, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or_else(truncated)?;
        // A fuzzer would never get past it, and what is behind must hold by itself.
        if !cfg!(fuzzing) && crc32(content) != u32::from_le_bytes(*sum) {
            return Err(malformed("checksum does not match"));
        }
        let tables = own(&bytes_of_format)?;
        let raw = u32::from_le_bytes(input.array()?);
        let length = u32::from_le_bytes(input.array()?);
        let batch = BatchHeader {
            host: input.array()?,
            boot: input.array()?,
            sequence: u64::from_le_bytes(input.array()?),
            start_ms: u64::from_le_bytes(input.array()?),
            end_ms: u64::from_le_bytes(input.array()?),
        };
        let mut rows = Vec::with_capacity(usize::from(tables));
        for _ in 0..tables {
            let [table] = input.array()?;
            rows.push((table, u32::from_le_bytes(input.array()?)));
        }
        let (compressed, _) = input
            .0
            .split_last_chunk::<CHECKSUM>()
            .ok_or_else(truncated)?;
        if u32::try_from(compressed.len()) != Ok(length) {
            return Err(malformed("length does not match"));
        }
        let envelope = Self { batch, raw, rows };
        if envelope.raw() > limits.max_raw_bytes {
            return Err(too_large("decompressed bytes", limits.max_raw_bytes));
        }
        Ok((bytes_of_format, envelope, compressed))
    }

    /// Decompressed bytes.
    pub(crate) fn raw(&self) -> usize {
        usize::try_from(self.raw).unwrap_or(usize::MAX)
    }

    /// Rows of the table of that number.
    pub(crate) fn rows_of(&self, table: usize) -> u32 {
        let mut found = self.rows.iter();
        let found = found.find(|(number, _)| usize::from(*number) == table);
        found.map_or(0, |(_, rows)| *rows)
    }

    /// Refuses tables that come twice or have no rows, and more rows than the limits allow.
    pub(crate) fn check_rows(&self, limits: &Limits) -> Result<(), DecodeError> {
        for (at, (table, rows)) in self.rows.iter().enumerate() {
            let twice = self.rows[..at].iter().any(|(other, _)| other == table);
            if *rows == 0 || twice && *table != OTHER {
                return Err(malformed("row counts are not distinct"));
            }
        }
        let rows: u64 = self.rows.iter().map(|(_, rows)| u64::from(*rows)).sum();
        if usize::try_from(rows).unwrap_or(usize::MAX) > limits.max_rows {
            return Err(too_large("rows", limits.max_rows));
        }
        Ok(())
    }

    /// Bytes of all rows, with those of a row of each table.
    pub(crate) fn row_bytes(&self, of_table: impl Fn(usize) -> usize) -> usize {
        let bytes = self.rows.iter().map(|(table, rows)| {
            let rows = usize::try_from(*rows).unwrap_or(usize::MAX);
            rows.saturating_mul(of_table(usize::from(*table)))
        });
        bytes.fold(0, usize::saturating_add)
    }

    /// The most bytes of memory that opening takes, with those of its rows without their texts.
    pub(crate) fn memory(&self, row_bytes: usize, limits: &Limits) -> usize {
        let unpacked = self.raw().saturating_mul(bounds::RAW_FACTOR);
        let unpacked = unpacked.saturating_add(row_bytes);
        self.raw()
            .saturating_add(unpacked.min(bounds::unpacked(limits)))
    }
}

pub(crate) fn malformed(what: &str) -> DecodeError {
    DecodeError::Malformed(what.to_owned())
}

fn truncated() -> DecodeError {
    malformed("is truncated")
}

fn too_large(what: &'static str, limit: usize) -> DecodeError {
    DecodeError::TooLarge { what, limit }
}

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or_else(truncated)?;
        self.0 = rest;
        Ok(*head)
    }
}

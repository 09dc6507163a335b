//! The uncompressed head of a batch: what a collector needs before it unpacks anything.

use crate::batch::{BatchHeader, MAGIC};
use crate::bounds::Limits;
use crate::checksum::crc32;
use crate::error::DecodeError;
use crate::family::connection::{EdgeRow, EventRow, SightingRow};
use crate::family::host::HostRow;
use crate::family::nat::NatRow;
use crate::family::process::ProcessRow;

/// Layout of the head.
const VERSION: u8 = 1;
/// Tables and columns; another major number is another language.
pub const SCHEMA_MAJOR: u8 = 1;
/// Grows with each added table or column; readers skip what they do not know.
pub const SCHEMA_MINOR: u8 = 2;

const FIXED: usize = 76;
const ENTRY: usize = 5;
const CHECKSUM: usize = 4;

/// Row families in the order of their numbers in the head.
pub(crate) const FAMILIES: [&str; 6] = ["edge", "sighting", "process", "host", "event", "nat"];

/// The head of one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Minor schema version of the writer.
    pub(crate) minor: u8,
    pub(crate) batch: BatchHeader,
    pub(crate) dictionary: u16,
    /// Decompressed bytes.
    pub(crate) raw: u32,
    /// Rows per family of [`FAMILIES`].
    pub(crate) rows: [u32; FAMILIES.len()],
}

impl Head {
    /// Puts head, compressed rows and checksum together.
    pub(crate) fn seal(&self, compressed: &[u8]) -> Vec<u8> {
        let entries: Vec<_> = self
            .rows
            .iter()
            .zip(0u8..)
            .filter(|(rows, _)| **rows > 0)
            .collect();
        let size = FIXED + ENTRY * entries.len() + compressed.len() + CHECKSUM;
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&[VERSION, SCHEMA_MAJOR, self.minor]);
        out.push(u8::try_from(entries.len()).expect("few families exist"));
        out.extend_from_slice(&u32::from(self.dictionary).to_le_bytes());
        out.extend_from_slice(&self.raw.to_le_bytes());
        let length = u32::try_from(compressed.len()).expect("a batch is far below 4 GiB");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.batch.host);
        out.extend_from_slice(&self.batch.boot);
        for number in [self.batch.sequence, self.batch.start_ms, self.batch.end_ms] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for (rows, family) in entries {
            out.push(family);
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
            return Err(DecodeError::TooLarge {
                what: "compressed bytes",
                limit: limits.max_bytes,
            });
        }
        let mut input = Input(bytes);
        if input.array()? != MAGIC {
            return Err(malformed("does not begin like a batch"));
        }
        let [format, major, minor, entries] = input.array()?;
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
        if major != SCHEMA_MAJOR {
            return Err(DecodeError::Unsupported(format!("schema version {major}")));
        }
        let dictionary = u32::from_le_bytes(input.array()?);
        let dictionary = u16::try_from(dictionary)
            .map_err(|_| DecodeError::Unsupported(format!("dictionary {dictionary}")))?;
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
            minor,
            batch,
            dictionary,
            raw,
            rows,
        };
        head.check(limits)?;
        Ok((head, compressed))
    }

    /// Bytes of the rows once they are unpacked, without their texts.
    pub(crate) fn row_bytes(&self) -> usize {
        let sizes = [
            size_of::<EdgeRow>(),
            size_of::<SightingRow>(),
            size_of::<ProcessRow>(),
            size_of::<HostRow>(),
            size_of::<EventRow>(),
            size_of::<NatRow>(),
        ];
        let rows = self.rows.iter().map(|rows| usize::try_from(*rows));
        let bytes = rows.zip(sizes).map(|(rows, size)| {
            let rows = rows.unwrap_or(usize::MAX);
            rows.saturating_mul(size)
        });
        bytes.fold(0, usize::saturating_add)
    }

    fn check(&self, limits: &Limits) -> Result<(), DecodeError> {
        if usize::try_from(self.raw).unwrap_or(usize::MAX) > limits.max_raw_bytes {
            return Err(DecodeError::TooLarge {
                what: "decompressed bytes",
                limit: limits.max_raw_bytes,
            });
        }
        let rows: u64 = self.rows.iter().copied().map(u64::from).sum();
        if usize::try_from(rows).unwrap_or(usize::MAX) > limits.max_rows {
            return Err(DecodeError::TooLarge {
                what: "rows",
                limit: limits.max_rows,
            });
        }
        Ok(())
    }
}

/// Entries of families that this reader does not know belong to a newer minor schema.
fn read_rows(input: &mut Input<'_>, entries: u8) -> Result<[u32; FAMILIES.len()], DecodeError> {
    let mut rows = [0; FAMILIES.len()];
    for _ in 0..entries {
        let [family] = input.array()?;
        let count = u32::from_le_bytes(input.array()?);
        if let Some(slot) = rows.get_mut(usize::from(family)) {
            if *slot != 0 || count == 0 {
                return Err(malformed("row counts are not distinct"));
            }
            *slot = count;
        }
    }
    Ok(rows)
}

fn malformed(what: &str) -> DecodeError {
    DecodeError::Malformed(what.to_owned())
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

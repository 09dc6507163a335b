//! The uncompressed head of a batch: what a collector needs before it unpacks anything.

use crate::batch::{Batch, BatchHeader};
use crate::bounds::Limits;
use crate::envelope::{Envelope, check_rows, malformed};
use crate::error::DecodeError;

/// Layout of the head.
const VERSION: u8 = 1;
/// Tables and columns; another major number is another language.
pub const SCHEMA_MAJOR: u8 = 1;
/// Grows with each added table or column; readers skip what they do not know.
pub const SCHEMA_MINOR: u8 = 2;

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
        let entries = (0u8..).zip(self.rows).filter(|(_, rows)| *rows > 0);
        let envelope = Envelope {
            batch: self.batch.clone(),
            raw: self.raw,
            rows: entries.collect(),
        };
        let families = u8::try_from(envelope.rows.len()).expect("few families exist");
        let [low, high] = self.dictionary.to_le_bytes();
        let own = [VERSION, SCHEMA_MAJOR, self.minor, families, low, high, 0, 0];
        envelope.seal(&own, compressed)
    }

    /// Checks head and checksum, and returns the compressed rows.
    pub(crate) fn open<'a>(
        bytes: &'a [u8],
        limits: &Limits,
    ) -> Result<(Self, &'a [u8]), DecodeError> {
        let unsupported = |what| Err(DecodeError::Unsupported(what));
        let own = |own: &[u8; 8]| match *own {
            [_, SCHEMA_MAJOR, _, families, _, _, 0, 0] => Ok(families),
            [_, SCHEMA_MAJOR, _, _, dictionary @ ..] => {
                unsupported(format!("dictionary {}", u32::from_le_bytes(dictionary)))
            }
            [_, major, ..] => unsupported(format!("schema version {major}")),
        };
        let ([_, _, minor, _, low, high, _, _], envelope, compressed) =
            Envelope::open(bytes, limits, VERSION, own)?;
        let rows = rows(&envelope.rows)?;
        check_rows(rows.into_iter(), limits)?;
        let head = Self {
            minor,
            batch: envelope.batch,
            dictionary: u16::from_le_bytes([low, high]),
            raw: envelope.raw,
            rows,
        };
        Ok((head, compressed))
    }

    /// Bytes of the rows once they are unpacked, without their texts.
    pub(crate) fn row_bytes(&self) -> usize {
        let bytes = self
            .rows
            .iter()
            .zip(Batch::row_bytes())
            .map(|(rows, size)| {
                let rows = usize::try_from(*rows).unwrap_or(usize::MAX);
                rows.saturating_mul(size)
            });
        bytes.fold(0, usize::saturating_add)
    }
}

/// Entries of families that this reader does not know belong to a newer minor schema.
fn rows(entries: &[(u8, u32)]) -> Result<[u32; FAMILIES.len()], DecodeError> {
    let mut rows = [0; FAMILIES.len()];
    for (family, count) in entries {
        if let Some(slot) = rows.get_mut(usize::from(*family)) {
            if *slot != 0 || *count == 0 {
                return Err(malformed("row counts are not distinct"));
            }
            *slot = *count;
        }
    }
    Ok(rows)
}

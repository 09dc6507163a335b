//! The uncompressed head of a batch: what a collector needs before it unpacks anything.

use crate::batch::Batch;
use crate::bounds::Limits;
use crate::envelope::Envelope;
use crate::error::DecodeError;

/// Layout of the head.
pub const VERSION: u8 = 1;
/// Tables and columns; another major number is another language.
pub const SCHEMA_MAJOR: u8 = 1;
/// Grew with each added table or column; readers skip what they do not know.
pub const SCHEMA_MINOR: u8 = 2;

/// Row families in the order of their numbers in the head.
pub const FAMILIES: [&str; 6] = ["edge", "sighting", "process", "host", "event", "nat"];

/// The head of one batch.
#[derive(Debug)]
pub(crate) struct Head {
    /// Minor schema version of the writer.
    pub(crate) minor: u8,
    pub(crate) dictionary: u16,
    pub(crate) envelope: Envelope,
}

/// Checks head and checksum, and returns the compressed rows.
pub(crate) fn open<'a>(bytes: &'a [u8], limits: &Limits) -> Result<(Head, &'a [u8]), DecodeError> {
    let unsupported = |what| Err(DecodeError::Unsupported(what));
    let own = |own: &[u8; 8]| match *own {
        [_, SCHEMA_MAJOR, _, families, _, _, 0, 0] => Ok(families),
        [_, SCHEMA_MAJOR, _, _, dictionary @ ..] => {
            unsupported(format!("dictionary {}", u32::from_le_bytes(dictionary)))
        }
        [_, major, ..] => unsupported(format!("schema version {major}")),
    };
    let ([_, _, minor, _, low, high, _, _], mut envelope, compressed) =
        Envelope::open(bytes, limits, VERSION, own)?;
    // Families that this reader does not know belong to a newer minor schema.
    let known = |(family, _): &(u8, u32)| usize::from(*family) < FAMILIES.len();
    envelope.rows.retain(known);
    envelope.check_rows(limits)?;
    let head = Head {
        minor,
        dictionary: u16::from_le_bytes([low, high]),
        envelope,
    };
    Ok((head, compressed))
}

impl Head {
    /// Bytes of the rows once they are unpacked, without their texts.
    pub(crate) fn row_bytes(&self) -> usize {
        let sizes = Batch::row_bytes();
        self.envelope.row_bytes(|family| sizes[family])
    }
}

//! The uncompressed head of a batch: what a collector needs before it unpacks anything.

use crate::batch::tables;
use crate::bounds::Limits;
use crate::envelope::{Envelope, OTHER, malformed};
use crate::error::DecodeError;

/// Layout of the head.
pub(crate) const VERSION: u8 = 2;
/// Rises with each change of a table that has a struct; for people, because each table travels with
/// its own version.
pub const SCHEMA: u8 = 1;

/// Most tables of a batch.
pub(crate) const MAX_TABLES: usize = 64;

/// Puts head, compressed rows and checksum together. The number of a table is its place in the
/// registry or [`OTHER`].
pub(crate) fn seal(envelope: &Envelope, dictionary: u8, compressed: &[u8]) -> Vec<u8> {
    let tables = u8::try_from(envelope.rows.len()).expect("few tables exist");
    envelope.seal(&[VERSION, SCHEMA, tables, dictionary], compressed)
}

/// Checks head and checksum, and returns the head, the number of the dictionary and the compressed
/// rows.
pub(crate) fn open<'a>(
    bytes: &'a [u8],
    limits: &Limits,
) -> Result<(Envelope, u8, &'a [u8]), DecodeError> {
    let own = |own: &[u8; 4]| match usize::from(own[2]) > MAX_TABLES {
        true => Err(malformed("too many tables")),
        false => Ok(own[2]),
    };
    let ([_, _, _, dictionary], mut envelope, compressed) =
        Envelope::open(bytes, limits, VERSION, own)?;
    for (table, _) in &mut envelope.rows {
        // A number that this reader does not know is that of a newer one's struct.
        if usize::from(*table) >= tables().len() {
            *table = OTHER;
        }
    }
    envelope.check_rows(limits)?;
    Ok((envelope, dictionary, compressed))
}

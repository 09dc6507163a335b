//! What a reader allows, and what a batch takes once it is unpacked.

use crate::error::DecodeError;
use crate::family::host::MAX_HOST_BYTES;

/// Bounds a reader puts on one batch before it allocates for it.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Compressed bytes.
    pub max_bytes: usize,
    /// Decompressed bytes.
    pub max_raw_bytes: usize,
    /// Rows of all families.
    pub max_rows: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 8 << 20,
            max_raw_bytes: 64 << 20,
            max_rows: 200_000,
        }
    }
}

/// Bytes of texts once unpacked for each byte before, at most: an empty text is an offset of four
/// bytes, and a text of 24 bytes in its column and once more in its row.
pub(crate) const RAW_FACTOR: usize = 16;

/// Rows of a list or other helper table per row of the families.
pub(crate) const ROWS_PER_ROW: usize = 8;

/// Most bytes of a row of a table without a struct once it is unpacked, without its texts.
pub(crate) const MAX_OTHER_ROW: usize = 4096;

/// A small batch may grow by more than a large one.
const UNPACKED_BYTES: usize = 16 << 20;

/// Most bytes of a batch once it is unpacked, beside those it is unpacked from.
pub(crate) fn unpacked(limits: &Limits) -> usize {
    limits
        .max_raw_bytes
        .saturating_mul(2)
        .saturating_add(UNPACKED_BYTES)
}

/// Refuses what would take more.
pub(crate) fn check(bytes: usize, limits: &Limits) -> Result<(), DecodeError> {
    let limit = unpacked(limits);
    if bytes <= limit {
        return Ok(());
    }
    Err(DecodeError::TooLarge {
        what: "bytes of unpacked rows",
        limit,
    })
}

/// Refuses host rows that are together longer than so many may be, before they are unpacked.
pub(crate) fn check_hosts(text_bytes: usize, rows: u32) -> Result<(), DecodeError> {
    let rows = usize::try_from(rows).unwrap_or(usize::MAX);
    if text_bytes <= rows.saturating_mul(MAX_HOST_BYTES) {
        return Ok(());
    }
    let what = format!("a host row of more than {MAX_HOST_BYTES} bytes");
    Err(DecodeError::Malformed(what))
}

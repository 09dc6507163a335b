//! The batch format that agents seal and collectors open.
//!
//! Pure: no file descriptor, no clock, no global. `FORMAT.md` is the byte-level description.

pub mod rows;

pub use rows::{
    Batch, BatchHeader, EdgeRow, Endpoint, EventKind, EventRow, HISTOGRAM_BUCKETS, Histogram,
    HostRow, Kept, Part, ProcessRow, Role, SightingRow,
};

/// HTTP media type of a batch.
pub const CONTENT_TYPE: &str = "application/vnd.waybill.batch";

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

/// Why bytes are not a batch that this reader takes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Bytes are missing, changed or not a batch.
    #[error("not a valid batch: {0}")]
    Malformed(String),
    /// A bound of [`Limits`] was reached.
    #[error("batch exceeds the limit of {limit} {what}")]
    TooLarge {
        /// What was bounded.
        what: &'static str,
        /// The bound.
        limit: usize,
    },
    /// The format version, schema version or dictionary is not known to this reader.
    #[error("batch needs {0}, which this reader does not have")]
    Unsupported(String),
}

/// Seals rows into bytes that [`decode`] reads without any other state.
#[must_use]
pub fn encode(_batch: &Batch) -> Vec<u8> {
    Vec::new()
}

/// Opens a sealed batch.
///
/// # Errors
/// See [`DecodeError`]; nothing is allocated beyond `limits`.
pub fn decode(_bytes: &[u8], _limits: &Limits) -> Result<Batch, DecodeError> {
    Err(DecodeError::Malformed(String::from("empty")))
}

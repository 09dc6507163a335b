//! Why bytes are refused.

/// Why bytes are not a batch that this reader takes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Bytes are missing, changed or not a batch.
    #[error("not a valid batch: {0}")]
    Malformed(String),
    /// A bound of [`crate::Limits`] was reached.
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

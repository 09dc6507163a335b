//! The same rows in other formats.

pub(crate) mod json;
pub(crate) mod otlp;
pub(crate) mod parquet;

use anyhow::{Context, Result};

/// The level that OTLP exporters and collectors use by default.
pub(crate) const ZSTD_LEVEL: i32 = 3;

/// Bytes after zstd at its default level, each part compressed as one request of its own.
pub(crate) fn zstd_len(parts: &[Vec<u8>]) -> Result<u64> {
    let mut sum = 0;
    for part in parts {
        sum += zstd::bulk::compress(part, ZSTD_LEVEL)
            .context("compress with zstd")?
            .len() as u64;
    }
    Ok(sum)
}

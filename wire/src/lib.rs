//! The batch format that agents seal and collectors open.
//!
//! Pure: no file descriptor, no clock, no global. `FORMAT.md` is the byte-level description.

#![forbid(unsafe_code)]

pub mod answer;
mod batch;
mod bounds;
mod cell;
mod checksum;
mod compress;
pub mod enrol;
mod envelope;
mod error;
pub mod export;
pub mod family;
mod fingerprint;
pub mod format1;
pub mod format2;
pub mod metric;
pub mod orders;
pub mod sample;
pub mod schema;
pub mod stream;
mod table;
mod value;

pub use batch::{Batch, BatchHeader, MAGIC, tables};
pub use bounds::Limits;
pub use error::DecodeError;
pub use family::connection::{
    Columns, EdgeRow, EventKind, EventRow, Kept, Life, Part, Role, SINCE_STEP_MS, SightingRow,
    WorkerRow,
};
pub use family::host::{HostRow, MAX_HOST_BYTES, MAX_HOST_NAME};
pub use family::listener::{ListenerNamespaceRow, ListenerRow, Unmeasured};
pub use family::nat::NatRow;
pub use family::process::{MAX_PROCESS_BYTES, ProcessRow};
pub use fingerprint::fingerprint;
pub use table::{Cell, DynamicTable, Row, Values};
pub use value::{Endpoint, HISTOGRAM_BUCKETS, Histogram};

/// HTTP media type of a batch.
pub const CONTENT_TYPE: &str = "application/vnd.waybill.batch";

/// All tables that have a struct as Markdown, with what their metrics are called, for FORMAT.md.
#[must_use]
pub fn documentation() -> String {
    let tables = tables()
        .into_iter()
        .map(|table| format!("\n{}{}", table.markdown(), metric::markdown(table)));
    tables.collect::<String>() + "\n"
}

/// Seals rows into bytes of the newest format, which [`decode`] reads without any other state.
///
/// The order of rows within a table is not kept: they are sorted by what they belong to.
///
/// # Panics
/// Where the rows of one batch take more than 2 GiB, or there are more than 64 tables.
#[must_use]
pub fn encode(batch: &Batch) -> Vec<u8> {
    format2::encode(batch)
}

/// Opens a sealed batch of any format.
///
/// # Errors
/// See [`DecodeError`]; nothing is allocated beyond what [`memory`] says.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Batch, DecodeError> {
    match bytes.get(MAGIC.len()) {
        Some(&format2::VERSION) => format2::decode(bytes, limits),
        _ => format1::decode(bytes, limits),
    }
}

/// The most bytes of memory that [`decode`] takes for these bytes, by what their head says; little
/// for what is no batch, or for one beyond `limits`.
#[must_use]
pub fn memory(bytes: &[u8], limits: &Limits) -> usize {
    match bytes.get(MAGIC.len()) {
        Some(&format2::VERSION) => format2::memory(bytes, limits),
        _ => format1::memory(bytes, limits),
    }
}

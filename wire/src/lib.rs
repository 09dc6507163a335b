//! The batch format that agents seal and collectors open.
//!
//! Pure: no file descriptor, no clock, no global. `FORMAT.md` is the byte-level description.

mod address;
mod checksum;
mod edge;
mod event;
mod header;
mod histogram;
mod host;
mod overflow;
mod process;
pub mod rows;
pub mod sample;
mod sighting;
mod stream;
mod table;
mod tables;
mod text;

use address::Addresses;
use header::Head;
pub use header::{FORMAT_VERSION, MAGIC, SCHEMA_MAJOR, SCHEMA_MINOR};
pub use rows::{
    Batch, BatchHeader, EdgeRow, Endpoint, EventKind, EventRow, HISTOGRAM_BUCKETS, Histogram,
    HostRow, Kept, Part, ProcessRow, Role, SightingRow,
};
use tables::{Opened, Tables};

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
///
/// The order of rows within a family is not kept: they are sorted by what they belong to.
///
/// # Panics
/// Where the rows of one batch take more than 2 GiB.
#[must_use]
pub fn encode(batch: &Batch) -> Vec<u8> {
    let end_ms = batch.header.end_ms;
    let mut tables = Tables::new(addresses(batch));
    edge::write(&batch.edges, end_ms, &mut tables);
    sighting::write(&batch.sightings, end_ms, &mut tables);
    process::write(&batch.processes, end_ms, &mut tables);
    host::write(&batch.hosts, end_ms, &mut tables);
    event::write(&batch.events, end_ms, &mut tables);
    let raw = tables.write();
    let count = |rows: usize| u32::try_from(rows).expect("a batch has far fewer rows");
    let head = Head {
        batch: batch.header.clone(),
        dictionary: 0,
        raw: u32::try_from(raw.len()).expect("a batch is far below 4 GiB"),
        rows: [
            count(batch.edges.len()),
            count(batch.sightings.len()),
            count(batch.processes.len()),
            count(batch.hosts.len()),
            count(batch.events.len()),
        ],
    };
    head.seal(&zstd::bulk::compress(&raw, 9).expect("memory for compression"))
}

fn addresses(batch: &Batch) -> Addresses {
    let edges = batch
        .edges
        .iter()
        .flat_map(|row| [row.local.addr, row.remote.addr]);
    let sightings = batch
        .sightings
        .iter()
        .flat_map(|row| [row.local.addr, row.remote.addr]);
    let events = batch
        .events
        .iter()
        .flat_map(|row| [row.local.addr, row.remote.addr]);
    Addresses::collect(edges.chain(sightings).chain(events))
}

/// Opens a sealed batch.
///
/// # Errors
/// See [`DecodeError`]; nothing is allocated beyond `limits`.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Batch, DecodeError> {
    let (head, compressed) = Head::open(bytes, limits)?;
    if head.dictionary != 0 {
        return Err(DecodeError::Unsupported(format!(
            "dictionary {}",
            head.dictionary
        )));
    }
    let raw_len = usize::try_from(head.raw).unwrap_or(usize::MAX);
    let raw = zstd::bulk::decompress(compressed, raw_len)
        .map_err(|error| DecodeError::Malformed(format!("decompression: {error}")))?;
    if raw.len() != raw_len {
        return Err(DecodeError::Malformed(String::from(
            "decompressed length does not match",
        )));
    }
    let opened = Opened::read(&raw, limits)?;
    let end_ms = head.batch.end_ms;
    let [edges, sightings, processes, hosts, events] = head.rows;
    let mut batch = Batch {
        header: head.batch,
        ..Batch::default()
    };
    if let Some(table) = opened.family(edge::TABLE, edges)? {
        batch.edges = edge::read(&table, end_ms, &opened)?;
    }
    if let Some(table) = opened.family(sighting::TABLE, sightings)? {
        batch.sightings = sighting::read(&table, end_ms, &opened)?;
    }
    if let Some(table) = opened.family(process::TABLE, processes)? {
        batch.processes = process::read(&table, end_ms, &opened)?;
    }
    if let Some(table) = opened.family(host::TABLE, hosts)? {
        batch.hosts = host::read(&table, end_ms, &opened)?;
    }
    if let Some(table) = opened.family(event::TABLE, events)? {
        batch.events = event::read(&table, end_ms, &opened)?;
    }
    Ok(batch)
}

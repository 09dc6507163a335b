//! The batch format that agents seal and collectors open.
//!
//! Pure: no file descriptor, no clock, no global. `FORMAT.md` is the byte-level description.

#![forbid(unsafe_code)]

mod alike;
pub mod answer;
mod bounds;
mod checksum;
mod codec;
mod compress;
mod content;
mod edge;
mod error;
mod event;
pub mod export;
mod fingerprint;
mod header;
mod histogram;
mod host;
mod keys;
mod nat;
mod number;
pub mod orders;
mod pairs;
mod process;
mod rate;
pub mod rows;
pub mod sample;
mod sighting;
mod stream;

pub use bounds::{Limits, MAX_HOST_BYTES, MAX_HOST_NAME, MAX_PROCESS_BYTES};
use codec::{Reader, Writer};
use compress::{Dictionary, Kind};
use content::Content;
pub use error::DecodeError;
pub use fingerprint::fingerprint;
use header::Head;
pub use header::{FORMAT_VERSION, MAGIC, SCHEMA_MAJOR, SCHEMA_MINOR};
pub use rows::{
    Batch, BatchHeader, Columns, EdgeRow, Endpoint, EventKind, EventRow, HISTOGRAM_BUCKETS,
    Histogram, HostRow, Kept, Life, NatRow, Part, ProcessRow, Role, SightingRow,
};

/// HTTP media type of a batch.
pub const CONTENT_TYPE: &str = "application/vnd.waybill.batch";

/// Seals rows into bytes that [`decode`] reads without any other state.
///
/// The order of rows within a family is not kept: they are sorted by what they belong to.
///
/// # Panics
/// Where the rows of one batch take more than 2 GiB.
#[must_use]
pub fn encode(batch: &Batch) -> Vec<u8> {
    let rows = row_counts(batch);
    let (raw, kinds) = arrow(batch, rows);
    let head = Head {
        minor: SCHEMA_MINOR,
        batch: batch.header.clone(),
        dictionary: Dictionary::newest().id,
        raw: u32::try_from(raw.len()).expect("a batch is far below 4 GiB"),
        rows,
    };
    head.seal(&compress::compress(&raw, &kinds))
}

/// The Arrow IPC streams of a batch before compression, one per table.
///
/// For tools that look inside, such as the trainer of dictionaries.
///
/// # Panics
/// As [`encode`].
#[must_use]
pub fn arrow_streams(batch: &Batch) -> Vec<u8> {
    arrow(batch, row_counts(batch)).0
}

fn row_counts(batch: &Batch) -> [u32; header::FAMILIES.len()] {
    let count = |rows: usize| u32::try_from(rows).expect("a batch has far fewer rows");
    [
        count(batch.edges.len()),
        count(batch.sightings.len()),
        count(batch.processes.len()),
        count(batch.hosts.len()),
        count(batch.events.len()),
        count(batch.nats.len()),
    ]
}

/// The streams, and where their bytes change in kind.
fn arrow(batch: &Batch, rows: [u32; header::FAMILIES.len()]) -> (Vec<u8>, Vec<(usize, Kind)>) {
    let mut writer = Writer::default();
    let coded = Content::of(batch).code(&mut writer, rows);
    coded.expect("a writer has no input to refuse");
    let (mut raw, mut kinds) = (Vec::new(), Vec::new());
    for table in writer.finish() {
        stream::write(&table, &mut raw, &mut kinds);
    }
    (raw, kinds)
}

/// Opens a sealed batch.
///
/// # Errors
/// See [`DecodeError`]; nothing is allocated beyond what [`memory`] says.
pub fn decode(bytes: &[u8], limits: &Limits) -> Result<Batch, DecodeError> {
    let (head, compressed) = Head::open(bytes, limits)?;
    let dictionary = Dictionary::find(head.dictionary)?;
    let raw = usize::try_from(head.raw).unwrap_or(usize::MAX);
    let raw = dictionary.decompress(compressed, raw)?;
    let mut content = Content::default();
    let mut reader = Reader::open(&raw, head.minor, limits)?;
    bounds::check(reader.bytes().saturating_add(head.row_bytes()), limits)?;
    bounds::check_hosts(reader.text_bytes(&host::TABLES), head.rows[host::FAMILY])?;
    content.code(&mut reader, head.rows)?;
    drop(reader);
    drop(raw);
    content.batch(head.batch)
}

/// The most bytes of memory that [`decode`] takes for these bytes, by what their head says; little
/// for what is no batch, or for one beyond `limits`.
#[must_use]
pub fn memory(bytes: &[u8], limits: &Limits) -> usize {
    let Ok((head, _)) = Head::open(bytes, limits) else {
        return 0;
    };
    let raw = usize::try_from(head.raw).unwrap_or(usize::MAX);
    let unpacked = raw.saturating_mul(bounds::RAW_FACTOR);
    let unpacked = unpacked.saturating_add(head.row_bytes());
    raw.saturating_add(unpacked.min(bounds::unpacked(limits)))
}

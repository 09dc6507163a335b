//! Format 1: numbers as tokens inside Arrow, each a total since the series began.
//!
//! Read for as long as its golden batches are kept; written by agents that are not upgraded yet.

mod alike;
mod codec;
mod content;
mod edge;
mod event;
mod header;
mod histogram;
mod host;
mod keys;
mod nat;
mod number;
mod pairs;
mod process;
mod rate;
mod sighting;

use self::codec::{Reader, Writer};
use self::content::Content;
use self::header::Head;
pub use self::header::{SCHEMA_MAJOR, SCHEMA_MINOR};
use crate::batch::Batch;
use crate::bounds::{self, Limits};
use crate::compress::{self, Dictionary, Kind};
use crate::error::DecodeError;
use crate::stream;

/// The dictionary that it is written with.
const DICTIONARY: u16 = 2;

/// Seals rows into bytes of format 1, which has no place for [`Batch::others`] and takes every row
/// for a total.
///
/// The order of rows within a family is not kept: they are sorted by what they belong to.
///
/// # Panics
/// Where the rows of one batch take more than 2 GiB.
#[must_use]
pub fn encode(batch: &Batch) -> Vec<u8> {
    let rows = row_counts(batch);
    let (raw, kinds) = arrow(batch, rows);
    let dictionary = Dictionary::find(DICTIONARY).expect("the dictionary is part of the program");
    let head = Head {
        minor: SCHEMA_MINOR,
        batch: batch.header.clone(),
        dictionary: dictionary.id,
        raw: u32::try_from(raw.len()).expect("a batch is far below 4 GiB"),
        rows,
    };
    head.seal(&compress::compress(dictionary, &raw, &kinds))
}

/// The Arrow IPC streams of a batch before compression, one per table.
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

/// Opens a batch; nothing is allocated beyond what [`memory`] says.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Batch, DecodeError> {
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

/// The most bytes of memory that [`decode`] takes.
pub(crate) fn memory(bytes: &[u8], limits: &Limits) -> usize {
    let Ok((head, _)) = Head::open(bytes, limits) else {
        return 0;
    };
    let raw = usize::try_from(head.raw).unwrap_or(usize::MAX);
    let unpacked = raw.saturating_mul(bounds::RAW_FACTOR);
    let unpacked = unpacked.saturating_add(head.row_bytes());
    raw.saturating_add(unpacked.min(bounds::unpacked(limits)))
}

//! Format 1: numbers as tokens inside Arrow, each a total since the series began.
//!
//! Read for as long as its golden batches are kept; sent by agents that are not upgraded yet.
//! Nothing here writes it: for trials the crate `format1` does, as a [`Source`] of what [`read`]
//! reads.

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
mod source;

pub use self::content::read;
pub use self::header::{FAMILIES, SCHEMA_MAJOR, SCHEMA_MINOR, VERSION};
pub use self::number::{DIRECT, DIRECT_BITS, Expected, bits};
use self::source::Reader;
pub use self::source::{BITS, Column, Expect, Half, LONG, LONG_BITS, Source};
use crate::batch::Batch;
use crate::bounds::{self, Limits};
use crate::compress::Dictionary;
use crate::error::DecodeError;

/// Opens a batch; nothing is allocated beyond what [`memory`] says.
pub(crate) fn decode(bytes: &[u8], limits: &Limits) -> Result<Batch, DecodeError> {
    let (head, compressed) = header::open(bytes, limits)?;
    let raw = Dictionary::find(head.dictionary)?.decompress(compressed, head.envelope.raw())?;
    let mut reader = Reader::open(&raw, head.minor, limits)?;
    bounds::check(reader.bytes().saturating_add(head.row_bytes()), limits)?;
    bounds::check_hosts(
        reader.text_bytes(&host::TABLES),
        head.envelope.rows_of(host::FAMILY),
    )?;
    let rows = std::array::from_fn(|family| head.envelope.rows_of(family));
    read(&mut reader, rows, head.envelope.batch)
}

/// The most bytes of memory that [`decode`] takes.
pub(crate) fn memory(bytes: &[u8], limits: &Limits) -> usize {
    header::open(bytes, limits).map_or(0, |(head, _)| {
        head.envelope.memory(head.row_bytes(), limits)
    })
}

//! Seals batches in format 1, as agents before format 2 did, for trials and benches: nothing that
//! ships can.
//!
//! The reader in `wire` has the only list of columns and expectations. Here is a [`wire::format1::Source`] that
//! gives it what a batch has, and writes how far that is from what the reader says it expects.

#![forbid(unsafe_code)]

mod columns;
mod compress;
mod histogram;
mod keys;
mod token;
mod writer;

use columns::Columns;
use wire::format1::{FAMILIES, SCHEMA_MAJOR, SCHEMA_MINOR, VERSION, read};
use wire::stream::{self, Kind};
use wire::{Batch, MAGIC};
use writer::Writer;

/// Seals rows into bytes of format 1, which has no place for [`Batch::others`] and takes every row
/// for a total.
///
/// The order of rows within a family is not kept: they are sorted by what they belong to.
///
/// # Panics
/// Where the rows of one batch take more than 2 GiB.
#[must_use]
pub fn encode(batch: &Batch) -> Vec<u8> {
    let (raw, kinds) = arrow(batch);
    let compressed = compress::compress(&raw, &kinds);
    let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a batch is far below 4 GiB");
    let rows = (0u8..).zip(rows(batch)).filter(|(_, rows)| *rows > 0);
    let families = u8::try_from(rows.clone().count()).expect("few families exist");
    let mut out = MAGIC.to_vec();
    out.extend([VERSION, SCHEMA_MAJOR, SCHEMA_MINOR, families]);
    out.extend(compress::DICTIONARY.to_le_bytes());
    out.extend(length(&raw).to_le_bytes());
    out.extend(length(&compressed).to_le_bytes());
    let header = &batch.header;
    out.extend([header.host, header.boot].concat());
    for number in [header.sequence, header.start_ms, header.end_ms] {
        out.extend(number.to_le_bytes());
    }
    for (family, rows) in rows {
        out.push(family);
        out.extend(rows.to_le_bytes());
    }
    out.extend(compressed);
    out.extend(checksum(&out).to_le_bytes());
    out
}

/// The Arrow IPC streams of a batch before compression, one per table.
///
/// # Panics
/// As [`encode`].
#[must_use]
pub fn arrow_streams(batch: &Batch) -> Vec<u8> {
    arrow(batch).0
}

/// What a batch of any format ends with: the CRC-32 of all before, by its definition, bit by bit.
#[must_use]
pub fn checksum(content: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let byte = |crc, byte: &u8| (0..8).fold(crc ^ u32::from(*byte), step);
    !content.iter().fold(!0, byte)
}

/// Rows of each of [`FAMILIES`].
fn rows(batch: &Batch) -> [u32; FAMILIES.len()] {
    let rows = [
        batch.edges.len(),
        batch.sightings.len(),
        batch.processes.len(),
        batch.hosts.len(),
        batch.events.len(),
        batch.nats.len(),
    ];
    rows.map(|rows| u32::try_from(rows).expect("a batch has far fewer rows"))
}

/// The streams, and where their bytes change in kind.
fn arrow(batch: &Batch) -> (Vec<u8>, Vec<(usize, Kind)>) {
    let mut writer = Writer::new(Columns::of(batch));
    let read = read(&mut writer, rows(batch), batch.header.clone());
    read.expect("what a batch has is not refused");
    let (mut raw, mut kinds) = (Vec::new(), Vec::new());
    for table in writer.finish() {
        stream::write(&table, &mut raw, &mut kinds);
    }
    (raw, kinds)
}

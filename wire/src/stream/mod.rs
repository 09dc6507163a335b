//! Arrow IPC streams: one schema message, one record batch, end of stream.
//!
//! Only three column types exist here, all without nulls: UInt8, Utf8 and Binary.

mod read;
mod write;

pub(crate) use read::ReadTable;
pub(crate) use write::{ArrowColumn, ArrowTable, Values, write};

/// Metadata key of the table's name in the schema and of the note in a field.
const KEY: &str = "waybill";
/// What every message begins with.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// A message of no size ends the stream.
const END: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

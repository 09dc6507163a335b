//! Arrow IPC streams: one schema message, one record batch, end of stream.
//!
//! Columns are without nulls, of type UInt8 to UInt64, Utf8 and Binary.

mod framing;
mod read;
mod write;

pub(crate) use read::ReadTable;
pub use write::{ArrowColumn, ArrowTable, Kind, Values, write};

//! Arrow IPC streams: one schema message, one record batch, end of stream.
//!
//! Only three column types exist here, all without nulls: UInt8, Utf8 and Binary.

mod framing;
mod read;
mod write;

pub(crate) use read::ReadTable;
pub(crate) use write::{ArrowColumn, ArrowTable, Values, write};

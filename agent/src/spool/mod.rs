//! The durable queue between the event loop and the collector.
//!
//! ```text
//! event loop --try_put--> [queue] --> spool thread: put  | SQLite |  lease --> upload thread
//!              (full: counted)        evict by size, age |        |  <-- ack, nack, refuse
//! ```
//!
//! States of a batch: stored -> leased -> acked, which deletes it. A lease that ends without an
//! ack, or with the process, makes it stored again: each batch is sent at least once, always under
//! the same idempotency key.
//!
//! Invariants, asserted by `tests/model.rs`:
//! - A batch leaves the database by an ack, by a final refusal, by an eviction (oldest first, never
//!   while leased) or with a database that is set aside; each is counted where it happens.
//! - `found + sealed = acked + refused + evicted + quarantined + dropped + held` at any time.
//! - Payload never exceeds the size bound by more than what is leased. On disk there are at most: the
//!   database (five quarters of the bound and 8 MiB), its log (a few MiB; 64 MiB beside a reader that
//!   never ends), the disk reserve (4 MiB) and two databases set aside.
//! - A full disk or a damaged database costs batches, never the agent.
//!
//! `store` is the only place that knows SQL, `queue` decides, `thread` owns the clock and the only
//! writing connection.

mod exports;
mod file;
mod migrate;
mod quarantine;
mod queue;
mod reader;
mod reserve;
mod row;
mod store;
pub(crate) mod thread;
mod types;

#[cfg(test)]
pub(crate) mod tests;

use std::path::Path;

use crate::jail::Jailed;

pub use exports::{Exports, Range};
pub use queue::Spool;
pub use reader::Reader;
pub use types::{BatchId, Bounds, Entry, Error, Fault, Lost, Sealed, Stat, State, Tally};

/// Opens the spool, or makes a new one; `path` is inside the jail, because SQLite makes and removes
/// files beside it as long as it is open.
///
/// A damaged database, or one of a newer agent, is set aside and counted.
///
/// # Errors
/// The directory cannot be used, or the file belongs to another program.
pub fn open(_jailed: &Jailed, path: &Path, bounds: Bounds) -> Result<Spool, Error> {
    Spool::open(path, bounds)
}

/// Opens the spool without changing it.
///
/// # Errors
/// There is no spool at `path`, or it cannot be read.
pub fn read_only(path: &Path) -> Result<Reader, Error> {
    Reader::open(path)
}

//! The durable queue between the event loop and the collector.
//!
//! States of a batch: stored -> leased -> acked, which deletes it. A lease that ends without an
//! ack, or with the process, makes it stored again: each batch is sent at least once, always under
//! the same idempotency key.

mod handle;
mod types;

use std::path::Path;

use crate::jail::Jailed;

pub use handle::{Drained, Full, Handle};
pub use types::{BatchId, Bounds, Entry, Error, Sealed, Stat, State};

/// The queue, with its database open for writing.
#[derive(Debug)]
pub struct Spool {}

/// Opens the spool below the jail's root, or makes a new one.
///
/// # Errors
/// The directory cannot be used, or the file belongs to another program.
pub fn open(_jailed: &Jailed, _path: &Path, _bounds: Bounds) -> Result<Spool, Error> {
    Ok(Spool {})
}

/// The spool as `spool ls` and `spool stat` see it, also while the agent runs.
#[derive(Debug)]
pub struct Reader {}

/// Opens the spool without changing it.
///
/// # Errors
/// There is no spool at `path`, or it cannot be read.
pub fn read_only(_path: &Path) -> Result<Reader, Error> {
    Ok(Reader {})
}

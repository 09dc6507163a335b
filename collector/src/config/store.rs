//! `[store]`.

use std::path::PathBuf;
use std::time::Duration;

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// The SQLite database.
    pub path: PathBuf,
    /// Age at which data are deleted.
    pub retention: Duration,
    /// The same of what was joined of each minute and of ten minutes.
    pub retention_minutes: Duration,
    /// The same of each hour.
    pub retention_hours: Duration,
    /// Size of the file; the oldest data make room for new ones.
    pub max_bytes: u64,
    /// Bytes of batches that wait for outputs.
    pub outbox_bytes: u64,
}

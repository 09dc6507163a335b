//! Looking into the spool without changing it.

use std::path::{Path, PathBuf};

use super::quarantine;
use super::store::Store;
use super::types::{Entry, Error, Stat};

/// The spool as `spool ls` and `spool stat` see it, also while the agent runs.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    store: Store,
}

impl Reader {
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self {
            path: path.to_owned(),
            store: Store::read_only(path)?,
        })
    }

    /// Numbers for `spool stat`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn stat(&self) -> Result<Stat, Error> {
        stat(&self.store, &self.path)
    }

    /// The first `limit` batches in order of arrival.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn ls(&self, limit: usize) -> Result<Vec<Entry>, Error> {
        self.store.list(limit)
    }
}

pub(super) fn stat(store: &Store, path: &Path) -> Result<Stat, Error> {
    let held = store.held()?;
    let (leased, oldest_sealed_ms, newest_sealed_ms) = store.summary()?;
    let (database, log) = store.file_bytes();
    let quarantined = quarantine::list(path).map_err(|source| Error::Io {
        path: path.to_owned(),
        source,
    })?;
    Ok(Stat {
        path: path.to_owned(),
        batches: held.batches,
        leased,
        payload_bytes: held.bytes,
        oldest_sealed_ms,
        newest_sealed_ms,
        file_bytes: database + log,
        exported: store.exported()?,
        quarantined,
    })
}

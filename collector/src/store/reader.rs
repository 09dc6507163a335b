//! Who asks: a read-only connection, and the store of one moment.

use std::path::Path;

use rusqlite::{Connection, Transaction};

use super::error::{Error, failed};
use super::evicted::{Evicted, evicted};
use super::window::Window;
use super::{migrate, read};
use crate::join::Input;
use crate::meter::Meter;

/// A read-only connection.
#[derive(Debug)]
pub struct Reader {
    pub(super) connection: Connection,
}

impl Reader {
    /// Opens the database; works while `serve` writes to it.
    ///
    /// # Errors
    /// When it cannot be opened, is not ours, or has another version.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let connection = migrate::open_reader(path)?;
        Ok(Self { connection })
    }

    /// Everything a topology of the window is made from, of one moment; what is left of `meter` is
    /// for what the join makes of it.
    ///
    /// # Errors
    /// [`Error::Exceeded`] where that is more than `meter` has, and whatever SQLite reports.
    pub fn window(&mut self, window: Window, meter: &mut Meter) -> Result<Input, Error> {
        self.view()?.window(window, meter)
    }

    /// The store as it is now, for several questions.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn view(&mut self) -> Result<View<'_>, Error> {
        let snapshot = self.connection.transaction().map_err(failed)?;
        Ok(View { snapshot })
    }

    /// What was deleted because the store was full; `None` while nothing was.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn evicted(&self) -> Result<Option<Evicted>, Error> {
        evicted(&self.connection)
    }
}

/// The store of one moment.
#[derive(Debug)]
pub struct View<'a> {
    pub(super) snapshot: Transaction<'a>,
}

impl View<'_> {
    /// As [`Reader::window`].
    ///
    /// # Errors
    /// As there.
    pub fn window(&self, window: Window, meter: &mut Meter) -> Result<Input, Error> {
        read::window(&self.snapshot, window, meter)
    }

    /// Up to when data may be missing because the store was full, Unix milliseconds.
    ///
    /// # Errors
    /// Whatever SQLite reports.
    pub fn evicted_before_ms(&self) -> Result<Option<i64>, Error> {
        Ok(evicted(&self.snapshot)?.map(|evicted| evicted.before_ms))
    }
}

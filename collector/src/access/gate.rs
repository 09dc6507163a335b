//! The database: who asks it, and how it is changed.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior};

use super::actor::Actor;
use super::database;
use super::error::Error;
use super::record::{Entry, trim, write};

/// The database. One connection answers requests and never waits for the other one, which writes.
#[derive(Debug)]
pub struct Access {
    read: Mutex<Connection>,
    write: Mutex<Connection>,
    /// Milliseconds for which the audit log is kept.
    audit_ms: i64,
}

impl Access {
    /// Opens the database, creating or upgrading it.
    ///
    /// # Errors
    /// When it cannot be opened, or is not ours.
    pub fn open(path: &Path, audit_retention: Duration) -> Result<Self, Error> {
        Ok(Self {
            write: Mutex::new(database::open(path)?),
            read: Mutex::new(database::open(path)?),
            audit_ms: crate::time::whole_ms(audit_retention),
        })
    }

    fn reading(&self) -> MutexGuard<'_, Connection> {
        self.read.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks something of the database.
    pub(super) fn ask<T>(
        &self,
        ask: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, Error> {
        ask(&self.reading()).map_err(Error::read)
    }

    /// Remembers something that is no change of who may do what, and is not written down.
    pub(super) fn note(
        &self,
        note: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), Error> {
        let connection = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        note(&connection).map_err(Error::write)
    }

    /// Changes something, and writes down what was changed: both or neither.
    pub(super) fn change<T, E: From<Error>>(
        &self,
        actor: &Actor,
        now_ms: i64,
        change: impl FnOnce(&Connection) -> Result<(T, Vec<Entry>), E>,
    ) -> Result<T, E> {
        let mut connection = self.write.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |error| E::from(Error::write(error));
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let (result, entries) = change(&transaction)?;
        for entry in &entries {
            write(&transaction, actor, entry, now_ms).map_err(failed)?;
        }
        trim(&transaction, now_ms.saturating_sub(self.audit_ms)).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(result)
    }
}

//! The queue and its database: used again after a full disk, set aside when it is damaged.

use super::{Spool, unavailable};
use crate::spool::store::{self, Held, Store};
use crate::spool::types::{Error, chain};
use crate::spool::{quarantine, reserve};

impl Spool {
    /// Gets out of a full disk's trap with the reserve: the log is moved into the database and
    /// begins anew, and from now on the file keeps its size.
    pub(super) fn relieve(&mut self) -> Result<(), Error> {
        if self.growing {
            log::warn!("disk full, the spool stops growing");
        }
        reserve::release(&self.path);
        self.growing = false;
        self.attempt(|store| {
            store.rewind_log()?;
            store.stop_growing()
        })
    }

    /// Lets the file grow again once there is room for the reserve.
    pub(super) fn grow_again(&mut self) -> Result<(), Error> {
        if !self.growing && reserve::make(&self.path) {
            self.attempt(|store| store.grow())?;
            self.growing = true;
            log::info!("disk has room again, the spool may grow");
        }
        Ok(())
    }

    /// On a full disk, tries again with the reserve.
    pub(super) fn attempt_twice<T>(
        &mut self,
        mut op: impl FnMut(&mut Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self.attempt(&mut op) {
            Err(Error::Full(_)) => {
                self.relieve()?;
                self.attempt(op)
            }
            other => other,
        }
    }

    /// Does `op`; sets the database aside if it proves damaged.
    pub(super) fn attempt<T>(
        &mut self,
        op: impl FnOnce(&mut Store) -> Result<T, Error>,
    ) -> Result<T, Error> {
        if self.store.is_none() {
            self.reopen()?;
        }
        let store = self.store.as_mut().ok_or_else(|| unavailable(&self.path))?;
        let done = op(store);
        if let Err(error @ Error::Corrupt(_)) = &done {
            let lost = self.held.batches;
            self.set_aside(error, Some(lost))?;
            self.reopen()?;
        }
        done
    }

    /// Opens the database; one that is damaged or of a newer agent is set aside first. On a full
    /// disk the reserve helps.
    pub(super) fn reopen(&mut self) -> Result<(), Error> {
        let (opened, held) = match self.open_store() {
            Err(error @ (Error::Corrupt(_) | Error::Newer { .. })) => {
                // At least what this run held when it last could use the database.
                let known = Some(self.held.batches).filter(|held| *held > 0);
                let lost = known.max(store::count_damaged(&self.path));
                self.tally.found += lost.unwrap_or(0) - self.held.batches;
                self.set_aside(&error, lost)?;
                self.open_store()?
            }
            other => other?,
        };
        self.growing = reserve::make(&self.path);
        if !self.growing {
            opened.stop_growing()?;
        }
        self.tally.found += held.batches.saturating_sub(self.held.batches);
        // Somebody else replaced the file while it could not be used.
        let replaced = self.held.batches.saturating_sub(held.batches);
        if replaced > 0 {
            self.tally.quarantined += replaced;
            self.lose_any();
        }
        self.held = held;
        self.foreign = opened.foreign_changes()?;
        self.leased = 0;
        self.store = Some(opened);
        Ok(())
    }

    fn open_store(&self) -> Result<(Store, Held), Error> {
        // Index and page overhead is a tenth for ordinary batches; small files need some in any
        // case.
        let file_max = self
            .bounds
            .max_bytes
            .saturating_add(self.bounds.max_bytes / 4 + (8 << 20));
        let opened = match Store::open(&self.path, file_max) {
            Err(Error::Full(_)) => {
                reserve::release(&self.path);
                Store::open(&self.path, file_max)
            }
            other => other,
        }?;
        let held = opened.held()?;
        Ok((opened, held))
    }

    /// Renames the database; `lost` is the number of batches in it, where known.
    fn set_aside(&mut self, why: &Error, lost: Option<u64>) -> Result<(), Error> {
        // Closed first, or SQLite would go on writing to the renamed file.
        self.store = None;
        let kept = quarantine::set_aside(&self.path).map_err(|source| Error::Io {
            path: self.path.clone(),
            source,
        })?;
        log::error!(
            file:% = kept.display(), batches:? = lost, error:% = chain(why);
            "spool database set aside"
        );
        self.tally.quarantined_files += 1;
        match lost {
            Some(batches) => self.tally.quarantined += batches,
            None => self.tally.quarantined_uncounted += 1,
        }
        self.lose_any();
        self.held = Held::default();
        self.leased = 0;
        self.unwritten.clear();
        Ok(())
    }
}

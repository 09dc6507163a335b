//! The policy of the spool: what happens to batches when there is no room, no disk or no database.
//!
//! Nothing here ends the agent: a batch is stored, or counted in the tally with a reason.

mod database;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use super::reader;
use super::store::{Held, Store};
use super::types::{BatchId, Bounds, Entry, Error, Fault, Lost, Sealed, Stat, Tally, chain};

/// Leases and unwritten endings of leases together; more is not handed out.
const LEASED_MAX: usize = 8;
/// A log this long means that a reader holds an old snapshot; storing more would only grow it.
const LOG_MAX_BYTES: u64 = if cfg!(test) { 2 << 20 } else { 64 << 20 };

/// The queue, with its database open for writing.
#[derive(Debug)]
pub struct Spool {
    path: PathBuf,
    bounds: Bounds,
    /// None while the database can neither be used nor set aside; each call tries again.
    store: Option<Store>,
    /// The file may grow. Not on a full disk: pages it has are safe, pages beyond can end up in a log
    /// that cannot be moved into the database any more.
    growing: bool,
    held: Held,
    /// Changes when another process, `receipt`, has written.
    foreign: u64,
    /// Leases handed out and not ended.
    leased: usize,
    /// Endings of leases that could not be written yet, on a full disk for instance.
    unwritten: VecDeque<(BatchId, End)>,
    tally: Tally,
    /// The run whose batches are put, and its newest one.
    run: Option<BatchId>,
    /// What was lost of that run since the last look.
    lost: Option<Lost>,
}

/// How a lease ends.
#[derive(Clone, Copy, Debug)]
enum End {
    Acked,
    Refused,
    Stored(Fault),
}

impl Spool {
    /// Opens or makes the database; damage is set aside.
    pub(crate) fn open(path: &Path, bounds: Bounds) -> Result<Self, Error> {
        let mut spool = Self {
            path: path.to_owned(),
            bounds,
            store: None,
            growing: true,
            held: Held::default(),
            foreign: 0,
            leased: 0,
            unwritten: VecDeque::new(),
            tally: Tally::default(),
            run: None,
            lost: None,
        };
        match spool.reopen() {
            // It may have room again in a minute; until then each loss is counted.
            Ok(()) | Err(Error::Full(_)) => Ok(spool),
            Err(error) => Err(error),
        }
    }

    /// Stores a batch, whatever has to go for it. False: it was dropped, and counted.
    pub fn put(&mut self, sealed: &Sealed) -> bool {
        self.run = Some(sealed.id);
        let stored = self.make_room_and_insert(sealed);
        if !matches!(stored, Ok(true)) {
            self.lose(sealed.id);
        }
        match &stored {
            Ok(true) => {
                self.tally.stored += 1;
                self.held.batches += 1;
                self.held.bytes += length(sealed);
            }
            Ok(false) => self.tally.dropped_error += 1,
            Err(error) => {
                self.tally.dropped_error += 1;
                log::error!(batch:% = sealed.id, error:% = chain(error); "batch not stored");
            }
        }
        matches!(stored, Ok(true))
    }

    /// Hands out up to `max` batches, those with the fewest faults first, oldest first among them.
    /// Each lease has to end by [`Self::ack`], [`Self::nack`] or [`Self::refuse`]; if it does not,
    /// the next open ends it like a nack.
    pub fn lease(&mut self, max: usize) -> Vec<Sealed> {
        self.write_endings();
        let max = max.min(LEASED_MAX.saturating_sub(self.leased + self.unwritten.len()));
        if max == 0 {
            return Vec::new();
        }
        match self.attempt_twice(|store| store.lease(max)) {
            Ok(batches) => {
                self.leased += batches.len();
                batches
            }
            Err(error) => {
                log::error!(error:% = chain(&error); "batches not leased");
                Vec::new()
            }
        }
    }

    /// Deletes a leased batch that the collector has.
    pub fn ack(&mut self, id: &BatchId) {
        self.end(*id, End::Acked);
    }

    /// Makes a leased batch stored again.
    pub fn nack(&mut self, id: &BatchId, fault: Fault) {
        self.end(*id, End::Stored(fault));
    }

    /// Deletes a leased batch that the collector refused for good.
    pub fn refuse(&mut self, id: &BatchId) {
        self.end(*id, End::Refused);
    }

    /// Makes all leased batches stored again: nobody is left to end their leases.
    pub fn nack_all(&mut self) {
        self.write_endings();
        self.leased = 0;
        if let Err(error) = self.attempt(|store| store.restore_all().map(|_| ())) {
            log::error!(error:% = chain(&error); "leases not ended");
        }
    }

    /// Gives a bounded part of the free space back to the file system; true when there is more. On a
    /// full disk all of it stays, as others would take it.
    pub fn give_back(&mut self) -> bool {
        if !self.growing {
            return false;
        }
        match self.attempt(|store| store.give_back()) {
            Ok(more) => more,
            Err(error) => {
                log::error!(error:% = chain(&error); "space not given back");
                false
            }
        }
    }

    /// Deletes what is too old, then the oldest until the size bound holds, and looks whether a full
    /// disk has room again. Leased batches stay.
    pub fn evict(&mut self, now_ms: u64) {
        self.write_endings();
        if let Err(error) = self.recount() {
            log::error!(error:% = chain(&error); "batches not counted");
        }
        let max_age = u64::try_from(self.bounds.max_age.as_millis()).unwrap_or(u64::MAX);
        let before_ms = now_ms.saturating_sub(max_age);
        let evicted = self
            .attempt_twice(|store| store.delete_older(before_ms))
            .and_then(|gone| {
                for (id, bytes) in gone {
                    self.forget(bytes);
                    self.lose(id);
                    self.tally.evicted_age += 1;
                }
                self.make_room(0)?;
                self.grow_again()
            });
        if let Err(error) = evicted {
            log::error!(error:% = chain(&error); "eviction failed");
        }
    }

    /// Batches held, leased ones included.
    #[must_use]
    pub fn depth(&self) -> u64 {
        self.held.batches
    }

    /// Payload bytes held.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.held.bytes
    }

    /// What became of batches since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Batches of this run that were lost since the last call.
    pub fn take_lost(&mut self) -> Option<Lost> {
        self.lost.take()
    }

    /// Numbers for `spool stat`.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn stat(&self) -> Result<Stat, Error> {
        reader::stat(
            self.store.as_ref().ok_or_else(|| unavailable(&self.path))?,
            &self.path,
        )
    }

    /// The first `limit` batches in order of arrival.
    ///
    /// # Errors
    /// The database cannot be read.
    pub fn ls(&self, limit: usize) -> Result<Vec<Entry>, Error> {
        self.store
            .as_ref()
            .ok_or_else(|| unavailable(&self.path))?
            .list(limit)
    }

    /// Behaves as if the disk were full, until the next eviction finds room.
    #[cfg(test)]
    pub(super) fn fill_disk(&mut self) {
        self.growing = false;
        self.attempt(|store| store.stop_growing())
            .expect("limit the file");
    }

    fn make_room_and_insert(&mut self, sealed: &Sealed) -> Result<bool, Error> {
        self.write_endings();
        if length(sealed) > self.bounds.max_bytes {
            log::error!(batch:% = sealed.id, bytes = length(sealed); "batch larger than the spool");
            return Ok(false);
        }
        self.make_room(length(sealed))?;
        self.attempt_twice(|store| bound_log(store))?;
        let inserted = match self.attempt(|store| store.insert(sealed)) {
            Err(Error::Full(_)) => {
                self.make_disk_room(length(sealed))?;
                self.attempt(|store| store.insert(sealed))
            }
            // The damaged database is set aside; this batch need not go with it.
            Err(Error::Corrupt(_)) => self.attempt(|store| store.insert(sealed)),
            other => other,
        }?;
        if !inserted {
            log::error!(batch:% = sealed.id; "batch of this name is stored already");
        }
        Ok(inserted)
    }

    /// Evicts the oldest until `bytes` more fit into the size bound, or only leased ones are left.
    fn make_room(&mut self, bytes: u64) -> Result<(), Error> {
        if self.held.bytes.saturating_add(bytes) > self.bounds.max_bytes {
            self.recount()?;
        }
        while self.held.bytes.saturating_add(bytes) > self.bounds.max_bytes {
            let Some((id, bytes)) = self.attempt_twice(|store| store.delete_oldest())? else {
                break;
            };
            self.forget(bytes);
            self.lose(id);
            self.tally.evicted_size += 1;
        }
        Ok(())
    }

    /// Counts again what is held if another process has changed it: what is missing was released by
    /// a receipt. No batch comes from elsewhere.
    fn recount(&mut self) -> Result<(), Error> {
        let known = self.foreign;
        let (foreign, held) = self.attempt(|store| {
            let foreign = store.foreign_changes()?;
            let held = (foreign != known).then(|| store.held()).transpose()?;
            Ok((foreign, held))
        })?;
        self.foreign = foreign;
        if let Some(held) = held {
            self.tally.released += self.held.batches.saturating_sub(held.batches);
            self.held = held;
        }
        Ok(())
    }

    /// Evicts the oldest until the file has pages for `bytes`, or only leased ones are left.
    fn make_disk_room(&mut self, bytes: u64) -> Result<(), Error> {
        self.relieve()?;
        while !self.attempt(|store| store.has_room(bytes))? {
            let Some((id, bytes)) = self.attempt(|store| store.delete_oldest())? else {
                break;
            };
            self.forget(bytes);
            self.lose(id);
            self.tally.evicted_disk += 1;
        }
        Ok(())
    }

    fn end(&mut self, id: BatchId, end: End) {
        self.leased = self.leased.saturating_sub(1);
        self.unwritten.push_back((id, end));
        self.write_endings();
    }

    /// Writes the endings of leases; what cannot be written stays for the next call. If the
    /// process dies first, the batch is sent again and found a duplicate.
    fn write_endings(&mut self) {
        while let Some((id, end)) = self.unwritten.pop_front() {
            let written = match end {
                End::Acked | End::Refused => self.attempt_twice(|store| store.delete(&id)),
                End::Stored(fault) => self
                    .attempt_twice(|store| store.restore(&id, fault))
                    .map(|_| None),
            };
            let gone = match written {
                Ok(gone) => gone,
                Err(error) => {
                    log::warn!(batch:% = id, error:% = chain(&error); "end of a lease not written");
                    // All leases go with a database that is set aside.
                    if !matches!(error, Error::Corrupt(_)) {
                        self.unwritten.push_front((id, end));
                    }
                    return;
                }
            };
            // A batch unknown by now went with a database set aside and is counted there.
            if let Some(bytes) = gone {
                self.forget(bytes);
                if matches!(end, End::Acked) {
                    self.tally.acked += 1;
                    self.tally.acked_bytes += bytes;
                } else {
                    self.tally.refused += 1;
                    self.lose(id);
                }
            }
        }
    }

    /// A batch of so many payload bytes is not held any more.
    fn forget(&mut self, bytes: u64) {
        self.held.batches = self.held.batches.saturating_sub(1);
        self.held.bytes = self.held.bytes.saturating_sub(bytes);
    }

    /// A batch will never arrive. What earlier runs sealed, nobody can tell again.
    fn lose(&mut self, id: BatchId) {
        if self.run.is_some_and(|run| run.boot == id.boot) {
            Lost::add(&mut self.lost, Lost::from(id.sequence));
        }
    }

    /// Any batch of this run may be among those that are lost.
    fn lose_any(&mut self) {
        if let Some(BatchId { sequence, .. }) = self.run {
            let (first, last) = (1, sequence);
            Lost::add(&mut self.lost, Lost { first, last });
        }
    }
}

fn bound_log(store: &Store) -> Result<(), Error> {
    if store.file_bytes().1 > LOG_MAX_BYTES && !store.rewind_log()? {
        return Err(Error::LogHeld);
    }
    Ok(())
}

fn length(sealed: &Sealed) -> u64 {
    u64::try_from(sealed.bytes.len()).unwrap_or(u64::MAX)
}

fn unavailable(path: &Path) -> Error {
    let source = std::io::Error::other("the database could not be opened again");
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

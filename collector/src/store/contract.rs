//! What the rest of the collector asks of a store, whichever it is.
//!
//! [`Batches`] is the side that the one writing thread owns, [`Source`] is where questions go:
//! it opens [`Questions`], and those that need several answers about the same moment take a
//! [`Moment`] of it. SQLite is the implementation in this module; the tests in `contract_tests`
//! hold each implementation to the same answers over the same batches.

mod file;

use std::collections::BTreeSet;
use std::fmt::Debug;

use wire::Endpoint;
use wire::schema::Table;

use super::addresses::AddressOf;
use super::credentials::Binding;
use super::database::Size;
use super::deleted::Deleted;
use super::described::Which;
use super::ends::{End, Other, Translation};
use super::error::Error;
use super::evicted::Evicted;
use super::list::{HostCursor, HostRecord};
use super::orders::SignedOrders;
use super::put::Outcome;
use super::retention::Retention;
use super::slices::{Finished, Piece, Slice, SliceCounts, Waiting};
use super::window::Window;
use crate::accept::Opened;
use crate::join::{HostId, Input};
use crate::meter::Meter;
use crate::rows::Answer;

/// Where batches go. What is answered as stored is durable, and stored once however often it
/// arrives.
pub trait Batches: Debug + Send {
    /// Stores batches that arrived together; one entry per batch, and one that fails takes no other
    /// one down.
    fn put(&mut self, batches: &[&Opened], now_ms: i64) -> Vec<Result<Outcome, Error>>;

    /// Most batches that share a commit: enough to share its cost, few enough to answer soon.
    fn most_together(&self) -> usize {
        32
    }

    /// Stores what was joined of a slice, in the place of what was there.
    ///
    /// # Errors
    /// When the store cannot be written, or is full.
    fn put_joined(&mut self, finished: &Finished, now_ms: i64) -> Result<(), Error>;

    /// The newest orders.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn newest_orders(&self) -> Result<Option<SignedOrders>, Error>;

    /// One step of retention.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn retain(&mut self, retention: &mut Retention, now_ms: i64) -> Result<Deleted, Error>;

    /// Whether it can be written now, found by writing.
    ///
    /// # Errors
    /// When it cannot.
    fn probe(&mut self) -> Result<(), Error>;

    /// How large it is now.
    ///
    /// # Errors
    /// When the store cannot be read.
    fn size(&self) -> Result<Size, Error>;

    /// One step of what makes room for new batches; false where nothing is to be done now, as in a
    /// store that makes none.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn evict(&mut self, _now_ms: i64) -> Result<bool, Error> {
        Ok(false)
    }

    /// What was evicted since the last call.
    fn take_evicted(&mut self) -> Deleted {
        Deleted::default()
    }

    /// Hosts that made room for others since the last call.
    fn take_hosts_forgotten(&mut self) -> u64 {
        0
    }

    /// Deletes a bounded number of rows of hosts that made room; `None` where there are none.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn purge_hosts(&mut self) -> Result<Option<u64>, Error> {
        Ok(None)
    }

    /// Saves how far outputs are.
    ///
    /// # Errors
    /// When the store cannot be written.
    fn tend_outbox(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// Where a store is: opens it for questions, also while another process writes to it.
pub trait Source: Debug + Send + Sync {
    /// Opens it.
    ///
    /// # Errors
    /// When it cannot be opened or reached, or is not ours.
    fn open(&self) -> Result<Box<dyn Questions>, Error>;

    /// Its name for people.
    fn name(&self) -> String;
}

/// A store that is open for questions.
///
/// Each fails with [`Error::Exceeded`] where the answer takes more than its meter has, and with
/// whatever the store reports.
pub trait Questions: Debug + Send {
    /// The store as it is now.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn moment(&mut self) -> Result<Box<dyn Moment + '_>, Error>;

    /// What was deleted because the store was full; `None` while nothing was.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn evicted(&self) -> Result<Option<Evicted>, Error>;

    /// All described tables with the end of their newest interval, Unix milliseconds.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn tables(&self) -> Result<Vec<(Table, Option<i64>)>, Error>;

    /// Rows of a window of a described table.
    ///
    /// # Errors
    /// As said above.
    fn rows(&mut self, which: &Which, window: Window, meter: &mut Meter) -> Result<Answer, Error>;

    /// The local addresses of what was active in a window.
    ///
    /// # Errors
    /// As said above.
    fn addresses(&mut self, window: Window, meter: &mut Meter) -> Result<Vec<AddressOf>, Error>;

    /// Those that had connections from an address to an endpoint in a window.
    ///
    /// # Errors
    /// As said above.
    fn ends(
        &mut self,
        of: ([u8; 16], Endpoint),
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<End>, Error>;

    /// The other ends of the connections of an end that have this port; of one that this opening of
    /// the store has named, for its number means nothing elsewhere.
    ///
    /// # Errors
    /// As said above.
    fn others(
        &mut self,
        of: (&End, u16),
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<Other>, Error>;

    /// What gateways made of connections from an address to an endpoint, or what became such.
    ///
    /// # Errors
    /// As said above.
    fn translations(
        &mut self,
        of: ([u8; 16], Endpoint),
        window: Window,
        meter: &mut Meter,
    ) -> Result<Vec<Translation>, Error>;

    /// The next hosts by name and id: at most `most`, and as soon as their reports have `bytes`.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn hosts(
        &mut self,
        after: Option<&HostCursor>,
        most: usize,
        bytes: usize,
    ) -> Result<Vec<HostRecord>, Error>;

    /// Credentials that are bound, those with refused batches first; at most a thousand.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn credentials(&self, refused_only: bool) -> Result<Vec<Binding>, Error>;

    /// The newest orders.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn newest_orders(&self) -> Result<Option<SignedOrders>, Error>;
}

/// A store of one moment: what the join reads, and what it made.
pub trait Moment {
    /// Everything a topology of the window is made from; what is left of `meter` is for what the
    /// join makes of it.
    ///
    /// # Errors
    /// [`Error::Exceeded`] where that is more than `meter` has, and whatever the store reports.
    fn window(&self, window: Window, meter: &mut Meter) -> Result<Input, Error>;

    /// Up to when data may be missing because the store was full, Unix milliseconds.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn evicted_before_ms(&self) -> Result<Option<i64>, Error>;

    /// What a question about a window reads, in the order of time.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn pieces(&self, window: Window) -> Result<Vec<Piece>, Error>;

    /// From when an answer that is made of these pieces of a window is whole, Unix milliseconds;
    /// `None` where nothing of the window was deleted.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn whole_from(&self, window: Window, pieces: &[Piece]) -> Result<Option<i64>, Error>;

    /// What was joined of a slice.
    ///
    /// # Errors
    /// Whatever the store reports; [`Error::Damaged`] where it is not there.
    fn joined(&self, slice: Slice) -> Result<Vec<u8>, Error>;

    /// What each of these slices was joined from: another number says that it may hold something
    /// else.
    ///
    /// # Errors
    /// Whatever the store reports; [`Error::Damaged`] where one is not there.
    fn generations(&self, slices: &[Slice]) -> Result<Vec<i64>, Error>;

    /// The next slice to join, once it has settled.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn next_slice(&self, now_ms: i64) -> Result<Option<Waiting>, Error>;

    /// The slices of which a longer one consists, in the order of time.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn parts(&self, slice: Slice) -> Result<Vec<Slice>, Error>;

    /// The names of all hosts, and of those runs that are hosts of their own.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn hosts(&self, copies: &BTreeSet<HostId>) -> Result<Vec<(HostId, String)>, Error>;

    /// How many slices wait.
    ///
    /// # Errors
    /// Whatever the store reports.
    fn slice_counts(&self) -> Result<SliceCounts, Error>;
}

//! The store: batches in, rows of a window out. The only place that knows SQL.
//!
//! Owns the database file. One [`Store`] writes, on one thread ([`writer`]); any number of
//! [`Reader`]s ask, each on its own read-only connection and one consistent snapshot.
//!
//! Invariants:
//! - A batch is stored completely or not at all, in the same transaction as its key; an answered
//!   batch is on disk.
//! - The order of arrival does not change what is answered: what edges counted is kept as what each
//!   interval added, whichever kind of rows it is made from (`flow`), samples of other series are
//!   cumulative (`series`); sightings are merged by minimum and maximum.
//! - Retention and eviction delete a bounded number of rows or blocks per step. Retention never
//!   deletes what is known of a living series; what eviction deleted, readers know.
//! - What was joined of a slice of time is marked as old in the transaction that changes its rows
//!   (`marks`), and is joined again.
//! - A batch writes what it brings, behind what came before: what is known of a run is in memory,
//!   and made anew from blocks (`known`).
//! - The file stays within its bound, and the log beside it within its own: what is oldest makes
//!   room, and a batch is refused only while none can be made.

mod addresses;
mod block;
mod by_token;
mod contents;
mod context;
mod contract;
mod convert;
mod convert_events;
mod copies;
mod credentials;
mod database;
mod deleted;
mod described;
mod edges;
mod ends;
mod error;
mod evicted;
mod flow;
mod flush;
mod frozen;
mod gone;
mod health;
mod histogram;
mod hosts;
mod known;
mod lasting;
mod list;
pub mod look;
mod marks;
mod migrate;
mod nat;
mod old;
mod orders;
pub mod outbox;
#[cfg(test)]
mod outbox_tests;
mod pace;
mod put;
mod read;
mod reader;
mod recent;
mod retention;
mod room;
mod row;
mod run;
mod runs;
mod scratch;
mod series;
mod short;
mod sighted;
mod slice;
mod slices;
#[cfg(test)]
pub(crate) mod tests;
mod tokens;
mod unused;
pub mod upkeep;
mod whole;
mod window;
pub mod writer;

pub use addresses::AddressOf;
pub use contents::{Contents, StoredBatch, StoredRun};
pub use contract::{Batches, Moment, Questions, Source};
pub use credentials::{Binding, MIN_DIGITS};
pub use database::{Bounds, Size, Store};
pub use deleted::Deleted;
pub use described::{Which, names_series};
pub use ends::{End, Other, Translation};
pub use error::Error;
pub use evicted::Evicted;
pub use gone::Gone;
pub use health::Health;
pub use list::{HostCursor, HostRecord};
pub use orders::SignedOrders;
pub use put::{AHEAD_TOLERANCE_MS, Outcome, TYPED};
pub use reader::{Reader, View};
pub use retention::Retention;
pub use scratch::{RunRecord, Scratch};
pub(crate) use short::{INTERVAL_MS, NEAR_MS};
pub(crate) use slice::{LENGTHS, slice};
pub use slices::{Finished, Piece, Slice, SliceCounts, Waiting};
pub(crate) use slices::{SETTLE_MS, pieces};
pub use window::Window;

//! The store: batches in, rows of a window out. The only place that knows SQL.
//!
//! Owns the database file. One [`Store`] writes, on one thread ([`writer`]); any number of
//! [`Reader`]s ask, each on its own read-only connection and one consistent snapshot.
//!
//! Invariants:
//! - A batch is stored completely or not at all, in the same transaction as its key; an answered
//!   batch is on disk.
//! - The order of arrival does not change what is answered: samples are cumulative and kept under
//!   the end of their interval, whichever kind of rows they are made from (`series`); sightings are
//!   merged by minimum and maximum.
//! - Retention and eviction delete a bounded number of rows per step. Retention never deletes the
//!   sample that is the baseline of a living subject; what eviction deleted, readers know.
//! - The file stays within its bound, and the log beside it within its own: what is oldest makes
//!   room, and a batch is refused only while none can be made.

mod addresses;
mod context;
mod copies;
mod credentials;
mod database;
mod described;
mod ends;
mod error;
mod evicted;
mod flow;
mod histogram;
mod hosts;
mod list;
mod migrate;
mod nat;
mod old;
mod orders;
mod put;
mod read;
mod retention;
mod room;
mod row;
mod run;
mod sample;
mod series;
#[cfg(test)]
mod tests;
mod window;
pub mod writer;

pub use addresses::AddressOf;
pub use credentials::{Binding, MIN_DIGITS};
pub use database::{Bounds, Size, Store};
pub use described::Which;
pub use ends::{End, Other, Translation};
pub use error::Error;
pub use evicted::Evicted;
pub use list::{HostCursor, HostRecord};
pub use orders::SignedOrders;
pub use put::{AHEAD_TOLERANCE_MS, Outcome, TYPED};
pub use read::Reader;
pub use retention::{Deleted, Retention};
pub use window::Window;

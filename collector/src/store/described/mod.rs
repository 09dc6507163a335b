//! Tables that are stored by their description: those of every family that has no place of its own
//! in the join, also those that only the sender knows.
//!
//! Rows of series become samples as those of edges do ([`super::series`]); all others are events.

mod catalogue;
mod cell;
mod column;
mod put;
mod read;
mod sum;
mod told;

pub(super) use catalogue::describe;
pub use column::names_series;
pub(super) use put::put;
pub use read::Which;
pub(super) use told::{events_told, series_told};

//! The database of alerts, beside that of credentials: alerts with their history, who knows of them,
//! what is not to be told, and what waits to be sent.
//!
//! A step of all alerts is one transaction: what fires, what became of it and the notices about it
//! are there together or not at all, so that a collector that was killed goes on where it was.

mod database;
mod keep;
mod mutes;
mod people;
mod queue;
mod read;
#[cfg(test)]
mod tests;

pub use database::{AlertStore, Error, Look, look};
pub use keep::Step;
pub use people::{Acknowledged, By, NotDone};
pub use queue::{MOST_WAITING, Waiting};
pub use read::{Asked, Counts, Kept, Page, Place};

//! Families: all that one kind of signal needs, each in a folder of its own.
//!
//! ```text
//! facts -> decide (pure) -> open (what cannot be opened is skipped) -> Family, owned by the event loop:
//!   each turn: take (up to a budget), tick (deadlines)
//!   end of an interval: drain, snapshot, publish, close
//!   at any time: shed (the governor), obey (orders), change_keys
//! ```
//!
//! `registry` lists them; nothing outside of a family's folder and that list names it.

pub mod connection;
pub mod contract;
pub mod host;
mod listener;
pub mod nat;
pub mod process;
mod registry;
mod report;
#[cfg(test)]
mod tests;
pub mod totals;

pub use contract::{Family, Opening, Shared};
pub use registry::{callers, decide, open, shed, try_programs};
pub use report::Report;
pub use totals::Close;

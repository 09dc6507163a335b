//! Who may do what, as far as it changes while the collector runs: revocations, and the log of every
//! change.
//!
//! In a database of its own beside the store, for its owner alone: it holds what nobody else may
//! read, it is small, and neither the store's commits nor its size keep anybody from being locked
//! out. The running collector and commands beside it use the same file; each request asks it, so
//! that a change is in force with the next one.

mod actor;
mod audit;
mod database;
mod enrol;
mod error;
mod gate;
mod record;
mod revoked;

pub use actor::Actor;
pub use audit::{AuditLog, AuditQuery, AuditRecord};
pub use enrol::{Enrolled, Invitation, NotEnrolled, identity};
pub use error::Error;
pub use gate::Access;
pub use record::{Action, Entry};
pub use revoked::{NAME_BYTES, Revocation, named};

#[cfg(test)]
mod tests;

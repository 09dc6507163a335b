//! Who may do what, as far as it changes while the collector runs: revocations, hosts that are
//! enrolled, users with their sessions and tokens, the declared matrix, and the log of every change.
//!
//! In a database of its own beside the store, for its owner alone: it holds what nobody else may
//! read, it is small, and neither the store's commits nor its size keep anybody from being locked
//! out. The running collector and commands beside it use the same file; each request asks it, so
//! that a change is in force with the next one.

mod actor;
mod audit;
mod database;
mod declared;
mod enrol;
mod error;
mod gate;
mod invited;
mod password;
mod record;
mod revoked;
mod secret;
mod session;
mod user;
mod user_token;

pub use actor::Actor;
pub use audit::{AuditLog, AuditQuery, AuditRecord};
pub use declared::{MatrixVersion, NewMatrix, NotDeclared};
pub use enrol::{ENROL_LONGEST, ENROL_PREFIX, Enrolled, Invitation, NotEnrolled, identity};
pub use error::Error;
pub use gate::Access;
pub use invited::Invited;
pub use password::{Hashed, check as check_password, made_up as made_up_password};
pub use record::{Action, Entry};
pub use revoked::{NAME_BYTES, Revocation, named};
pub use secret::secret;
pub use session::{Lasting, Method, Session};
pub use user::{Change, NotChanged, User, user_name};
pub use user_token::{NewToken, TOKEN_PREFIX, UserToken, token_name};

#[cfg(test)]
mod people_tests;
#[cfg(test)]
mod tests;

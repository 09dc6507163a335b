//! Orders of the collector: which are taken, and what they leave of the configuration. Pure.
//!
//! A version is taken when its signature is right, it is understood whole, and it is newer than
//! every one before. It is in force at once, and on trial until the collector was reached with it;
//! where it cannot be, the version before it is in force again. Orders narrow what the host's own
//! configuration allows and can never widen it: see [`narrow`].

mod file;
mod limits;
mod mailbox;
mod signed;
mod standing;
#[cfg(test)]
mod tests;

pub use file::{kept, load, write};
pub use limits::{Destinations, InForce, Mapped, Own, narrow};
pub use mailbox::{Mailbox, UploadProgress};
pub use signed::Signed;
pub use standing::{Outcome, Refusal, Standing, TRIAL_INTERVALS};

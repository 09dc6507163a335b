//! What is decided, as values: for each family how it runs or why it does not, and what must be left
//! to the agent for it.
//!
//! The rules are the families' own (`family`); here is what they have in common, and the union of
//! what they need, which `jail` carries out. Pure. Every choice has a reason in an operator's words,
//! because `doctor` prints it.

mod choice;
mod decided;
mod decision;
mod jail;
mod programs;
mod seccomp;
mod union;

pub use choice::{Choice, Outcome};
pub use decided::Plan;
pub(crate) use decision::named;
pub use decision::{Decision, Needs};
pub use jail::{HelperNeeds, JailMount, JailNeeds, Source, Until};
pub use programs::{Mode, Transport, Types};
pub use seccomp::{Seccomp, SeccompMode};

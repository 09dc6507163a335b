//! Loads programs, of any family: what all objects share, what they are fitted to a kernel by, and
//! probes for them to hang on.
//!
//! A program that a family can do without costs only itself when the kernel refuses it ([`Fitting`]);
//! the outcome of each is kept for `doctor`. Everything attached hangs on a file descriptor of this
//! process, so the kernel detaches it when the process ends, however it ends.

mod core;
mod fitting;
mod object;
mod probes;
mod scope;
mod types;
mod whole;

pub use core::{Core, CoreOnDemand, size_ring};
pub use fitting::{ALL_AT_ONCE, Accepted, Fitting};
pub use object::read_iterator;
pub(crate) use object::{map, program};
pub use probes::{Probes, clean as clean_probes};
pub use scope::Scope;
pub use whole::{Table, Whole};

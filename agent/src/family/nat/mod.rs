//! Family `nat`: the connections that a gateway translates.
//!
//! It has no program: the kernel's connection tracking tells.

pub mod aggregate;
pub mod conntrack;
mod decide;
mod gateway;

pub use decide::decide;
pub use gateway::Gateway;
pub(crate) use gateway::{open, shed};

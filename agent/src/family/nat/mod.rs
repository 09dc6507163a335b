//! Family `nat`: the connections that a gateway translates.
//!
//! It has no program: the kernel's connection tracking tells.

pub mod aggregate;
mod calls;
pub mod conntrack;
mod decide;
mod gateway;

pub(crate) use calls::TRACKING;
pub use decide::decide;
pub use gateway::Gateway;
pub(crate) use gateway::{open, shed};

//! Family `nat`: the connections that a gateway translates.
//!
//! It has no program: the kernel's connection tracking tells.

pub mod aggregate;
pub mod conntrack;
mod gateway;

pub use gateway::Gateway;

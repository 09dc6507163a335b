//! Family `host`: what this host is, what was decided for it, and what the agent counted. Pure.

mod row;

pub use row::Host;

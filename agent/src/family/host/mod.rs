//! Family `host`: what this host is, what was decided for it, and what the agent counted.

mod row;
mod running;

pub use row::Host;
pub(crate) use running::{decide, open};

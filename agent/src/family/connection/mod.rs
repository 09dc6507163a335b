//! Family `connection`: who talks to whom, and how well.
//!
//! By programs (`programs`) or, where there can be none, by sockets (`observe`); either way what comes
//! out are the same events, which `fold` gives to the tables of `aggregate`.

pub mod aggregate;
pub mod bounds;
pub mod decide;
pub mod direction;
pub mod event;
mod fold;
pub mod kernel;
pub mod observe;
mod open;
pub mod plan;
mod programs;
mod running;

pub(crate) use open::{clean, open, try_programs};
pub(crate) use running::shed;

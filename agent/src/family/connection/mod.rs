//! Family `connection`: who talks to whom, and how well.
//!
//! By programs (`programs`) or, where there can be none, by sockets (`observe`); either way what comes
//! out are the same events, which `fold` gives to the tables of `aggregate`.

pub mod aggregate;
pub mod bounds;
pub mod decide;
pub mod direction;
mod fold;
pub mod observe;
mod open;
mod programs;
mod running;

pub use open::open;
pub use running::{Running, shed};

//! Family `connection`: who talks to whom, and how well.

pub mod aggregate;
pub mod bounds;
pub mod direction;
pub mod observe;

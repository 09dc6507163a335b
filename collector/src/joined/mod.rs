//! Joins slices of time as batches arrive, and answers from what was joined.
//!
//! ```text
//! batch --> store: rows, and marks on the slices that they change
//! slice that has settled --> read its rows --> join --> stored in the place of what was there
//! question --> slices that are joined + rows of those that are not yet --> added up
//! ```
//!
//! What a slice holds is what the join makes of its rows, whatever came late, twice or in another
//! order; so an answer is the same whether a slice is joined already or not (decision 31).

mod answer;
mod joiner;
mod kept;
mod runs;
mod standing;
mod stored;
#[cfg(test)]
pub(crate) mod tests;

pub use answer::{next, topology, topology_about};
pub use joiner::{Joiner, spawn};
pub use kept::{Kept, Wanted};

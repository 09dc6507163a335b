//! Convergence: many alerts, few groups, along the topology that is known.
//!
//! Pure. What stands lower covers what rests on it: a host that is down its processes and edges, a
//! gateway the edges through it, a server its callers. A group that shares something which has no
//! alert of its own says that this is likely and not proven.

mod candidate;
#[cfg(test)]
mod candidate_tests;
mod converge;
mod headline;
#[cfg(test)]
mod tests;
mod trouble;

pub use candidate::{
    Candidate, Change, Link, MOST_CANDIDATES, Sample, Surroundings, candidates, changed,
};
pub use converge::converge;
pub use trouble::{Cause, Context, Group};

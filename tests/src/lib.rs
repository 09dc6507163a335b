//! Labs and programs with which agent and collector are tested and shown.
//!
//! ```text
//! lab::Lab ── hosts (network namespace + cgroup + agent each) ── gateway (NAT, middleboxes)
//!    │                                                             │
//!    ├── program: traffic whose counts are known exactly           └── counters, frames: ground truth
//!    └── residue: what exists before and must not exist after
//! ```
//!
//! Everything a lab makes carries the lab's name, so that labs run beside each other, a dropped
//! lab removes exactly its own things, and the leftovers of a killed run are recognised.

#![forbid(unsafe_code)]

pub mod demo;
pub mod governed;
pub mod lab;
pub mod listening;
pub mod load;
pub mod program;
pub mod tax;

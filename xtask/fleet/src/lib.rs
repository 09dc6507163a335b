#![forbid(unsafe_code)]
//! Rows like those of a busy host of a fleet, from a seed.
//!
//! Each edge is simulated by its connections, requests and losses, so that its counters depend on
//! each other as real ones do: segments follow bytes and MSS, closed follows opened, histograms
//! have one mode where the path's round trip is. Nothing is constant that would not be on a host.

mod edges;
mod hour;
mod names;
mod random;
mod rows;
mod topology;
mod traffic;

pub use edges::INTERVAL_MS;
pub use hour::{Hour, TOTALS_EVERY};
pub use names::{BENCH, Names, TRAINING};
pub use rows::{Interval, Mix, interval};

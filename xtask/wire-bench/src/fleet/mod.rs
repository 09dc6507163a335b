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

pub(crate) use hour::{Hour, TOTALS_EVERY};
pub(crate) use names::{BENCH, TRAINING};
pub(crate) use rows::{Interval, Mix, interval};

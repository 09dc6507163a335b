//! Events become cumulative rows. Pure: values and `now` in, rows out.
//!
//! One module per family; this one holds what they share.

pub mod connection;
pub mod nat;

use std::time::Duration;

/// Where the kernel's clock stands in Unix time; taken by the caller, anew each time, as the wall
/// clock may be set at any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Unix milliseconds now.
    pub unix_ms: u64,
    /// Unix nanoseconds at CLOCK_MONOTONIC zero.
    pub monotonic_zero_ns: u64,
}

impl Now {
    /// Unix time and CLOCK_MONOTONIC at one moment; Unix time is the greater one
    /// ([`crate::host::clock::booted_since_1970`]).
    #[must_use]
    pub fn at(unix: Duration, monotonic: Duration) -> Self {
        let zero = unix.saturating_sub(monotonic);
        Self {
            unix_ms: u64::try_from(unix.as_millis()).unwrap_or(u64::MAX),
            monotonic_zero_ns: u64::try_from(zero.as_nanos()).unwrap_or(u64::MAX),
        }
    }

    /// CLOCK_MONOTONIC nanoseconds.
    #[must_use]
    pub const fn monotonic_ns(&self) -> u64 {
        self.unix_ms
            .saturating_mul(1_000_000)
            .saturating_sub(self.monotonic_zero_ns)
    }

    /// Unix microseconds of a CLOCK_MONOTONIC nanosecond.
    #[must_use]
    pub const fn unix_us(&self, monotonic_ns: u64) -> u64 {
        self.monotonic_zero_ns.saturating_add(monotonic_ns) / 1000
    }
}

/// Bounds of the tables.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Open connections remembered.
    pub connections: usize,
    /// Edges.
    pub edges: usize,
    /// Sightings in one interval.
    pub sightings: usize,
    /// Events in one interval.
    pub events: usize,
}

/// What one interval leaves behind.
#[derive(Debug, Default)]
pub struct Summary {
    /// Edges that changed.
    pub edges: Vec<wire::EdgeRow>,
    /// Sightings kept.
    pub sightings: Vec<wire::SightingRow>,
    /// Abnormal connections.
    pub events: Vec<wire::EventRow>,
    /// Translations that changed.
    pub nats: Vec<wire::NatRow>,
}

/// What folding had to leave out; each is a counter of the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Connections beyond the table's bound: counted at their close only.
    pub connections_full: u64,
    /// Changes that went to the catch-all edge because the table of edges was full.
    pub edges_overflowed: u64,
    /// Sightings beyond the interval's bound.
    pub sightings_dropped: u64,
    /// Sightings left out by consistent sampling, which is no loss.
    pub sightings_unsampled: u64,
    /// Events beyond the interval's bound.
    pub events_dropped: u64,
    /// Events left out to stay within the agent's budget.
    pub events_spared: u64,
    /// Connections of no process: nobody was found who opened, accepted or listens.
    pub connections_unowned: u64,
    /// Connections whose close was lost on the way: their last numbers are missing.
    pub connections_lost: u64,
}

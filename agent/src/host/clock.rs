//! The kernel's clocks, read as values: everything else takes `now` as an argument.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Where Unix time stands relative to the kernel's clocks, taken at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Unix time at CLOCK_BOOTTIME zero, in nanoseconds.
    pub boottime_zero_ns: u64,
    /// Unix time at CLOCK_MONOTONIC zero, in nanoseconds (BPF timestamps count from there).
    pub monotonic_zero_ns: u64,
}

/// Reads the clocks one after the other: exact to some microseconds.
#[must_use]
pub fn clocks() -> Clocks {
    let unix = nanoseconds(ClockId::CLOCK_REALTIME);
    Clocks {
        boottime_zero_ns: unix.saturating_sub(nanoseconds(ClockId::CLOCK_BOOTTIME)),
        monotonic_zero_ns: unix.saturating_sub(nanoseconds(ClockId::CLOCK_MONOTONIC)),
    }
}

/// The wall clock, which may jump: the one place that reads it.
#[must_use]
pub fn wall() -> SystemTime {
    crate::fault::wall(SystemTime::now())
}

/// Unix time in milliseconds; 0 before 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    let since = wall().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Nanoseconds of CLOCK_MONOTONIC, as programs in the kernel read it.
#[must_use]
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC)
}

/// Milliseconds that only grow, for rates and deadlines.
#[must_use]
pub fn monotonic_ms() -> u64 {
    nanoseconds(ClockId::CLOCK_MONOTONIC) / 1_000_000
}

/// A clock the kernel does not have reads as 0; Linux has all three since 2.6.39.
fn nanoseconds(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, |time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or(0);
        let fraction = u64::try_from(time.tv_nsec()).unwrap_or(0);
        seconds
            .saturating_mul(1_000_000_000)
            .saturating_add(fraction)
    })
}

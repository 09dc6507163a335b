//! The kernel's clocks, read as values: everything else takes `now` as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Where Unix time stands relative to the kernel's clocks, taken at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clocks {
    /// Unix time at CLOCK_BOOTTIME zero, in nanoseconds.
    pub boottime_zero_ns: u64,
    /// Unix time at CLOCK_MONOTONIC zero, in nanoseconds (BPF timestamps count from there).
    pub monotonic_zero_ns: u64,
}

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
    /// ([`booted_since_1970`]).
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

/// Unix time, for a host that booted in 1970 or later; see [`booted_since_1970`].
#[must_use]
pub fn unix() -> Duration {
    let monotonic = Duration::from_nanos(monotonic_ns());
    booted_since_1970(wall(), monotonic)
}

/// Unix time of a wall clock, on a host that has run for `monotonic`.
///
/// A clock that was never set may stand before 1970, or before the boot would be in 1970. Nothing
/// here can be older than the boot, so such a clock is taken to have begun with it: times are wrong
/// then, as they are on that host, but they grow, and none is negative.
#[must_use]
pub fn booted_since_1970(wall: SystemTime, monotonic: Duration) -> Duration {
    let unix = wall.duration_since(UNIX_EPOCH).unwrap_or_default();
    unix.max(monotonic)
}

/// Unix time in milliseconds, as [`unix`] has it.
#[must_use]
pub fn unix_ms() -> u64 {
    u64::try_from(unix().as_millis()).unwrap_or(u64::MAX)
}

/// Whether the wall clock stands before 1970: certificates cannot be judged then.
#[must_use]
pub fn is_before_1970() -> bool {
    wall() < UNIX_EPOCH
}

/// Unix time and where CLOCK_MONOTONIC stands in it.
#[must_use]
pub fn now() -> Now {
    Now::at(unix(), Duration::from_nanos(monotonic_ns()))
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

#[cfg(test)]
mod tests {
    use super::booted_since_1970;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_clock_before_1970_begins_with_the_boot_and_one_after_it_is_believed() {
        let up = Duration::from_secs(100);
        let unix = |wall| booted_since_1970(wall, up);
        assert_eq!(unix(UNIX_EPOCH - Duration::from_secs(7)), up);
        assert_eq!(unix(UNIX_EPOCH + Duration::from_secs(7)), up);
        let later = Duration::from_secs(1_700_000_000);
        assert_eq!(unix(UNIX_EPOCH + later), later);
    }
}

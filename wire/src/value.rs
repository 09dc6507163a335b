//! Values that rows of several families have.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Number of power-of-two buckets of a [`Histogram`].
pub const HISTOGRAM_BUCKETS: usize = 32;

/// Durations in powers of two of a microsecond.
///
/// Bucket `i` counts values `v` with `2^i <= v < 2^(i+1)` microseconds; bucket 0 also takes 0 and
/// the last bucket everything above.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Count per bucket.
    pub buckets: [u64; HISTOGRAM_BUCKETS],
    /// Sum of all values in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Adds one value in microseconds.
    pub fn record(&mut self, value_us: u64) {
        let bucket = value_us.checked_ilog2().unwrap_or(0) as usize;
        self.buckets[bucket.min(HISTOGRAM_BUCKETS - 1)] += 1;
        self.sum_us = self.sum_us.saturating_add(value_us);
    }

    /// Number of values recorded.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// An address and a port; IPv4 is held as an IPv4-mapped IPv6 address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// IPv6, or IPv4 mapped into `::ffff:0:0/96`.
    pub addr: [u8; 16],
    /// TCP port; 0 where the row merges all ephemeral ports.
    pub port: u16,
}

impl Endpoint {
    /// The address as the operator knows it: mapped IPv4 becomes IPv4.
    #[must_use]
    pub fn ip(&self) -> IpAddr {
        Ipv6Addr::from(self.addr).to_canonical()
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(value: SocketAddr) -> Self {
        let addr = match value.ip() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        };
        Self {
            addr,
            port: value.port(),
        }
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", SocketAddr::new(self.ip(), self.port))
    }
}

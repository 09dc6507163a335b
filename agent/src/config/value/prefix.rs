//! An address range, of IPv4 or IPv6.

use super::{Expected, digits};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A CIDR prefix; the bits behind the prefix length are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    addr: IpAddr,
    bits: u8,
}

impl Prefix {
    /// All of `127.0.0.0/8`.
    pub const LOOPBACK_V4: Self = Self {
        addr: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)),
        bits: 8,
    };
    /// `::1/128`.
    pub const LOOPBACK_V6: Self = Self {
        addr: IpAddr::V6(Ipv6Addr::LOCALHOST),
        bits: 128,
    };

    /// The network address.
    #[must_use]
    pub const fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The prefix length in the address's own family: 0..=32 or 0..=128.
    #[must_use]
    pub const fn bits(&self) -> u8 {
        self.bits
    }

    /// The prefix among IPv6 addresses, IPv4 mapped into `::ffff:0:0/96`: 16 bytes and 0..=128.
    ///
    /// One longest-prefix map then serves both families.
    #[must_use]
    pub fn mapped(&self) -> ([u8; 16], u8) {
        match self.addr {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().octets(), self.bits + 96),
            IpAddr::V6(v6) => (v6.octets(), self.bits),
        }
    }

    /// True when `addr` lies inside.
    #[must_use]
    pub fn contains(&self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(net), IpAddr::V4(addr)) => {
                (net.to_bits() ^ addr.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V6(net), IpAddr::V6(addr)) => {
                (net.to_bits() ^ addr.to_bits()).leading_zeros() >= u32::from(self.bits)
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn network(addr: IpAddr, bits: u8) -> IpAddr {
        match addr {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        }
    }
}

impl FromStr for Prefix {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let wrong = || Expected::new("a prefix such as \"10.0.0.0/8\" or \"fc00::/7\"");
        let (addr, bits) = text.split_once('/').ok_or_else(wrong)?;
        let addr: IpAddr = addr.parse().map_err(|_| wrong())?;
        let bits = digits(bits)
            .and_then(|bits| u8::try_from(bits).ok())
            .ok_or_else(wrong)?;
        if bits > if addr.is_ipv4() { 32 } else { 128 } {
            return Err(wrong());
        }
        let network = Self::network(addr, bits);
        if network != addr {
            return Err(Expected::new(format!(
                "a prefix without host bits: {network}/{bits} instead of {text}"
            )));
        }
        Ok(Self { addr, bits })
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.bits)
    }
}

//! Networks of addresses.

use std::net::IpAddr;

/// A network as operators write it: `10.1.0.0/16`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: u128,
    bits: u32,
}

impl Network {
    /// Reads it.
    ///
    /// # Errors
    /// A sentence with what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || String::from("expected an address or a network such as 10.1.0.0/16");
        let (address, bits) = text.split_once('/').unwrap_or((text, ""));
        let ip: IpAddr = address.parse().map_err(|_| expected())?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits: u32 = match bits {
            "" if !text.contains('/') => most,
            bits if bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().map_err(|_| expected())?
            }
            _ => return Err(expected()),
        };
        if bits > most {
            return Err(format!("expected at most {most} bits behind the slash"));
        }
        let bits = bits + 128 - most;
        Ok(Self::new(ip, bits))
    }

    /// The network of an address; `bits` are those of IPv6, into which IPv4 is mapped.
    fn new(ip: IpAddr, bits: u32) -> Self {
        let mask = u128::MAX.checked_shl(128 - bits).unwrap_or(0);
        Self {
            address: number(ip) & mask,
            bits,
        }
    }

    /// The network that stands for a site: 24 bits of IPv4, 64 of IPv6.
    #[must_use]
    pub fn site(ip: IpAddr) -> String {
        match ip.to_canonical() {
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                format!("{a}.{b}.{c}.0/24")
            }
            v6 @ IpAddr::V6(_) => {
                let site = Self::new(v6, 64);
                format!("{}/64", std::net::Ipv6Addr::from(site.address))
            }
        }
    }

    /// Whether it is every address of IPv4 or of both.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.bits == 0 || self.has(IpAddr::from([0, 0, 0, 0])) && self.bits <= 96
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn has(&self, ip: IpAddr) -> bool {
        Self::new(ip, self.bits).address == self.address
    }
}

fn number(ip: IpAddr) -> u128 {
    let v6 = match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    };
    v6.into()
}

#[cfg(test)]
mod tests {
    use super::Network;

    #[test]
    fn networks_are_read_as_operators_write_them() {
        let has = |network: &str, ip: &str| {
            Network::parse(network)
                .expect(network)
                .has(ip.parse().expect(ip))
        };
        assert!(has("10.1.0.0/16", "10.1.255.1") && !has("10.1.0.0/16", "10.2.0.1"));
        assert!(has("10.1.2.3", "10.1.2.3") && !has("10.1.2.3", "10.1.2.4"));
        assert!(has("10.1.2.3", "::ffff:10.1.2.3") && has("0.0.0.0/0", "255.255.255.255"));
        assert!(!has("0.0.0.0/0", "fd00::1") && has("::/0", "10.1.2.3"));
        assert!(has("fd00:1::/32", "fd00:1:ffff::1") && !has("fd00:1::/32", "fd00:2::1"));
        let all = |network: &str| Network::parse(network).expect(network).is_everything();
        assert!(all("0.0.0.0/0") && all("::/0") && all("::/64"));
        assert!(!all("0.0.0.0/1") && !all("fd00::/8") && !all("10.0.0.0/8"));
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.0/",
            "10.0.0/8",
            "::/129",
            "web",
            "10.0.0.0/+8",
        ] {
            assert!(Network::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Network::site("10.1.2.3".parse().unwrap()), "10.1.2.0/24");
        assert_eq!(Network::site("fd00::5".parse().unwrap()), "fd00::/64");
    }
}

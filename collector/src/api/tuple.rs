//! Addresses in texts that people paste: from `ss`, `tcpdump`, `conntrack`, a log or a ticket.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// Longest word that can be an address with a zone and a port.
const MAX_WORD: usize = 128;

/// Both ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// Who dialled, as the text has it.
    pub source: SocketAddr,
    /// What was dialled.
    pub destination: SocketAddr,
}

/// An address, and its port where the text has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    /// IPv4 where it is one, also if it was written into IPv6.
    pub ip: IpAddr,
    /// Its port.
    pub port: Option<u16>,
}

impl Tuple {
    /// The first two addresses with a port of a text.
    #[must_use]
    pub fn find(text: &str) -> Option<Self> {
        let mut ends = find(text).into_iter().filter_map(At::socket);
        let (source, destination) = (ends.next()?, ends.next()?);
        Some(Self {
            source,
            destination,
        })
    }

    /// Seen from the other side.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
        }
    }
}

impl std::fmt::Display for Tuple {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}", self.source, self.destination)
    }
}

impl At {
    /// With its port.
    fn socket(self) -> Option<SocketAddr> {
        Some(SocketAddr::new(self.ip, self.port?))
    }
}

/// All addresses of a text, in its order, each by itself.
#[must_use]
pub(super) fn find(text: &str) -> Vec<At> {
    if let Some(tuple) = named(text) {
        return tuple.into();
    }
    let mut found: Vec<At> = Vec::new();
    let mut names_port = false;
    for word in words(text) {
        // `from 10.0.0.1 port 4711`
        if names_port && let (Some(last), Ok(port)) = (found.last_mut(), word.parse()) {
            last.port.get_or_insert(port);
        }
        names_port = word.eq_ignore_ascii_case("port");
        found.extend(at(word));
    }
    found
}

/// The original direction of `src=10.0.0.1 dst=10.0.0.2 sport=4711 dport=80`.
fn named(text: &str) -> Option<[At; 2]> {
    let value = |name: &str| {
        let mut words = text.split(|c: char| c.is_whitespace() || c == ',' || c == ';');
        words.find_map(|word| {
            let (key, value) = word.split_once('=')?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    };
    let end = |ip, port| {
        let mut at = at(value(ip)?)?;
        at.port = at.port.or(value(port).and_then(|port| port.parse().ok()));
        Some(at)
    };
    Some([end("src", "sport")?, end("dst", "dport")?])
}

/// What may be an address: without what stands around it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let around = |c: char| {
        c.is_whitespace()
            || matches!(
                c,
                ',' | ';' | '(' | ')' | '<' | '>' | '"' | '\'' | '=' | '|'
            )
    };
    let words = text.split(around);
    let words = words.flat_map(|word| word.split("->"));
    let words = words.flat_map(|word| word.split(['→', '⇒']));
    let trimmed = words.map(|word| {
        word.trim_end_matches([':', '.', '-'])
            .trim_start_matches('/')
    });
    trimmed.filter(|word| !word.is_empty() && word.len() <= MAX_WORD)
}

/// The address that a word is.
fn at(word: &str) -> Option<At> {
    // `https://10.0.0.2:8443/path`, `tcp://[::1]:80`.
    let word = word.split_once("://").map_or(word, |(_, rest)| rest);
    if word.starts_with('[') {
        let (inner, rest) = word.strip_prefix('[')?.split_once(']')?;
        let rest = rest.split('/').next().unwrap_or_default();
        let port = match rest {
            "" => None,
            rest => Some(port(rest.strip_prefix([':', '.'])?)?),
        };
        return Some(of(ip(inner)?, port));
    }
    let word = match word.split_once('/') {
        // A network is no address.
        Some((_, bits)) if !bits.is_empty() && bits.bytes().all(|b| b.is_ascii_digit()) => {
            return None;
        }
        Some((word, _)) => word,
        None => word,
    };
    // What stands behind a zone may be a port.
    let zone = word.split_once('%').map_or("", |(_, zone)| zone);
    if let Some(ip) = ip(word).filter(|_| !zone.contains([':', '.'])) {
        return Some(of(ip, None));
    }
    // `10.0.0.1:80`, and as tcpdump writes it `10.0.0.1.80` and `::1.80`; `10.0.0.1%eth0:80` is
    // what `ss` says of a bound device.
    let (address, number) = word
        .rsplit_once(':')
        .filter(|(left, _)| !is_v6(left))
        .or_else(|| {
            let (left, right) = word.rsplit_once('.')?;
            ip(left).map(|_| (left, right))
        })?;
    Some(of(ip(address)?, Some(port(number)?)))
}

fn is_v6(text: &str) -> bool {
    text.contains(':')
}

fn of(ip: IpAddr, port: Option<u16>) -> At {
    At { ip, port }
}

/// A port that a connection can have.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|port| digits && *port > 0)
}

/// An address without its zone.
fn ip(text: &str) -> Option<IpAddr> {
    let text = text.split_once('%').map_or(text, |(ip, _)| ip);
    let ip: IpAddr = text.parse().ok()?;
    Some(match ip {
        IpAddr::V4(_) => ip,
        IpAddr::V6(v6) => Ipv6Addr::to_canonical(&v6),
    })
}

#[cfg(test)]
mod tests {
    use super::{At, Tuple, find};
    use proptest::prelude::proptest;

    #[track_caller]
    fn is(text: &str, expected: &str) {
        let found = Tuple::find(text).map(|tuple| tuple.to_string());
        assert_eq!(found.as_deref(), Some(expected), "{text}");
    }

    #[test]
    fn a_tuple_is_found_however_it_was_pasted() {
        let v4 = "10.0.0.1:4711 -> 10.0.0.2:80";
        for text in [
            "10.0.0.1:4711 -> 10.0.0.2:80",
            "10.0.0.1:4711->10.0.0.2:80",
            "10.0.0.1:4711 → 10.0.0.2:80",
            "10.0.0.1:4711 10.0.0.2:80",
            "10.0.0.1:4711, 10.0.0.2:80",
            "(10.0.0.1:4711, 10.0.0.2:80)",
            // tcpdump
            "10.0.0.1.4711 > 10.0.0.2.80",
            "12:01:02.000001 IP 10.0.0.1.4711 > 10.0.0.2.80: Flags [S], seq 1, length 0",
            // ss -tnp
            "ESTAB 0 0 10.0.0.1:4711 10.0.0.2:80 users:((\"curl\",pid=1,fd=3))",
            "ESTAB 0 0 [::ffff:10.0.0.1]:4711 [::ffff:10.0.0.2]:80",
            "tcp ESTAB 0 36 10.0.0.1%eth0:4711 10.0.0.2:80",
            // conntrack -L
            "tcp 6 431999 ESTABLISHED src=10.0.0.1 dst=10.0.0.2 sport=4711 dport=80 src=10.0.0.2 \
             dst=10.9.0.1 sport=80 dport=61000 [ASSURED]",
            // logs
            "2026/01/02 03:04:05 [error] connect() failed, client: 10.0.0.1:4711, upstream: \
             \"http://10.0.0.2:80/x\"",
            "Accepted publickey from 10.0.0.1 port 4711 to 10.0.0.2 port 80",
            "dial tcp 10.0.0.1:4711->10.0.0.2:80: connection reset by peer",
            "proxy=[10.0.0.1]:4711 upstream=10.0.0.2:80.",
        ] {
            is(text, v4);
        }
        is("[::1]:4711 -> [fd00::2]:80", "[::1]:4711 -> [fd00::2]:80");
        is(
            "IP6 ::1.4711 > fd00::2.80: Flags [S]",
            "[::1]:4711 -> [fd00::2]:80",
        );
        is(
            "IP6 fe80::1%eth0.4711 > fd00::2.80",
            "[fe80::1]:4711 -> [fd00::2]:80",
        );
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "",
            "web -> db",
            "10.0.0.1",
            "10.0.0.1:0 10.0.0.2:0",
            "10.0.0.1:99999 10.0.0.2:80",
            "10.0.0.256:1 10.0.0.2:2",
            "1.2.3:4 5.6.7:8",
            "0.0.0.0:* 127.0.0.1:*",
            "10.0.0.0/8 10.1.0.0/16",
            "version 1.2.3.4.5.6",
        ] {
            assert_eq!(Tuple::find(text), None, "{text}");
        }
        let one = |text: &str| find(text).first().copied();
        let at = |ip: &str, port| {
            Some(At {
                ip: ip.parse().unwrap(),
                port,
            })
        };
        assert_eq!(one("[::1]:80"), at("::1", Some(80)));
        assert_eq!(one("::ffff:10.0.0.1"), at("10.0.0.1", None));
        assert_eq!(one("fd00::1"), at("fd00::1", None));
        assert_eq!(
            one("https://10.0.0.2:8443/login"),
            at("10.0.0.2", Some(8443))
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".*") {
            assert!(find(&text).len() <= text.len());
        }

        #[test]
        fn what_is_shown_is_found_again(a: [u8; 16], b: [u8; 4], ports: (u16, u16)) {
            let tuple = Tuple {
                source: (std::net::Ipv6Addr::from(a).to_canonical(), ports.0.max(1)).into(),
                destination: (b, ports.1.max(1)).into(),
            };
            assert_eq!(Tuple::find(&tuple.to_string()), Some(tuple));
        }
    }
}

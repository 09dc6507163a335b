//! Attempts that led to no connection, grouped: a scan of thousands of ports is one edge.
//!
//! What one service tried in vain at more than [`MAX_EACH`] ports of an address is one edge, and so
//! is what it tried at more addresses than that, under the network that these have in common; the
//! same for what a server heard of and what was never established. A few failures keep their
//! endpoints: each may be a service that is missing. The counters add up as ever.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use wire::{Endpoint, Role};

use super::rows::{NodeId, Row, Rows};
use super::side::{EdgeKey, Side};
use crate::topology::Attempts;

/// Addresses, and endpoints of each, that have an edge of their own for what was tried in vain.
const MAX_EACH: usize = 16;
/// Ranges of ports that are listed.
const MAX_RANGES: usize = 32;

/// Who tried, or was tried: a node, its role, the version of IP, and its own address for a server.
type Own = (NodeId, Role, bool, Option<IpAddr>);

/// The edges of rows that share theirs.
#[derive(Default)]
pub(super) struct Groups {
    /// By row; those that are not here keep their own.
    pub(super) of_row: BTreeMap<usize, EdgeKey>,
    pub(super) attempts: BTreeMap<EdgeKey, Attempts>,
}

/// Groups the rows on which nothing was established.
pub(super) fn group(rows: &Rows) -> Groups {
    let mut all: BTreeMap<Own, BTreeMap<IpAddr, Vec<usize>>> = BTreeMap::new();
    let failed = rows.all.iter().enumerate();
    for (at, row) in failed.filter(|(_, row)| in_vain(row)) {
        let peer = row.key.remote.ip();
        let local = (row.key.role == Role::Server).then(|| row.key.local.ip());
        let own = (row.key.node, row.key.role, peer.is_ipv4(), local);
        all.entry(own)
            .or_default()
            .entry(peer)
            .or_default()
            .push(at);
    }
    let mut groups = Groups::default();
    for peers in all.values() {
        if peers.len() > MAX_EACH {
            let network = common(peers.keys().copied());
            let members: Vec<usize> = peers.values().flatten().copied().collect();
            groups.add(rows, &members, network);
        } else {
            for (peer, members) in peers {
                let endpoints: BTreeSet<Endpoint> =
                    members.iter().map(|at| tried(&rows.all[*at])).collect();
                if endpoints.len() > MAX_EACH {
                    groups.add(rows, members, Side::Address(*peer));
                }
            }
        }
    }
    groups
}

/// Whether all that is known of it are attempts.
fn in_vain(row: &Row) -> bool {
    let counted = row
        .counters
        .as_ref()
        .is_some_and(|counted| !counted.is_zero());
    row.named() && counted && row.connections() == 0 && row.half_ends == 0 && !row.linked
}

/// The endpoint that was tried.
fn tried(row: &Row) -> Endpoint {
    match row.key.role {
        Role::Client => row.key.remote,
        Role::Server => row.key.local,
    }
}

impl Groups {
    fn add(&mut self, rows: &Rows, members: &[usize], peer: Side) {
        let all = || members.iter().map(|at| &rows.all[*at]);
        let endpoints: BTreeSet<Endpoint> = all().map(tried).collect();
        let addresses: BTreeSet<IpAddr> = all().map(|row| row.key.remote.ip()).collect();
        let Some(first) = all().next() else { return };
        let ports: BTreeSet<u16> = endpoints.iter().map(|endpoint| endpoint.port).collect();
        let ip = match (peer, first.key.role) {
            (Side::Network(ip, _), Role::Client) => ip,
            _ => tried(first).ip(),
        };
        let node = Side::Process(first.key.node);
        let (client, server) = match first.key.role {
            Role::Client => (node, peer),
            Role::Server => (peer, node),
        };
        // Port 0 is nobody's: it stands for several.
        let port = ports.first().filter(|_| ports.len() == 1);
        let endpoint = SocketAddr::new(ip, port.copied().unwrap_or(0));
        let key = EdgeKey {
            client,
            server,
            endpoint: endpoint.into(),
        };
        self.of_row.extend(members.iter().map(|at| (*at, key)));
        let (listed, left_out) = ranges(&ports);
        let attempts = Attempts {
            endpoints: endpoints.len() as u64,
            addresses: addresses.len() as u64,
            ports: listed,
            ports_left_out: left_out,
        };
        self.attempts.insert(key, attempts);
    }
}

impl Attempts {
    /// Adds those of another time: at least so many, for some may have been tried at both.
    pub(super) fn add(&mut self, other: &Self) {
        let all = self.ports.iter().chain(&other.ports);
        let ports: BTreeSet<u16> = all.flat_map(|text| ports_of(text)).collect();
        let (listed, more) = ranges(&ports);
        self.ports = listed;
        self.ports_left_out = more.max(self.ports_left_out).max(other.ports_left_out);
        self.endpoints = self.endpoints.max(other.endpoints);
        self.addresses = self.addresses.max(other.addresses);
    }
}

/// The ports of a range as [`ranges`] writes it.
fn ports_of(text: &str) -> std::ops::RangeInclusive<u16> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) => first..=last,
        _ => std::ops::RangeInclusive::new(1, 0),
    }
}

/// Ranges of ports, the first ones, and the number of ports behind them.
fn ranges(ports: &BTreeSet<u16>) -> (Vec<String>, u64) {
    let mut all: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match all.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*port) => *last = *port,
            _ => all.push((*port, *port)),
        }
    }
    let left_out = all.split_off(all.len().min(MAX_RANGES));
    let left_out = left_out
        .iter()
        .map(|(first, last)| u64::from(last - first) + 1);
    let text = |(first, last): (u16, u16)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    (all.into_iter().map(text).collect(), left_out.sum())
}

/// The smallest network with all of these addresses, which are of one version.
fn common(addresses: impl Iterator<Item = IpAddr>) -> Side {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
        IpAddr::V6(v6) => u128::from(v6),
    };
    let mut all = addresses.peekable();
    let is_v4 = all.peek().is_some_and(IpAddr::is_ipv4);
    let (and, or) = all
        .map(bits)
        .fold((u128::MAX, 0), |(and, or), ip| (and & ip, or | ip));
    let length = (and ^ or).leading_zeros().min(if is_v4 { 32 } else { 128 });
    let network = and & !u128::MAX.checked_shr(length).unwrap_or(0);
    let ip = if is_v4 {
        let high = u32::try_from(network >> 96).expect("the upper 32 bits");
        IpAddr::from(Ipv4Addr::from(high))
    } else {
        IpAddr::from(Ipv6Addr::from(network))
    };
    Side::Network(ip, u8::try_from(length).expect("at most 128"))
}

#[cfg(test)]
mod tests {
    use super::{Side, common, ranges};

    #[test]
    fn ports_are_listed_as_ranges_up_to_a_bound() {
        let (listed, left_out) = ranges(&[22, 80, 81, 82, 65_535].into());
        assert_eq!((listed.join(" "), left_out), ("22 80-82 65535".into(), 0));
        let (listed, left_out) = ranges(&(0..1000).map(|n| n * 3).collect());
        assert_eq!((listed.len(), left_out), (32, 968));
        assert_eq!(
            ranges(&(0..=u16::MAX).collect()),
            (vec!["0-65535".into()], 0)
        );
    }

    #[test]
    fn a_network_is_the_smallest_one() {
        let network = |all: &[&str]| common(all.iter().map(|ip| ip.parse().unwrap()));
        let is = |ip: &str, bits| Side::Network(ip.parse().unwrap(), bits);
        assert_eq!(network(&["10.1.2.3", "10.1.255.9"]), is("10.1.0.0", 16));
        assert_eq!(network(&["10.1.2.3", "192.168.0.1"]), is("0.0.0.0", 0));
        assert_eq!(network(&["10.1.2.3"]), is("10.1.2.3", 32));
        assert_eq!(network(&["fd01::1", "fd01::2"]), is("fd01::", 126));
        assert_eq!(network(&["fd01::1", "1::"]), is("::", 0));
    }
}

//! What orders leave of what the host's own configuration allows. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use wire::orders::{Directive, Network};

/// A prefix as the kernel's table has it: among IPv6 addresses, IPv4 in `::ffff:0:0/96`, and its
/// length, 0..=128.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mapped {
    /// The first address.
    pub addr: [u8; 16],
    /// Bits that count.
    pub bits: u8,
}

impl Mapped {
    /// True when all of `other` lies inside.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let differ = u128::from_be_bytes(self.addr) ^ u128::from_be_bytes(other.addr);
        self.bits <= other.bits && differ.leading_zeros() >= self.bits.into()
    }
}

impl From<([u8; 16], u8)> for Mapped {
    fn from((addr, bits): ([u8; 16], u8)) -> Self {
        Self { addr, bits }
    }
}

impl From<&Network> for Mapped {
    fn from(network: &Network) -> Self {
        let (addr, bits) = match network.addr() {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped().octets(), network.bits() + 96),
            IpAddr::V6(v6) => (v6.octets(), network.bits()),
        };
        Self { addr, bits }
    }
}

/// Where the option may be written to; the longest match decides, no match is no.
pub type Destinations = BTreeMap<Mapped, bool>;

/// What the host's own configuration and plan allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// The option is written.
    pub option: bool,
    /// Where to.
    pub destinations: Destinations,
    /// Sightings in one interval.
    pub sightings: usize,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InForce {
    /// The option is written.
    pub option: bool,
    /// Where to.
    pub destinations: Destinations,
    /// Families whose rows are not sent, and of `connection` single tables, by the names that orders
    /// have for them.
    pub withheld: BTreeSet<&'static str>,
    /// Sightings in one interval.
    pub sightings: usize,
    /// Least sampling level.
    pub sample_level: u8,
}

impl InForce {
    /// Whether these rows are sent.
    #[must_use]
    pub fn sends(&self, rows: &str) -> bool {
        !self.withheld.contains(rows)
    }
}

/// What is switched off, by its key in the text of orders.
fn withheld(ordered: &Directive) -> BTreeSet<&'static str> {
    let tables = [("sightings", ordered.sightings), ("events", ordered.events)];
    let families = ordered.families.iter().map(|(name, on)| (*name, Some(*on)));
    let off = tables.into_iter().chain(families);
    let off = off.filter(|(_, on)| *on == Some(false));
    off.map(|(rows, _)| rows).collect()
}

/// Narrows `own` by what is ordered. Nothing is allowed by the result that `own` does not allow.
#[must_use]
pub fn narrow(own: &Own, ordered: &Directive) -> InForce {
    let budget = ordered
        .sightings_per_interval
        .and_then(|n| usize::try_from(n).ok());
    InForce {
        option: own.option && ordered.option.unwrap_or(true),
        destinations: match &ordered.destinations {
            None => own.destinations.clone(),
            Some(networks) => common(&own.destinations, networks),
        },
        withheld: withheld(ordered),
        sightings: own.sightings.min(budget.unwrap_or(usize::MAX)),
        sample_level: ordered.sample_level.unwrap_or(0),
    }
}

/// Rules by which exactly those addresses are allowed that are by `own` and lie in `networks`.
///
/// Every prohibition stays, every own rule inside a network stays, and a network inside an own rule
/// gets that rule's word. So a prefix means the same in every result, and while one result replaces
/// another, rule by rule, nothing is allowed that `own` does not allow.
fn common(own: &Destinations, networks: &[Network]) -> Destinations {
    let networks: Vec<Mapped> = networks.iter().map(Mapped::from).collect();
    let mut rules = Destinations::new();
    for (prefix, allowed) in own {
        if !allowed || networks.iter().any(|network| network.covers(prefix)) {
            rules.insert(*prefix, *allowed);
        }
    }
    for network in networks {
        let around = own.iter().filter(|(prefix, _)| prefix.covers(&network));
        let nearest = around.max_by_key(|(prefix, _)| prefix.bits);
        if nearest.is_some_and(|(_, allowed)| *allowed) {
            rules.insert(network, true);
        }
    }
    rules
}

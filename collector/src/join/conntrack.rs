//! Conntrack evidence: a gateway says what it made of the addresses that one side knows.
//!
//! A row of a gateway reads "`client` dialled `dialled`, and it left as `source` to `server`". The
//! client's row with the first pair and the server's row with the second one belong together. What
//! one gateway sends out may be what the next one takes in, so rows are followed from gateway to
//! gateway. As with plain addresses, exactly one namespace must claim each side, and nothing is
//! linked where several services on both sides could be meant.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Endpoint, Role};

use super::rows::{Link, Links, Row, Rows, via};
use super::{HostId, Input, Nat};
use crate::accept::hex;
use crate::topology::{Seer, Via, ViaKind};

/// Gateways one behind the other that are followed: more than any path has that is not a loop.
const MAX_HOPS: usize = 4;
/// Ends that are followed from one beginning, so that gateways that contradict each other cost no
/// more than this.
const MAX_ENDS: usize = 256;

/// An address and the endpoint it dialled.
type Pair = ([u8; 16], Endpoint);

/// What a gateway made of a pair.
struct Translation {
    gateway: (HostId, u32),
    to: Pair,
    /// Connections of the window, and before it.
    opened: u64,
    before: u64,
}

/// Where connections of a pair come out, and by how many gateways.
struct End {
    to: Pair,
    opened: u64,
    before: u64,
    gateways: Vec<(HostId, u32)>,
}

struct Translations {
    all: Vec<Translation>,
    by_from: BTreeMap<Pair, Vec<usize>>,
    /// Pairs that come out as another one.
    by_to: BTreeMap<Pair, BTreeSet<Pair>>,
}

/// Rows by the pair they name.
#[derive(Default)]
struct Left {
    /// Those with connections left over.
    clients: BTreeMap<Pair, Vec<usize>>,
    servers: BTreeMap<Pair, Vec<usize>>,
    /// The pairs of all clients, and of all servers.
    reported: (BTreeSet<Pair>, BTreeSet<Pair>),
}

/// Links rows with connections left over by what gateways translated.
pub(super) fn link(input: &Input, rows: &mut Rows, links: &mut Links) {
    if input.nats.is_empty() {
        return;
    }
    let translations = Translations::of(&input.nats);
    let left = Left::of(rows);
    let names: BTreeMap<HostId, &str> = input
        .hosts
        .iter()
        .map(|(host, name)| (*host, name.as_str()))
        .collect();
    // What was opened in the window goes first; then what may be open since before.
    let counts: [fn(&End) -> u64; 2] = [
        |end| end.opened,
        |end| end.opened.saturating_add(end.before),
    ];
    for count in counts {
        for (from, clients) in &left.clients {
            let ends = translations.ends(*from);
            let exits = translations.exits(&ends);
            for end in &ends {
                let meeting = Meeting {
                    from: *from,
                    end,
                    clients,
                    servers: left.servers.get(&end.to).map_or(&[], Vec::as_slice),
                    one_exit: exits == 1,
                    one_entry: end.gateways.len() == 1 && translations.entries(end.to) == 1,
                };
                meeting.link(count(end), &names, rows, links);
            }
            if !ends.is_empty() && !ends.iter().any(|end| left.reported.1.contains(&end.to)) {
                for row in clients {
                    rows.all[*row].translated = true;
                }
            }
        }
    }
    for (to, servers) in &left.servers {
        let mut from = translations.by_to.get(to).into_iter().flatten().peekable();
        if from.peek().is_some() && !from.any(|from| left.reported.0.contains(from)) {
            for row in servers {
                rows.all[*row].translated = true;
            }
        }
    }
}

impl Translations {
    fn of(nats: &[Nat]) -> Self {
        let mut sums: BTreeMap<((HostId, u32), Pair, Pair), (u64, u64)> = BTreeMap::new();
        for nat in nats {
            let (from, to) = ((nat.client, nat.dialled), (nat.source, nat.server));
            if from != to {
                let sum = sums.entry(((nat.host, nat.netns), from, to)).or_default();
                sum.0 = sum.0.saturating_add(nat.opened);
                sum.1 = sum.1.saturating_add(nat.before);
            }
        }
        let (mut by_from, mut by_to) = (BTreeMap::new(), BTreeMap::new());
        let all = sums
            .into_iter()
            .enumerate()
            .map(|(at, ((gateway, from, to), (opened, before)))| {
                by_from.entry(from).or_insert_with(Vec::new).push(at);
                by_to.entry(to).or_insert_with(BTreeSet::new).insert(from);
                Translation {
                    gateway,
                    to,
                    opened,
                    before,
                }
            })
            .collect();
        Self {
            all,
            by_from,
            by_to,
        }
    }

    /// Where connections of a pair come out, nearest first.
    fn ends(&self, from: Pair) -> Vec<End> {
        let mut ends: Vec<End> = Vec::new();
        let mut visited = BTreeSet::new();
        let mut next = 0;
        self.step(from, None, &mut visited, &mut ends);
        while next < ends.len() && ends.len() < MAX_ENDS {
            if ends[next].gateways.len() < MAX_HOPS {
                self.step(ends[next].to, Some(next), &mut visited, &mut ends);
            }
            next += 1;
        }
        ends
    }

    /// Adds what the gateways that take in a pair make of it, each once.
    fn step(
        &self,
        from: Pair,
        last: Option<usize>,
        visited: &mut BTreeSet<usize>,
        ends: &mut Vec<End>,
    ) {
        for at in self.by_from.get(&from).into_iter().flatten() {
            if ends.len() < MAX_ENDS && visited.insert(*at) {
                let one = &self.all[*at];
                let last = last.map(|at| &ends[at]);
                let most = last.map_or((u64::MAX, u64::MAX), |end| (end.opened, end.before));
                let mut gateways = last.map_or(Vec::new(), |end| end.gateways.clone());
                gateways.push(one.gateway);
                ends.push(End {
                    to: one.to,
                    opened: one.opened.min(most.0),
                    before: one.before.min(most.1),
                    gateways,
                });
            }
        }
    }

    /// Number of endpoints at which the last gateway lets them out.
    fn exits(&self, ends: &[End]) -> usize {
        let last = ends
            .iter()
            .filter(|end| !self.by_from.contains_key(&end.to));
        let servers: BTreeSet<Endpoint> = last.map(|end| end.to.1).collect();
        servers.len()
    }

    /// Number of pairs that come out as this one.
    fn entries(&self, to: Pair) -> usize {
        self.by_to.get(&to).map_or(0, BTreeSet::len)
    }
}

impl Left {
    fn of(rows: &Rows) -> Self {
        let mut left = Self::default();
        for (at, row) in rows.all.iter().enumerate().filter(|(_, row)| row.named()) {
            let (local, remote) = (row.key.local, row.key.remote);
            let (map, reported, pair) = match row.key.role {
                Role::Client => (
                    &mut left.clients,
                    &mut left.reported.0,
                    (local.addr, remote),
                ),
                Role::Server => (
                    &mut left.servers,
                    &mut left.reported.1,
                    (remote.addr, local),
                ),
            };
            reported.insert(pair);
            if row.rest > 0 {
                map.entry(pair).or_default().push(at);
            }
        }
        left
    }
}

/// The rows before and behind some gateways.
struct Meeting<'a> {
    from: Pair,
    end: &'a End,
    clients: &'a [usize],
    servers: &'a [usize],
    /// All that dials this pair comes out at one endpoint.
    one_exit: bool,
    /// All that comes out here dialled this pair.
    one_entry: bool,
}

impl Meeting<'_> {
    /// Links them, if it is certain who is meant, with at most so many connections.
    fn link(&self, most: u64, names: &BTreeMap<HostId, &str>, rows: &mut Rows, links: &mut Links) {
        let gateways = &self.end.gateways;
        let near = |side: &[usize], pair: &Pair, gateway| -> Vec<usize> {
            let near = |at: &&usize| reachable(&rows.all[**at], pair, gateway);
            side.iter().filter(near).copied().collect()
        };
        let clients = near(self.clients, &self.from, gateways.first());
        let servers = near(self.servers, &self.end.to, gateways.last());
        if clients.is_empty() || servers.is_empty() {
            return;
        }
        // Several services of one host are told apart by their counterpart only where all of them
        // have no other.
        let decidable = match (clients.len(), servers.len()) {
            (1, 1) => true,
            (_, 1) => self.one_exit,
            (1, _) => self.one_entry,
            _ => false,
        };
        if !decidable || !rows.of_one_namespace(&clients) || !rows.of_one_namespace(&servers) {
            for row in clients.iter().chain(&servers) {
                rows.all[*row].shared = true;
            }
            return;
        }
        let mut left = most;
        for pair in pairs(&clients, &servers) {
            let gateways = gateways.iter().map(|(host, _)| gateway(*host, names));
            left -= share(rows, links, pair, left, gateways);
        }
    }
}

fn pairs<'a>(
    clients: &'a [usize],
    servers: &'a [usize],
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let with = move |client: &usize| {
        let client = *client;
        servers.iter().map(move |server| (client, *server))
    };
    clients.iter().flat_map(with)
}

/// A loopback address is one namespace's own: only that namespace's gateway speaks of it.
fn reachable(row: &Row, pair: &Pair, gateway: Option<&(HostId, u32)>) -> bool {
    let client = Endpoint {
        addr: pair.0,
        port: 0,
    };
    let own = client.ip().is_loopback() || pair.1.ip().is_loopback();
    !own || gateway == Some(&(row.key.node.host, row.key.netns))
}

/// Gives a pair of rows what both have left over, but no more than the gateway translated.
fn share(
    rows: &mut Rows,
    links: &mut Links,
    pair: (usize, usize),
    most: u64,
    gateways: impl Iterator<Item = Via>,
) -> u64 {
    let known = links.all.get(&pair).map_or(0, Link::weight);
    let left = rows.all[pair.0].rest.min(rows.all[pair.1].rest);
    let both = left.min(most.saturating_sub(known));
    if both > 0 {
        let [client, server] = [pair.0, pair.1].map(|row| {
            rows.take(row, both);
            rows.all[row].linked = true;
            (rows.all[row].key.local, rows.all[row].key.remote)
        });
        let link = links.all.entry(pair).or_default();
        link.conntrack = link.conntrack.saturating_add(both);
        link.add_via(via(client, server));
        link.add_via(gateways);
    }
    both
}

fn gateway(host: HostId, names: &BTreeMap<HostId, &str>) -> Via {
    let name = names.get(&host).filter(|name| !name.is_empty());
    Via {
        seen_by: Seer::Gateway,
        kind: ViaKind::Gateway,
        address: name.map_or_else(|| hex(&host.0), |name| (*name).to_owned()),
    }
}

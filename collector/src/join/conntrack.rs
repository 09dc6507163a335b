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

/// Connections of the window, and before it, by gateway and the pairs it takes in and lets out.
type Sums = BTreeMap<((HostId, u32), Pair, Pair), (u64, u64)>;

/// What a gateway made of a pair.
struct Translation {
    gateway: (HostId, u32),
    to: Pair,
    /// Connections of the window, and before it.
    opened: u64,
    before: u64,
}

/// Where connections of a pair come out, and by how many gateways.
#[derive(Clone)]
struct End {
    to: Pair,
    opened: u64,
    before: u64,
    /// Connections of others are among them.
    merged: bool,
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
            let groups = translations.groups(*from, clients, rows);
            for (own, clients) in &groups {
                let mut starts = translations.starts(*from, *own).to_vec();
                if own.is_none() {
                    starts
                        .retain(|at| !groups.contains_key(&Some(translations.all[*at].gateway.0)));
                }
                let (ends, certain) = translations.ends(*from, &starts, &left.reported.0);
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
                let reported = ends.iter().any(|end| left.reported.1.contains(&end.to));
                for row in clients {
                    rows.all[*row].shared |= !certain;
                    rows.all[*row].translated |= certain && !ends.is_empty() && !reported;
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
        let mut sums = Sums::new();
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

    /// Clients of a pair, by the host that translates it for its own ones.
    ///
    /// Every host has the same addresses for its containers, and translates them itself; no other
    /// gateway means these.
    fn groups(
        &self,
        from: Pair,
        clients: &[usize],
        rows: &Rows,
    ) -> BTreeMap<Option<HostId>, Vec<usize>> {
        let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for row in clients {
            let host = rows.all[*row].key.host;
            let own = (!self.starts(from, Some(host)).is_empty()).then_some(host);
            groups.entry(own).or_default().push(*row);
        }
        groups
    }

    /// The translations of a pair, those of one host if it is given.
    fn starts(&self, from: Pair, own: Option<HostId>) -> &[usize] {
        let all = self.by_from.get(&from).map_or(&[][..], Vec::as_slice);
        let Some(own) = own else { return all };
        // They are in the order of their gateways.
        let first = all.partition_point(|at| self.all[*at].gateway.0 < own);
        let last = all.partition_point(|at| self.all[*at].gateway.0 <= own);
        &all[first..last]
    }

    /// Where connections of a pair come out, nearest first; false where that is not certain.
    ///
    /// Several that dial one pair are one to the gateway that takes it in. Where that gateway has
    /// several ways out, nothing says who took which.
    fn ends(&self, from: Pair, starts: &[usize], reported: &BTreeSet<Pair>) -> (Vec<End>, bool) {
        let mut ends: Vec<End> = Vec::new();
        let mut visited = BTreeSet::new();
        let mut certain = self.step((from, starts), None, reported, &mut visited, &mut ends);
        let mut next = 0;
        while next < ends.len() {
            if ends[next].gateways.len() < MAX_HOPS {
                let (to, last) = (ends[next].to, ends[next].clone());
                let outs = (to, self.starts(to, None));
                certain &= self.step(outs, Some(&last), reported, &mut visited, &mut ends);
            }
            next += 1;
        }
        (ends, certain)
    }

    /// Adds what the gateways that take in a pair make of it, each once.
    fn step(
        &self,
        (from, outs): (Pair, &[usize]),
        last: Option<&End>,
        reported: &BTreeSet<Pair>,
        visited: &mut BTreeSet<usize>,
        ends: &mut Vec<End>,
    ) -> bool {
        let sources = self.entries(from) + usize::from(reported.contains(&from));
        let merged = sources > 1 || last.is_some_and(|end| end.merged);
        let ways: BTreeSet<Endpoint> = outs.iter().map(|at| self.all[*at].to.1).collect();
        if merged && ways.len() > 1 {
            return false;
        }
        for at in outs {
            if ends.len() < MAX_ENDS && visited.insert(*at) {
                let one = &self.all[*at];
                let most = last.map_or((u64::MAX, u64::MAX), |e| (e.opened, e.before));
                let mut gateways = last.map_or(Vec::new(), |end| end.gateways.clone());
                gateways.push(one.gateway);
                ends.push(End {
                    to: one.to,
                    opened: one.opened.min(most.0),
                    before: one.before.min(most.1),
                    gateways,
                    merged,
                });
            }
        }
        true
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
            map.entry(pair).or_default().push(at);
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
        let near = |side: &[usize], pair: &Pair, gateway: Option<&(HostId, u32)>| {
            let all = side.iter().copied();
            let all = all.filter(|at| reachable(&rows.all[*at], pair, gateway));
            let host = |at: &usize| Some(rows.all[*at].key.host) == gateway.map(|(h, _)| *h);
            // Every host has the same addresses for its containers. Those that a gateway has on
            // its own host are the ones it means.
            let (own, others): (Vec<usize>, Vec<usize>) = all.partition(host);
            let mut side = if own.is_empty() { others } else { own };
            let unique = rows.of_one_namespace(&side);
            side.retain(|at| rows.all[*at].rest > 0);
            (side, unique)
        };
        let (clients, one_client) = near(self.clients, &self.from, gateways.first());
        let (servers, one_server) = near(self.servers, &self.end.to, gateways.last());
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
        if !decidable || !one_client || !one_server {
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
    !own || gateway == Some(&(row.key.host, row.key.netns))
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
        if let Some(link) = links.entry(pair, via(client, server).chain(gateways)) {
            link.conntrack = link.conntrack.saturating_add(both);
        }
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

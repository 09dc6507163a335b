//! Conntrack evidence: a gateway says what it made of the addresses that one side knows.
//!
//! A row of a gateway reads "`client` dialled `dialled`, and it left as `source` to `server`". The
//! client's row with the first pair and the server's row with the second one may belong together.
//! What one gateway sends out may be what the next one takes in, so rows are followed from gateway
//! to gateway. As with plain addresses, exactly one namespace must claim each side; how many
//! connections they have in common, [`Candidates`] decides.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Endpoint, Role};

use super::candidates::{Candidates, Most, pairs, share};
use super::cost;
use super::halves::Halves;
use super::input::{HostId, Input, Nat};
use super::links::{Link, Links};
use super::rows::{Row, Rows};

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
    from: Pair,
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
    /// Those of one way there.
    gateways: Vec<(HostId, u32)>,
}

struct Translations {
    all: Vec<Translation>,
    by_from: BTreeMap<Pair, Vec<usize>>,
    by_to: BTreeMap<Pair, Vec<usize>>,
}

/// Rows by the pair they name.
#[derive(Default)]
struct Left {
    clients: BTreeMap<Pair, Vec<usize>>,
    servers: BTreeMap<Pair, Vec<usize>>,
}

/// Where what comes out as a pair came from.
struct Origin {
    /// Somebody reports one of the pairs on the way.
    reported: bool,
    /// Connections that may be of clients whom nobody reports.
    elsewhere: u64,
}

/// Links rows with connections left over by what gateways translated.
pub(super) fn link(input: &Input, rows: &mut Rows, links: &mut Links, halves: &Halves) {
    if input.nats.is_empty() {
        return;
    }
    let translations = Translations::of(&input.nats);
    let left = Left::of(rows);
    let open = links.open(rows);
    let mut candidates = Candidates::default();
    for (from, clients) in &left.clients {
        let groups = translations.groups(*from, clients, rows);
        for (own, clients) in &groups {
            let mut starts = translations.starts(*from, *own).to_vec();
            if own.is_none() {
                starts.retain(|at| !groups.contains_key(&Some(translations.all[*at].gateway.0)));
            }
            let ends = translations.ends(*from, &starts);
            for end in &ends {
                let meeting = Meeting {
                    from: *from,
                    end,
                    clients,
                    servers: left.servers.get(&end.to).map_or(&[], Vec::as_slice),
                    last: !translations.by_from.contains_key(&end.to),
                };
                meeting.name((rows, &open), links, &mut candidates);
            }
            let reported = ends.iter().any(|end| left.servers.contains_key(&end.to));
            for row in clients {
                rows.all[*row].tracked |= reported;
                rows.all[*row].translated |= !ends.is_empty() && !reported;
            }
        }
    }
    for (to, servers) in &left.servers {
        if !translations.by_to.contains_key(to) {
            continue;
        }
        let origin = translations.origin(*to, &left.clients);
        for row in servers {
            rows.all[*row].translated |= !origin.reported;
            candidates.add_elsewhere(*row, origin.elsewhere);
        }
    }
    let put = |link: &mut Link, both| link.conntrack = link.conntrack.saturating_add(both);
    candidates.link((rows, links, halves), put);
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
                by_to.entry(to).or_insert_with(Vec::new).push(at);
                Translation {
                    gateway,
                    from,
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

    /// Where connections of a pair come out, nearest first.
    fn ends(&self, from: Pair, starts: &[usize]) -> Vec<End> {
        let mut ends: Vec<End> = Vec::new();
        self.step((from, 0), starts, None, &mut ends);
        let mut next = 0;
        while next < ends.len() {
            if ends[next].gateways.len() < MAX_HOPS {
                let last = ends[next].clone();
                let outs = self.starts(last.to, None);
                self.step((from, next + 1), outs, Some(&last), &mut ends);
            }
            next += 1;
        }
        ends
    }

    /// Adds what the gateways that take in a pair make of it: each pair once, so that loops end,
    /// but by as many ways as lead there.
    fn step(
        &self,
        (begin, open): (Pair, usize),
        outs: &[usize],
        last: Option<&End>,
        ends: &mut Vec<End>,
    ) {
        for at in outs {
            let one = &self.all[*at];
            let most = last.map_or((u64::MAX, u64::MAX), |e| (e.opened, e.before));
            let (opened, before) = (one.opened.min(most.0), one.before.min(most.1));
            if let Some(known) = ends.iter().position(|end| end.to == one.to) {
                // Where it was followed further already, it is a loop.
                if known >= open {
                    let end = &mut ends[known];
                    end.opened = end.opened.saturating_add(opened);
                    end.before = end.before.saturating_add(before);
                }
            } else if ends.len() < MAX_ENDS && one.to != begin {
                let mut gateways = last.map_or(Vec::new(), |end| end.gateways.clone());
                gateways.push(one.gateway);
                ends.push(End {
                    to: one.to,
                    opened,
                    before,
                    gateways,
                });
            }
        }
    }

    /// Where what comes out as a pair came from, back through all gateways in a row.
    fn origin(&self, to: Pair, clients: &BTreeMap<Pair, Vec<usize>>) -> Origin {
        let mut origin = Origin {
            reported: false,
            elsewhere: 0,
        };
        let mut pairs = vec![to];
        let mut visited = BTreeSet::from([to]);
        let mut next = 0;
        while let Some(pair) = pairs.get(next).copied() {
            next += 1;
            for at in self.by_to.get(&pair).into_iter().flatten() {
                let one = &self.all[*at];
                let reported = clients.contains_key(&one.from);
                origin.reported |= reported;
                if self.by_to.contains_key(&one.from) {
                    if pairs.len() >= MAX_ENDS {
                        origin.elsewhere = u64::MAX;
                    } else if visited.insert(one.from) {
                        pairs.push(one.from);
                    }
                } else if !reported {
                    let all = one.opened.saturating_add(one.before);
                    origin.elsewhere = origin.elsewhere.saturating_add(all);
                }
            }
        }
        origin
    }
}

impl Left {
    fn of(rows: &Rows) -> Self {
        let mut left = Self::default();
        for (at, row) in rows.all.iter().enumerate().filter(|(_, row)| row.named()) {
            let (local, remote) = (row.key.local, row.key.remote);
            let (map, pair) = match row.key.role {
                Role::Client => (&mut left.clients, (local.addr, remote)),
                Role::Server => (&mut left.servers, (remote.addr, local)),
            };
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
    /// No gateway takes in what comes out here.
    last: bool,
}

impl Meeting<'_> {
    /// Names those that may have connections in common.
    fn name(
        &self,
        (rows, open): (&mut Rows, &[bool]),
        links: &mut Links,
        candidates: &mut Candidates,
    ) {
        let end = self.end;
        let near = |side: &[usize], pair: &Pair, gateway: Option<&(HostId, u32)>| {
            let all = side.iter().copied();
            let all = all.filter(|at| reachable(&rows.all[*at], pair, gateway));
            let host = |at: &usize| Some(rows.all[*at].key.host) == gateway.map(|(h, _)| *h);
            // Every host has the same addresses for its containers. Those that a gateway has on
            // its own host are the ones it means.
            let (own, others): (Vec<usize>, Vec<usize>) = all.partition(host);
            if own.is_empty() { others } else { own }
        };
        let mut clients = near(self.clients, &self.from, end.gateways.first());
        let mut servers = near(self.servers, &end.to, end.gateways.last());
        let one_each = [&clients, &servers].map(|side| rows.of_one_namespace(side)) == [true; 2];
        let told = |number: fn(&Link) -> u64| {
            let linked = pairs(&clients, &servers).filter_map(|pair| links.all.get(&pair));
            linked.fold(0, |sum: u64, link| sum.saturating_add(number(link)))
        };
        let told = [told(Link::weight), told(Link::certain)];
        for side in [&mut clients, &mut servers] {
            side.retain(|at| open[*at]);
        }
        if !one_each {
            for client in clients.iter().filter(|_| self.last) {
                candidates.add_elsewhere(*client, end.opened.saturating_add(end.before));
            }
            share(rows, links, &clients, &servers);
            return;
        }
        for (client, server) in pairs(&clients, &servers) {
            // What one of them has since before the window, the gateway translated then.
            let old = [client, server]
                .iter()
                .any(|row| rows.all[*row].open_before > 0);
            let most = end.opened.saturating_add(if old { end.before } else { 0 });
            let [likely, certain] = told.map(|told| most.saturating_sub(told));
            let most = Most { likely, certain };
            let hosts = end.gateways.iter().map(|(host, _)| *host);
            if links.take(cost::CANDIDATE) {
                candidates.add((client, server), most, hosts);
            }
        }
    }
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

//! Who may be the other end of what tokens and sequence numbers left over, and where that is
//! certain.
//!
//! Conntrack and addresses name rows that may belong together. How many connections two rows have
//! in common lies between bounds: at most what both have left over and a gateway let through; at
//! least what one of them has left when all of its other counterparts have taken as much as they
//! can. Only the least is joined. What is more is "one of these": the rows keep it, with the names
//! of all that it may be with.

use std::collections::{BTreeMap, BTreeSet};

use super::cost;
use super::halves::Halves;
use super::input::HostId;
use super::links::{Link, Links, via};
use super::rows::{MAX_CANDIDATES, Rows};
use crate::digest::hex;
use crate::topology::{Seer, Via, ViaKind};

/// A client's row and a server's row.
type Pair = (usize, usize);

/// What is known of a pair.
#[derive(Debug, Default)]
struct Candidate {
    /// No more connections than that came from one to the other.
    most: u64,
    /// Gateways between them.
    gateways: Vec<HostId>,
}

/// Pairs, and what may have gone elsewhere.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pairs: BTreeMap<Pair, Candidate>,
    /// Connections of a row whose other end may be one that nobody reports.
    elsewhere: BTreeMap<usize, u64>,
}

/// Bounds of what a pair has in common.
struct Bounds {
    pair: Pair,
    least: u64,
    most: u64,
}

impl Candidates {
    /// These may have connections in common, no more than `most`.
    pub(super) fn add(&mut self, pair: Pair, most: u64, gateways: impl Iterator<Item = HostId>) {
        let known = self.pairs.entry(pair).or_default();
        known.most = known.most.saturating_add(most);
        for gateway in gateways {
            if !known.gateways.contains(&gateway) {
                known.gateways.push(gateway);
            }
        }
    }

    /// So many connections of a row may be with somebody whom nobody reports.
    pub(super) fn add_elsewhere(&mut self, row: usize, connections: u64) {
        let known = self.elsewhere.entry(row).or_default();
        *known = known.saturating_add(connections);
    }

    /// Joins what is certain; `put` adds so much to a link.
    pub(super) fn link(
        self,
        (rows, links, halves): (&mut Rows, &mut Links, &Halves),
        names: &BTreeMap<HostId, &str>,
        put: fn(&mut Link, u64),
    ) {
        for bounds in self.bounds(rows, links, halves) {
            let (client, server) = bounds.pair;
            let left = rows.all[client].rest.min(rows.all[server].rest);
            let both = bounds.least.min(left);
            if both > 0 {
                let [near, far] = [client, server].map(|row| {
                    rows.take(row, both);
                    rows.all[row].linked = true;
                    (rows.all[row].key.local, rows.all[row].key.remote)
                });
                let gateways = self.pairs[&bounds.pair].gateways.iter();
                let ways = via(near, far).chain(gateways.map(|host| gateway(*host, names)));
                if let Some(link) = links.entry(bounds.pair, ways) {
                    put(link, both);
                }
            }
            let maybe = bounds.most.saturating_sub(both);
            if maybe > 0 && links.take(cost::CANDIDATE) {
                rows.add_candidate(client, server);
                if let Some(link) = links.all.get_mut(&bounds.pair) {
                    link.maybe = link.maybe.saturating_add(maybe);
                }
            }
        }
    }

    fn bounds(&self, rows: &Rows, links: &Links, halves: &Halves) -> Vec<Bounds> {
        // Rows whose other end may be one that tells nothing.
        let mut quiet: BTreeSet<usize> = self
            .elsewhere
            .iter()
            .filter(|(_, n)| **n > 0)
            .map(|(row, _)| *row)
            .collect();
        for (client, server) in self.pairs.keys() {
            for (row, other) in [(client, server), (server, client)] {
                if !halves.is_teller(rows, *other) {
                    quiet.insert(*row);
                }
            }
        }
        let mut all: Vec<(Bounds, u64)> = Vec::new();
        let mut sums: BTreeMap<usize, u64> = BTreeMap::new();
        for (pair, candidate) in &self.pairs {
            let alone = [pair.0, pair.1].map(|row| !quiet.contains(&row));
            let room = halves.room(rows, *pair, links.known(*pair, alone));
            let most = room.most.min(candidate.most);
            if most > 0 {
                for row in [pair.0, pair.1] {
                    let sum = sums.entry(row).or_default();
                    *sum = sum.saturating_add(self.could(rows, row, *pair, most));
                }
                let bounds = Bounds {
                    pair: *pair,
                    least: 0,
                    most,
                };
                all.push((bounds, room.same.min(most)));
            }
        }
        // What is left of a row must be with somebody: if all others had as much of it as they can.
        let must = |row: usize, most: u64| {
            let others = (sums[&row] - most).saturating_add(self.elsewhere(row));
            rows.all[row].rest.saturating_sub(others).min(most)
        };
        let both =
            |bounds: &Bounds| [bounds.pair.0, bounds.pair.1].map(|row| must(row, bounds.most));
        let mut least: BTreeMap<usize, u64> = BTreeMap::new();
        for (bounds, _) in &all {
            let [client, server] = both(bounds);
            for row in [bounds.pair.0, bounds.pair.1] {
                let sum = least.entry(row).or_default();
                *sum = sum.saturating_add(client.max(server));
            }
        }
        for (bounds, same) in &mut all {
            let [client, server] = both(bounds);
            // Where the counterparts of a row claim more than it has, their claims are worth
            // nothing: somebody counts what others did not.
            let holds = |row: usize| least[&row] <= rows.all[row].rest;
            let by_server = if holds(bounds.pair.0) { server } else { 0 };
            let by_client = if holds(bounds.pair.1) { client } else { 0 };
            bounds.least = by_client.max(by_server).max(*same);
        }
        all.into_iter().map(|(bounds, _)| bounds).collect()
    }

    /// The most of a row that its counterpart in a pair may have had. One whose agent came late may
    /// have had more than it counted.
    fn could(&self, rows: &Rows, row: usize, pair: Pair, most: u64) -> u64 {
        let other = if row == pair.0 { pair.1 } else { pair.0 };
        if rows.all[other].late {
            most.max(self.pairs[&pair].most.min(rows.all[row].rest))
        } else {
            most
        }
    }

    fn elsewhere(&self, row: usize) -> u64 {
        self.elsewhere.get(&row).copied().unwrap_or(0)
    }
}

/// All pairs of two sides; where both have many, nobody could tell them apart anyway.
pub(super) fn pairs<'a>(
    clients: &'a [usize],
    servers: &'a [usize],
) -> impl Iterator<Item = (usize, usize)> + 'a {
    let most = if clients.len().min(servers.len()) > MAX_CANDIDATES {
        MAX_CANDIDATES
    } else {
        usize::MAX
    };
    let with = move |client: &usize| {
        let client = *client;
        servers
            .iter()
            .take(most)
            .map(move |server| (client, *server))
    };
    clients.iter().take(most).flat_map(with)
}

/// Notes that several hosts or services claim the addresses of these rows.
pub(super) fn share(rows: &mut Rows, links: &mut Links, clients: &[usize], servers: &[usize]) {
    if clients.is_empty() || servers.is_empty() {
        return;
    }
    for row in clients.iter().chain(servers) {
        rows.all[*row].shared = true;
    }
    let (few_clients, few_servers) = (
        &clients[..clients.len().min(MAX_CANDIDATES)],
        &servers[..servers.len().min(MAX_CANDIDATES)],
    );
    let near = pairs(clients, few_servers).chain(pairs(few_clients, servers));
    for (client, server) in near {
        if !links.take(cost::CANDIDATE) {
            return;
        }
        rows.add_candidate(client, server);
    }
}

fn gateway(host: HostId, names: &BTreeMap<HostId, &str>) -> Via {
    let name = names.get(&host).filter(|name| !name.is_empty());
    Via {
        seen_by: Seer::Gateway,
        kind: ViaKind::Gateway,
        address: name.map_or_else(|| hex(&host.0), |name| (*name).to_owned()),
    }
}

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
use super::halves::{Halves, Room};
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
    /// No more connections than that came from one to the other, beside those of its link.
    most: Most,
    /// Gateways between them.
    gateways: Vec<HostId>,
}

/// The most of something.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Most {
    /// As far as samples and boxes that may rewrite let one judge.
    pub(super) likely: u64,
    /// Whatever they hide.
    pub(super) certain: u64,
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
    /// As far as samples and boxes that may rewrite let one judge.
    likely: Range,
    /// Whatever they hide.
    certain: Range,
}

#[derive(Clone, Copy, Debug, Default)]
struct Range {
    least: u64,
    most: u64,
}

impl Candidates {
    /// These may have connections in common, no more than `most`.
    pub(super) fn add(&mut self, pair: Pair, most: Most, gateways: impl Iterator<Item = HostId>) {
        let known = self.pairs.entry(pair).or_default();
        let Most { likely, certain } = most;
        known.most.likely = known.most.likely.saturating_add(likely);
        known.most.certain = known.most.certain.saturating_add(certain);
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
        put: fn(&mut Link, u64),
    ) {
        for bounds in self.bounds(rows, links, halves) {
            let (client, server) = bounds.pair;
            let left = rows.all[client].rest.min(rows.all[server].rest);
            let both = bounds.likely.least.min(left);
            if both > 0 {
                let [near, far] = [client, server].map(|row| {
                    rows.take(row, both);
                    rows.all[row].linked = true;
                    (rows.all[row].key.local, rows.all[row].key.remote)
                });
                let gateways = self.pairs[&bounds.pair].gateways.iter();
                let ways = via(near, far).chain(gateways.map(|host| gateway(*host)));
                if let Some(link) = links.entry(bounds.pair, ways) {
                    put(link, both);
                    let least = bounds.certain.least.min(both);
                    link.least = link.least.saturating_add(least);
                }
            }
            if bounds.likely.most > both && links.take(cost::CANDIDATE) {
                rows.add_candidate(client, server);
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
                if !halves.is_reporter(rows, *other) {
                    quiet.insert(*row);
                }
            }
        }
        let unsure = links.unsure(rows);
        let free: Vec<u64> = unsure.iter().map(|one| one.free()).collect();
        let mut rooms: Vec<(Pair, Room)> = Vec::new();
        for (pair, candidate) in &self.pairs {
            let alone = [pair.0, pair.1].map(|row| !quiet.contains(&row));
            let own = links.least(*pair);
            let left = [pair.0, pair.1].map(|row| unsure[row].without(own));
            let room = halves.room(rows, *pair, links.known(*pair, alone), left);
            let room = Room {
                most: room.most.min(candidate.most.likely),
                at_most: (room.at_most.saturating_sub(own)).min(candidate.most.certain),
                same: room.same.min(candidate.most.likely),
            };
            let late = [pair.0, pair.1].iter().any(|row| rows.all[*row].late);
            if room.at_most > 0 || late {
                rooms.push((*pair, room));
            }
        }
        let rest: Vec<u64> = rows.all.iter().map(|row| row.rest).collect();
        let mut likely = self.ranges((rows, &rest, false), &rooms, |room, most| {
            (room.most, most.likely)
        });
        for (range, (_, room)) in likely.iter_mut().zip(&rooms) {
            range.least = range.least.max(room.same);
        }
        let certain = self.ranges((rows, &free, true), &rooms, |room, most| {
            (room.at_most, most.certain)
        });
        let both = likely.into_iter().zip(certain);
        let bounds = both
            .zip(&rooms)
            .map(|((likely, certain), (pair, _))| Bounds {
                pair: *pair,
                likely,
                certain,
            });
        bounds.collect()
    }

    /// What each pair has in common, where its rows have so many left; `most` is the most of it, and
    /// of what a gateway let through. `strict` is for what both have counted whatever came late.
    fn ranges(
        &self,
        (rows, left, strict): (&Rows, &[u64], bool),
        rooms: &[(Pair, Room)],
        most: fn(&Room, Most) -> (u64, u64),
    ) -> Vec<Range> {
        let most = |(pair, room): &(Pair, Room)| most(room, self.pairs[pair].most);
        // The most of a row that its counterpart in a pair may have had. One whose agent came late
        // may have had more than it counted.
        let could = |row: usize, other: usize, (most, passed): (u64, u64)| {
            if rows.all[other].late {
                most.max(passed.min(left[row]))
            } else {
                most
            }
        };
        let mut sums: BTreeMap<usize, u64> = BTreeMap::new();
        for one in rooms {
            let (client, server) = one.0;
            for (row, other) in [(client, server), (server, client)] {
                let sum = sums.entry(row).or_default();
                *sum = sum.saturating_add(could(row, other, most(one)));
            }
        }
        // What is left of a row must be with somebody: if all others had as much of it as they can.
        let must = |row: usize, most: u64| {
            let all = sums.get(&row).copied().unwrap_or(0);
            let others = all.saturating_sub(most).saturating_add(self.elsewhere(row));
            left[row].saturating_sub(others).min(most)
        };
        let both = |one: &(Pair, Room)| [one.0.0, one.0.1].map(|row| must(row, most(one).0));
        let mut least: BTreeMap<usize, u64> = BTreeMap::new();
        for one in rooms {
            let [client, server] = both(one);
            for row in [one.0.0, one.0.1] {
                let sum = least.entry(row).or_default();
                *sum = sum.saturating_add(client.max(server));
            }
        }
        let range = |one: &(Pair, Room)| {
            let [client, server] = both(one);
            let (pair, _) = one;
            // Where the counterparts of a row claim more than it has, their claims are worth
            // nothing: somebody counts what others did not.
            let holds = |row: usize| least[&row] <= left[row];
            // One that came late may have missed what is left of its counterpart.
            let counts = |row: usize| holds(row) && !(strict && rows.all[row].late);
            let by_server = if counts(pair.0) { server } else { 0 };
            let by_client = if counts(pair.1) { client } else { 0 };
            Range {
                least: by_client.max(by_server),
                most: most(one).0,
            }
        };
        rooms.iter().map(range).collect()
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

/// By its id; whoever shows it knows its name.
fn gateway(host: HostId) -> Via {
    Via {
        seen_by: Seer::Gateway,
        kind: ViaKind::Gateway,
        address: hex(&host.0),
    }
}

//! How many connections each link stands for: as near as may be to what its evidence says, and so
//! that the links of a row and what is left of it are together what its side counted.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};

use super::halves::{Halves, Unsure};
use super::links::{Link, Links};
use super::rows::{Row, Rows};
use crate::counters::divide;

/// Most links that are looked at to find room for what is left of one row.
const MOST_STEPS: usize = 4096;

/// A link while its number is looked for.
#[derive(Clone, Copy, Debug)]
struct Share {
    pair: (usize, usize),
    /// Connections each of which is known.
    sure: u64,
    now: u64,
    /// No more than that, by the samples that there are.
    most: u64,
    sampled: bool,
}

/// All of them, in the order of clients.
struct Shares {
    all: Vec<Share>,
    /// In the order of servers.
    by_server: Vec<u32>,
}

/// Sets what tokens and sequence numbers of each link stand for, and takes it from the rows.
pub(super) fn account(rows: &mut Rows, links: &mut Links) {
    let mut shares = Shares::of(links, |link| (link.number(), link.estimate()));
    let by_client: Vec<u32> = (0..).take(shares.all.len()).collect();
    fit_each(&mut shares.all, &by_client, |share| share.pair.0, rows);
    fit_each(
        &mut shares.all,
        &shares.by_server,
        |share| share.pair.1,
        rows,
    );
    for (share, link) in shares.all.iter().zip(links.all.values_mut()) {
        for row in [share.pair.0, share.pair.1] {
            rows.all[row].linked = true;
            rows.take(row, share.now);
        }
        (link.told, link.sure) = (share.now, share.sure);
    }
}

/// Gives what rows have left over to their links, where no gateway knows better.
pub(super) fn fill(rows: &mut Rows, links: &mut Links, halves: &Halves) {
    let mut shares = Shares::of(links, |link| (link.sure, link.told));
    shares.fill(rows, links, halves);
    shares.redistribute(rows);
    for (share, link) in shares.all.iter().zip(links.all.values_mut()) {
        if !share.sampled {
            link.extra = share.now - link.told;
        }
        link.told = share.now;
    }
}

impl Shares {
    fn of(links: &Links, numbers: fn(&Link) -> (u64, u64)) -> Self {
        let share = |(pair, link): (&(usize, usize), &Link)| {
            let (sure, now) = numbers(link);
            let most = if link.sampled() {
                link.most()
            } else {
                u64::MAX
            };
            Share {
                pair: *pair,
                sure,
                now,
                most: most.max(now),
                sampled: link.sampled(),
            }
        };
        let all: Vec<Share> = links.all.iter().map(share).collect();
        let mut by_server: Vec<u32> = (0..).take(all.len()).collect();
        by_server.sort_unstable_by_key(|at| {
            let (client, server) = all[*at as usize].pair;
            (server, client)
        });
        Self { all, by_server }
    }

    /// The links of a client's row.
    fn of_client(&self, row: usize) -> impl Iterator<Item = usize> + use<> {
        let first = self.all.partition_point(|share| share.pair.0 < row);
        first..self.all.partition_point(|share| share.pair.0 <= row)
    }

    /// The links of a server's row.
    fn of_server(&self, row: usize) -> impl Iterator<Item = usize> {
        let server = |at: &u32| self.all[*at as usize].pair.1;
        let first = self.by_server.partition_point(|at| server(at) < row);
        let last = self.by_server.partition_point(|at| server(at) <= row);
        self.by_server[first..last].iter().map(|at| *at as usize)
    }

    /// Gives connections without evidence of their own to linked rows that both have some left.
    ///
    /// Such connections are older than an agent, or their option was stripped, or their tokens
    /// were not among the sampled ones.
    fn fill(&mut self, rows: &mut Rows, links: &Links, halves: &Halves) {
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|at| Reverse(self.all[*at].now));
        for at in order {
            let share = &mut self.all[at];
            let (client, server) = share.pair;
            if rows.all[client].tracked {
                continue;
            }
            let counted = [client, server].map(|row| rows.all[row].counted());
            let room = match counted {
                [Some(_), Some(_)] => {
                    let known = links.known(share.pair, [false; 2]);
                    let rest = [client, server].map(|row| Unsure {
                        connections: rows.all[row].rest,
                        least: 0,
                    });
                    halves.room(rows, share.pair, known, rest).most
                }
                // Only the other side can say how many samples stand for.
                [Some(_), None] if share.sampled => rows.all[client].rest,
                [None, Some(_)] if share.sampled => rows.all[server].rest,
                _ => 0,
            };
            let both = room.min(share.most - share.now);
            share.now += both;
            rows.take(client, both);
            rows.take(server, both);
        }
    }

    /// Where chance gave the links of some rows too little and those of others too much, moves it
    /// along links until what both sides have left over has found its place.
    fn redistribute(&mut self, rows: &mut Rows) {
        let mut clients: Vec<usize> = self.all.iter().map(|share| share.pair.0).collect();
        clients.dedup();
        for client in clients {
            let mut steps = MOST_STEPS;
            while is_open(rows, client) {
                let Some(path) = self.path(rows, client, &mut steps) else {
                    break;
                };
                self.shift(rows, &path);
            }
        }
    }

    /// Links from a client's row to a server's row that has some left: of the first, third, ... one
    /// there may be more, of the others less.
    fn path(&self, rows: &Rows, client: usize, steps: &mut usize) -> Option<Vec<usize>> {
        let mut to_client: BTreeMap<usize, usize> = BTreeMap::new();
        let mut to_server: BTreeMap<usize, usize> = BTreeMap::new();
        let mut queue = VecDeque::from([client]);
        while let Some(from) = queue.pop_front() {
            for at in self.of_client(from) {
                let share = &self.all[at];
                *steps = steps.checked_sub(1)?;
                let server = share.pair.1;
                if !share.sampled || share.now >= share.most || to_server.contains_key(&server) {
                    continue;
                }
                to_server.insert(server, at);
                if is_open(rows, server) {
                    let mut path = vec![at];
                    let mut reached = from;
                    while reached != client {
                        let back = to_client[&reached];
                        let on = to_server[&self.all[back].pair.1];
                        path.extend([back, on]);
                        reached = self.all[on].pair.0;
                    }
                    path.reverse();
                    return Some(path);
                }
                for back in self.of_server(server) {
                    let other = &self.all[back];
                    *steps = steps.checked_sub(1)?;
                    let next = other.pair.0;
                    let less = other.sampled && other.now > other.sure;
                    if less && next != client && !to_client.contains_key(&next) {
                        to_client.insert(next, back);
                        queue.push_back(next);
                    }
                }
            }
        }
        None
    }

    fn shift(&mut self, rows: &mut Rows, path: &[usize]) {
        let ends = [path[0], path[path.len() - 1]].map(|at| self.all[at].pair);
        let (client, server) = (ends[0].0, ends[1].1);
        let room = path.iter().enumerate().map(|(turn, at)| {
            let share = &self.all[*at];
            if turn % 2 == 0 {
                share.most - share.now
            } else {
                share.now - share.sure
            }
        });
        let left = rows.all[client].rest.min(rows.all[server].rest);
        let amount = room.fold(left, u64::min);
        for (turn, at) in path.iter().enumerate() {
            let now = &mut self.all[*at].now;
            *now = if turn % 2 == 0 {
                *now + amount
            } else {
                *now - amount
            };
        }
        rows.take(client, amount);
        rows.take(server, amount);
    }
}

/// Whether a row has some left, and none of it is known to be with somebody else.
fn is_open(rows: &Rows, row: usize) -> bool {
    let row = &rows.all[row];
    row.rest > 0 && row.half_ends == 0
}

/// Lessens those of each row; `order` has the links of one row together.
fn fit_each(all: &mut [Share], order: &[u32], row: fn(&Share) -> usize, rows: &Rows) {
    let mut from = 0;
    while let Some(first) = order.get(from) {
        let of_row = row(&all[*first as usize]);
        let same = |at: &&u32| row(&all[**at as usize]) == of_row;
        let upto = from + order[from..].iter().take_while(same).count();
        if let Some(counted) = rows.all[of_row].counted() {
            fit(all, &order[from..upto], counted);
        }
        from = upto;
    }
}

/// Lessens those of one row to what its side counted; what is sure last.
fn fit(all: &mut [Share], of_row: &[u32], counted: u64) {
    let sum = |all: &[Share], value: fn(&Share) -> u64| {
        let values = of_row.iter().map(|at| value(&all[*at as usize]));
        values.fold(0, u64::saturating_add)
    };
    let (sure, now) = (sum(all, |share| share.sure), sum(all, |share| share.now));
    if now <= counted {
        return;
    }
    if sure >= counted {
        let weights: Vec<u64> = of_row.iter().map(|at| all[*at as usize].sure).collect();
        divide(counted, &weights, |part, n| {
            let share = &mut all[of_row[part] as usize];
            (share.sure, share.now) = (n, n);
        });
        return;
    }
    let more = |share: &Share| share.now - share.sure;
    let weights: Vec<u64> = of_row.iter().map(|at| more(&all[*at as usize])).collect();
    divide(counted - sure, &weights, |part, n| {
        let share = &mut all[of_row[part] as usize];
        share.now = share.sure + n;
    });
}

/// Whether each of two rows has the other one's own addresses: no gateway is between them.
fn name_each_other(rows: &Rows, (client, server): (usize, usize)) -> bool {
    let [client, server] = [client, server].map(|row| &rows.all[row].key);
    client.remote == server.local && server.remote.ip() == client.local.ip()
}

/// Sets the interval of each link whose number is an estimate.
pub(super) fn ranges(rows: &Rows, links: &mut Links, halves: &Halves) {
    let mut sums: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    for (pair, link) in &links.all {
        for row in [pair.0, pair.1] {
            let (number, sure) = sums.entry(row).or_default();
            *number += 1;
            *sure = sure.saturating_add(link.certain());
        }
    }
    let unsure = links.unsure(rows);
    for (pair, link) in &mut links.all {
        // What both have left may be with each other all the same.
        let left = [pair.0, pair.1].map(|row| unsure[row].without(link.least));
        let room = halves.room(rows, *pair, link.known([false; 2]), left);
        let sides = [pair.0, pair.1].map(|row| (&rows.all[row], sums[&row]));
        let whole = |(row, (number, _)): &(&Row, (u64, u64))| {
            row.counted().is_some() && *number == 1 && row.rest == 0
        };
        // Both sides counted as many, neither has another counterpart, and nobody else has their
        // addresses.
        if sides.iter().all(whole) && name_each_other(rows, *pair) {
            continue;
        }
        let open = sides.iter().filter_map(|(row, (_, sure))| {
            let others = sure.saturating_sub(link.certain());
            Some(row.counted()?.saturating_sub(others))
        });
        let open = open.min().unwrap_or(u64::MAX);
        let now = link.weight();
        let without = link.conntrack.saturating_add(link.addresses);
        let (low, high) = if link.sampled() {
            let (low, high) = link.sampled_range();
            let rest = sides.map(|(row, _)| row.rest);
            let more = if without > 0 {
                rest[0].min(rest[1])
            } else {
                room.most
            };
            let high = high.saturating_add(without).saturating_add(more);
            (low.saturating_add(link.least), high)
        } else if link.extra > 0 {
            (link.certain(), open)
        } else {
            (link.certain(), link.sure.saturating_add(room.at_most))
        };
        let low = low.max(link.certain()).min(now);
        let high = high.min(open).max(now);
        // Samples that claim more than there can be, or just that, say nothing.
        let low = if low < high {
            low
        } else {
            link.certain().min(now)
        };
        link.range = (low < high).then_some((low, high));
    }
}

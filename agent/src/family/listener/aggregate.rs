//! Sockets that listen, added up by process identity, namespace and address. Pure.

use std::collections::{HashMap, HashSet};

use wire::{Endpoint, ListenerRow, Unmeasured};

use super::sources::Found;
use crate::family::totals::{Close, Owed, Totals};
use crate::spool::Lost;

/// The family's name.
pub(super) const NAME: &str = "listener";
/// All IPv4 addresses.
const ANY_V4: [u8; 16] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0];

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Key {
    process_id: u32,
    netns: u32,
    local: Endpoint,
}

/// What is known of one socket.
#[derive(Debug)]
struct Socket {
    drops: Option<u32>,
    key: Key,
    look: u64,
}

/// What a look shows of the sockets of a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Gauges {
    sockets: u32,
    backlog: u32,
    queue: u32,
}

#[derive(Debug)]
struct Counted {
    since_ms: u64,
    now: Gauges,
    /// As the last row told it.
    told: Option<Gauges>,
    /// The most that waited since the last row.
    most: u32,
    drops: u64,
    /// The part of `drops` that this interval added.
    added: u64,
    has_drops: bool,
    /// The number of the last look at it.
    look: u64,
    owed: Owed,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Listeners {
    bound: usize,
    /// A program watches queues between two looks.
    watched: bool,
    sockets: HashMap<u32, Socket>,
    rows: HashMap<Key, Counted>,
    /// Namespaces that were listed before: what is new there began under the agent's eyes.
    listed: HashSet<u32>,
    totals: Totals,
    look: u64,
    full: u64,
}

impl Listeners {
    /// For at most `bound` sockets; `watched` when queues are known between two looks.
    pub(super) fn new(bound: usize, watched: bool) -> Self {
        Self {
            bound,
            watched,
            sockets: HashMap::new(),
            rows: HashMap::new(),
            listed: HashSet::new(),
            totals: Totals::new(bound),
            look: 0,
            full: 0,
        }
    }

    /// Begins a look at all namespaces.
    pub(super) fn begin(&mut self) {
        self.look += 1;
    }

    /// Takes the whole list of one namespace, each socket with its process identity. A namespace whose
    /// list failed is not given, and stays as it was.
    pub(super) fn take(&mut self, netns: u32, found: &[(Found, u32)], now_ms: u64) {
        let is_first = self.listed.insert(netns);
        let look = self.look;
        for (key, row) in &mut self.rows {
            if key.netns == netns {
                // What waited at the end of the last interval waited at the begin of this one.
                row.most = row.most.max(row.now.queue);
                row.now = Gauges::default();
                row.look = look;
            }
        }
        for (found, process_id) in found {
            self.one(found, *process_id, is_first, now_ms);
        }
        let is_gone = |socket: &Socket| socket.key.netns == netns && socket.look != look;
        self.sockets.retain(|_, socket| !is_gone(socket));
    }

    fn one(&mut self, found: &Found, process_id: u32, is_first: bool, now_ms: u64) {
        let (netns, local, queue) = (found.netns, found.local, found.queue);
        let (look, drops) = (self.look, queue.drops);
        let key = Key {
            process_id,
            netns,
            local,
        };
        let known = self.sockets.get(&found.inode);
        if known.is_none() && self.sockets.len() >= self.bound {
            self.full += 1;
            return;
        }
        let totals = &mut self.totals;
        let added = match (known.map(|socket| socket.drops), drops) {
            // It is older than the agent.
            (None, Some(_)) if is_first => 0,
            (_, None) | (Some(None), Some(_)) => 0,
            (None, Some(drops)) => drops,
            (Some(Some(last)), Some(drops)) => drops.wrapping_sub(last),
        };
        let row = self.rows.entry(key).or_insert_with(|| Counted {
            since_ms: now_ms,
            now: Gauges::default(),
            told: None,
            most: 0,
            drops: 0,
            added: 0,
            has_drops: true,
            look,
            owed: totals.series(),
        });
        row.look = look;
        let least = (row.now.sockets > 0).then_some(row.now.backlog);
        row.now = Gauges {
            sockets: row.now.sockets + 1,
            backlog: least.unwrap_or(u32::MAX).min(queue.limit),
            queue: row.now.queue.max(queue.waiting),
        };
        row.most = row.most.max(queue.waiting);
        row.drops += u64::from(added);
        row.added += u64::from(added);
        row.has_drops &= drops.is_some();
        self.sockets
            .insert(found.inode, Socket { drops, key, look });
    }

    /// Takes the most that waited at each end at which connections arrived: it is that of the sockets
    /// with this address, or else of those that take all addresses. After all lists.
    pub(super) fn peaks(&mut self, peaks: impl IntoIterator<Item = (u32, Endpoint, u32)>) {
        let mut most: HashMap<(u32, Endpoint), u32> = HashMap::new();
        most.extend(self.rows.keys().map(|key| ((key.netns, key.local), 0)));
        for (netns, end, waited) in peaks {
            let ends = [end.addr, ANY_V4, [0; 16]].map(|addr| (netns, Endpoint { addr, ..end }));
            if let Some(at) = ends.into_iter().find(|at| most.contains_key(at)) {
                most.entry(at).and_modify(|most| *most = waited.max(*most));
            }
        }
        for (key, row) in &mut self.rows {
            let waited = most.get(&(key.netns, key.local)).copied();
            row.most = row.most.max(waited.unwrap_or(0));
        }
    }

    /// A namespace is watched no more; in a look.
    pub(super) fn leave(&mut self, netns: u32, now_ms: u64) {
        self.take(netns, &[], now_ms);
        self.listed.remove(&netns);
    }

    /// Rows of this batch will never arrive: what they said is told again as totals.
    pub(super) fn lost(&mut self, batch: u64) {
        self.totals.lost(Lost::from(batch));
    }

    /// Whether totals are owed that found no place at the last close.
    pub(super) fn is_short(&self) -> bool {
        self.totals.is_short()
    }

    /// Ends the interval: what it added, and the totals whose turn it is.
    pub(super) fn close(&mut self, close: &Close) -> Vec<ListenerRow> {
        self.totals.begin(close);
        let (watched, look, totals) = (self.watched, self.look, &mut self.totals);
        let mut listeners = Vec::new();
        self.rows.retain(|key, row| {
            let is_news = row.told != Some(row.now) || row.added > 0 || row.most > 0;
            let is_seen = row.look == look;
            let ends = row.now.sockets == 0;
            let (is_told, added) = (is_seen && is_news, row.added);
            let tells = totals.tells(&mut row.owed, close, (is_told, ends));
            let kinds = [(is_told, false, added), (tells, true, row.drops)];
            for (_, total, drops) in kinds.into_iter().filter(|(there, ..)| *there) {
                listeners.push(row.row(key, total, drops, watched));
            }
            if is_told {
                (row.told, row.most, row.added) = (Some(row.now), 0, 0);
            }
            !ends || row.owed.owes()
        });
        self.totals.end();
        listeners
    }

    /// Sockets that are known.
    pub(super) fn size(&self) -> usize {
        self.sockets.len()
    }

    /// How often a socket found no room.
    pub(super) fn full(&self) -> u64 {
        self.full
    }
}

impl Counted {
    fn row(&self, key: &Key, total: bool, drops: u64, watched: bool) -> ListenerRow {
        let unless = |measured, column| if measured { Unmeasured::NONE } else { column };
        let absent = unless(watched, Unmeasured::QUEUE_MOST);
        ListenerRow {
            total,
            process_id: key.process_id,
            netns: key.netns,
            local: key.local,
            since_ms: self.since_ms,
            sockets: self.now.sockets,
            backlog: self.now.backlog,
            queue: self.now.queue,
            queue_most: if watched { self.most } else { 0 },
            drops,
            absent: absent.with(unless(self.has_drops, Unmeasured::DROPS)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::super::sources::Queue;
    use super::*;
    use crate::clock::Now;

    fn end(text: &str) -> Endpoint {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn found(inode: u32, at: &str, (waiting, drops): (u32, Option<u32>)) -> Found {
        let queue = Queue {
            waiting,
            limit: 2,
            drops,
        };
        Found {
            netns: 7,
            local: end(at),
            inode,
            queue,
        }
    }

    /// The end of an interval.
    fn closing(batch: u64, is_last: bool) -> Close {
        let (now, length, lost) = (Now::default(), Duration::from_secs(10), None);
        Close {
            now,
            batch,
            length,
            is_last,
            lost,
        }
    }

    /// One interval: a look, and what it closes with.
    fn interval(
        all: &mut Listeners,
        batch: u64,
        found: &[(Found, u32)],
        is_last: bool,
    ) -> Vec<ListenerRow> {
        all.begin();
        all.take(7, found, 1_000 * batch);
        all.close(&closing(batch, is_last))
    }

    #[test]
    fn drops_count_from_when_the_agent_looks_and_a_younger_socket_counts_whole() {
        let mut all = Listeners::new(10, true);
        let old = |drops| (found(1, "0.0.0.0:80", (0, Some(drops))), 5);
        let young = (found(2, "0.0.0.0:81", (0, Some(4))), 5);
        let rows = interval(&mut all, 1, &[old(100)], false);
        assert_eq!((rows.len(), rows[0].drops, rows[0].sockets), (1, 0, 1));
        let rows = interval(&mut all, 2, &[old(103), young], false);
        let mut drops: Vec<_> = rows.iter().map(|row| (row.local.port, row.drops)).collect();
        drops.sort_unstable();
        assert_eq!(drops, [(80, 3), (81, 4)]);
        assert_eq!(
            interval(&mut all, 3, &[old(103), young], false),
            [],
            "nothing changed"
        );
        let gone = interval(&mut all, 4, &[young], false);
        let numbers = gone.iter().map(|row| (row.total, row.sockets, row.drops));
        assert_eq!(numbers.collect::<Vec<_>>(), [(false, 0, 0), (true, 0, 3)]);
    }

    #[test]
    fn sockets_of_one_address_are_one_row_and_what_is_not_measured_is_absent() {
        let mut all = Listeners::new(10, false);
        let two = [
            (found(1, "[::]:80", (1, None)), 5),
            (found(2, "[::]:80", (3, Some(2))), 5),
        ];
        let rows = interval(&mut all, 1, &two, false);
        assert_eq!((rows[0].sockets, rows[0].backlog, rows[0].queue), (2, 2, 3));
        assert!(
            rows[0]
                .absent
                .has(Unmeasured::DROPS.with(Unmeasured::QUEUE_MOST))
        );
    }

    #[test]
    fn the_longest_queue_is_that_of_who_listens_there_also_between_two_looks() {
        let mut all = Listeners::new(10, true);
        let at = |id, at: &str| (found(id, at, (0, Some(0))), id);
        all.begin();
        all.take(7, &[at(1, "10.0.0.1:80"), at(2, "0.0.0.0:80")], 0);
        let peaks = [
            ("10.0.0.1:80", 3),
            ("10.0.0.2:80", 2),
            ("10.0.0.3:80", 1),
            ("10.0.0.1:81", 9),
        ];
        all.peaks(peaks.map(|(at, most)| (7, end(at), most)));
        all.peaks([(8, end("10.0.0.1:80"), 9)]);
        let row = |id| all.rows.iter().find(|(key, _)| key.process_id == id);
        let most = |id| row(id).unwrap().1.most;
        assert_eq!((most(1), most(2)), (3, 2));
    }

    #[test]
    fn a_full_table_counts_what_it_turns_away_and_a_namespace_that_is_left_makes_room() {
        let mut all = Listeners::new(1, true);
        let sockets = [1, 2].map(|inode| (found(inode, "0.0.0.0:80", (0, Some(0))), inode));
        interval(&mut all, 1, &sockets, false);
        assert_eq!((all.size(), all.full()), (1, 1));
        all.begin();
        all.leave(7, 2_000);
        let rows = all.close(&closing(2, false));
        let told: Vec<_> = rows.iter().map(|row| (row.total, row.sockets)).collect();
        assert_eq!((all.size(), told), (0, vec![(false, 0), (true, 0)]));
    }

    proptest! {
        /// Whatever comes, goes and changes hands: what intervals added are the totals at the end.
        #[test]
        fn what_intervals_add_is_what_the_totals_say(
            looks in proptest::collection::vec(
                proptest::collection::btree_map(0..4_u32, (0..3_u32, 0..50_u32), 0..4), 1..12),
        ) {
            let mut all = Listeners::new(10, true);
            let (mut added, mut totals) = (HashMap::new(), HashMap::new());
            let mut drops = HashMap::<u32, u32>::new();
            let count = looks.len() as u64;
            for (batch, look) in (1..).zip(looks) {
                let sockets: Vec<_> = look.into_iter().map(|(inode, (owner, more))| {
                    let sum = drops.entry(inode).or_default();
                    *sum += more;
                    (found(inode, "0.0.0.0:80", (0, Some(*sum))), owner)
                }).collect();
                for row in interval(&mut all, batch, &sockets, batch == count) {
                    let key = (row.process_id, row.since_ms);
                    match row.total {
                        true => { totals.insert(key, row.drops); }
                        false => *added.entry(key).or_insert(0) += row.drops,
                    }
                }
            }
            prop_assert_eq!(added, totals);
        }
    }
}

//! Connections from packets, lists of open sockets and news of closed ones. Pure: values and times
//! in, reports out.
//!
//! Packets tell of handshakes, ends and waybills, also of connections that come and go between two
//! looks. The kernel's word that a socket was there decides where it can be had: a packet that is
//! only passed on never becomes a row. Without that word (before 4.2) packets decide alone.

mod ends;
mod lists;
mod translated;
mod unclaimed;

use std::collections::{HashMap, HashSet, VecDeque};

use bpf::abi;
use wire::Role;

use crate::config;

use super::arrivals::{Arrivals, handshake};
use super::entry::{Entry, Key, Report};
use super::waybill::Reader;
use crate::frame::{ACK, FIN, RST, SYN, Segment};
use crate::sock_diag::Socket;
use unclaimed::Unclaimed;

/// How long the kernel's word may come after the last packet.
const WORD_NS: u64 = 60_000_000_000;
/// The same where it will not come: until what was sent again has arrived.
const GRACE_NS: u64 = 1_000_000_000;
/// New connections whose owner is asked for in one turn.
const MAX_FRESH: usize = 256;
/// Turns in which a connection that was not accepted yet is asked for again.
const MAX_ASKED: u8 = 3;

/// Where a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Leaving.
    Out,
    /// Arriving, for this host.
    In,
    /// Arriving, for somebody else.
    Past,
}

/// How a packet was seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PacketContext {
    /// Index of the network namespace.
    pub(crate) space: u16,
    /// CLOCK_MONOTONIC nanoseconds.
    pub(crate) time_ns: u64,
    /// Direction.
    pub(crate) way: Way,
    /// Whether the source and the destination are addresses of the namespace.
    pub(crate) ours: [bool; 2],
}

/// What had to be left out; each is a counter of the agent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Losses {
    /// Connections without a place in the table.
    pub(crate) full: u64,
    /// Connections that no socket of this host belonged to.
    pub(crate) unclaimed: u64,
    /// Closed sockets whose packets were not seen: no handshake, no waybill.
    pub(crate) unseen: u64,
}

/// Connections whose ends another one got before theirs was told, the oldest of each first.
#[derive(Debug, Default)]
struct Replaced {
    by_key: HashMap<Key, VecDeque<Entry>>,
    len: usize,
}

impl Replaced {
    fn push(&mut self, key: Key, entry: Entry) {
        self.by_key.entry(key).or_default().push_back(entry);
        self.len += 1;
    }

    fn take(&mut self, key: &Key) -> Option<Entry> {
        let entries = self.by_key.get_mut(key)?;
        let entry = entries.pop_front()?;
        if entries.is_empty() {
            self.by_key.remove(key);
        }
        self.len -= 1;
        Some(entry)
    }

    fn take_any(&mut self) -> Option<(Key, Entry)> {
        let key = *self.by_key.keys().next()?;
        Some((key, self.take(&key)?))
    }
}

/// All connections.
#[derive(Debug)]
pub(crate) struct Table {
    limit: usize,
    told: bool,
    netns: Vec<u32>,
    reader: Reader,
    entries: HashMap<Key, Entry>,
    replaced: Replaced,
    /// Connections that ended, by how long the kernel's word on them is waited for.
    ending: [VecDeque<(u64, Key)>; 2],
    arrivals: Arrivals,
    unclaimed: Unclaimed,
    strangers: [HashSet<Key>; 2],
    fresh: VecDeque<(Key, Role)>,
    reports: Vec<Report>,
    losses: Losses,
    trusted_from_ns: u64,
    blind_until_ns: u64,
    list: u64,
    next_id: u64,
}

impl Table {
    /// An empty table of at most `limit` connections; `told` when the kernel tells of every socket
    /// that is gone; `netns` has the inode numbers of the namespaces.
    pub(crate) fn new(limit: usize, told: bool, netns: Vec<u32>, reader: Reader) -> Self {
        Self {
            limit,
            told,
            netns,
            reader,
            entries: HashMap::new(),
            replaced: Replaced::default(),
            ending: [VecDeque::new(), VecDeque::new()],
            arrivals: Arrivals::default(),
            unclaimed: Unclaimed::default(),
            strangers: [HashSet::new(), HashSet::new()],
            fresh: VecDeque::new(),
            reports: Vec::new(),
            losses: Losses::default(),
            trusted_from_ns: 0,
            blind_until_ns: 0,
            list: 0,
            next_id: 1,
        }
    }

    /// What was left out so far.
    pub(crate) const fn losses(&self) -> Losses {
        self.losses
    }

    /// Handshakes that arrived and found no room.
    pub(crate) const fn arrivals_dropped(&self) -> u64 {
        self.arrivals.dropped()
    }

    /// What became of waybills.
    /// Waybills are judged by these keys from now on.
    pub(crate) fn change_keys(&mut self, keys: &[config::Key]) {
        self.reader.change_keys(keys);
    }

    pub(crate) const fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Connections in the table.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Reports since the last call.
    pub(crate) fn take_reports(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.reports)
    }

    /// Connections that began since the last call, and this host's side of each.
    pub(crate) fn take_fresh(&mut self) -> VecDeque<(Key, Role)> {
        std::mem::take(&mut self.fresh)
    }

    /// News of closed sockets were lost: what ended before now may never be told.
    pub(crate) fn mistrust(&mut self, now_ns: u64) {
        self.trusted_from_ns = now_ns;
    }

    /// Packets were lost: the end of what is open now may have been among them.
    pub(crate) fn missed_packets(&mut self, now_ns: u64) {
        self.blind_until_ns = now_ns;
    }

    /// Whether packets or lists showed the connection of a socket.
    pub(crate) fn knows(&self, space: u16, socket: &Socket) -> bool {
        let key = Key {
            space,
            local: socket.local,
            remote: socket.remote,
        };
        self.entries.contains_key(&key) || self.replaced.by_key.contains_key(&key)
    }

    /// The socket of a connection is this one; one without an inode number was not accepted yet, and
    /// is to be asked for again.
    pub(crate) fn own(&mut self, key: &Key, socket: &Socket) {
        let Some(entry) = self.entries.get_mut(key) else {
            return;
        };
        entry.know(socket);
        if socket.inode == 0 && entry.asked < MAX_ASKED {
            entry.asked += 1;
            let role = entry.role;
            self.ask_for(*key, role);
        }
    }

    /// Remembers to ask for the socket of a new connection.
    fn ask_for(&mut self, key: Key, role: Role) {
        if self.fresh.len() >= MAX_FRESH {
            self.fresh.pop_front();
        }
        self.fresh.push_back((key, role));
    }

    /// A packet.
    pub(crate) fn segment(&mut self, seen: &PacketContext, segment: &Segment) {
        if seen.way == Way::Out {
            if seen.ours[0] || (seen.ours[1] && self.is_own_answer(seen, segment)) {
                self.sent(seen, segment);
            }
            return;
        }
        if segment.has(SYN) {
            self.arrivals
                .note(seen.space, handshake(segment), seen.time_ns);
        }
        if seen.way == Way::In && seen.ours[1] {
            self.received(seen, segment);
        }
    }

    fn sent(&mut self, seen: &PacketContext, segment: &Segment) {
        let key = Key {
            space: seen.space,
            local: segment.source,
            remote: segment.destination,
        };
        let key = self.socket_of(key, segment);
        let now_ns = seen.time_ns;
        if segment.has(SYN) {
            self.opens(key, segment, now_ns);
            return;
        }
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| !entry.reported) else {
            return;
        };
        // Not by the SYN-ACK: who only scans is reset by its kernel, which acknowledges nothing.
        if entry.server_first.is_some() && segment.has(ACK) {
            entry.establish();
        }
        end(entry, segment, true, now_ns);
        self.note_end(key);
    }

    /// SYN or SYN-ACK left.
    fn opens(&mut self, key: Key, segment: &Segment, now_ns: u64) {
        let first = segment.sequence.wrapping_add(1);
        let role = match segment.has(ACK) {
            true => Role::Server,
            false => Role::Client,
        };
        if let Some(entry) = self.entries.get_mut(&key) {
            let known = match role {
                Role::Client => entry.client_first,
                Role::Server => entry.server_first,
            };
            // Found in a list of sockets before its packets were read.
            let early = known.is_none() && entry.role == role && entry.start_ns >= now_ns;
            // SYNs crossed: who connected acknowledges the other's by sending its own again.
            let connected = entry.role == Role::Client && entry.client_first == Some(first);
            if role == Role::Server && connected {
                entry.server_first = Some(segment.acknowledged);
                return;
            }
            if known == Some(first) || early {
                entry.syn(now_ns);
                learn(entry, role, segment);
                return;
            }
        }
        if self.arrivals.has(key.space, handshake(segment)) {
            return;
        }
        if let Some(old) = self.entries.remove(&key)
            && !old.reported
        {
            match self.replaced.len < self.limit {
                true => self.replaced.push(key, old),
                // The kernel's word on its end still counts it.
                false => self.losses.full += 1,
            }
        }
        let Some(mut entry) = self.enter(role, now_ns) else {
            return;
        };
        entry.syn(now_ns);
        learn(&mut entry, role, segment);
        self.entries.insert(key, entry);
        self.note_caller(key, role);
        self.ask_for(key, role);
    }

    fn received(&mut self, seen: &PacketContext, segment: &Segment) {
        let key = Key {
            space: seen.space,
            local: segment.destination,
            remote: segment.source,
        };
        let key = self.socket_of(key, segment);
        self.take_answer(key, segment);
        let now_ns = seen.time_ns;
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| !entry.reported) else {
            return;
        };
        if segment.has(SYN | ACK) {
            if entry.role == Role::Client && entry.client_first == Some(segment.acknowledged) {
                entry.server_first = Some(segment.sequence.wrapping_add(1));
                if entry.established_ns == 0 {
                    entry.established_ns = now_ns;
                }
            }
            return;
        }
        if segment.has(SYN) {
            return;
        }
        read_waybill(&mut self.reader, entry, segment);
        let unanswered = entry.role == Role::Client && !entry.is_established();
        if segment.has(RST) && unanswered && !entry.claimed_established() {
            if entry.client_first == Some(segment.acknowledged) {
                self.fail(key, Entry::error_refused(), now_ns);
            }
            return;
        }
        end(entry, segment, false, now_ns);
        self.note_end(key);
    }

    /// Remembers to look after a connection that ended.
    fn note_end(&mut self, key: Key) {
        let Some(entry) = self.entries.get(&key).filter(|entry| entry.ended_ns != 0) else {
            return;
        };
        let queue = &mut self.ending[usize::from(entry.is_aborted())];
        if queue.len() < self.limit {
            queue.push_back((entry.ended_ns, key));
        }
    }

    /// A connection of its own, if there is room for it.
    fn enter(&mut self, role: Role, now_ns: u64) -> Option<Entry> {
        if self.entries.len() >= self.limit {
            self.losses.full += 1;
            return None;
        }
        self.next_id += 1;
        Some(Entry::new(self.next_id, role, now_ns))
    }
}

/// What a SYN or SYN-ACK says of the first sequence numbers.
fn learn(entry: &mut Entry, role: Role, segment: &Segment) {
    let first = segment.sequence.wrapping_add(1);
    match role {
        Role::Client => entry.client_first = Some(first),
        Role::Server => {
            entry.server_first = Some(first);
            entry.client_first = Some(segment.acknowledged);
        }
    }
}

/// FIN or RST of one direction.
fn end(entry: &mut Entry, segment: &Segment, sent: bool, now_ns: u64) {
    // Who still waits for an answer resets what is older than its own attempt (RFC 9293, 3.10.7.3).
    let unanswered = entry.role == Role::Client && !entry.is_established();
    if segment.has(RST) && sent && unanswered {
        return;
    }
    if segment.has(RST) {
        entry.reset(sent, segment.sequence, now_ns);
        // What a reset acknowledges had arrived.
        if sent && segment.has(ACK) {
            entry.received.reset.get_or_insert(segment.acknowledged);
        }
    } else if let (true, Some(payload)) = (segment.has(FIN), segment.payload) {
        let sequence = segment.sequence.wrapping_add(payload);
        entry.fin(sent, sequence, now_ns);
        // Who says goodbye had shaken hands.
        entry.establish();
    }
}

fn read_waybill(reader: &mut Reader, entry: &mut Entry, segment: &Segment) {
    let Some(option) = segment.option else {
        return;
    };
    let whole = u128::from_be_bytes(option);
    if entry.tried == whole || entry.token.is_some() {
        return;
    }
    entry.tried = whole;
    if let Some(waybill) = reader.read(&option) {
        entry.token = Some(waybill.token);
        entry.establish();
        for (bit, flag) in [
            (abi::WB_OPTION_ANSWER, abi::WB_FLAG_ANSWER_RECEIVED),
            (abi::WB_OPTION_BARE, abi::WB_FLAG_BARE_RECEIVED),
        ] {
            if u32::from(waybill.flags) & bit != 0 {
                entry.flags |= flag;
            }
        }
    }
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;

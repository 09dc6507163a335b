//! Edges while windows are added up: as bytes, a fraction of what they take while they are made.

use super::codec::{Common, Packer};
use super::edges::Edges;
use super::parts::Parts;
use super::rows::NodeId;
use super::side::{EdgeKey, Side};
use crate::topology::Attempts;

/// What an allocator adds to a block.
const BLOCK: usize = 16;
/// Memory that an edge takes beside itself most often, in bytes.
const BESIDE: usize = 120;

/// Edges, sorted by their keys.
#[derive(Clone, Debug, Default)]
pub(super) struct Sum {
    all: Vec<Entry>,
    packer: Packer,
    /// Those of all edges, one after the other in no order, as [`Packer::pack`] writes them.
    bytes: Vec<u8>,
    /// How many of them are of no edge any more.
    unused: usize,
    /// Bytes beside `all` and `bytes`.
    beside: usize,
    /// Room for packing.
    packed: Vec<u8>,
}

/// An edge.
#[derive(Clone, Debug)]
struct Entry {
    key: EdgeKey,
    /// Where its bytes begin.
    begin: usize,
    /// As in [`Parts`], for their numbers may become others.
    candidates: Box<[NodeId]>,
    /// As in [`Parts`].
    attempts: Option<Box<Attempts>>,
    /// By side, whether it counts connections that are open.
    is_open: [bool; 2],
}

impl Entry {
    fn new(key: EdgeKey, begin: usize, parts: Parts) -> Self {
        Self {
            key,
            begin,
            is_open: [parts.client.open > 0, parts.server.open > 0],
            candidates: parts.candidates.into_iter().collect(),
            attempts: parts.attempts,
        }
    }

    /// Bytes beside itself and those of its numbers.
    fn beside(&self) -> usize {
        let list = |bytes: usize| if bytes == 0 { 0 } else { bytes + BLOCK };
        let attempts = self.attempts.as_ref().map_or(0, |attempts| {
            let ports = attempts.ports.iter().map(|port| 24 + list(port.len()));
            size_of::<Attempts>() + 2 * BLOCK + ports.sum::<usize>()
        });
        list(size_of_val(&*self.candidates)) + attempts
    }
}

/// The same edges, however they are packed.
impl PartialEq for Sum {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl From<Edges> for Sum {
    fn from(edges: Edges) -> Self {
        let mut sum = Self::default();
        sum.all.reserve_exact(edges.keys.len());
        for (key, parts) in edges.keys.into_iter().zip(edges.parts) {
            sum.push(key, parts);
        }
        sum
    }
}

impl Sum {
    /// Memory of so many, in bytes.
    pub(super) const fn cost(edges: usize) -> usize {
        edges.saturating_mul(size_of::<Entry>() + BESIDE)
    }

    /// By how much these take more than [`Self::cost`] supposes, in bytes.
    pub(super) fn more_than_cost(&self) -> usize {
        let takes = self.bytes.len() + self.beside;
        takes.saturating_sub(self.len() * BESIDE)
    }

    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, edges: usize) {
        self.all.reserve_exact(edges);
    }

    /// In their order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &EdgeKey> {
        self.all.iter().map(|entry| &entry.key)
    }

    pub(super) fn key(&self, at: usize) -> &EdgeKey {
        &self.all[at].key
    }

    /// Nodes that may be the other end of any.
    pub(super) fn candidates(&self) -> impl Iterator<Item = NodeId> {
        self.all
            .iter()
            .flat_map(|entry| entry.candidates.iter().copied())
    }

    /// What they have in common.
    pub(super) fn common(&self) -> &Common {
        self.packer.common()
    }

    /// In the order of their keys.
    pub(super) fn iter(&self) -> impl Iterator<Item = (EdgeKey, Parts)> {
        self.all.iter().map(|entry| (entry.key, self.read(entry).0))
    }

    /// One of them, which is of no use here any more.
    pub(super) fn take(&mut self, at: usize) -> Parts {
        let (mut parts, _) = self.read(&self.all[at]);
        let entry = &mut self.all[at];
        entry.candidates = Box::default();
        parts.attempts = entry.attempts.take();
        parts
    }

    /// Adds one whose key is behind all others.
    pub(super) fn push(&mut self, key: EdgeKey, parts: Parts) {
        let entry = self.entry(key, parts);
        self.all.push(entry);
    }

    fn entry(&mut self, key: EdgeKey, parts: Parts) -> Entry {
        let begin = self.bytes.len();
        self.packer.pack(&parts, &mut self.bytes);
        let entry = Entry::new(key, begin, parts);
        self.beside += entry.beside();
        entry
    }

    /// What an edge says, and how many bytes it has.
    fn read(&self, entry: &Entry) -> (Parts, usize) {
        let all = &self.bytes[entry.begin..];
        let mut rest = all;
        let read = self.common().read(&mut rest);
        let mut parts = read.expect("bytes that were packed here");
        parts.candidates = entry.candidates.iter().copied().collect();
        parts.attempts.clone_from(&entry.attempts);
        (parts, all.len() - rest.len())
    }

    /// Puts another one in the place of one that had so many bytes.
    fn set(&mut self, at: usize, parts: Parts, had: usize) {
        self.packed.clear();
        self.packer.pack(&parts, &mut self.packed);
        let known = &self.all[at];
        let begin = if self.packed.len() <= had {
            let place = known.begin..known.begin + self.packed.len();
            self.bytes[place].copy_from_slice(&self.packed);
            self.unused += had - self.packed.len();
            known.begin
        } else {
            self.bytes.extend_from_slice(&self.packed);
            self.unused += had;
            self.bytes.len() - self.packed.len()
        };
        let entry = Entry::new(known.key, begin, parts);
        self.beside = self.beside + entry.beside() - known.beside();
        self.all[at] = entry;
    }

    /// Leaves out bytes that are of no edge any more, where that is worth it.
    fn tidy(&mut self) {
        if self.unused < self.bytes.len() / 4 {
            return;
        }
        let mut bytes = Vec::with_capacity(self.bytes.len() - self.unused);
        for at in 0..self.all.len() {
            let (begin, (_, length)) = (self.all[at].begin, self.read(&self.all[at]));
            self.all[at].begin = bytes.len();
            bytes.extend_from_slice(&self.bytes[begin..begin + length]);
        }
        (self.bytes, self.unused) = (bytes, 0);
    }

    /// Gives nodes other numbers, which have the same order.
    pub(super) fn renumber(&mut self, numbers: &[NodeId]) {
        if (0..).zip(numbers).all(|(old, new)| old == *new) {
            return;
        }
        let renumber = |node: &mut NodeId| *node = numbers[*node as usize];
        for entry in &mut self.all {
            for side in [&mut entry.key.client, &mut entry.key.server] {
                if let Side::Process(node) = side {
                    renumber(node);
                }
            }
            entry.candidates.iter_mut().for_each(renumber);
        }
    }

    /// Adds those of a later window, in the order of their keys; `room` is asked before there are so
    /// many. Of those that are not in it, the sides that `ended` names have nothing open any more.
    ///
    /// # Errors
    /// Those of `later` and of `room`; then this is of no use any more.
    pub(super) fn follow<E>(
        &mut self,
        later: impl Iterator<Item = Result<(EdgeKey, Parts), E>>,
        mut room: impl FnMut(usize) -> Result<(), E>,
        ended: impl Fn(&EdgeKey) -> [bool; 2],
    ) -> Result<(), E> {
        let mut new = Vec::new();
        if self.all.is_empty() {
            let (edges, _) = later.size_hint();
            room(edges)?;
            new.reserve_exact(edges);
        }
        let mut at = 0;
        for edge in later {
            let (key, more) = edge?;
            while self.all.get(at).is_some_and(|mine| mine.key < key) {
                self.close(at, &ended);
                at += 1;
            }
            if self.all.get(at).is_some_and(|mine| mine.key == key) {
                let (mut parts, had) = self.read(&self.all[at]);
                parts.add(&key, more);
                self.set(at, parts, had);
                at += 1;
            } else {
                room(self.len() + new.len() + 1)?;
                let entry = self.entry(key, more);
                new.push(entry);
            }
        }
        for at in at..self.len() {
            self.close(at, &ended);
        }
        if self.all.is_empty() {
            self.all = new;
        } else if !new.is_empty() {
            self.all.reserve_exact(new.len());
            self.all.append(&mut new);
            // Two runs, each of which is sorted: it merges them.
            self.all.sort_by_key(|entry| entry.key);
        }
        self.tidy();
        Ok(())
    }

    fn close(&mut self, at: usize, ended: &impl Fn(&EdgeKey) -> [bool; 2]) {
        let entry = &self.all[at];
        if entry.is_open == [false; 2] {
            return;
        }
        let ended = ended(&entry.key);
        let closes = [0, 1].map(|side| ended[side] && entry.is_open[side]);
        if closes == [false; 2] {
            return;
        }
        let (mut parts, had) = self.read(entry);
        for (share, closes) in [&mut parts.client, &mut parts.server]
            .into_iter()
            .zip(closes)
        {
            if closes {
                share.open = 0;
            }
        }
        self.set(at, parts, had);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::net::{IpAddr, Ipv4Addr};

    use wire::Endpoint;

    use super::super::parts::Span;
    use super::{EdgeKey, Parts, Side, Sum};

    fn key(port: u16) -> EdgeKey {
        EdgeKey {
            client: Side::Address(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            server: Side::Process(1),
            endpoint: Endpoint {
                addr: [0; 16],
                port,
            },
        }
    }

    fn parts(connections: u64) -> Parts {
        let mut parts = Parts {
            connections,
            candidates: [2, 3].into(),
            ..Parts::default()
        };
        parts.server.open = connections;
        parts
    }

    #[test]
    fn what_it_takes_is_what_its_edges_take() {
        let mut sum = Sum::default();
        for ports in [[1, 5, 9], [1, 2, 5], [3, 4, 10]] {
            let later = ports.map(|port| Ok::<_, Infallible>((key(port), parts(u64::from(port)))));
            let Ok(()) = sum.follow(later.into_iter(), |_| Ok(()), |_| [false, true]);
        }
        let known: Vec<u16> = sum.keys().map(|key| key.endpoint.port).collect();
        assert_eq!(known, [1, 2, 3, 4, 5, 9, 10]);
        let beside: usize = sum.all.iter().map(super::Entry::beside).sum();
        assert_eq!(sum.beside, beside);
        let used: usize = sum.all.iter().map(|entry| sum.read(entry).1).sum();
        assert_eq!(sum.bytes.len() - sum.unused, used);
        // What the last window does not have is closed.
        let open: Vec<u64> = sum.iter().map(|(_, parts)| parts.server.open).collect();
        assert_eq!(open, [0, 0, 3, 4, 0, 0, 10]);
        sum.renumber(&[0, 2, 3, 4]);
        assert_eq!(sum.candidates().max(), Some(4));
        assert!(sum.keys().all(|key| key.server == Side::Process(2)));
        assert_eq!(sum.take(3).connections, 4);
    }
    /// Times are kept from the first one on, which edges without any must not change.
    #[test]
    fn each_is_read_as_it_was_written_whatever_came_first() {
        let mut told = [parts(1), parts(2), parts(3), parts(4)];
        told[1].shared_rows_seen = Span(Some((i64::MIN, i64::MAX)));
        told[2].seen = Span(Some((1_000, 2_000)));
        let mut sum = Sum::default();
        for (port, parts) in (1..).zip(&told) {
            sum.push(key(port), parts.clone());
        }
        let read: Vec<Parts> = sum.iter().map(|(_, parts)| parts).collect();
        assert_eq!(read, told);
    }
}

//! What was joined of a window, and how windows that follow one another are added up.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use wire::ProcessRow;

use super::edges::Edges;
use super::input::HostId;
use super::nodes::describing;
use super::parts::Parts;
use super::rows::{NodeId, NodeKey};
use super::side::{EdgeKey, Side};
use crate::counters::Counters;

/// Nodes and edges of a window, without the names of hosts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Joined {
    /// Sorted.
    pub(super) nodes: Vec<NodeKey>,
    /// The process that describes each.
    pub(super) processes: Vec<Option<ProcessRow>>,
    /// Hosts that reported, whatever it was.
    pub(super) reported: BTreeSet<HostId>,
    /// Hosts that are runs of agents, because several machines use one host id.
    pub(super) copies: BTreeSet<HostId>,
    pub(super) edges: Edges,
    /// Tokens, and fingerprints of sequence numbers, that were not joined.
    pub(super) ambiguous: (u64, u64),
}

/// Memory of an edge, in bytes: itself and what both sides counted, once more while it is added up,
/// and its part of the document.
const EDGE: usize =
    (size_of::<Parts>() + size_of::<EdgeKey>()) * 2 + 2 * (size_of::<Counters>() + 24) + 400;

impl Joined {
    /// Memory that so many edges lead to, in bytes.
    #[must_use]
    pub const fn cost(edges: usize) -> usize {
        edges.saturating_mul(EDGE)
    }

    /// Keeps of `nodes` those that edges name.
    pub(super) fn new(
        (mut nodes, mut processes): (Vec<NodeKey>, Vec<Option<ProcessRow>>),
        (reported, copies): (BTreeSet<HostId>, BTreeSet<HostId>),
        edges: Edges,
        ambiguous: (u64, u64),
    ) -> Self {
        let mut joined = Self {
            reported,
            edges,
            ambiguous,
            ..Self::default()
        };
        let mut used = vec![false; nodes.len()];
        for side in joined.sides() {
            if let Side::Process(node) = side {
                used[node as usize] = true;
            }
        }
        let mut numbers: Vec<NodeId> = Vec::with_capacity(used.len());
        let mut next = 0;
        for used in &used {
            numbers.push(next);
            next += NodeId::from(*used);
        }
        joined.edges.renumber(&numbers);
        let mut keep = used.iter();
        nodes.retain(|_| keep.next() == Some(&true));
        let mut keep = used.iter();
        processes.retain(|_| keep.next() == Some(&true));
        let hosts: HashSet<HostId> = nodes.iter().map(|node| node.host).collect();
        joined.copies = copies
            .into_iter()
            .filter(|host| hosts.contains(host))
            .collect();
        (joined.nodes, joined.processes) = (nodes, processes);
        joined
    }

    /// Edges, joined or not.
    #[must_use]
    pub fn edges(&self) -> usize {
        self.edges.keys.len()
    }

    /// Hosts that are runs of agents, because several machines use one host id.
    #[must_use]
    pub fn copies(&self) -> &BTreeSet<HostId> {
        &self.copies
    }

    /// What edges name, sorted.
    pub(super) fn sides(&self) -> Vec<Side> {
        let keys = self.edges.keys.iter();
        let candidates = self.edges.parts.iter().flat_map(Parts::candidates);
        let mut sides: Vec<Side> = keys
            .flat_map(|key| [key.client, key.server])
            .chain(candidates)
            .collect();
        sides.sort_unstable();
        sides.dedup();
        sides.shrink_to_fit();
        sides
    }

    /// Adds a window that follows on this one; there may be time between them.
    pub fn add(&mut self, later: Self) {
        let later = self.unite(later);
        self.copies.extend(later.copies);
        self.ambiguous.0 = self.ambiguous.0.saturating_add(later.ambiguous.0);
        self.ambiguous.1 = self.ambiguous.1.saturating_add(later.ambiguous.1);
        let host = |side: &Side| match side {
            Side::Process(node) => Some(self.nodes[*node as usize].host),
            Side::Address(_) | Side::Network(..) => None,
        };
        // Of what a host that reports tells nothing any more, nothing is open.
        let close = |key: &EdgeKey, parts: &mut Parts| {
            for (side, share) in [
                (&key.client, &mut parts.client),
                (&key.server, &mut parts.server),
            ] {
                if host(side).is_some_and(|host| later.reported.contains(&host)) {
                    share.open = 0;
                }
            }
        };
        let earlier = std::mem::take(&mut self.edges);
        self.edges = earlier.followed_by(later.edges, close);
        self.reported.extend(later.reported);
    }

    /// Numbers the nodes of both alike.
    fn unite(&mut self, mut later: Self) -> Self {
        if self.nodes == later.nodes {
            for (mine, other) in self.processes.iter_mut().zip(later.processes.drain(..)) {
                describe(mine, other);
            }
            return later;
        }
        let mut all: BTreeMap<NodeKey, Option<ProcessRow>> = BTreeMap::new();
        let keys = [self.nodes.clone(), later.nodes.clone()];
        for joined in [&mut *self, &mut later] {
            let nodes = joined.nodes.drain(..).zip(joined.processes.drain(..));
            for (key, process) in nodes {
                describe(all.entry(key).or_default(), process);
            }
        }
        (self.nodes, self.processes) = all.into_iter().unzip();
        let numbers = keys.map(|keys| {
            let find = |key| self.nodes.binary_search(key).expect("the nodes of both");
            let numbers = keys.iter().map(|key| NodeId::try_from(find(key)));
            let numbers: Result<Vec<NodeId>, _> = numbers.collect();
            numbers.expect("no more nodes than memory holds")
        });
        self.edges.renumber(&numbers[0]);
        later.edges.renumber(&numbers[1]);
        later
    }
}

fn describe(known: &mut Option<ProcessRow>, other: Option<ProcessRow>) {
    match (known.as_ref(), other) {
        (Some(mine), Some(other)) if std::ptr::eq(describing(mine, &other), mine) => {}
        (_, Some(other)) => *known = Some(other),
        (_, None) => {}
    }
}

impl Edges {
    /// Gives nodes other numbers, which have the same order.
    fn renumber(&mut self, numbers: &[NodeId]) {
        let renumber = |node: NodeId| numbers[node as usize];
        for key in &mut self.keys {
            for side in [&mut key.client, &mut key.server] {
                if let Side::Process(node) = side {
                    *node = renumber(*node);
                }
            }
        }
        for parts in &mut self.parts {
            let candidates = std::mem::take(&mut parts.candidates);
            parts.candidates = candidates.into_iter().map(renumber).collect();
        }
    }

    /// With those of a later window; `gone` are those that are not in it.
    fn followed_by(self, later: Self, gone: impl Fn(&EdgeKey, &mut Parts)) -> Self {
        let most = self.keys.len().max(later.keys.len());
        let mut all = Self {
            keys: Vec::with_capacity(most),
            parts: Vec::with_capacity(most),
        };
        let mut later = later.keys.into_iter().zip(later.parts).peekable();
        for (key, mut parts) in self.keys.into_iter().zip(self.parts) {
            while let Some((key, parts)) = later.next_if(|(other, _)| *other < key) {
                all.push(key, parts);
            }
            match later.next_if(|(other, _)| *other == key) {
                Some((_, other)) => parts.add(&key, other),
                None => gone(&key, &mut parts),
            }
            all.push(key, parts);
        }
        for (key, parts) in later {
            all.push(key, parts);
        }
        all
    }

    fn push(&mut self, key: EdgeKey, parts: Parts) {
        self.keys.push(key);
        self.parts.push(parts);
    }
}

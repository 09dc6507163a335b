//! What was joined of a window, and how windows that follow one another are added up.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashSet};
use std::convert::Infallible;

use wire::ProcessRow;

use super::edges::Edges;
use super::input::HostId;
use super::nodes::describing;
use super::parts::Parts;
use super::rows::{NodeId, NodeKey};
use super::side::{EdgeKey, Side};
use super::sum::Sum;

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
    pub(super) edges: Sum,
    /// Tokens, and fingerprints of sequence numbers, that were not joined.
    pub(super) ambiguous: (u64, u64),
}

/// Memory of an edge in the document with the nodes that it names, in bytes.
const SHOWN: usize = 240;

impl Joined {
    /// Memory that so many edges lead to, in bytes.
    #[must_use]
    pub const fn cost(edges: usize) -> usize {
        Sum::cost(edges).saturating_add(edges.saturating_mul(SHOWN))
    }

    /// By how much its edges take more than [`Self::cost`] supposes, in bytes.
    #[must_use]
    pub fn more_than_cost(&self) -> usize {
        self.edges.more_than_cost()
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
            edges: Sum::from(edges),
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
        self.edges.len()
    }

    /// Hosts that are runs of agents, because several machines use one host id.
    #[must_use]
    pub fn copies(&self) -> &BTreeSet<HostId> {
        &self.copies
    }

    /// What edges name, sorted.
    pub(super) fn sides(&self) -> Vec<Side> {
        let keys = self.edges.keys();
        let candidates = self.edges.candidates().map(Side::Process);
        let all = keys.flat_map(|key| [key.client, key.server]);
        let (mut processes, mut others) = (Vec::new(), Vec::new());
        for side in all.chain(candidates) {
            match side {
                Side::Process(node) => {
                    let node = node as usize;
                    if node >= processes.len() {
                        processes.resize(node + 1, false);
                    }
                    processes[node] = true;
                }
                other if others.last() == Some(&other) => {}
                other => others.push(other),
            }
        }
        others.sort_unstable();
        others.dedup();
        let used = (0..).zip(processes).filter(|(_, is_used)| *is_used);
        let used = used.map(|(node, _)| Side::Process(node));
        used.chain(others).collect()
    }

    /// Adds a window that follows on this one; there may be time between them.
    pub fn add(&mut self, mut later: Self) {
        let edges = std::mem::take(&mut later.edges);
        let edges = edges.iter().map(Ok::<_, Infallible>);
        let Ok(()) = self.add_edges(later, edges, |_| Ok(()));
    }

    /// The same of a window whose edges come one by one, in the order of their keys: there is no room
    /// for all of them twice. `room` is asked before there are so many edges.
    ///
    /// # Errors
    /// Those of `edges` and of `room`; then this is of no use any more.
    pub(super) fn add_edges<E>(
        &mut self,
        later: Self,
        edges: impl Iterator<Item = Result<(EdgeKey, Parts), E>>,
        room: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let numbers = self.unite(later.nodes, later.processes);
        self.copies.extend(later.copies);
        self.ambiguous.0 = self.ambiguous.0.saturating_add(later.ambiguous.0);
        self.ambiguous.1 = self.ambiguous.1.saturating_add(later.ambiguous.1);
        let edges = edges.map(|edge| {
            let (mut key, mut parts) = edge?;
            if let Some(numbers) = &numbers {
                renumber(numbers, &mut key, &mut parts);
            }
            Ok((key, parts))
        });
        let host = |side: &Side| match side {
            Side::Process(node) => Some(self.nodes[*node as usize].host),
            Side::Address(_) | Side::Network(..) => None,
        };
        // Of what a host that reports tells nothing any more, nothing is open.
        let ended = |key: &EdgeKey| {
            [key.client, key.server].map(|side| {
                let host = host(&side);
                host.is_some_and(|host| later.reported.contains(&host))
            })
        };
        // The closure has the rest.
        let mut known = std::mem::take(&mut self.edges);
        known.follow(edges, room, ended)?;
        self.edges = known;
        self.reported.extend(later.reported);
        Ok(())
    }

    /// Numbers the nodes of both alike: the numbers of the others, where they have other ones now.
    fn unite(
        &mut self,
        nodes: Vec<NodeKey>,
        processes: Vec<Option<ProcessRow>>,
    ) -> Option<Vec<NodeId>> {
        if self.nodes == nodes {
            for (mine, other) in self.processes.iter_mut().zip(processes) {
                describe(mine, other);
            }
            return None;
        }
        let keys = std::mem::take(&mut self.nodes).into_iter();
        let mut mine = keys.zip(std::mem::take(&mut self.processes)).peekable();
        let mut theirs = nodes.into_iter().zip(processes).peekable();
        let mut numbers: [Vec<NodeId>; 2] = [Vec::new(), Vec::new()];
        loop {
            // Both are sorted.
            let order = match (mine.peek(), theirs.peek()) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((mine, _)), Some((other, _))) => mine.cmp(other),
            };
            let number = NodeId::try_from(self.nodes.len()).expect("as many as memory holds");
            let one = (order.is_le()).then(|| mine.next()).flatten();
            let other = (order.is_ge()).then(|| theirs.next()).flatten();
            for (numbers, is_there) in numbers.iter_mut().zip([one.is_some(), other.is_some()]) {
                numbers.extend(is_there.then_some(number));
            }
            let (key, process) = match (one, other) {
                (Some((key, mut process)), Some((_, other))) => {
                    describe(&mut process, other);
                    (key, process)
                }
                (Some(one), None) | (None, Some(one)) => one,
                (None, None) => break,
            };
            self.nodes.push(key);
            self.processes.push(process);
        }
        let [own, others] = numbers;
        self.edges.renumber(&own);
        Some(others)
    }
}

fn describe(known: &mut Option<ProcessRow>, other: Option<ProcessRow>) {
    match (known.as_ref(), other) {
        (Some(mine), Some(other)) if std::ptr::eq(describing(mine, &other), mine) => {}
        (_, Some(other)) => *known = Some(other),
        (_, None) => {}
    }
}

/// Gives the nodes of an edge other numbers.
fn renumber(numbers: &[NodeId], key: &mut EdgeKey, parts: &mut Parts) {
    let renumber = |node: NodeId| numbers[node as usize];
    for side in [&mut key.client, &mut key.server] {
        if let Side::Process(node) = side {
            *node = renumber(*node);
        }
    }
    if !parts.candidates.is_empty() {
        let candidates = std::mem::take(&mut parts.candidates);
        parts.candidates = candidates.into_iter().map(renumber).collect();
    }
}

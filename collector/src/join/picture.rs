//! What a join found, before it is written down: a fraction of the size of its document.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use std::collections::BTreeMap;

use super::edges::Edges;
use super::input::HostId;
use super::joined::Joined;
use super::nodes::Nodes;
use super::reason;
use crate::counters::Counters;
use crate::topology::{Count, Edge, Node, ReasonCount, Seer, Topology};

/// An edge, and what its document does not hold.
pub struct Told<'a> {
    /// Its document.
    pub edge: Edge,
    /// Whether both ends are known.
    pub is_joined: bool,
    /// What the client and the server counted.
    pub counters: [Option<&'a Counters>; 2],
}

/// A topology whose nodes and edges are made one after the other, as they are written.
pub struct Picture {
    from_ms: i64,
    to_ms: i64,
    nodes: Nodes,
    edges: Edges,
    /// The edges in the order of the document: joined ones, then the others.
    joined: Vec<u32>,
    unjoined: Vec<u32>,
    /// Tokens, and fingerprints of sequence numbers.
    ambiguous: (u64, u64),
    /// Data up to then may be missing, for they made room.
    evicted_before_ms: Option<i64>,
    /// From when it is whole, where something of the window was deleted.
    whole_from_ms: Option<i64>,
}

impl Picture {
    /// Of what was joined, the names of hosts, and up to when data may be missing.
    #[must_use]
    pub fn new(
        (from_ms, to_ms): (i64, i64),
        joined: Joined,
        hosts: Vec<(HostId, String)>,
        evicted_before_ms: Option<i64>,
    ) -> Self {
        let sides = joined.sides();
        let Joined {
            nodes,
            processes,
            copies,
            edges,
            ambiguous,
            reported: _,
        } = joined;
        let nodes = Nodes::of(nodes, processes, (hosts, copies), sides);
        let ranks = nodes.ranks();
        let sort = |list: Vec<u32>| {
            let rank = |at: &u32| {
                let key = &edges.keys[*at as usize];
                [key.client, key.server].map(|side| ranks[nodes.place(&side)])
            };
            let mut list: Vec<([u32; 2], u32)> =
                list.into_iter().map(|at| (rank(&at), at)).collect();
            let endpoint = |at: u32| edges.keys[at as usize].endpoint.to_string();
            list.sort_unstable_by(|(a, x), (b, y)| {
                a.cmp(b).then_with(|| endpoint(*x).cmp(&endpoint(*y)))
            });
            list.into_iter().map(|(_, at)| at).collect()
        };
        let all = (0..).take(edges.keys.len());
        let (joined, unjoined): (Vec<u32>, Vec<u32>) =
            all.partition(|at: &u32| edges.keys[*at as usize].is_joined());
        let (joined, unjoined) = (sort(joined), sort(unjoined));
        Self {
            from_ms,
            to_ms,
            nodes,
            edges,
            joined,
            unjoined,
            ambiguous,
            evicted_before_ms,
            whole_from_ms: None,
        }
    }

    /// Of a window of which something was deleted, where `ms` says from when it is whole.
    #[must_use]
    pub fn with_whole_from(self, ms: Option<i64>) -> Self {
        let whole_from_ms = ms;
        Self {
            whole_from_ms,
            ..self
        }
    }

    fn edge(&self, at: u32, gateways: &BTreeMap<String, &str>) -> Edge {
        let key = &self.edges.keys[at as usize];
        let ids = (self.nodes.id(&key.client), self.nodes.id(&key.server));
        let parts = &self.edges.parts[at as usize];
        let candidates = parts
            .candidates()
            .map(|side| self.nodes.id(&side).to_owned());
        let unknown = self.unknown_owners(at);
        parts.edge(key, ids, candidates.collect(), (unknown, gateways))
    }

    /// The sides of an edge whose process is not known.
    fn unknown_owners(&self, at: u32) -> Vec<Seer> {
        let key = &self.edges.keys[at as usize];
        let sides = [(Seer::Client, &key.client), (Seer::Server, &key.server)];
        let unknown = sides
            .into_iter()
            .filter(|(_, side)| self.nodes.is_unknown(side));
        unknown.map(|(seer, _)| seer).collect()
    }

    /// Edges of which the process of a side is not known.
    fn all_unknown_owners(&self) -> Count {
        let mut count = Count::default();
        for at in self.joined.iter().chain(&self.unjoined) {
            if !self.unknown_owners(*at).is_empty() {
                let connections = self.edges.parts[*at as usize].connections();
                count.edges += 1;
                count.connections = count.connections.saturating_add(connections);
            }
        }
        count
    }

    fn list<'a>(&'a self, list: &'a [u32]) -> impl Iterator<Item = Edge> {
        let gateways = self.nodes.names();
        list.iter().map(move |at| self.edge(*at, &gateways))
    }

    fn unjoined_reasons(&self) -> Vec<ReasonCount> {
        let parts = self.unjoined.iter();
        let parts = parts.map(|at| &self.edges.parts[*at as usize]);
        reason::totals(parts.map(|parts| (parts.reason(), parts.connections())))
    }

    /// The whole document.
    #[must_use]
    pub fn document(&self) -> Topology {
        Topology {
            nodes: self.nodes.documents().collect(),
            edges: self.list(&self.joined).collect(),
            unjoined: self.list(&self.unjoined).collect(),
            ..self.head()
        }
    }

    /// Every node, sorted by id.
    pub fn nodes(&self) -> impl Iterator<Item = Node> {
        self.nodes.documents()
    }

    /// Every edge in the order of the document: joined ones, then the others.
    pub fn edges(&self) -> impl Iterator<Item = Told<'_>> {
        let gateways = self.nodes.names();
        let each = move |at: &u32| Told {
            edge: self.edge(*at, &gateways),
            is_joined: self.edges.keys[*at as usize].is_joined(),
            counters: self.edges.parts[*at as usize].counters(),
        };
        self.joined.iter().chain(&self.unjoined).map(each)
    }

    /// The document without its nodes and edges.
    #[must_use]
    pub fn head(&self) -> Topology {
        Topology {
            from_ms: self.from_ms,
            to_ms: self.to_ms,
            nodes: Vec::new(),
            edges: Vec::new(),
            unjoined: Vec::new(),
            ambiguous_tokens: self.ambiguous.0,
            ambiguous_sequences: self.ambiguous.1,
            unjoined_reasons: self.unjoined_reasons(),
            unknown_owners: self.all_unknown_owners(),
            evicted_before_ms: self.evicted_before_ms,
            whole_from_ms: self.whole_from_ms,
        }
    }
}

/// What an iterator yields, as a list.
struct Each<F>(F);

impl<T: Serialize, I: Iterator<Item = T>, F: Fn() -> I> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

/// As the document, of which it never holds more than one node or edge.
impl Serialize for Picture {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut document = serializer.serialize_struct("Topology", 11)?;
        document.serialize_field("from_ms", &self.from_ms)?;
        document.serialize_field("to_ms", &self.to_ms)?;
        document.serialize_field("nodes", &Each(|| self.nodes.documents()))?;
        document.serialize_field("edges", &Each(|| self.list(&self.joined)))?;
        document.serialize_field("unjoined", &Each(|| self.list(&self.unjoined)))?;
        document.serialize_field("ambiguous_tokens", &self.ambiguous.0)?;
        document.serialize_field("ambiguous_sequences", &self.ambiguous.1)?;
        document.serialize_field("unjoined_reasons", &self.unjoined_reasons())?;
        document.serialize_field("unknown_owners", &self.all_unknown_owners())?;
        if let Some(before) = &self.evicted_before_ms {
            document.serialize_field("evicted_before_ms", before)?;
        }
        if let Some(from) = &self.whole_from_ms {
            document.serialize_field("whole_from_ms", from)?;
        }
        document.end()
    }
}

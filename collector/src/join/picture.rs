//! What a join found, before it is written down: a fraction of the size of its document.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::edges::Edges;
use super::input::HostId;
use super::joined::Joined;
use super::nodes::Nodes;
use super::parts::Parts;
use super::reason;
use super::side::EdgeKey;
use crate::packed::Packed;
use crate::topology::{Count, Edge, Node, NodeKind, ReasonCount, Seer, Topology};

/// An edge of a picture. Its numbers are there; its document is made when it is asked for, which
/// takes some twenty texts.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    picture: &'a Picture,
    at: u32,
}

impl<'a> Told<'a> {
    /// Its document.
    #[must_use]
    pub fn edge(self) -> Edge {
        self.picture.edge(self.at)
    }

    /// Whether both ends are known.
    #[must_use]
    pub fn is_joined(self) -> bool {
        self.picture.edges.keys[self.at as usize].is_joined()
    }

    /// The places of client and server in [`Picture::nodes`].
    #[must_use]
    pub fn ends(self) -> [usize; 2] {
        let key = &self.picture.edges.keys[self.at as usize];
        let nodes = &self.picture.nodes;
        [&key.client, &key.server].map(|side| nodes.rank(side) as usize)
    }

    /// As [`Edge::server_endpoint`].
    #[must_use]
    pub fn endpoint(self) -> String {
        self.picture.edges.keys[self.at as usize]
            .endpoint
            .to_string()
    }

    /// As [`Edge::connections`].
    #[must_use]
    pub fn connections(self) -> u64 {
        self.picture.edges.parts[self.at as usize].connections()
    }

    /// As [`Edge::confidence`].
    #[must_use]
    pub fn confidence(self) -> f64 {
        let unknown = self.picture.unknown_owners(self.at).len();
        self.picture.edges.parts[self.at as usize].confidence(unknown)
    }

    /// Connections that failed or were reset, by the side that saw more of them.
    #[must_use]
    pub fn wrong(self) -> u64 {
        let sides = self.counters().into_iter().flatten();
        sides.map(Packed::wrong).max().unwrap_or(0)
    }

    /// What the client and the server counted.
    #[must_use]
    pub fn counters(self) -> [Option<&'a Packed>; 2] {
        self.picture.edges.parts[self.at as usize].counters()
    }
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
        let sort = |list: Vec<u32>| {
            let rank = |at: &u32| {
                let key = &edges.keys[*at as usize];
                [key.client, key.server].map(|side| nodes.rank(&side))
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

    fn edge(&self, at: u32) -> Edge {
        let key = &self.edges.keys[at as usize];
        let ids = (self.nodes.id(&key.client), self.nodes.id(&key.server));
        let parts = &self.edges.parts[at as usize];
        let candidates = parts
            .candidates()
            .map(|side| self.nodes.id(&side).to_owned());
        let unknown = self.unknown_owners(at);
        let gateway = |id: &str| self.nodes.hostname(id);
        parts.edge(key, ids, candidates.collect(), (unknown, &gateway))
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
        list.iter().map(|at| self.edge(*at))
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

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let each = size_of::<Parts>() + size_of::<EdgeKey>() + size_of::<u32>();
        let counted = self.edges.parts.iter().map(Parts::heap);
        self.edges.keys.len() * each + counted.sum::<usize>() + self.nodes.bytes()
    }

    /// How many these are.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The node at a place of [`Self::nodes`].
    #[must_use]
    pub fn node(&self, place: usize) -> Node {
        self.nodes.at(place)
    }

    /// The id of the node at a place.
    #[must_use]
    pub fn node_id(&self, place: usize) -> &str {
        self.nodes.id_at(place)
    }

    /// What tells it from all others whatever its id: its kind, host id and service; of an address
    /// its id for a service.
    #[must_use]
    pub fn node_name(&self, place: usize) -> (NodeKind, String, &str) {
        self.nodes.name_at(place)
    }

    /// Every edge in the order of the document: joined ones, then the others.
    pub fn edges(&self) -> impl Iterator<Item = Told<'_>> {
        let all = self.joined.iter().chain(&self.unjoined);
        all.map(|at| Told {
            picture: self,
            at: *at,
        })
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

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Picture")
            .field("from_ms", &self.from_ms)
            .field("to_ms", &self.to_ms)
            .field("edges", &self.edges.keys.len())
            .finish_non_exhaustive()
    }
}

//! What a join found, before it is written down: a fraction of the size of its document.

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::codec::{Line, Lines, Packing};
use super::input::HostId;
use super::joined::Joined;
use super::nodes::Nodes;
use super::reason;
use super::side::EdgeKey;
use crate::packed::Packed;
use crate::topology::{Count, Edge, Node, NodeKind, ReasonCount, Seer, Topology};

/// An edge of a picture. Its numbers are there; its document is made when it is asked for, which
/// takes some twenty texts.
#[derive(Clone, Copy)]
pub struct Told<'a> {
    picture: &'a Picture,
    at: usize,
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
        self.at < self.picture.joined
    }

    /// The places of client and server in [`Picture::nodes`].
    #[must_use]
    pub fn ends(self) -> [usize; 2] {
        self.line().ends.map(|rank| rank as usize)
    }

    /// As [`Edge::server_endpoint`].
    #[must_use]
    pub fn endpoint(self) -> String {
        self.line().endpoint.to_string()
    }

    /// As [`Edge::connections`].
    #[must_use]
    pub fn connections(self) -> u64 {
        self.line().connections
    }

    /// Connections that failed or were reset, by the side that saw more of them.
    #[must_use]
    pub fn wrong(self) -> u64 {
        self.line().wrong
    }

    /// As [`Edge::confidence`], and what the client and the server counted.
    #[must_use]
    pub fn counted(self) -> (f64, [Option<Packed>; 2]) {
        let parts = self.picture.lines.parts(self.at);
        let unknown = self.picture.unknown_owners(self.line()).count();
        let confidence = parts.confidence(unknown);
        let sides = [parts.client, parts.server];
        (confidence, sides.map(|side| side.counters))
    }

    fn line(self) -> &'a Line {
        &self.picture.lines.all[self.at]
    }
}

/// A topology whose nodes and edges are made one after the other, as they are written.
pub struct Picture {
    from_ms: i64,
    to_ms: i64,
    nodes: Nodes,
    /// The edges in the order of the document: joined ones, then the others.
    lines: Lines,
    /// How many are joined.
    joined: usize,
    /// Tokens, and fingerprints of sequence numbers.
    ambiguous: (u64, u64),
    unjoined_reasons: Vec<ReasonCount>,
    unknown_owners: Count,
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
            mut edges,
            ambiguous,
            reported: _,
        } = joined;
        let nodes = Nodes::of(nodes, processes, (hosts, copies), sides);
        let place = |(at, key): (usize, &EdgeKey)| {
            let ends = [key.client, key.server].map(|side| nodes.rank(&side));
            (!key.is_joined(), ends, at)
        };
        let mut order: Vec<_> = edges.keys().enumerate().map(place).collect();
        order.sort_unstable();
        for same in order.chunk_by_mut(|a, b| (a.0, a.1) == (b.0, b.1)) {
            if same.len() > 1 {
                same.sort_by_cached_key(|(.., at)| edges.key(*at).endpoint.to_string());
            }
        }
        let joined = order.partition_point(|(is_unjoined, ..)| !is_unjoined);
        let mut reasons = Vec::with_capacity(order.len() - joined);
        let mut packing = Packing::new(order.len());
        for (is_unjoined, ends, at) in order {
            let parts = edges.take(at);
            if is_unjoined {
                reasons.push((parts.reason(), parts.connections()));
            }
            packing.add(ends, edges.key(at).endpoint, parts);
        }
        let mut picture = Self {
            from_ms,
            to_ms,
            nodes,
            lines: packing.end(),
            joined,
            ambiguous,
            unjoined_reasons: reason::totals(reasons.into_iter()),
            unknown_owners: Count::default(),
            evicted_before_ms,
            whole_from_ms: None,
        };
        picture.unknown_owners = picture.all_unknown_owners();
        picture
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

    fn edge(&self, at: usize) -> Edge {
        let (line, parts) = (&self.lines.all[at], self.lines.parts(at));
        let ids = line.ends.map(|rank| self.node_id(rank as usize));
        let candidates = parts
            .candidates()
            .map(|side| self.nodes.id(&side).to_owned());
        let candidates = candidates.collect();
        let unknown = self.unknown_owners(line).collect();
        let gateway = |id: &str| self.nodes.hostname(id);
        parts.edge(line.endpoint, ids, candidates, (unknown, &gateway))
    }

    /// The sides of an edge whose process is not known.
    fn unknown_owners(&self, line: &Line) -> impl Iterator<Item = Seer> {
        let sides = [Seer::Client, Seer::Server].into_iter().zip(line.ends);
        let unknown = sides.filter(|(_, rank)| self.nodes.is_unknown_at(*rank as usize));
        unknown.map(|(seer, _)| seer)
    }

    /// Edges of which the process of a side is not known.
    fn all_unknown_owners(&self) -> Count {
        let mut count = Count::default();
        for line in &self.lines.all {
            if self.unknown_owners(line).next().is_some() {
                count.edges += 1;
                count.connections = count.connections.saturating_add(line.connections);
            }
        }
        count
    }

    fn list(&self, places: std::ops::Range<usize>) -> impl Iterator<Item = Edge> {
        places.map(|at| self.edge(at))
    }

    fn joined(&self) -> impl Iterator<Item = Edge> {
        self.list(0..self.joined)
    }

    fn unjoined(&self) -> impl Iterator<Item = Edge> {
        self.list(self.joined..self.lines.all.len())
    }

    /// The whole document.
    #[must_use]
    pub fn document(&self) -> Topology {
        Topology {
            nodes: self.nodes.documents().collect(),
            edges: self.joined().collect(),
            unjoined: self.unjoined().collect(),
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
        self.lines.bytes() + self.nodes.bytes()
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

    /// How many edges there are, joined or not.
    #[must_use]
    pub fn edge_count(&self) -> usize {
        self.lines.all.len()
    }

    /// Every edge in the order of the document: joined ones, then the others.
    pub fn edges(&self) -> impl Iterator<Item = Told<'_>> {
        (0..self.edge_count()).map(|at| Told { picture: self, at })
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
            unjoined_reasons: self.unjoined_reasons.clone(),
            unknown_owners: self.unknown_owners,
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
        document.serialize_field("edges", &Each(|| self.joined()))?;
        document.serialize_field("unjoined", &Each(|| self.unjoined()))?;
        document.serialize_field("ambiguous_tokens", &self.ambiguous.0)?;
        document.serialize_field("ambiguous_sequences", &self.ambiguous.1)?;
        document.serialize_field("unjoined_reasons", &self.unjoined_reasons)?;
        document.serialize_field("unknown_owners", &self.unknown_owners)?;
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
            .field("edges", &self.edge_count())
            .finish_non_exhaustive()
    }
}

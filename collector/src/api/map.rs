//! A picture in numbers: which nodes and edges of it are shown, decided before any is written.

use std::cell::OnceCell;
use std::collections::{BTreeMap, VecDeque};

use super::failure::{Failure, Problem};
use super::filter::Filter;
use super::key;
use crate::join::{Picture, Told};
use crate::meter::Meter;

/// Bytes of a node and of an edge in here.
const NODE: usize = 128;
const EDGE: usize = size_of::<Line>();

/// The nodes and edges of a picture, in its order.
pub(super) struct Map<'a> {
    picture: &'a Picture,
    pub(super) nodes: Vec<Spot>,
    pub(super) edges: Vec<Line>,
}

/// A node.
pub(super) struct Spot {
    /// Made when it is asked for.
    key: OnceCell<String>,
    pub(super) shown: bool,
    /// Steps from the focus.
    distance: u32,
    /// Connections of its edges, and those that went wrong.
    weight: (u64, u64),
    /// Neighbours that are not shown, though they are meant.
    pub(super) more: u64,
}

/// An edge.
pub(super) struct Line {
    /// Whether the filters mean it.
    pub(super) matched: bool,
    /// And it is within the steps from the focus.
    pub(super) meant: bool,
    pub(super) shown: bool,
}

/// What is meant and not shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
pub(super) struct LeftOut {
    /// Nodes.
    pub nodes: u64,
    /// Edges, joined or not.
    pub edges: u64,
    /// Their connections.
    pub connections: u64,
}

impl Spot {
    /// Connections of its edges.
    pub(super) const fn connections(&self) -> u64 {
        self.weight.0
    }
}

impl<'a> Map<'a> {
    /// Everything that `filter` means.
    ///
    /// # Errors
    /// More than `meter` has.
    pub(super) fn of(
        picture: &'a Picture,
        filter: &Filter,
        mut meter: Meter,
    ) -> Result<Self, Failure> {
        let (nodes, edges) = (picture.node_count(), picture.edge_count());
        meter.bytes(nodes * NODE + edges * EDGE)?;
        let matches: Vec<(bool, bool)> = (0..nodes)
            .map(|place| filter.node(|| picture.node(place)))
            .collect();
        let spot = || Spot {
            key: OnceCell::new(),
            shown: false,
            distance: 0,
            weight: (0, 0),
            more: 0,
        };
        let mut nodes: Vec<Spot> = std::iter::repeat_with(spot).take(nodes).collect();
        let mut lines = Vec::with_capacity(edges);
        for told in picture.edges() {
            let ends = told.ends();
            let [one, other] = ends.map(|at| matches[at]);
            let meant = filter.edge(told, one.0 || other.0, one.1 || other.1);
            for side in ends {
                let weight = &mut nodes[side].weight;
                weight.0 = weight.0.saturating_add(told.connections());
                weight.1 = weight.1.saturating_add(told.wrong());
                nodes[side].shown |= meant;
            }
            lines.push(Line {
                matched: meant,
                meant,
                shown: meant,
            });
        }
        Ok(Self {
            picture,
            nodes,
            edges: lines,
        })
    }

    /// Each edge with its ends.
    fn lines(&self) -> impl Iterator<Item = (&Line, [usize; 2])> {
        let ends = self.picture.edges().map(Told::ends);
        self.edges.iter().zip(ends)
    }

    /// The key of the node at a place.
    pub(super) fn key(&self, at: usize) -> &str {
        self.nodes[at].key.get_or_init(|| {
            let (kind, host, service) = self.picture.node_name(at);
            key::node_of(kind, &host, service)
        })
    }

    /// The node of this key or id.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let of = |at: &usize| self.picture.node_id(*at) == name || self.key(*at) == name;
        (0..self.nodes.len()).find(of)
    }

    /// The same, or a refusal that says what to do.
    ///
    /// # Errors
    /// No such node.
    pub(super) fn place(&self, name: &str) -> Result<usize, Problem> {
        self.find(name).ok_or_else(|| {
            let shown = crate::escape::shorten(name, 80);
            let why = format!(
                "no node {shown:?} in this window; /api/v1/search finds nodes, or choose a longer \
                 window"
            );
            Problem::unknown(why)
        })
    }

    /// The key of an edge.
    pub(super) fn edge_key(&self, told: Told<'_>) -> String {
        let [client, server] = told.ends().map(|at| self.key(at));
        key::edge(client, server, &told.endpoint())
    }

    /// Leaves what is within so many steps of a node.
    ///
    /// # Errors
    /// No such node.
    pub(super) fn focus(&mut self, name: &str, depth: u64) -> Result<(), Problem> {
        let begin = self.place(name)?;
        let mut beside: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (_, [client, server]) in self.lines().filter(|(line, _)| line.meant) {
            beside.entry(client).or_default().push(server);
            beside.entry(server).or_default().push(client);
        }
        for spot in &mut self.nodes {
            spot.distance = u32::MAX;
        }
        self.nodes[begin].distance = 0;
        let mut next = VecDeque::from([begin]);
        while let Some(at) = next.pop_front() {
            let step = self.nodes[at].distance + 1;
            if u64::from(step) > depth {
                continue;
            }
            for neighbour in beside.get(&at).into_iter().flatten() {
                if self.nodes[*neighbour].distance == u32::MAX {
                    self.nodes[*neighbour].distance = step;
                    next.push_back(*neighbour);
                }
            }
        }
        for spot in &mut self.nodes {
            spot.shown = spot.distance < u32::MAX;
        }
        for (line, told) in self.edges.iter_mut().zip(self.picture.edges()) {
            let ends = told.ends();
            // What lies beyond the last step is not what was asked for.
            line.meant &= ends.iter().all(|at| self.nodes[*at].shown);
            line.shown = line.meant;
        }
        Ok(())
    }

    /// Leaves at most so many nodes: those nearest to the focus, of these the ones with most that
    /// went wrong, then with most connections.
    pub(super) fn cut(&mut self, most: usize) {
        let mut meant: Vec<usize> = (0..self.nodes.len()).collect();
        meant.retain(|at| self.nodes[*at].shown);
        if meant.len() <= most {
            return;
        }
        let rank = |at: &usize| {
            let Spot {
                distance, weight, ..
            } = self.nodes[*at];
            (distance, u64::MAX - weight.1, u64::MAX - weight.0, *at)
        };
        meant.sort_unstable_by_key(rank);
        for at in &meant[most..] {
            self.nodes[*at].shown = false;
        }
        for (line, told) in self.edges.iter_mut().zip(self.picture.edges()) {
            let shown = told.ends().map(|at| self.nodes[at].shown);
            line.shown &= shown == [true, true];
        }
    }

    /// Counts for each node that is shown the neighbours that are not.
    pub(super) fn count_more(&mut self) {
        let mut more: Vec<(usize, usize)> = Vec::new();
        for (_, ends) in self.lines().filter(|(line, _)| line.matched) {
            let [client, server] = ends;
            match ends.map(|at| self.nodes[at].shown) {
                [true, false] => more.push((client, server)),
                [false, true] => more.push((server, client)),
                _ => {}
            }
        }
        more.sort_unstable();
        more.dedup();
        for (at, _) in more {
            self.nodes[at].more += 1;
        }
    }

    /// What is meant and not shown.
    pub(super) fn left_out(&self) -> LeftOut {
        let mut left = LeftOut::default();
        let mut nodes = vec![false; self.nodes.len()];
        let all = self.edges.iter().zip(self.picture.edges());
        for (_, told) in all.filter(|(line, _)| line.meant && !line.shown) {
            left.edges += 1;
            left.connections = left.connections.saturating_add(told.connections());
            for at in told.ends() {
                nodes[at] = !self.nodes[at].shown;
            }
        }
        left.nodes = nodes.iter().filter(|left| **left).count() as u64;
        left
    }
}

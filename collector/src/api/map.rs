//! A picture in numbers: which nodes and edges of it are shown, decided before any is written.

use std::collections::{BTreeMap, VecDeque};

use super::failure::{Failure, Problem};
use super::filter::Filter;
use super::key;
use crate::join::{Picture, Told};
use crate::meter::Meter;

/// Bytes of a node and of an edge in here.
const NODE: usize = 128;
const EDGE: usize = 64;

/// The nodes and edges of a picture, in its order.
pub(super) struct Map<'a> {
    picture: &'a Picture,
    pub(super) nodes: Vec<Spot>,
    pub(super) edges: Vec<Line>,
}

/// A node.
pub(super) struct Spot {
    pub(super) key: String,
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
    pub(super) client: usize,
    pub(super) server: usize,
    pub(super) connections: u64,
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
        let mut nodes = Vec::new();
        let mut matches = Vec::new();
        for place in 0..picture.node_count() {
            meter.bytes(NODE)?;
            matches.push(filter.node(|| picture.node(place)));
            let (kind, host, service) = picture.node_name(place);
            nodes.push(Spot {
                key: key::node_of(kind, &host, service),
                shown: false,
                distance: 0,
                weight: (0, 0),
                more: 0,
            });
        }
        let mut edges = Vec::new();
        for told in picture.edges() {
            meter.bytes(EDGE)?;
            let [client, server] = told.ends();
            let (one, other): ((bool, bool), (bool, bool)) = (matches[client], matches[server]);
            let meant = filter.edge(told, one.0 || other.0, one.1 || other.1);
            let (connections, wrong) = (told.connections(), told.wrong());
            for side in [client, server] {
                let weight = &mut nodes[side].weight;
                weight.0 = weight.0.saturating_add(connections);
                weight.1 = weight.1.saturating_add(wrong);
                nodes[side].shown |= meant;
            }
            edges.push(Line {
                client,
                server,
                connections,
                matched: meant,
                meant,
                shown: meant,
            });
        }
        Ok(Self {
            picture,
            nodes,
            edges,
        })
    }

    /// The node of this key or id.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let of = |at: &usize| self.nodes[*at].key == name || self.picture.node_id(*at) == name;
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
    pub(super) fn edge_key(&self, line: &Line, told: Told<'_>) -> String {
        let [client, server] = [line.client, line.server].map(|at| self.nodes[at].key.as_str());
        key::edge(client, server, &told.endpoint())
    }

    /// Leaves what is within so many steps of a node.
    ///
    /// # Errors
    /// No such node.
    pub(super) fn focus(&mut self, name: &str, depth: u64) -> Result<(), Problem> {
        let begin = self.place(name)?;
        let mut beside: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for line in self.edges.iter().filter(|line| line.meant) {
            beside.entry(line.client).or_default().push(line.server);
            beside.entry(line.server).or_default().push(line.client);
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
        for line in &mut self.edges {
            let ends = [line.client, line.server];
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
        for line in &mut self.edges {
            let shown = [line.client, line.server].map(|at| self.nodes[at].shown);
            line.shown &= shown == [true, true];
        }
    }

    /// Counts for each node that is shown the neighbours that are not.
    pub(super) fn count_more(&mut self) {
        let mut more: Vec<(usize, usize)> = Vec::new();
        for line in self.edges.iter().filter(|line| line.matched) {
            match [line.client, line.server].map(|at| self.nodes[at].shown) {
                [true, false] => more.push((line.client, line.server)),
                [false, true] => more.push((line.server, line.client)),
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
        for line in self.edges.iter().filter(|line| line.meant && !line.shown) {
            left.edges += 1;
            left.connections = left.connections.saturating_add(line.connections);
            for at in [line.client, line.server] {
                nodes[at] = !self.nodes[at].shown;
            }
        }
        left.nodes = nodes.iter().filter(|left| **left).count() as u64;
        left
    }
}

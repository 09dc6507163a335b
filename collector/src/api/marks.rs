//! What fires and what is not declared, counted for groups of nodes and what is between them.

use std::collections::{BTreeSet, HashMap};

use schemars::JsonSchema;
use serde::Serialize;

use super::failure::Failure;
use super::filter::{Addresses, addresses};
use super::map::Map;
use super::matrix::seen_nodes;
use super::operation::Asking;
use crate::alert::finding::{Severity, Subject};
use crate::join::{Picture, Told};
use crate::matrix::{EdgeState, Line};
use crate::topology::NodeKind;

/// Edges of less confidence are not said to be undeclared.
const SURE: f64 = 0.8;
/// Bytes of a node with its texts.
const NODE: usize = 256;

/// How many alerts fire that nothing mutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Firing {
    /// Critical ones.
    pub critical: u64,
    /// Warnings.
    pub warning: u64,
}

/// What is known of a picture beside what is in it.
#[derive(Default)]
pub(super) struct Marks {
    /// What alerts are about that fire; nothing where that is not known here.
    firing: Option<Vec<(Subject, Severity)>>,
    /// Of each edge, whether no flow allows it or one denies it; nothing where there is no matrix.
    undeclared: Option<Vec<bool>>,
}

/// Alerts by groups, and by pairs of groups.
#[derive(Default)]
pub(super) struct Counted<'a> {
    pub(super) groups: HashMap<&'a str, Firing>,
    pub(super) pairs: HashMap<(&'a str, &'a str), Firing>,
}

impl Firing {
    fn add(&mut self, severity: Severity) {
        *match severity {
            Severity::Critical => &mut self.critical,
            Severity::Warning => &mut self.warning,
        } += 1;
    }
}

impl Marks {
    /// # Errors
    /// What is known beside the store, or the addresses of services, cannot be read.
    pub(super) fn of(
        asking: &Asking<'_>,
        picture: &Picture,
        map: &Map<'_>,
    ) -> Result<Self, Failure> {
        let Some(beside) = asking.beside else {
            return Ok(Self::default());
        };
        Ok(Self {
            firing: Some(beside.firing(asking.now_ms)?),
            undeclared: undeclared(asking, picture, map)?,
        })
    }

    /// Whether there is a declared matrix.
    pub(super) const fn has_matrix(&self) -> bool {
        self.undeclared.is_some()
    }

    /// Whether the edge at a place is not declared; nothing where there is no matrix.
    pub(super) fn undeclared(&self, edge: usize) -> Option<bool> {
        self.undeclared.as_ref().map(|all| all[edge])
    }

    /// Each alert once for each group that it is about, and each pair of groups; `of_node` is the
    /// group of each node. Nothing where it is not known what fires.
    pub(super) fn counted<'a>(
        &self,
        picture: &Picture,
        map: &Map<'_>,
        of_node: &'a [String],
    ) -> Option<Counted<'a>> {
        let firing = self.firing.as_ref()?;
        let mut counted = Counted::default();
        if firing.is_empty() {
            return Some(counted);
        }
        let places = Places::of(picture, map, firing);
        let ends: Vec<[usize; 2]> = picture.edges().map(Told::ends).collect();
        for (subject, severity) in firing {
            let (nodes, edges) = places.about(subject);
            let mut groups: BTreeSet<&str> = nodes.iter().map(|at| of_node[*at].as_str()).collect();
            let pair = |at: &usize| ends[*at].map(|at| of_node[at].as_str()).into();
            let pairs: BTreeSet<(&str, &str)> = edges.iter().map(pair).collect();
            groups.extend(pairs.iter().filter(|(a, b)| a == b).map(|(a, _)| *a));
            for group in groups {
                counted.groups.entry(group).or_default().add(*severity);
            }
            for pair in pairs {
                counted.pairs.entry(pair).or_default().add(*severity);
            }
        }
        Some(counted)
    }
}

/// Where in a picture alerts are about: places of nodes and edges that are shown.
#[derive(Default)]
struct Places {
    services: HashMap<String, usize>,
    hosts: HashMap<String, Vec<usize>>,
    edges: HashMap<String, usize>,
    /// By the addresses of VIPs and gateways on their way.
    through: HashMap<String, Vec<usize>>,
}

impl Places {
    fn of(picture: &Picture, map: &Map<'_>, firing: &[(Subject, Severity)]) -> Self {
        let mut places = Self::default();
        let mut ends = Vec::with_capacity(map.nodes.len());
        for (at, spot) in map.nodes.iter().enumerate() {
            let (kind, host, service) = picture.node_name(at);
            let end = match kind {
                NodeKind::Process => format!("{host}/{service}"),
                NodeKind::Address | NodeKind::Network => picture.node_id(at).to_owned(),
            };
            if spot.shown {
                places.services.insert(end.clone(), at);
                if kind == NodeKind::Process {
                    places.hosts.entry(host).or_default().push(at);
                }
            }
            ends.push(end);
        }
        let has = |is: fn(&Subject) -> bool| firing.iter().any(|(subject, _)| is(subject));
        let has_edges = has(|subject| matches!(subject, Subject::Edge { .. }));
        let has_through = has(|subject| matches!(subject, Subject::Gateway { .. }));
        for (at, (told, line)) in picture.edges().zip(&map.edges).enumerate() {
            if !line.shown {
                continue;
            }
            if has_edges {
                let [client, server] = told.ends().map(|at| ends[at].as_str());
                let key = Subject::edge_key(client, server, &told.endpoint());
                places.edges.insert(key, at);
            }
            if has_through {
                for via in told.edge().via {
                    places.through.entry(via.address).or_default().push(at);
                }
            }
        }
        places
    }

    /// Places of nodes, and of edges.
    fn about(&self, subject: &Subject) -> (&[usize], &[usize]) {
        match subject {
            Subject::Edge { .. } => (&[], one(self.edges.get(&subject.key()))),
            Subject::Node { node } => (one(self.services.get(&node.key())), &[]),
            Subject::Host { host, .. } | Subject::Series { host, .. } => {
                (all(self.hosts.get(host)), &[])
            }
            Subject::Gateway { address, .. } => (&[], all(self.through.get(address))),
            Subject::Flow { .. } | Subject::Collector => (&[], &[]),
        }
    }
}

fn all(found: Option<&Vec<usize>>) -> &[usize] {
    found.map_or(&[], Vec::as_slice)
}

fn one(found: Option<&usize>) -> &[usize] {
    found.map_or(&[], std::slice::from_ref)
}

/// Of each edge that is shown, whether no flow allows it or one denies it.
fn undeclared(
    asking: &Asking<'_>,
    picture: &Picture,
    map: &Map<'_>,
) -> Result<Option<Vec<bool>>, Failure> {
    let Some(beside) = asking.beside else {
        return Ok(None);
    };
    let Some(held) = beside.matrix()? else {
        return Ok(None);
    };
    let addresses = match held.names_addresses() {
        true => addresses(asking)?,
        false => Addresses::new(),
    };
    let mut meter = asking.meter;
    for _ in &map.nodes {
        meter.bytes(NODE)?;
    }
    let nodes = seen_nodes(picture, &addresses);
    let is_undeclared = |(told, line): (Told<'_>, &super::map::Line)| {
        if !line.shown {
            return false;
        }
        let edge = told.edge();
        if edge.confidence < SURE {
            return false;
        }
        let line = Line::new(String::new(), told.ends(), &edge);
        let state = held.edge(&line, &nodes, asking.now_ms).state;
        matches!(state, EdgeState::Violating | EdgeState::Undeclared)
    };
    let all = picture.edges().zip(&map.edges).map(is_undeclared);
    Ok(Some(all.collect()))
}

//! Groups of nodes, and what goes on between them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::failure::Failure;
use super::filter::{Addresses, addresses, namespace, of_node};
use super::key;
use super::map::{LeftOut, Map};
use super::marks::{Counted, Firing, Marks};
use super::operation::Asking;
use crate::counters::{BYTES_RECEIVED, BYTES_SENT, RETRANSMITS};
use crate::join::{Picture, Told};
use crate::network::Network;
use crate::packed::Packed;
use crate::topology::Node;

/// What nodes are grouped by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum By {
    Service,
    Host,
    Site,
    Namespace,
    Tag(String),
}

/// Groups, and the edges between them.
#[derive(Serialize, JsonSchema)]
pub(super) struct Grouped {
    /// Those with critical alerts first, then with warnings, then with most that went wrong, then
    /// with most connections.
    pub groups: Vec<Group>,
    /// Edges between groups, and of a group with itself.
    pub edges: Vec<GroupEdge>,
    /// Groups and edges that are not shown, because of `limit`.
    pub left_out: LeftOut,
}

/// Nodes that have something in common.
#[derive(Serialize, JsonSchema)]
pub(super) struct Group {
    /// Names it in `edges`.
    pub key: String,
    /// What they have in common; null of those that do not have it.
    pub label: Option<String>,
    /// Nodes.
    pub nodes: u64,
    /// The ids of some of them.
    pub some: Vec<String>,
    /// Alerts that fire about its services, their hosts, and edges within it; null where it is not
    /// known what fires.
    pub alerts: Option<Firing>,
    /// Edges within it that no flow of the declared matrix allows or that one denies, as far as they
    /// are known with confidence; null where no matrix is declared.
    pub undeclared: Option<u64>,
}

/// All edges from one group to another.
#[derive(Clone, Default, Serialize, JsonSchema)]
pub(super) struct GroupEdge {
    /// Key of a group.
    pub client: String,
    /// Key of a group.
    pub server: String,
    /// Edges that it stands for.
    pub edges: u64,
    /// Those known by one side only.
    pub unjoined: u64,
    /// Connections.
    pub connections: u64,
    /// Connections that failed or were reset, as the side says that saw more of them.
    pub wrong: u64,
    /// Bytes sent by clients; null where one of them cannot tell.
    pub bytes_sent: Option<u64>,
    /// Bytes received by clients.
    pub bytes_received: Option<u64>,
    /// Segments that either side sent again.
    pub retransmits: Option<u64>,
    /// The lowest confidence of its edges.
    pub confidence: f64,
    /// Alerts that fire about its edges and what they go through; null where it is not known what
    /// fires.
    pub alerts: Option<Firing>,
    /// Those of its edges that no flow of the declared matrix allows or that one denies, as far as
    /// they are known with confidence; null where no matrix is declared.
    pub undeclared: Option<u64>,
}

/// Ids of a group's nodes that are named.
const SOME: usize = 5;

impl By {
    /// # Errors
    /// A sentence with what there is.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "service" => Self::Service,
            "host" => Self::Host,
            "site" => Self::Site,
            "namespace" => Self::Namespace,
            _ => match text.strip_prefix("tag:") {
                Some(key) if !key.is_empty() => Self::Tag(key.into()),
                _ => {
                    let expected = "expected service, host, site, namespace or tag:<key>";
                    return Err(String::from(expected));
                }
            },
        })
    }

    /// The addresses that it needs.
    pub(super) fn addresses(&self, asking: &Asking<'_>) -> Result<Addresses, Failure> {
        match self {
            Self::Site => addresses(asking),
            _ => Ok(Addresses::new()),
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Service => "service",
            Self::Host => "host",
            Self::Site => "site",
            Self::Namespace => "namespace",
            Self::Tag(key) => key,
        }
    }

    /// What stands for a node's group; an address has neither service nor host, and stands for
    /// itself.
    fn label(&self, node: &Node, addresses: &Addresses) -> Option<String> {
        let Some(process) = &node.process else {
            return match self {
                Self::Site => match node.id.parse::<IpAddr>() {
                    Ok(ip) => Some(Network::site(ip)),
                    Err(_) => Some(node.id.clone()),
                },
                Self::Service | Self::Host => Some(node.id.clone()),
                Self::Namespace | Self::Tag(_) => None,
            };
        };
        match self {
            Self::Service => Some(process.service.clone()),
            Self::Host if process.hostname.is_empty() => Some(process.host.clone()),
            Self::Host => Some(process.hostname.clone()),
            Self::Namespace => namespace(process).map(String::from),
            Self::Tag(key) => process.tags.get(key).cloned(),
            Self::Site => {
                let mut sites: Vec<_> = of_node(addresses, process)
                    .iter()
                    .filter(|ip| !ip.is_loopback())
                    .map(|ip| Network::site(*ip))
                    .collect();
                sites.sort_unstable();
                sites.into_iter().next()
            }
        }
    }
}

/// What is shown of a picture, in groups; at most `most` of them.
pub(super) fn grouped(
    picture: &Picture,
    map: &Map<'_>,
    (by, addresses): (&By, &Addresses),
    marks: &Marks,
    most: usize,
) -> Grouped {
    let (mut groups, of_node) = groups(picture, map, by, addresses);
    let counted = marks.counted(picture, map, &of_node);
    let firing = |of: fn(&Counted<'_>, (&str, &str)) -> Option<Firing>, key| {
        let counted = counted.as_ref()?;
        Some(of(counted, key).unwrap_or_default())
    };
    let mut edges: BTreeMap<(&str, &str), GroupEdge> = BTreeMap::new();
    for (at, (told, line)) in picture.edges().zip(&map.edges).enumerate() {
        if line.shown {
            let [client, server] = told.ends();
            let ends = (of_node[client].as_str(), of_node[server].as_str());
            let sum = edges.entry(ends).or_insert_with(|| GroupEdge {
                client: ends.0.to_owned(),
                server: ends.1.to_owned(),
                bytes_sent: Some(0),
                bytes_received: Some(0),
                retransmits: Some(0),
                confidence: 1.0,
                alerts: firing(|counted, ends| counted.pairs.get(&ends).copied(), ends),
                undeclared: marks.undeclared(at).map(|_| 0),
                ..GroupEdge::default()
            });
            sum.add(told);
            let is_undeclared = marks.undeclared(at).unwrap_or(false);
            sum.undeclared = sum.undeclared.map(|all| all + u64::from(is_undeclared));
        }
    }
    for group in &mut groups {
        let key = (group.key.as_str(), group.key.as_str());
        group.alerts = firing(|counted, (key, _)| counted.groups.get(key).copied(), key);
        let within = edges.get(&key).map_or(Some(0), |edge| edge.undeclared);
        group.undeclared = within.filter(|_| marks.has_matrix());
    }
    let edges = edges.into_values().collect();
    shown(groups, edges, most)
}

/// The groups of the nodes that are shown, and the key of each node's group.
fn groups(
    picture: &Picture,
    map: &Map<'_>,
    by: &By,
    addresses: &Addresses,
) -> (Vec<Group>, Vec<String>) {
    let mut groups: BTreeMap<Option<String>, Group> = BTreeMap::new();
    let mut of_node = Vec::with_capacity(map.nodes.len());
    for (at, spot) in map.nodes.iter().enumerate() {
        if !spot.shown {
            of_node.push(String::new());
            continue;
        }
        let node = picture.node(at);
        let label = by.label(&node, addresses);
        let key = key::group(by.name(), label.as_deref().unwrap_or_default());
        let group = groups.entry(label.clone()).or_insert_with(|| Group {
            key,
            label,
            nodes: 0,
            some: Vec::new(),
            alerts: None,
            undeclared: None,
        });
        group.nodes += 1;
        if group.some.len() < SOME {
            group.some.push(node.id);
        }
        of_node.push(group.key.clone());
    }
    (groups.into_values().collect(), of_node)
}

/// How much a group matters: critical alerts, warnings, what went wrong, connections.
type Weight = [u64; 4];

fn add(weight: &mut Weight, alerts: Option<Firing>, wrong: u64, connections: u64) {
    let Firing { critical, warning } = alerts.unwrap_or_default();
    for (mine, more) in weight
        .iter_mut()
        .zip([critical, warning, wrong, connections])
    {
        *mine = mine.saturating_add(more);
    }
}

/// The groups that matter most, and the edges between these.
fn shown(mut groups: Vec<Group>, mut edges: Vec<GroupEdge>, most: usize) -> Grouped {
    let mut weights: BTreeMap<&str, Weight> = BTreeMap::new();
    for edge in &edges {
        for end in [&edge.client, &edge.server] {
            let weight = weights.entry(end).or_default();
            add(weight, edge.alerts, edge.wrong, edge.connections);
        }
    }
    groups.sort_by_cached_key(|group| {
        let mut weight = weights.get(group.key.as_str()).copied().unwrap_or_default();
        add(&mut weight, group.alerts, 0, 0);
        std::cmp::Reverse(weight)
    });
    drop(weights);
    let cut = groups.split_off(most.min(groups.len()));
    let mut left_out = LeftOut {
        nodes: cut.len() as u64,
        ..LeftOut::default()
    };
    let cut: BTreeSet<&str> = cut.iter().map(|group| group.key.as_str()).collect();
    let is_cut = |key: &String| cut.contains(key.as_str());
    edges.retain(|edge| {
        let left = is_cut(&edge.client) || is_cut(&edge.server);
        if left {
            left_out.edges += 1;
            left_out.connections = left_out.connections.saturating_add(edge.connections);
        }
        !left
    });
    Grouped {
        groups,
        edges,
        left_out,
    }
}

impl GroupEdge {
    fn add(&mut self, told: Told<'_>) {
        self.edges += 1;
        self.unjoined += u64::from(!told.is_joined());
        self.connections = self.connections.saturating_add(told.connections());
        self.wrong = self.wrong.saturating_add(told.wrong());
        let (confidence, counters) = told.counted();
        self.confidence = self.confidence.min(confidence);
        let sum = |all: Option<u64>, one: Option<u64>| Some(all?.saturating_add(one?));
        let [client, server] = counters.each_ref().map(Option::as_ref);
        let counted = |side: Option<&Packed>, at| side.and_then(|counters| counters.known(at));
        // What one side sends the other one receives.
        let either = |at, other| counted(client, at).or_else(|| counted(server, other));
        self.bytes_sent = sum(self.bytes_sent, either(BYTES_SENT, BYTES_RECEIVED));
        let received = either(BYTES_RECEIVED, BYTES_SENT);
        self.bytes_received = sum(self.bytes_received, received);
        let mut sides = [client, server].into_iter().flatten();
        let again = sides.try_fold(0_u64, |all, side| sum(Some(all), side.known(RETRANSMITS)));
        self.retransmits = sum(self.retransmits, again);
    }
}

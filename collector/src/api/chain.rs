//! `GET /api/v1/chain`: every hop of a connection that is known, and where it ends.

mod hop;

use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::Serialize;
use wire::Role;

use super::failure::{Failure, Problem};
use super::filter::{Addresses, Filter, addresses, of_node};
use super::key;
use super::map::Map;
use super::operation::{Asking, Form, Operation, form, write};
use super::parameter::{Kind, Need, Parameter, WINDOW};
use super::tuple::Tuple;
use crate::join::Picture;
use crate::query::{self, Lookup};
use crate::store::{End, Other, Translation};
use crate::topology::{Edge, Evidence, EvidenceKind, Node, NodeKind, ProcessNode, Seer, ViaKind};
use hop::{Ends, Hop, Known};

/// `GET /api/v1/chain`
pub const CHAIN: Operation = Operation {
    method: "GET",
    path: "/api/v1/chain",
    id: "chain",
    summary: "Every hop of a connection: client, translations, server",
    help: "The tuple is as either end or a gateway between them sees it. Where a waybill or its \
           sequence numbers name the very connection, the chain is exact; else it is that of the \
           edges which fit, of which there may be several.",
    parameters: &[
        &[Parameter::new(
            "tuple",
            Kind::Text(4096),
            "Both ends, as typed or pasted: `10.0.0.1:4711 -> 10.0.0.2:80`.",
        )
        .at(Need::Required)],
        &WINDOW,
    ],
    body: None,
    form: Form::Json(form::<Answer>),
    refusals: &[],
    answer: Some(chain),
};

/// Most chains of a tuple.
const CHAINS: usize = 16;
/// Bytes of a node with its texts, about.
const NODE: usize = 1024;

/// The chains of a tuple.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ChainAnswer")]
struct Answer {
    /// Begin of the window, Unix milliseconds, exclusive.
    from_ms: i64,
    /// Its end, inclusive.
    to_ms: i64,
    /// From when the answer is whole, where something of the window was deleted because of its age or
    /// because the store was full; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_from_ms: Option<i64>,
    /// As it was understood; the side that dialled first.
    tuple: String,
    /// Whether the text had the sides the other way round.
    reversed: bool,
    /// The best first.
    chains: Vec<Chain>,
    /// Further ones.
    left_out: u64,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    nothing: Option<String>,
}

/// The hops of a connection.
#[derive(Serialize, JsonSchema)]
struct Chain {
    /// Whether it is that of the very connection, not only of those between the same addresses.
    exact: bool,
    /// 0 to 1, of the edge.
    confidence: f64,
    /// What joins both ends.
    evidence: Vec<Evidence>,
    /// Connections of the edge in the window.
    connections: u64,
    /// Key of the edge.
    edge: String,
    /// From the client to the server.
    hops: Vec<Hop>,
    /// Where it ends.
    ends: Ends,
}

fn chain(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    write(out, &answer(asking)?)
}

/// The edge of the best chain of the tuple that is asked for.
///
/// # Errors
/// No tuple, no chain, and those of the store.
pub(super) fn best(asking: &Asking<'_>) -> Result<String, Failure> {
    let answer = answer(asking)?;
    match answer.chains.into_iter().next() {
        Some(chain) => Ok(chain.edge),
        None => Err(Problem::unknown(answer.nothing.unwrap_or_default()).into()),
    }
}

/// The hosts that say that they translate the connections of an edge, by id, and whether something
/// else does, which reports nothing.
///
/// # Errors
/// Those of the store.
pub(super) fn way(
    asking: &Asking<'_>,
    edge: &Edge,
    nodes: [&Node; 2],
) -> Result<(Vec<String>, bool), Failure> {
    let asked = asking.given.asked(asking.now_ms)?;
    let addresses = addresses(asking)?;
    let own = own_addresses(&addresses, nodes[0]);
    let endpoint = edge.server_endpoint.parse::<SocketAddr>();
    let (Some(source), Ok(destination)) = (own.first(), endpoint) else {
        return Ok((Vec::new(), false));
    };
    let mut lookup = Lookup::of(asking.store, asked, asking.now_ms, asking.meter)?;
    let known = Known {
        edge,
        nodes,
        keys: ["", ""],
        client: None,
        server: None,
        own,
        tuple: Tuple {
            source: SocketAddr::new(*source, 0),
            destination,
        },
    };
    let (hops, _) = hop::hops(&known, &mut lookup)?;
    let unseen = hops.iter().any(|hop| hop.kind == hop::HopKind::Unknown);
    Ok((
        hops.into_iter().filter_map(|hop| hop.host).collect(),
        unseen,
    ))
}

fn answer(asking: &Asking<'_>) -> Result<Answer, Failure> {
    let text = asking.given.text("tuple").unwrap_or_default();
    let tuple = Tuple::find(text).ok_or_else(|| {
        Problem::query(
            "tuple: expected two addresses with their ports, such as \
             `10.0.0.1:4711 -> 10.0.0.2:80`",
        )
    })?;
    let asked = asking.given.asked(asking.now_ms)?;
    let picture = query::topology(asking.store, asked, asking.now_ms, asking.meter)?;
    let map = Map::of(&picture, &Filter::default(), asking.meter)?;
    let addresses = addresses(asking)?;
    let mut lookup = Lookup::of(asking.store, asked, asking.now_ms, asking.meter)?;
    let mut meter = asking.meter;
    let mut nodes = Vec::with_capacity(map.nodes.len());
    for node in picture.nodes() {
        meter.bytes(NODE)?;
        nodes.push(node);
    }
    let scene = Scene {
        picture: &picture,
        map: &map,
        nodes: &nodes,
        addresses: &addresses,
    };
    let mut chains = scene.chains(&mut lookup, tuple)?;
    let mut shown = tuple;
    if chains.is_empty() {
        chains = scene.chains(&mut lookup, tuple.reversed())?;
        if !chains.is_empty() {
            shown = tuple.reversed();
        }
    }
    let rank = |chain: &Chain| (chain.exact, chain.confidence, chain.connections);
    chains.sort_by(|a, b| {
        let order = rank(b).partial_cmp(&rank(a));
        order.unwrap_or(std::cmp::Ordering::Equal)
    });
    let left_out = chains.len().saturating_sub(CHAINS) as u64;
    chains.truncate(CHAINS);
    let head = picture.head();
    let nothing = chains.is_empty().then(|| {
        format!(
            "no agent told of connections between {} and {} in this window; choose a longer one, \
             or see with /api/v1/fleet whether the hosts have agents",
            tuple.source.ip(),
            tuple.destination
        )
    });
    Ok(Answer {
        from_ms: head.from_ms,
        to_ms: head.to_ms,
        whole_from_ms: head.whole_from_ms,
        tuple: shown.to_string(),
        reversed: shown != tuple,
        chains,
        left_out,
        nothing,
    })
}

/// What a chain is read from.
struct Scene<'a> {
    picture: &'a Picture,
    map: &'a Map<'a>,
    nodes: &'a [Node],
    addresses: &'a Addresses,
}

/// What is known of the very connection.
#[derive(Default)]
struct Exact {
    /// The addresses that the client's kernel knows.
    client: Option<(SocketAddr, SocketAddr)>,
    /// Those that the server's knows: its peer, itself.
    server: Option<(SocketAddr, SocketAddr)>,
    /// Keys of their nodes.
    nodes: [Option<String>; 2],
    by_token: bool,
}

impl Scene<'_> {
    /// The chains of a tuple whose source dialled.
    fn chains(&self, lookup: &mut Lookup, tuple: Tuple) -> Result<Vec<Chain>, Failure> {
        let Tuple {
            source,
            destination,
        } = tuple;
        let ends = lookup.ends(source.ip(), destination)?;
        let mut exact = Vec::new();
        for end in &ends {
            for other in lookup.others(end, source.port())? {
                exact.push(Exact::of(end, &other, source.port()));
            }
        }
        let translated = lookup.translations(source.ip(), destination)?;
        let mut chains = Vec::new();
        // What names the very connection leaves no others.
        for exact in [Some(&exact), None] {
            for told in self.picture.edges() {
                let at = told.ends();
                let keys = at.map(|at| self.map.key(at));
                let edge = told.edge();
                let found = exact.and_then(|all| all.iter().find(|one| one.is_of(keys, &edge)));
                let fits = exact.is_none() && self.fits(&edge, at[0], tuple, &translated);
                if found.is_some() || fits {
                    let of = (self.map.edge_key(told), at, keys);
                    chains.push(self.chain(&edge, of, found, (tuple, lookup))?);
                }
            }
            if !chains.is_empty() {
                break;
            }
        }
        Ok(chains)
    }

    fn chain(
        &self,
        edge: &Edge,
        (key, at, keys): (String, [usize; 2], [&str; 2]),
        found: Option<&Exact>,
        (tuple, lookup): (Tuple, &mut Lookup),
    ) -> Result<Chain, Failure> {
        let nodes = at.map(|at| &self.nodes[at]);
        let known = Known {
            edge,
            nodes,
            keys,
            client: found.and_then(|exact| exact.client),
            server: found.and_then(|exact| exact.server),
            own: own_addresses(self.addresses, nodes[0]),
            tuple,
        };
        let (hops, ends) = hop::hops(&known, lookup)?;
        Ok(Chain {
            exact: found.is_some(),
            confidence: edge.confidence,
            evidence: found.map_or_else(|| edge.evidence.clone(), Exact::evidence),
            connections: edge.connections,
            edge: key,
            hops,
            ends,
        })
    }

    /// Whether connections with these addresses may be of an edge, as either end sees them or a
    /// gateway between.
    fn fits(&self, edge: &Edge, client: usize, tuple: Tuple, translated: &[Translation]) -> bool {
        let (source, dialled) = (tuple.source.ip(), tuple.destination.to_string());
        let via = |kind| {
            let all = edge.via.iter();
            all.filter(move |via| via.kind == kind && via.seen_by != Seer::Gateway)
        };
        let is_dialled =
            edge.server_endpoint == dialled || via(ViaKind::Vip).any(|via| via.address == dialled);
        let is_source = |ip: IpAddr| {
            let node = &self.nodes[client];
            node.id.parse() == Ok(ip) || own_addresses(self.addresses, node).contains(&ip)
        };
        let is_nat = || via(ViaKind::Nat).any(|via| via.address.parse() == Ok(source));
        if is_dialled && (is_source(source) || is_nat()) {
            return true;
        }
        // As a gateway sees it: its other side is what an end knows.
        translated.iter().any(|translation| {
            let server = edge.server_endpoint == translation.server.to_string();
            let vip = translation.dialled.to_string();
            let dialled =
                via(ViaKind::Vip).any(|via| via.address == vip) || edge.server_endpoint == vip;
            (server || dialled) && is_source(translation.client.ip())
        })
    }
}

fn own_addresses<'a>(addresses: &'a Addresses, node: &Node) -> &'a [IpAddr] {
    match &node.process {
        Some(process) => of_node(addresses, process),
        None => &[],
    }
}

impl Exact {
    fn of(end: &End, other: &Other, port: u16) -> Self {
        let (mut exact, of_end, of_other) = (
            Self {
                by_token: other.by_token,
                ..Self::default()
            },
            sides(end, port),
            sides(&other.end, other.port),
        );
        for (end, sides) in [(end, of_end), (&other.end, of_other)] {
            let at = usize::from(end.role == Role::Server);
            exact.nodes[at] = Some(node_key(end));
            match end.role {
                Role::Client => exact.client = Some(sides),
                Role::Server => exact.server = Some(sides),
            }
        }
        exact
    }

    fn is_of(&self, keys: [&str; 2], edge: &Edge) -> bool {
        let nodes = self
            .nodes
            .each_ref()
            .map(|node| node.as_deref().unwrap_or_default());
        let endpoint = self.server.map(|(_, own)| own.to_string());
        nodes == keys && endpoint.as_deref() == Some(edge.server_endpoint.as_str())
    }

    fn evidence(&self) -> Vec<Evidence> {
        let kind = match self.by_token {
            true => EvidenceKind::Token,
            false => EvidenceKind::Sequence,
        };
        vec![Evidence {
            kind,
            connections: 1,
        }]
    }
}

/// Who dialled and what, of an end whose addresses lack this port.
fn sides(end: &End, port: u16) -> (SocketAddr, SocketAddr) {
    let [local, remote] = [end.local, end.remote].map(|at| SocketAddr::new(at.ip(), at.port));
    match end.role {
        Role::Client => (SocketAddr::new(local.ip(), port), remote),
        Role::Server => (SocketAddr::new(remote.ip(), port), local),
    }
}

/// The key of an end's node.
fn node_key(end: &End) -> String {
    key::node(&Node {
        id: String::new(),
        kind: NodeKind::Process,
        process: Some(ProcessNode {
            host: end.host.clone(),
            service: end.service.clone(),
            ..ProcessNode::default()
        }),
    })
}

//! The hops between the two ends of an edge, from what its ends and gateways tell.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::Serialize;

use crate::api::failure::Failure;
use crate::api::tuple::Tuple;
use crate::query::Lookup;
use crate::store::Translation;
use crate::topology::{Edge, Node, Seer, ViaKind};

/// Most gateways behind each other.
const GATEWAYS: usize = 8;

/// A place that a connection passes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Hop {
    pub(super) kind: HopKind,
    /// Its name; an address where nobody reports.
    pub(super) name: String,
    /// Key of its node, of an end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) node: Option<String>,
    /// Host id, of a gateway.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) host: Option<String>,
    /// The addresses with which it arrives; not there at the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) before: Option<Pair>,
    /// The addresses with which it leaves; not there at the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) after: Option<Pair>,
}

/// What a hop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum HopKind {
    /// Who dialled.
    Client,
    /// A host that says what it translated.
    Gateway,
    /// Something that changed the addresses and says nothing.
    Unknown,
    /// Who answered.
    Server,
}

/// Addresses of a connection; without a port where that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Pair {
    pub(super) source: String,
    pub(super) destination: String,
}

/// Where a chain ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(super) struct Ends {
    /// Whether both ends are known.
    complete: bool,
    /// The last that is known.
    at: String,
    /// Why it ends there.
    why: String,
}

/// What is known of a chain.
pub(super) struct Known<'a> {
    pub(super) edge: &'a Edge,
    pub(super) nodes: [&'a Node; 2],
    pub(super) keys: [&'a str; 2],
    /// Exactly, the addresses that the client's kernel knows.
    pub(super) client: Option<(SocketAddr, SocketAddr)>,
    /// Those of the server's.
    pub(super) server: Option<(SocketAddr, SocketAddr)>,
    /// Addresses of the client.
    pub(super) own: &'a [IpAddr],
    /// What was asked.
    pub(super) tuple: Tuple,
}

/// An address with the port, where that is known.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Spot(IpAddr, Option<u16>);

impl Spot {
    fn text(self) -> String {
        match self {
            Self(ip, Some(port)) => SocketAddr::new(ip, port).to_string(),
            Self(ip, None) => ip.to_string(),
        }
    }
}

impl From<SocketAddr> for Spot {
    fn from(at: SocketAddr) -> Self {
        Self(at.ip(), Some(at.port()))
    }
}

fn pair((source, destination): (Spot, SocketAddr)) -> Pair {
    Pair {
        source: source.text(),
        destination: destination.to_string(),
    }
}

/// The hops of an edge, and where they end.
pub(super) fn hops(known: &Known<'_>, lookup: &mut Lookup) -> Result<(Vec<Hop>, Ends), Failure> {
    let dialled = known.as_dialled();
    let arrived = known.as_arrived();
    let [client, server] = known.nodes;
    let mut hops = vec![Hop {
        kind: HopKind::Client,
        name: client.id.clone(),
        node: Some(known.keys[0].into()),
        host: None,
        before: None,
        after: dialled.map(pair),
    }];
    let mut at = dialled;
    if let Some(from) = dialled {
        for translation in gateways(from, arrived, lookup)? {
            let source = Spot(translation.source.ip(), None);
            let server = translation.server;
            let after = (source, SocketAddr::new(server.ip(), server.port));
            hops.push(Hop {
                kind: HopKind::Gateway,
                name: match translation.hostname.as_str() {
                    "" => translation.host.clone(),
                    name => name.into(),
                },
                node: None,
                host: Some(translation.host),
                before: at.map(pair),
                after: Some(pair(after)),
            });
            at = Some(after);
        }
    }
    let same = |a: (Spot, SocketAddr), b: (Spot, SocketAddr)| a.0.0 == b.0.0 && a.1 == b.1;
    if let (Some(left), Some(arrives)) = (at, arrived)
        && !same(left, arrives)
    {
        hops.push(Hop {
            kind: HopKind::Unknown,
            name: String::from("something that no agent reports of"),
            node: None,
            host: None,
            before: Some(pair(left)),
            after: Some(pair(arrives)),
        });
    }
    hops.push(Hop {
        kind: HopKind::Server,
        name: server.id.clone(),
        node: Some(known.keys[1].into()),
        host: None,
        before: arrived.or(at).map(pair),
        after: None,
    });
    Ok((hops, known.ends()))
}

/// The gateways on the way from what left the client to what arrives, in their order.
fn gateways(
    from: (Spot, SocketAddr),
    to: Option<(Spot, SocketAddr)>,
    lookup: &mut Lookup,
) -> Result<Vec<Translation>, Failure> {
    let (mut source, mut destination) = (from.0.0, from.1);
    let (mut way, mut seen) = (Vec::new(), BTreeSet::new());
    while way.len() < GATEWAYS && seen.insert((source, destination)) {
        if to.is_some_and(|to| (to.0.0, to.1) == (source, destination)) {
            break;
        }
        let next = lookup.translations(source, destination)?;
        let forward = |one: &Translation| {
            let dialled = SocketAddr::new(one.dialled.ip(), one.dialled.port);
            (one.client.ip(), dialled) == (source, destination)
        };
        let mut next: Vec<_> = next.into_iter().filter(forward).collect();
        // Of several backends behind one address the one that this chain ends at.
        let leads = |one: &Translation| {
            let server = SocketAddr::new(one.server.ip(), one.server.port);
            to.is_some_and(|to| to.1 == server)
        };
        if next.len() > 1 {
            next.retain(leads);
        }
        // Two that say different things are not known to be on the way.
        let [one] = &next[..] else { break };
        (source, destination) = (
            one.source.ip(),
            SocketAddr::new(one.server.ip(), one.server.port),
        );
        way.push(one.clone());
    }
    Ok(way)
}

impl Known<'_> {
    /// As the client's kernel knows it, as far as that is known.
    fn as_dialled(&self) -> Option<(Spot, SocketAddr)> {
        if let Some((source, destination)) = self.client {
            return Some((source.into(), destination));
        }
        let Tuple {
            source,
            destination,
        } = self.tuple;
        let own: Vec<IpAddr> = match self.nodes[0].id.parse() {
            Ok(ip) => vec![ip],
            Err(_) => self.own.to_vec(),
        };
        let vip = self.via(Seer::Client, ViaKind::Vip);
        let vip = vip.and_then(|address| address.parse::<SocketAddr>().ok());
        let endpoint = self.edge.server_endpoint.parse().ok();
        let dialled = vip.or(endpoint)?;
        if own.contains(&source.ip()) {
            return Some((
                source.into(),
                if vip.is_some() { dialled } else { destination },
            ));
        }
        let [only] = own[..] else { return None };
        Some((Spot(only, None), dialled))
    }

    /// As the server's kernel knows it.
    fn as_arrived(&self) -> Option<(Spot, SocketAddr)> {
        if let Some((peer, own)) = self.server {
            return Some((peer.into(), own));
        }
        self.nodes[1].process.as_ref()?;
        let own: SocketAddr = self.edge.server_endpoint.parse().ok()?;
        let nat = self.via(Seer::Server, ViaKind::Nat);
        if let Some(nat) = nat.and_then(|address| address.parse().ok()) {
            let port = (self.tuple.source.ip() == nat).then(|| self.tuple.source.port());
            return Some((Spot(nat, port), own));
        }
        let (source, _) = self.as_dialled()?;
        Some((source, own))
    }

    fn via(&self, seer: Seer, kind: ViaKind) -> Option<&str> {
        let mut all = self.edge.via.iter();
        let found = all.find(|via| via.seen_by == seer && via.kind == kind);
        found.map(|via| via.address.as_str())
    }

    fn ends(&self) -> Ends {
        let [client, server] = self.nodes;
        match (&self.edge.reason, &client.process, &server.process) {
            (None, Some(_), Some(_)) => Ends {
                complete: true,
                at: server.id.clone(),
                why: String::from("the process that accepted it"),
            },
            (reason, _, to) => {
                let known = if to.is_some() { server } else { client };
                let other = if to.is_some() { client } else { server };
                let why = reason.map_or("nobody reports from there", |reason| reason.describe());
                Ends {
                    complete: false,
                    at: known.id.clone(),
                    why: format!("{}: {why}", other.id),
                }
            }
        }
    }
}

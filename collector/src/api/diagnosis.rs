//! `GET /api/v1/diagnosis`: what is wrong with an edge, in words.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::failure::{Failure, Problem};
use super::filter::Filter;
use super::map::Map;
use super::operation::{Asking, Form, Operation, form, write};
use super::parameter::{Kind, Parameter, WINDOW};
use super::{chain, edge, node};
use crate::diagnosis::{
    self, Agent, Diagnosis, Flow, Gateway, Language, Listening, Place, Scene, Sibling,
};
use crate::fleet::Host;
use crate::join::{Picture, UNKNOWN_SERVICE};
use crate::query::{self, Asked};
use crate::rows::Row;
use crate::topology::{Edge, EdgeCounters, Node, Via, ViaKind};

/// `GET /api/v1/diagnosis`
pub const DIAGNOSIS: Operation = Operation {
    method: "GET",
    path: "/api/v1/diagnosis",
    id: "diagnosis",
    summary: "What is wrong with an edge: what is ruled out, likely, and not known",
    help: "Of `edge`, or of the best chain of `tuple`. Its numbers stand beside those of a window of \
           the same length before. A cause is ruled out only by a number that was measured.",
    parameters: &[
        &[
            Parameter::new("edge", Kind::Text(64), "`key` of an edge."),
            Parameter::new(
                "tuple",
                Kind::Text(4096),
                "Both ends, as typed or pasted: `10.0.0.1:4711 -> 10.0.0.2:80`.",
            ),
            Parameter::new("language", Kind::Choice(&["en", "zh"]), "Of the sentences.").or("en"),
        ],
        &WINDOW,
    ],
    body: None,
    form: Form::Json(form::<Answer>),
    refusals: &[(404, "No such edge in the window")],
    answer: Some(diagnosis),
};

/// Bytes of what an edge carried, beside its texts.
const FLOW: usize = 2 * (size_of::<Flow>() + 64);

/// What is to be said of an edge in a window.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "DiagnosisAnswer")]
struct Answer {
    /// Begin of the window, Unix milliseconds, exclusive.
    from_ms: i64,
    /// Its end, inclusive.
    to_ms: i64,
    /// From when the answer is whole, where something of the window was deleted because of its age or
    /// because the store was full; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_from_ms: Option<i64>,
    /// Begin of the window whose numbers are the usual ones; it ends where the other begins.
    usual_from_ms: i64,
    /// Key of the edge.
    edge: String,
    /// Id of its client.
    client: String,
    /// Id of its server.
    server: String,
    #[serde(flatten)]
    diagnosis: Diagnosis,
}

/// Answers [`DIAGNOSIS`].
///
/// # Errors
/// Neither an edge nor a tuple, one that is not there, and those of the store.
fn diagnosis(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let given = asking.given;
    let key = match (given.text("edge"), given.text("tuple")) {
        (Some(key), None) => String::from(key),
        (None, Some(_)) => chain::best(asking)?,
        _ => return Err(Problem::query("give `edge` or `tuple`, one of both").into()),
    };
    let asked = given.asked(asking.now_ms)?;
    let picture = query::topology(asking.store, asked, asking.now_ms, asking.meter)?;
    let Some(mut found) = Found::of(&picture, &key, asking)? else {
        return Err(edge::unknown(&key).into());
    };
    let head = picture.head();
    drop(picture);
    let span = head.to_ms.saturating_sub(head.from_ms);
    let usual_from_ms = head.from_ms.saturating_sub(span).max(0);
    let before = Asked {
        from_ms: Some(usual_from_ms),
        to_ms: Some(head.from_ms),
    };
    let before = query::topology(asking.store, before, asking.now_ms, asking.meter)?;
    let usual = found.usual(&before, &key, asking)?;
    drop(before);
    let scene = scene(asking, found, usual, head.to_ms.min(asking.now_ms))?;
    let language = Language::of_code(given.text("language").unwrap_or_default());
    let answer = Answer {
        from_ms: head.from_ms,
        to_ms: head.to_ms,
        whole_from_ms: head.whole_from_ms,
        usual_from_ms,
        edge: key,
        client: scene.edge.client.clone(),
        server: scene.edge.server.clone(),
        diagnosis: diagnosis::diagnose(&scene, language),
    };
    write(out, &answer)
}

/// An edge, and what the others carried.
struct Found {
    edge: Edge,
    ends: [Node; 2],
    flows: Vec<Flow>,
    siblings: Vec<Sibling>,
}

impl Found {
    fn of(picture: &Picture, key: &str, asking: &Asking<'_>) -> Result<Option<Self>, Failure> {
        let map = Map::of(picture, &Filter::default(), asking.meter)?;
        let mut meter = asking.meter;
        let mut nodes = Vec::new();
        for node in picture.nodes() {
            meter.bytes(size_of::<Node>() + node.id.len())?;
            nodes.push(node);
        }
        let own = picture.edges().find(|told| map.edge_key(*told) == key);
        let Some((edge, own)) = own.map(|told| (told.edge(), told.ends())) else {
            return Ok(None);
        };
        let [client, server] = own;
        let does = works(&edge, &nodes[server]);
        let (mut flows, mut siblings) = (Vec::new(), Vec::new());
        for told in picture.edges() {
            let ends = told.ends().map(|at| &nodes[at]);
            let other = told.edge();
            meter.bytes(FLOW)?;
            flows.extend(flows_of(&other, ends.map(host_of)));
            let does_too = || {
                works(&other, ends[1])
                    .iter()
                    .any(|work| does.contains(work))
            };
            if told.ends()[0] == client && does_too() {
                let key = map.edge_key(told);
                meter.bytes(FLOW + key.len())?;
                siblings.push(sibling(key, &other));
            }
        }
        if siblings.len() < 2 {
            siblings.clear();
        }
        Ok(Some(Self {
            edge,
            ends: own.map(|at| nodes[at].clone()),
            flows,
            siblings,
        }))
    }

    /// Adds what the window before tells; with the edge as it was then.
    fn usual(
        &mut self,
        before: &Picture,
        key: &str,
        asking: &Asking<'_>,
    ) -> Result<Option<Edge>, Failure> {
        let map = Map::of(before, &Filter::default(), asking.meter)?;
        let places = self.siblings.iter().enumerate();
        let places: HashMap<String, usize> =
            places.map(|(at, one)| (one.edge.clone(), at)).collect();
        let mut usual = None;
        for told in before.edges() {
            let its = map.edge_key(told);
            if let Some(at) = places.get(&its) {
                self.siblings[*at].before = Some(opened(&told.edge()));
            }
            if its == key {
                usual = Some(told.edge());
            }
        }
        Ok(usual)
    }
}

/// What a server does, so that others can be told that do the same: its service at its port, and the
/// addresses behind which it is.
fn works(edge: &Edge, server: &Node) -> Vec<(String, String)> {
    let vips = edge.via.iter().filter(|via| via.kind == ViaKind::Vip);
    let vips = vips.map(|via| (String::new(), via.address.clone()));
    let service = server.process.as_ref().map(|process| &process.service);
    let service = service.filter(|name| !name.is_empty() && *name != UNKNOWN_SERVICE);
    let port = edge.server_endpoint.rsplit_once(':').map(|(_, port)| port);
    let own = service.zip(port);
    let own = own.map(|(service, port)| (service.clone(), port.to_owned()));
    vips.chain(own).collect()
}

/// What the client opened, as it counts it or else the server.
fn opened(edge: &Edge) -> u64 {
    let sides = [&edge.client_counters, &edge.server_counters];
    let side = sides.into_iter().flatten().next();
    side.map_or(0, |side| side.opened)
}

fn sibling(key: String, edge: &Edge) -> Sibling {
    let own = edge
        .server_counters
        .as_ref()
        .and_then(|side| side.reset_local);
    let told = edge
        .client_counters
        .as_ref()
        .and_then(|side| side.reset_remote);
    Sibling {
        edge: key,
        server: edge.server.clone(),
        endpoint: edge.server_endpoint.clone(),
        opened: opened(edge),
        before: None,
        resets: own.or(told),
    }
}

/// What stands for the host of a node.
fn host_of(node: &Node) -> &str {
    let process = node.process.as_ref();
    process.map_or(&node.id, |process| &process.host)
}

/// What both ends of an edge sent, where they count it.
fn flows_of(edge: &Edge, [client, server]: [&str; 2]) -> impl Iterator<Item = Flow> {
    let middles = middles(edge);
    let sides = [
        (&edge.client_counters, client, server),
        (&edge.server_counters, server, client),
    ];
    let flow = move |(side, from, to): (&Option<EdgeCounters>, &str, &str)| {
        let side = side.as_ref()?;
        // What stays within a host passes no network.
        (from != to).then_some(Flow {
            from: from.to_owned(),
            to: to.to_owned(),
            middles: middles.clone(),
            sent: side.segments_sent?,
            again: side.retransmits?,
        })
    };
    sides.map(flow).into_iter().flatten()
}

/// What the connections of an edge pass: addresses that one end sees in the place of the other's,
/// and names of gateways.
fn middles(edge: &Edge) -> Vec<String> {
    let ip = |via: &Via| match via.kind {
        ViaKind::Vip => via
            .address
            .parse()
            .map(|at: SocketAddr| at.ip().to_string()),
        ViaKind::Nat | ViaKind::Gateway => Ok(via.address.clone()),
    };
    edge.via.iter().filter_map(|via| ip(via).ok()).collect()
}

fn scene(
    asking: &Asking<'_>,
    found: Found,
    usual: Option<Edge>,
    to_ms: i64,
) -> Result<Scene, Failure> {
    let Found {
        edge,
        ends,
        flows,
        siblings,
    } = found;
    let (gateways, unseen_hop) = chain::way(asking, &edge, ends.each_ref())?;
    let mut agents = agents(asking, &ends, &gateways, to_ms)?;
    let place = |node: &Node| Place {
        name: node.id.clone(),
        host: host_of(node).to_owned(),
        unseen: node.process.is_none().then(|| {
            let why = edge
                .reason
                .map_or("nobody reports from there", |why| why.describe());
            why.to_owned()
        }),
        agent: agents.get(host_of(node)).map(|(_, agent)| agent.clone()),
    };
    let places = ends.each_ref().map(place);
    let listening = match &ends[1].process {
        Some(process) => listening(&node::listeners(asking, process)?, &edge.server_endpoint),
        None => None,
    };
    let gateways = gateways.iter().filter_map(|host| agents.remove(host));
    Ok(Scene {
        ends: places,
        gateways: gateways
            .map(|(name, agent)| Gateway { name, agent })
            .collect(),
        middles: middles(&edge),
        edge,
        usual,
        flows,
        siblings,
        listening,
        unseen_hop,
    })
}

/// The agents of both ends and of gateways by host id, with the names of their hosts.
fn agents(
    asking: &Asking<'_>,
    ends: &[Node; 2],
    gateways: &[String],
    to_ms: i64,
) -> Result<BTreeMap<String, (String, Agent)>, Failure> {
    let mut wanted: Vec<&str> = gateways.iter().map(String::as_str).collect();
    wanted.extend(ends.iter().filter(|end| end.process.is_some()).map(host_of));
    let mut agents = BTreeMap::new();
    let mut pages = query::Hosts::of(asking.store)?;
    while let Some(page) = pages.next_page()? {
        for host in page {
            if wanted.contains(&host.host.as_str()) {
                let agent = agent(&host, to_ms);
                agents.insert(host.host, (host.hostname, agent));
            }
        }
    }
    Ok(agents)
}

fn agent(host: &Host, to_ms: i64) -> Agent {
    let lost = host.drops.iter().map(|(_, count)| *count);
    Agent {
        silent_ms: to_ms.saturating_sub(host.last_seen_ms).max(0),
        lost: lost.fold(0, u64::saturating_add),
    }
}

/// The listener at an endpoint, of one address or of all.
fn listening(rows: &[Row], endpoint: &str) -> Option<Listening> {
    let endpoint: SocketAddr = endpoint.parse().ok()?;
    let is_at = |row: &&Row| {
        let ip = row.values.get("local_address").and_then(Value::as_str);
        let ip = ip.and_then(|text| text.parse::<IpAddr>().ok());
        let port = row.values.get("local_port").and_then(Value::as_u64);
        port == Some(u64::from(endpoint.port()))
            && ip.is_some_and(|ip| ip.is_unspecified() || ip == endpoint.ip())
    };
    let at: Vec<&Row> = rows.iter().filter(is_at).collect();
    let number = |row: &Row, name: &str| row.values.get(name).and_then(Value::as_u64);
    let largest = |row: &Row, name: &str| {
        let most = row.most.get(name).and_then(Value::as_u64);
        most.or_else(|| number(row, name))
    };
    let all = |read: &dyn Fn(&Row) -> Option<u64>| -> Option<Vec<u64>> {
        at.iter().map(|row| read(row)).collect()
    };
    (!at.is_empty()).then(|| Listening {
        sockets: all(&|row| number(row, "sockets")).map_or(0, |all| all.iter().sum()),
        backlog: all(&|row| number(row, "backlog"))
            .and_then(|all| all.into_iter().min())
            .unwrap_or(0),
        queue_most: all(&|row| largest(row, "queue_most")).and_then(|all| all.into_iter().max()),
        drops: all(&|row| number(row, "drops")).map(|all| all.iter().sum()),
    })
}

//! `GET /api/v1/edges/{id}`: one edge, how it went on, and what broke.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::distribution::Distribution;
use super::failure::{Failure, Problem};
use super::filter::{Addresses, Filter, addresses, of_node};
use super::map::Map;
use super::node::is_of;
use super::operation::{Asking, Form, Operation, form, write};
use super::parameter::{Kind, Need, Parameter, WINDOW};
use super::tables;
use super::topology::KeyedEdge;
use crate::join::Picture;
use crate::packed::Packed;
use crate::query::{self, Asked};
use crate::rows::Row;
use crate::store::Which;
use crate::time;
use crate::topology::{Edge, EdgeCounters, Node};

/// `GET /api/v1/edges/{id}`
pub const EDGE: Operation = Operation {
    method: "GET",
    path: "/api/v1/edges/{id}",
    id: "edge",
    summary: "One edge: evidence, distributions, how it went on, connections that broke",
    help: "The steps of an edge are windows that follow one another; where nothing was told in one, \
           its counters are null.",
    parameters: &[
        &[Parameter::new("id", Kind::Text(64), "`key` of an edge.").at(Need::Path)],
        &WINDOW,
        &[
            Parameter::new(
                "step",
                Kind::Duration,
                "Length of a step; by default a twelfth of the window. At most 240 steps.",
            ),
            Parameter::new(
                "limit",
                Kind::Number(0, 10_000),
                "Most connections that broke.",
            )
            .or("100"),
        ],
    ],
    body: None,
    form: Form::Json(form::<Answer>),
    refusals: &[(404, "No such edge in the window")],
    answer: Some(edge),
};

/// Most steps of an edge.
const STEPS: i64 = 240;
/// Time for all of them.
const TIME: Duration = Duration::from_secs(20);
/// Most events of a host that are looked at.
const EVENTS: usize = 100_000;

/// An edge in a window.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EdgeAnswer")]
struct Answer {
    /// Begin of the window, Unix milliseconds, exclusive.
    from_ms: i64,
    /// Its end, inclusive.
    to_ms: i64,
    /// From when the answer is whole, where something of the window was deleted because of its age or
    /// because the store was full; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_from_ms: Option<i64>,
    /// The edge: addresses on the way, evidence, confidence, counters of both sides.
    #[serde(flatten)]
    edge: KeyedEdge,
    /// The node that calls.
    client_node: Node,
    /// The node that is called.
    server_node: Node,
    /// As the client measured; null where it does not report.
    client_times: Option<Times>,
    /// As the server measured.
    server_times: Option<Times>,
    /// Length of a step, milliseconds.
    step_ms: i64,
    /// How it went on.
    steps: Vec<Step>,
    /// Connections that broke, the newest first, as either side told.
    abnormal: Vec<Row>,
    /// Those beyond `limit`.
    abnormal_left_out: u64,
    /// Why something is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    truncated: Option<Truncated>,
}

/// Why something is missing from an answer.
#[derive(Serialize, JsonSchema)]
pub(super) struct Truncated {
    /// `time` or `rows`.
    pub(super) reason: &'static str,
    /// What is missing, and what to do about it.
    pub(super) detail: String,
}

/// Distributions of one side; null what its host cannot measure.
#[derive(Serialize, JsonSchema)]
struct Times {
    /// SYN to ESTABLISHED.
    connect_latency: Option<Distribution>,
    /// Round-trip time.
    rtt: Option<Distribution>,
}

/// A part of the window.
#[derive(Serialize, JsonSchema)]
struct Step {
    /// Begin, exclusive.
    from_ms: i64,
    /// End, inclusive.
    to_ms: i64,
    /// Connections that lived in it; null where nothing was told.
    connections: Option<u64>,
    /// What the client counted in it.
    client: Option<EdgeCounters>,
    /// What the server counted in it.
    server: Option<EdgeCounters>,
    /// As the client measured in it.
    client_times: Option<Times>,
    /// As the server measured in it.
    server_times: Option<Times>,
}

fn edge(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let given = asking.given;
    let asked = given.asked(asking.now_ms)?;
    let picture = query::topology(asking.store, asked, asking.now_ms, asking.meter)?;
    let map = Map::of(&picture, &Filter::default(), asking.meter)?;
    let key = given.text("id").unwrap_or_default();
    let found = picture.edges().find(|told| map.edge_key(*told) == key);
    let Some(told) = found else {
        return Err(unknown(key).into());
    };
    let (edge, ends, (_, counters)) = (told.edge(), told.ends(), told.counted());
    let [client_times, server_times] = counters.map(|side| side.as_ref().map(Times::of));
    let [client_node, server_node] = ends.map(|at| picture.node(at));
    let keys = ends.map(|at| map.key(at).to_owned());
    let head = picture.head();
    let (from_ms, to_ms, whole_from_ms) = (head.from_ms, head.to_ms, head.whole_from_ms);
    drop(map);
    drop(picture);
    let step_ms = step(given.duration_ms("step"), from_ms, to_ms)?;
    let (steps, truncated) = steps(asking, (from_ms, to_ms, step_ms), &keys, &edge)?;
    let (abnormal, abnormal_left_out) = abnormal(asking, &edge, &client_node, &server_node)?;
    let answer = Answer {
        from_ms,
        to_ms,
        whole_from_ms,
        edge: KeyedEdge {
            key: String::from(key),
            edge,
        },
        client_node,
        server_node,
        client_times,
        server_times,
        step_ms,
        steps,
        abnormal,
        abnormal_left_out,
        truncated,
    };
    write(out, &answer)
}

/// No edge has this key.
pub(super) fn unknown(key: &str) -> Problem {
    let shown = crate::escape::shorten(key, 64);
    Problem::unknown(format!(
        "no edge {shown:?} in this window; /api/v1/topology and /api/v1/search say which there are, \
         or choose a longer window"
    ))
}

impl Times {
    fn of(counters: &Packed) -> Self {
        let counters = counters.counters();
        let known = |column| !counters.absent.has(column);
        let latency = known(wire::Columns::CONNECT_LATENCY);
        let rtt = known(wire::Columns::RTT);
        Self {
            connect_latency: latency.then(|| Distribution::of(&counters.connect_latency)),
            rtt: rtt.then(|| Distribution::of(&counters.rtt)),
        }
    }
}

/// The length of a step.
fn step(asked: Option<i64>, from_ms: i64, to_ms: i64) -> Result<i64, Problem> {
    let span = to_ms.saturating_sub(from_ms);
    let step = asked.unwrap_or_else(|| (span / 12).max(10_000));
    if span / step >= STEPS {
        let least = time::whole_ms(Duration::from_secs(1)) * (span / STEPS / 1000 + 1);
        let why = format!(
            "step: more than {STEPS} steps; ask for {}s or more, or for a shorter window",
            least / 1000
        );
        return Err(Problem::query(why));
    }
    Ok(step)
}

/// How an edge went on: the same question for each step.
fn steps(
    asking: &Asking<'_>,
    (from_ms, to_ms, step_ms): (i64, i64, i64),
    keys: &[String; 2],
    edge: &Edge,
) -> Result<(Vec<Step>, Option<Truncated>), Failure> {
    let until = time::monotonic() + TIME;
    let mut steps = Vec::new();
    let mut begin = from_ms;
    while begin < to_ms {
        if time::monotonic() > until {
            let detail = format!(
                "steps after {} are missing, for they took longer than {} s; choose longer ones or \
                 a shorter window",
                time::rfc3339(begin),
                TIME.as_secs()
            );
            let reason = "time";
            return Ok((steps, Some(Truncated { reason, detail })));
        }
        let end = begin.saturating_add(step_ms).min(to_ms);
        let asked = Asked {
            from_ms: Some(begin),
            to_ms: Some(end),
        };
        let picture = query::topology(asking.store, asked, asking.now_ms, asking.meter)?;
        let told = of_keys(&picture, keys, &edge.server_endpoint, asking)?;
        let (edge, times) = told.unzip();
        let [client_times, server_times] = times.unwrap_or_default();
        let (connections, client, server) = match edge {
            None => (None, None, None),
            Some(edge) => (
                Some(edge.connections),
                edge.client_counters,
                edge.server_counters,
            ),
        };
        steps.push(Step {
            from_ms: begin,
            to_ms: end,
            connections,
            client,
            server,
            client_times,
            server_times,
        });
        begin = end;
    }
    Ok((steps, None))
}

/// An edge, and the times of its connections as each side has them.
type Timed = (Edge, [Option<Times>; 2]);

/// The edge between two nodes.
fn of_keys(
    picture: &Picture,
    keys: &[String; 2],
    endpoint: &str,
    asking: &Asking<'_>,
) -> Result<Option<Timed>, Failure> {
    let map = Map::of(picture, &Filter::default(), asking.meter)?;
    let is_it = |at: [usize; 2]| at.map(|at| map.key(at)) == keys.each_ref().map(String::as_str);
    let mut all = picture.edges();
    let found = all.find(|told| is_it(told.ends()) && told.endpoint() == endpoint);
    Ok(found.map(|told| {
        let (_, counters) = told.counted();
        let times = counters.map(|side| side.as_ref().map(Times::of));
        (told.edge(), times)
    }))
}

/// Connections of an edge that broke, as the agents of both sides told.
fn abnormal(
    asking: &Asking<'_>,
    edge: &Edge,
    client: &Node,
    server: &Node,
) -> Result<(Vec<Row>, u64), Failure> {
    let addresses = addresses(asking)?;
    let mut rows = Vec::new();
    let mut left_out = 0;
    for (node, other, role) in [(client, server, "client"), (server, client, "server")] {
        let Some(process) = &node.process else {
            continue;
        };
        let which = Which {
            table: String::from("event"),
            host: Some(process.host.clone()),
            intervals: false,
            silent: false,
            most: EVENTS,
        };
        let answer = tables::read(asking, &which, asking.given.asked(asking.now_ms)?)?;
        for table in answer.tables {
            left_out += table.rows_left_out;
            let of_edge = |row: &Row| {
                is_of(row, process)
                    && row.values.get("role").is_some_and(|told| told == role)
                    && is_on(row, edge, role, other, &addresses)
            };
            rows.extend(table.rows.into_iter().filter(of_edge));
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.end_ms));
    let most = asking.given.count("limit");
    left_out += rows.len().saturating_sub(most) as u64;
    rows.truncate(most);
    Ok((rows, left_out))
}

/// Whether the addresses of a row are those of an edge.
fn is_on(row: &Row, edge: &Edge, role: &str, other: &Node, addresses: &Addresses) -> bool {
    let end = |side: &str| {
        let ip = row
            .values
            .get(&format!("{side}_address"))
            .and_then(Value::as_str)?;
        let ip: IpAddr = ip.parse().ok()?;
        let port = row
            .values
            .get(&format!("{side}_port"))
            .and_then(Value::as_u64);
        Some((ip, port))
    };
    let shown = |(ip, port): (IpAddr, Option<u64>)| match (port, ip) {
        (Some(port), IpAddr::V6(ip)) => format!("[{ip}]:{port}"),
        (Some(port), ip) => format!("{ip}:{port}"),
        (None, ip) => ip.to_string(),
    };
    if role == "client" {
        let dialled = end("remote").map(shown);
        let via = edge.via.iter().map(|via| via.address.as_str());
        let mut known = via.chain([edge.server_endpoint.as_str()]);
        return dialled.is_some_and(|dialled| known.any(|known| known == dialled));
    }
    let (Some(own), Some((ip, _))) = (end("local").map(shown), end("remote")) else {
        return false;
    };
    let own_addresses = other
        .process
        .as_ref()
        .map_or(&[][..], |p| of_node(addresses, p));
    let is_peer = other.id.parse() == Ok(ip)
        || own_addresses.contains(&ip)
        || edge.via.iter().any(|via| via.address.parse() == Ok(ip));
    own == edge.server_endpoint && is_peer
}

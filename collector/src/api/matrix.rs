//! `POST /api/v1/matrix/check` and `GET /api/v1/matrix/learned`: a communication matrix beside what
//! was seen.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::failure::{Failure, Problem};
use super::filter::{Addresses, Filter, addresses, of_node};
use super::map::Map;
use super::operation::{Asking, Form, Operation, form, write};
use super::parameter::{Kind, Parameter, WINDOW};
use crate::join::Picture;
use crate::matrix::{self, Bounds, Fields, Line, Report, Seen, SeenHost, SeenNode};
use crate::query;
use crate::topology::ProcessNode;

pub(super) const LEAST_CONFIDENCE: Parameter = Parameter::new(
    "least_confidence",
    Kind::Number(0, 100),
    "Per cent: edges of less confidence decide nothing alone.",
)
.or("80");

/// A question about the declared matrix, where there is none.
pub(super) const NONE_DECLARED: (u16, &str) =
    (404, "No matrix is declared, or there is no such version");

/// `POST /api/v1/matrix/check`
pub const MATRIX_CHECK: Operation = Operation {
    method: "POST",
    path: "/api/v1/matrix/check",
    id: "matrix_check",
    summary: "A declared communication matrix, held against what was seen",
    help: "The body is the matrix: CSV, XLSX or TOML, told by its first bytes. Its columns are \
           `source`, `destination`, `port`, `protocol`, `action`, `owner`, `valid_until`, \
           `comment` and `id`. Nothing of it is kept. Without a body it is the declared matrix.",
    parameters: &[
        &WINDOW,
        &[
            LEAST_CONFIDENCE,
            Parameter::new(
                "limit",
                Kind::Number(0, 100_000),
                "Most edges that are told one by one; `edges_left_out` counts the others.",
            )
            .or("1000"),
        ],
    ],
    body: None,
    form: Form::Json(form::<Report>),
    refusals: &[
        NONE_DECLARED,
        (413, "The matrix is too long"),
        (408, "The matrix did not arrive in time"),
    ],
    answer: Some(check),
};

/// `GET /api/v1/matrix/learned`
pub const MATRIX_LEARNED: Operation = Operation {
    method: "GET",
    path: "/api/v1/matrix/learned",
    id: "matrix_learned",
    summary: "A communication matrix that allows what was seen",
    help: "Services stand for their processes on all hosts, networks for addresses behind which \
           nobody reports. What is not certain is left out and counted.",
    parameters: &[&WINDOW, &[LEAST_CONFIDENCE]],
    body: None,
    form: Form::Json(form::<Learned>),
    refusals: &[],
    answer: Some(learned),
};

/// A proposal.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LearnedMatrix")]
pub struct Learned {
    /// Flows, by source, destination and ports.
    pub flows: Vec<LearnedFlow>,
    /// Edges left out because their confidence is too low.
    pub low_confidence: u64,
    /// Edges left out because the process of an end is not known.
    pub unknown: u64,
    /// Edges left out because every attempt on them failed.
    pub attempts: u64,
}

/// A proposed flow.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub struct LearnedFlow {
    /// `service=…`, an address or a network.
    pub source: String,
    /// The same.
    pub destination: String,
    /// Ports, with commas between them.
    pub port: String,
    /// When it was seen, and how much.
    pub comment: String,
}

impl From<LearnedFlow> for Fields {
    fn from(flow: LearnedFlow) -> Self {
        Self {
            source: flow.source,
            destination: flow.destination,
            port: flow.port,
            comment: flow.comment,
            protocol: String::from("tcp"),
            action: String::from("allow"),
            ..Self::default()
        }
    }
}

/// Answers [`MATRIX_CHECK`].
///
/// # Errors
/// A matrix with mistakes, and those of the store.
fn check(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    write(out, &report(asking)?)
}

/// The matrix that came with a question, held against what was seen.
///
/// # Errors
/// A matrix with mistakes, and those of the store.
pub(super) fn report(asking: &Asking<'_>) -> Result<Report, Failure> {
    let given = asking.given;
    let declared = matrix::read(given.body());
    let declared = declared.map_err(|why| Problem::query(format!("the matrix: {why}")))?;
    let (seen, head) = seen(asking)?;
    let bounds = Bounds {
        least_confidence: least_confidence(asking),
        limit: given.count("limit"),
        now_ms: asking.now_ms,
    };
    Ok(Report {
        from_ms: head.from_ms,
        to_ms: head.to_ms,
        evicted_before_ms: head.evicted_before_ms,
        notes: declared.notes,
        ..matrix::check(&declared.flows, &seen, bounds)
    })
}

/// Flows that allow what was seen.
///
/// # Errors
/// Those of the store.
pub(super) fn learned_flows(asking: &Asking<'_>) -> Result<Vec<Fields>, Failure> {
    let flows = proposed(asking)?.flows.into_iter();
    Ok(flows.map(Fields::from).collect())
}

/// Answers [`MATRIX_LEARNED`].
///
/// # Errors
/// Those of the store.
fn learned(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    write(out, &proposed(asking)?)
}

fn proposed(asking: &Asking<'_>) -> Result<Learned, Failure> {
    let (seen, _) = seen(asking)?;
    let learned = matrix::learn(&seen, least_confidence(asking));
    let flows = learned.flows.into_iter().map(|flow| LearnedFlow {
        source: flow.source,
        destination: flow.destination,
        port: flow.port,
        comment: flow.comment,
    });
    Ok(Learned {
        flows: flows.collect(),
        low_confidence: learned.low_confidence,
        unknown: learned.unknown,
        attempts: learned.attempts,
    })
}

fn least_confidence(asking: &Asking<'_>) -> f64 {
    let percent = asking.given.number("least_confidence").unwrap_or(0);
    f64::from(u32::try_from(percent).unwrap_or(100)) / 100.0
}

/// What was seen in the window, and what is to be said of it.
fn seen(asking: &Asking<'_>) -> Result<(Seen, crate::topology::Topology), Failure> {
    let asked = asking.given.asked(asking.now_ms)?;
    let picture = query::topology(asking.store, asked, asking.now_ms, asking.meter)?;
    let map = Map::of(&picture, &Filter::default(), asking.meter)?;
    let addresses = addresses(asking)?;
    let seen = Seen {
        nodes: seen_nodes(&picture, &addresses),
        edges: lines(&picture, &map, asking)?,
        hosts: hosts(asking, &addresses, picture.head().from_ms)?,
    };
    Ok((seen, picture.head()))
}

/// The nodes of a picture with their addresses, in its order.
pub(super) fn seen_nodes(picture: &Picture, addresses: &Addresses) -> Vec<SeenNode> {
    let nodes = picture.nodes().map(|node| {
        let own = node.process.as_ref();
        let own = own.map(|process| of_node(addresses, process).to_vec());
        SeenNode::new(node, own.unwrap_or_default())
    });
    nodes.collect()
}

/// Bytes of an edge beside its texts.
const LINE: usize = size_of::<Line>() + 256;

fn lines(picture: &Picture, map: &Map<'_>, asking: &Asking<'_>) -> Result<Vec<Line>, Failure> {
    let mut meter = asking.meter;
    let mut lines = Vec::new();
    for told in picture.edges() {
        let edge = told.edge();
        meter.bytes(LINE + edge.client.len() + edge.server.len())?;
        let key = map.edge_key(told);
        lines.push(Line::new(key, told.ends(), &edge));
    }
    Ok(lines)
}

/// Hosts that reported since the window began.
fn hosts(
    asking: &Asking<'_>,
    addresses: &Addresses,
    from_ms: i64,
) -> Result<Vec<SeenHost>, Failure> {
    let mut by_host: BTreeMap<&str, Vec<IpAddr>> = BTreeMap::new();
    for ((host, _), own) in addresses {
        by_host.entry(host).or_default().extend(own);
    }
    let mut meter = asking.meter;
    let mut hosts = Vec::new();
    let mut pages = query::Hosts::of(asking.store)?;
    while let Some(page) = pages.next_page()? {
        for host in page.into_iter().filter(|host| host.last_seen_ms > from_ms) {
            meter.bytes(size_of::<SeenHost>() + host.hostname.len() + 64)?;
            hosts.push(SeenHost {
                addresses: by_host.remove(host.host.as_str()).unwrap_or_default(),
                process: ProcessNode {
                    host: host.host,
                    hostname: host.hostname,
                    ..ProcessNode::default()
                },
            });
        }
    }
    Ok(hosts)
}

//! `GET /api/v1/nodes/{id}`: one node, and whom it talks to.

use std::io::Write;
use std::net::IpAddr;

use schemars::JsonSchema;
use serde::Serialize;

use super::failure::Failure;
use super::filter::{Filter, addresses, of_node};
use super::map::Map;
use super::operation::{Asking, Form, Operation, form, write};
use super::parameter::{Kind, MAX_AGE, Need, Parameter, WINDOW};
use super::tables;
use super::topology::KeyedEdge;
use crate::join::Told;
use crate::rows::Row;
use crate::store::Which;
use crate::topology::{Node, ProcessNode};

/// `GET /api/v1/nodes/{id}`
pub const NODE: Operation = Operation {
    method: "GET",
    path: "/api/v1/nodes/{id}",
    id: "node",
    summary: "One node: what it is, who calls it, whom it calls, where it listens",
    help: "Edges are those on which most went wrong first, then those with most connections.",
    parameters: &[
        &[Parameter::new("id", Kind::Text(1024), "`key` or `id` of a node.").at(Need::Path)],
        &WINDOW,
        &MAX_AGE,
        &[Parameter::new(
            "limit",
            Kind::Number(1, 10_000),
            "Most edges of each direction.",
        )
        .or("100")],
    ],
    body: None,
    form: Form::Json(form::<Answer>),
    refusals: &[(404, "No such node in the window")],
    answer: Some(node),
};

/// A node in a window.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "NodeAnswer")]
struct Answer {
    /// Begin of the window, Unix milliseconds, exclusive.
    from_ms: i64,
    /// Its end, inclusive.
    to_ms: i64,
    /// From when the answer is whole, where something of the window was deleted because of its age or
    /// because the store was full; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_from_ms: Option<i64>,
    /// Its key.
    key: String,
    /// The node: service, process, tags.
    node: Node,
    /// Local addresses of its connections.
    addresses: Vec<IpAddr>,
    /// Those who call it: upstream of it.
    clients: Edges,
    /// Those whom it calls: downstream of it.
    servers: Edges,
    /// Its sockets that listen, where its host's agent tells of them.
    listeners: Vec<Row>,
}

/// Edges of one direction.
#[derive(Default, Serialize, JsonSchema)]
struct Edges {
    /// Sums of all, shown or not.
    total: Total,
    /// The edges.
    edges: Vec<KeyedEdge>,
    /// Those beyond `limit`.
    left_out: u64,
}

/// Sums of edges.
#[derive(Clone, Copy, Default, Serialize, JsonSchema)]
struct Total {
    /// Edges.
    edges: u64,
    /// Their connections.
    connections: u64,
    /// Connections that failed or were reset.
    wrong: u64,
}

/// Most listeners of a host that are looked at.
const LISTENERS: usize = 10_000;

fn node(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let picture = asking.picture()?;
    let map = Map::of(&picture, &Filter::default(), asking.meter)?;
    let at = map.place(asking.given.text("id").unwrap_or_default())?;
    let mut both = [Vec::new(), Vec::new()];
    for told in picture.edges() {
        let [client, server] = told.ends();
        for (of, end) in both.iter_mut().zip([server, client]) {
            if end == at {
                of.push(told);
            }
        }
    }
    let most = asking.given.count("limit");
    let [clients, servers] = both.map(|edges| Edges::of(edges, &map, most));
    let node = picture.node(at);
    let (addresses, listeners) = match &node.process {
        None => (Vec::new(), Vec::new()),
        Some(process) => {
            let all = addresses(asking)?;
            (of_node(&all, process).to_vec(), listeners(asking, process)?)
        }
    };
    let head = picture.head();
    let answer = Answer {
        from_ms: head.from_ms,
        to_ms: head.to_ms,
        whole_from_ms: head.whole_from_ms,
        key: map.key(at).to_owned(),
        node,
        addresses,
        clients,
        servers,
        listeners,
    };
    write(out, &answer)
}

impl Edges {
    fn of(mut edges: Vec<Told<'_>>, map: &Map<'_>, most: usize) -> Self {
        let mut total = Total::default();
        for told in &edges {
            total.edges += 1;
            total.connections = total.connections.saturating_add(told.connections());
            total.wrong = total.wrong.saturating_add(told.wrong());
        }
        edges.sort_by_key(|told| std::cmp::Reverse((told.wrong(), told.connections())));
        let left_out = edges.len().saturating_sub(most) as u64;
        edges.truncate(most);
        let keyed = |told: Told<'_>| KeyedEdge {
            key: map.edge_key(told),
            edge: told.edge(),
        };
        let edges = edges.into_iter().map(keyed).collect();
        Self {
            total,
            edges,
            left_out,
        }
    }
}

/// Its sockets that listen.
///
/// # Errors
/// Those of the store.
pub(super) fn listeners(asking: &Asking<'_>, process: &ProcessNode) -> Result<Vec<Row>, Failure> {
    let which = Which {
        table: String::from("listener"),
        host: Some(process.host.clone()),
        intervals: false,
        silent: true,
        most: LISTENERS,
    };
    let answer = tables::read(asking, &which, asking.given.asked(asking.now_ms)?)?;
    let rows = answer.tables.into_iter().flat_map(|table| table.rows);
    Ok(rows.filter(|row| is_of(row, process)).collect())
}

/// Whether a row is of a node's process.
pub(super) fn is_of(row: &Row, node: &ProcessNode) -> bool {
    let named = row.process.as_ref().is_some_and(|process| {
        let names = [&process.service, &process.exe, &process.comm];
        let name = names.into_iter().find(|name| !name.is_empty());
        name.is_some_and(|name| *name == node.service)
    });
    named && row.host == node.host
}

//! `GET /api/v1/topology`: who talks to whom in a window, or a part of it.

use std::io::Write;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Serialize, Serializer};

use super::failure::{Failure, Problem};
use super::filter::{FILTERS, Filter};
use super::group::{self, Grouped};
use super::map::{LeftOut, Map};
use super::marks::Marks;
use super::operation::{Asking, Form, Operation, form, write};
use super::parameter::{Kind, MAX_AGE, Need, Parameter, WINDOW};
use crate::join::Picture;
use crate::topology::{Count, Edge, Node, ReasonCount, Topology};

/// `GET /api/v1/topology`
pub const TOPOLOGY: Operation = Operation {
    method: "GET",
    path: "/api/v1/topology",
    id: "topology",
    summary: "Who talks to whom, through what, and how well",
    help: "Without parameters all of the last hour. Filters that are given together have all to be \
           met, those by name by one end of an edge. Groups count the alerts that fire and the \
           edges that are not declared; those with critical alerts come first.",
    parameters: &[
        &WINDOW,
        &MAX_AGE,
        &FILTERS,
        &[
            Parameter::new(
                "focus",
                Kind::Text(512),
                "Only what is near this node, by its `key` or `id`.",
            ),
            Parameter::new("depth", Kind::Number(0, 16), "Steps from the focus.").or("2"),
            Parameter::new(
                "limit",
                Kind::Number(1, 100_000),
                "Most nodes, or groups: those nearest to the focus, then those where most went \
                 wrong, then those with most connections. `left_out` counts the others.",
            ),
            Parameter::new(
                "group",
                Kind::Text(256),
                "Groups instead of nodes: `service`, `host`, `site` (networks of 24 bits of IPv4 or \
                 64 of IPv6), `namespace`, or `tag:<key>`.",
            ),
            Parameter::new(
                "from_ms",
                Kind::Milliseconds,
                "As `from`, Unix milliseconds.",
            )
            .at(Need::Deprecated),
            Parameter::new("to_ms", Kind::Milliseconds, "As `to`, Unix milliseconds.")
                .at(Need::Deprecated),
        ],
    ],
    body: None,
    form: Form::Json(answer_form),
    refusals: &[(404, "The focus is not in the window")],
    answer: Some(topology),
};

/// A node with its key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyedNode")]
pub(super) struct KeyedNode {
    /// Names it in `/api/v1/nodes/{id}`, whatever else is seen.
    pub key: String,
    /// Neighbours that are not shown.
    #[serde(skip_serializing_if = "is_zero")]
    pub more: u64,
    /// The node.
    #[serde(flatten)]
    pub node: Node,
}

/// An edge with its key.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "KeyedEdge")]
pub(super) struct KeyedEdge {
    /// Names it in `/api/v1/edges/{id}`.
    pub key: String,
    /// The edge.
    #[serde(flatten)]
    pub edge: Edge,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Who talks to whom in a window.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Topology")]
struct Answer<N, E, U> {
    /// Begin of the window, Unix milliseconds, exclusive.
    from_ms: i64,
    /// End of the window, Unix milliseconds, inclusive.
    to_ms: i64,
    /// Nodes by id; none where there are groups.
    nodes: N,
    /// Edges whose two ends are both known.
    edges: E,
    /// Edges known by one side only; the other side is an address node.
    unjoined: U,
    /// Tokens not joined because more than one end claimed a side of them.
    ambiguous_tokens: u64,
    /// Fingerprints of sequence numbers not joined, for the like reasons.
    ambiguous_sequences: u64,
    /// Why edges of the window are known by one side only.
    unjoined_reasons: Vec<ReasonCount>,
    /// Edges of the window with a side on a known host, but of an unknown process.
    unknown_owners: Count,
    /// Data up to then may be missing, for the store was full; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    evicted_before_ms: Option<i64>,
    /// From when the answer is whole, where something of the window was deleted because of its age or
    /// because the store was full; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_from_ms: Option<i64>,
    /// Groups and edges between them, where they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    grouped: Option<Grouped>,
    /// What is meant and not shown, because of `limit`.
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<LeftOut>,
}

fn answer_form(generator: &mut SchemaGenerator) -> Schema {
    form::<Answer<Vec<KeyedNode>, Vec<KeyedEdge>, Vec<KeyedEdge>>>(generator)
}

/// Answers [`TOPOLOGY`]: node by node and edge by edge, so that the document is never held whole.
///
/// # Errors
/// A focus that is not there, and those of the store.
fn topology(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let given = asking.given;
    let by = given.text("group").map(group::By::parse).transpose();
    let by = by.map_err(|why| Problem::query(format!("group: {why}")))?;
    let filter = Filter::of(asking)?;
    let picture = asking.picture()?;
    let mut map = Map::of(&picture, &filter, asking.meter)?;
    if let Some(focus) = given.text("focus") {
        map.focus(focus, given.number("depth").unwrap_or(2))?;
    }
    let most = given.number("limit").map(|_| given.count("limit"));
    if let Some(by) = by {
        let addresses = by.addresses(asking)?;
        let most = most.unwrap_or(usize::MAX);
        let marks = Marks::of(asking, &picture, &map)?;
        let grouped = group::grouped(&picture, &map, (&by, &addresses), &marks, most);
        let head = picture.head();
        let nothing: [u8; 0] = [];
        return write(
            out,
            &answer(head, &nothing, &nothing, &nothing, Some(grouped), None),
        );
    }
    if let Some(most) = most {
        map.cut(most);
    }
    map.count_more();
    let left_out = most.map(|_| map.left_out());
    let shown = Each(|| nodes(&picture, &map));
    let joined = Each(|| edges(&picture, &map, true));
    let unjoined = Each(|| edges(&picture, &map, false));
    write(
        out,
        &answer(picture.head(), shown, joined, unjoined, None, left_out),
    )
}

fn answer<N, E, U>(
    head: Topology,
    nodes: N,
    edges: E,
    unjoined: U,
    grouped: Option<Grouped>,
    left_out: Option<LeftOut>,
) -> Answer<N, E, U> {
    Answer {
        from_ms: head.from_ms,
        to_ms: head.to_ms,
        nodes,
        edges,
        unjoined,
        ambiguous_tokens: head.ambiguous_tokens,
        ambiguous_sequences: head.ambiguous_sequences,
        unjoined_reasons: head.unjoined_reasons,
        unknown_owners: head.unknown_owners,
        evicted_before_ms: head.evicted_before_ms,
        whole_from_ms: head.whole_from_ms,
        grouped,
        left_out,
    }
}

fn nodes<'a>(picture: &'a Picture, map: &'a Map<'_>) -> impl Iterator<Item = KeyedNode> + 'a {
    let shown = map.nodes.iter().enumerate().filter(|(_, spot)| spot.shown);
    shown.map(|(at, spot)| KeyedNode {
        key: map.key(at).to_owned(),
        more: spot.more,
        node: picture.node(at),
    })
}

fn edges<'a>(
    picture: &'a Picture,
    map: &'a Map<'_>,
    joined: bool,
) -> impl Iterator<Item = KeyedEdge> + 'a {
    let all = picture.edges().zip(&map.edges);
    let shown = all.filter(move |(told, line)| line.shown && told.is_joined() == joined);
    shown.map(|(told, _)| KeyedEdge {
        key: map.edge_key(told),
        edge: told.edge(),
    })
}

/// What an iterator yields, as a list.
struct Each<F>(F);

impl<T: Serialize, I: Iterator<Item = T>, F: Fn() -> I> Serialize for Each<F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq((self.0)())
    }
}

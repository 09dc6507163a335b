//! `GET /api/v1/search`: finds what a text names.

mod wanted;

use std::collections::BTreeMap;
use std::io::Write;

use schemars::JsonSchema;
use serde::Serialize;

use super::failure::Failure;
use super::filter::{Addresses, Filter, addresses};
use super::map::Map;
use super::operation::{Asking, Form, Operation, encoded, form, write};
use super::parameter::{Kind, MAX_AGE, Need, Parameter, WINDOW};
use wanted::{Understood, Wanted, host_id, of_edge_score, of_node_score, score};

/// `GET /api/v1/search`
pub const SEARCH: Operation = Operation {
    method: "GET",
    path: "/api/v1/search",
    id: "search",
    summary: "Finds services, hosts, addresses, ports and connections by a text",
    help: "The text is as it was typed or pasted: a name or a part of one, `key=value` of a tag, an \
           address, a network, `:5432`, or both ends of a connection from `ss`, `tcpdump`, \
           `conntrack` or a log.",
    parameters: &[
        &[Parameter::new("q", Kind::Text(4096), "The text.").at(Need::Required)],
        &WINDOW,
        &MAX_AGE,
        &[Parameter::new("limit", Kind::Number(1, 200), "Most hits.").or("20")],
    ],
    body: None,
    form: Form::Json(form::<Answer>),
    refusals: &[],
    answer: Some(search),
};

/// What a text names, the best first.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SearchAnswer")]
struct Answer {
    /// Begin of the window, Unix milliseconds, exclusive.
    from_ms: i64,
    /// Its end, inclusive.
    to_ms: i64,
    /// From when the answer is whole, where something of the window was deleted because of its age or
    /// because the store was full; Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_from_ms: Option<i64>,
    /// What the text was taken for.
    understood: Understood,
    /// The best hits.
    hits: Vec<Hit>,
    /// Further ones.
    more: u64,
}

/// Something that the text names.
#[derive(Clone, Serialize, JsonSchema)]
struct Hit {
    /// What it is.
    kind: HitKind,
    /// Its name.
    title: String,
    /// What of it the text names.
    why: String,
    /// 1 to 100: the whole of a name is 100.
    score: u32,
    /// Connections in the window.
    connections: u64,
    /// Where it is answered, below the collector's address.
    href: String,
}

/// What a hit is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum HitKind {
    /// The hops of a connection.
    Chain,
    /// A node.
    Node,
    /// A host and all of its nodes.
    Host,
    /// An edge.
    Edge,
}

fn search(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let given = asking.given;
    let text = given.text("q").unwrap_or_default();
    let (wanted, understood) = Wanted::of(text);
    let picture = asking.picture()?;
    let map = Map::of(&picture, &Filter::default(), asking.meter)?;
    let addresses = match wanted {
        Wanted::Name(_) | Wanted::Port(_) => Addresses::new(),
        Wanted::Ends(..) | Wanted::Network(_) => addresses(asking)?,
    };
    let most = given.count("limit");
    let mut best = Best::new(most);
    if let Wanted::Ends(_, Some(tuple)) = &wanted {
        best.add(Hit {
            kind: HitKind::Chain,
            title: tuple.to_string(),
            why: String::from("the connection"),
            score: 100,
            connections: 0,
            href: format!("/api/v1/chain?tuple={}", encoded(&tuple.to_string())),
        });
    }
    let mut hosts: BTreeMap<String, Hit> = BTreeMap::new();
    for (at, (node, spot)) in picture.nodes().zip(&map.nodes).enumerate() {
        let connections = spot.connections();
        if let Some((score, why)) = of_node_score(&wanted, &node, &addresses) {
            best.add(Hit {
                kind: HitKind::Node,
                title: node.id.clone(),
                why,
                score,
                connections,
                href: format!("/api/v1/nodes/{}", map.key(at)),
            });
        }
        if let (Wanted::Name(name), Some(process)) = (&wanted, &node.process)
            && let Some(score) = score(name, &process.hostname).max(host_id(name, &process.host))
        {
            let hit = hosts.entry(process.host.clone()).or_insert_with(|| Hit {
                kind: HitKind::Host,
                title: process.hostname.clone(),
                why: String::from("host"),
                score,
                connections: 0,
                href: format!("/api/v1/topology?host={}", process.host),
            });
            hit.connections = hit.connections.saturating_add(connections);
        }
    }
    hosts.into_values().for_each(|hit| best.add(hit));
    for told in picture.edges() {
        let edge = told.edge();
        if let Some((score, why)) = of_edge_score(&wanted, &edge) {
            best.add(Hit {
                kind: HitKind::Edge,
                title: format!(
                    "{} -> {} {}",
                    edge.client, edge.server, edge.server_endpoint
                ),
                why,
                score,
                connections: edge.connections,
                href: format!("/api/v1/edges/{}", map.edge_key(told)),
            });
        }
    }
    let head = picture.head();
    let (hits, more) = best.end();
    let answer = Answer {
        from_ms: head.from_ms,
        to_ms: head.to_ms,
        whole_from_ms: head.whole_from_ms,
        understood,
        hits,
        more,
    };
    write(out, &answer)
}

/// The best hits so far.
struct Best {
    most: usize,
    hits: Vec<Hit>,
    seen: u64,
}

impl Best {
    fn new(most: usize) -> Self {
        Self {
            most,
            hits: Vec::new(),
            seen: 0,
        }
    }

    fn add(&mut self, hit: Hit) {
        self.seen += 1;
        self.hits.push(hit);
        if self.hits.len() >= 2 * self.most + 64 {
            self.cut();
        }
    }

    fn cut(&mut self) {
        let rank = |hit: &Hit| (u32::MAX - hit.score, u64::MAX - hit.connections, hit.kind);
        self.hits
            .sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.title.cmp(&b.title)));
        self.hits.truncate(self.most);
    }

    fn end(mut self) -> (Vec<Hit>, u64) {
        self.cut();
        let more = self.seen - self.hits.len() as u64;
        (self.hits, more)
    }
}

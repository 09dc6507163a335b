//! `GET /api/v1/search`: finds what a text names.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::Serialize;

use super::failure::Failure;
use super::filter::{Addresses, Filter, addresses, of_node};
use super::map::Map;
use super::network::Network;
use super::operation::{Asking, Form, Operation, form, write};
use super::parameter::{Kind, Need, Parameter, WINDOW};
use super::tuple::{self, At, Tuple};
use crate::join::Told;
use crate::query;
use crate::topology::{Edge, Node};

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
        &[Parameter::new("limit", Kind::Number(1, 200), "Most hits.").or("20")],
    ],
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
    /// What the text was taken for.
    understood: Understood,
    /// The best hits.
    hits: Vec<Hit>,
    /// Further ones.
    more: u64,
}

/// What a text was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Understood {
    /// Both ends of a connection.
    Tuple,
    /// An address and a port.
    Endpoint,
    /// An address.
    Address,
    /// A network.
    Network,
    /// A port.
    Port,
    /// A name or a part of one.
    Name,
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

/// What is looked for.
enum Wanted {
    Ends(Vec<At>, Option<Tuple>),
    Network(Network),
    Port(u16),
    Name(String),
}

impl Wanted {
    fn of(text: &str) -> (Self, Understood) {
        let text = text.trim();
        if let Some(tuple) = Tuple::find(text) {
            let ends = tuple::find(text);
            return (Self::Ends(ends, Some(tuple)), Understood::Tuple);
        }
        if text.contains('/')
            && let Ok(network) = Network::parse(text)
        {
            return (Self::Network(network), Understood::Network);
        }
        let ends = tuple::find(text);
        if let Some(first) = ends.first() {
            let understood = match first.port {
                Some(_) => Understood::Endpoint,
                None => Understood::Address,
            };
            return (Self::Ends(ends, None), understood);
        }
        let digits = text
            .strip_prefix("port ")
            .or(text.strip_prefix(':'))
            .unwrap_or(text);
        if digits.bytes().all(|byte| byte.is_ascii_digit())
            && let Ok(port) = digits.parse::<u16>()
            && port > 0
        {
            return (Self::Port(port), Understood::Port);
        }
        (Self::Name(text.to_lowercase()), Understood::Name)
    }
}

fn search(asking: &Asking<'_>, out: &mut dyn Write) -> Result<(), Failure> {
    let given = asking.given;
    let text = given.text("q").unwrap_or_default();
    let (wanted, understood) = Wanted::of(text);
    let asked = given.asked(asking.now_ms)?;
    let picture = query::topology(asking.store, asked, asking.now_ms, asking.meter)?;
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
    for (node, spot) in picture.nodes().zip(&map.nodes) {
        let connections = spot.connections();
        if let Some((score, why)) = of_node_score(&wanted, &node, &addresses) {
            best.add(Hit {
                kind: HitKind::Node,
                title: node.id.clone(),
                why,
                score,
                connections,
                href: format!("/api/v1/nodes/{}", spot.key),
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
    for (Told { edge, .. }, line) in picture.edges().zip(&map.edges) {
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
                href: format!("/api/v1/edges/{}", map.edge_key(line, &edge)),
            });
        }
    }
    let head = picture.head();
    let (hits, more) = best.end();
    let answer = Answer {
        from_ms: head.from_ms,
        to_ms: head.to_ms,
        understood,
        hits,
        more,
    };
    write(out, &answer)
}

/// How well a node fits, and by what.
fn of_node_score(wanted: &Wanted, node: &Node, addresses: &Addresses) -> Option<(u32, String)> {
    let ips: Vec<IpAddr> = match &node.process {
        Some(process) => of_node(addresses, process).to_vec(),
        None => node.id.parse().into_iter().collect(),
    };
    match wanted {
        Wanted::Port(_) => None,
        Wanted::Network(network) => {
            let ip = ips.iter().find(|ip| network.has(**ip))?;
            Some((80, format!("address {ip}")))
        }
        Wanted::Ends(ends, _) => {
            let place = ends.iter().position(|end| ips.contains(&end.ip))?;
            Some((
                if place == 0 { 90 } else { 85 },
                format!("address {}", ends[place].ip),
            ))
        }
        Wanted::Name(name) => {
            let Some(process) = &node.process else {
                return Some((score(name, &node.id)?, String::from("address")));
            };
            let own = [
                ("service", process.service.as_str(), 0),
                ("name", node.id.as_str(), 0),
                ("unit", process.unit.as_str(), 5),
                ("program", process.exe.as_str(), 10),
                ("task", process.comm.as_str(), 10),
                ("container", process.container.as_str(), 10),
                ("cgroup", process.cgroup.as_str(), 15),
            ];
            let own = own.map(|(what, text, less)| (what.to_owned(), text.to_owned(), less));
            let tags = process.tags.iter().flat_map(|(key, value)| {
                let what = format!("tag {key}");
                let both = format!("{key}={value}");
                [(what.clone(), value.clone(), 5), (what, both, 5)]
            });
            let fits = own
                .into_iter()
                .chain(tags)
                .filter_map(|(what, text, less)| {
                    Some((score(name, &text)?.saturating_sub(less).max(1), what, text))
                });
            let (score, what, text) = fits.max_by_key(|(score, ..)| *score)?;
            Some((score, format!("{what} {text}")))
        }
    }
}

/// How well an edge fits, and by what.
fn of_edge_score(wanted: &Wanted, edge: &Edge) -> Option<(u32, String)> {
    let via = edge.via.iter().map(|via| via.address.as_str());
    let mut seen = via.chain([edge.server_endpoint.as_str()]);
    let ip_of = |text: &str| {
        let endpoint = text.parse::<SocketAddr>().map(|at| at.ip());
        endpoint.or_else(|_| text.parse::<IpAddr>()).ok()
    };
    let socket = |text: &str| text.parse::<SocketAddr>().ok();
    match wanted {
        Wanted::Port(port) => {
            let found = seen.find(|text| socket(text).is_some_and(|at| at.port() == *port))?;
            Some((90, format!("port of {found}")))
        }
        Wanted::Network(network) => {
            let found = seen.find(|text| ip_of(text).is_some_and(|ip| network.has(ip)))?;
            Some((70, format!("address {found}")))
        }
        Wanted::Ends(ends, _) => {
            let mut fits = Vec::new();
            for text in seen {
                for end in ends {
                    let is_port = end.port.is_some()
                        && socket(text).is_some_and(|at| Some(at.port()) == end.port);
                    if ip_of(text) == Some(end.ip) && (is_port || end.port.is_none()) {
                        fits.push(format!("address {text}"));
                    }
                }
            }
            let first = fits.first()?.clone();
            Some((if fits.len() > 1 { 95 } else { 88 }, first))
        }
        Wanted::Name(name) if edge.server_endpoint.contains(name.as_str()) => {
            Some((40, format!("address {}", edge.server_endpoint)))
        }
        Wanted::Name(_) => None,
    }
}

/// How well a text fits a name that is looked for, in lower case.
fn score(name: &str, text: &str) -> Option<u32> {
    let text = text.to_lowercase();
    if text == name {
        return Some(100);
    }
    let at = text.find(name)?;
    if at == 0 {
        return Some(80);
    }
    let before = text[..at].chars().next_back();
    Some(if before.is_some_and(char::is_alphanumeric) {
        40
    } else {
        60
    })
}

/// How well a text fits the id of a host.
fn host_id(name: &str, host: &str) -> Option<u32> {
    (name.len() >= 8 && host.starts_with(name)).then_some(if name == host { 100 } else { 80 })
}

/// A text as a part of an address.
pub(super) fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
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

#[cfg(test)]
mod tests {
    use super::{Understood, Wanted, score};

    #[test]
    fn a_text_is_taken_for_what_it_looks_like() {
        for (text, understood) in [
            ("10.0.0.1:1 -> 10.0.0.2:2", Understood::Tuple),
            ("10.0.0.2:80", Understood::Endpoint),
            ("[::1]:80", Understood::Endpoint),
            (" 10.0.0.2 ", Understood::Address),
            ("fd00::1", Understood::Address),
            ("10.0.0.0/8", Understood::Network),
            (":5432", Understood::Port),
            ("5432", Understood::Port),
            ("port 5432", Understood::Port),
            ("0", Understood::Name),
            ("70000", Understood::Name),
            ("nginx", Understood::Name),
            ("web-01/nginx", Understood::Name),
            ("team=shop", Understood::Name),
        ] {
            assert_eq!(Wanted::of(text).1, understood, "{text}");
        }
    }

    #[test]
    fn the_whole_name_is_better_than_a_part() {
        let scores = ["nginx", "nginx-front", "my-nginx", "mynginx", "apache"];
        let scores = scores.map(|text| score("nginx", text));
        assert_eq!(scores, [Some(100), Some(80), Some(60), Some(40), None]);
        assert_eq!(score("ß", "STRASSE ß"), Some(60));
    }
}

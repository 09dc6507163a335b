//! Edges of a picture as rows.

use std::collections::{BTreeMap, HashMap};

use wire::{Columns, Histogram};

use crate::alert::evaluate::{Cell, Ends, Pass, Row};
use crate::alert::finding::End;
use crate::counters::Counters;
use crate::join::{Picture, Told};
use crate::packed::Packed;
use crate::topology::{Edge, Node, ViaKind};

/// Names of [`Counters::plain`], in its order.
const PLAIN: [&str; 14] = [
    "opened",
    "closed",
    "failed",
    "refused",
    "reset_local",
    "reset_remote",
    "bytes_sent",
    "bytes_received",
    "segments_sent",
    "segments_received",
    "retransmits",
    "out_of_order",
    "zero_windows",
    "adopted",
];

/// An edge as it is read for all inputs.
struct Seen {
    edge: Edge,
    is_joined: bool,
    counters: [Option<Counters>; 2],
}

impl Seen {
    fn of(told: Told<'_>) -> Self {
        Self {
            edge: told.edge(),
            is_joined: told.is_joined(),
            counters: told.counters().map(|side| side.map(Packed::counters)),
        }
    }
}

/// How a column is got.
enum Get {
    /// Of the client, the server, or of the client where it reports and else of the server.
    Counter(Option<usize>, usize, Columns),
    Latency(Option<usize>),
    Rtt(Option<usize>),
    Own(String),
}

impl Get {
    fn of(name: &str) -> Self {
        let (side, column) = match name.split_once('.') {
            Some(("client", column)) => (Some(0), column),
            Some(("server", column)) => (Some(1), column),
            _ => (None, name),
        };
        let absent = Columns::NAMES.iter().find(|(_, known)| *known == column);
        let absent = absent.map_or(Columns::NONE, |(column, _)| *column);
        match PLAIN.iter().position(|known| *known == column) {
            Some(at) => Self::Counter(side, at, absent),
            None if column == "connect_latency" => Self::Latency(side),
            None if column == "rtt" => Self::Rtt(side),
            None => Self::Own(String::from(name)),
        }
    }

    fn cell(&self, seen: &Seen, ends: &Ends) -> Cell {
        let side = |side: &Option<usize>| -> Option<&Counters> {
            match side {
                Some(side) => seen.counters[*side].as_ref(),
                None => seen.counters.iter().flatten().next(),
            }
        };
        let times = |counters: Option<&Counters>, column, of: fn(&Counters) -> &Histogram| {
            let known = counters.filter(|counters| !counters.absent.has(column));
            known.map_or(Cell::Absent, |counters| {
                Cell::Histogram(Box::new(of(counters).clone()))
            })
        };
        match self {
            Self::Counter(which, at, absent) => {
                let is_known = |counters: &&Counters| {
                    *absent == Columns::NONE || !counters.absent.has(*absent)
                };
                let known = side(which).filter(is_known);
                known.map_or(Cell::Absent, |counters| number(counters.plain[*at]))
            }
            Self::Latency(which) => times(side(which), Columns::CONNECT_LATENCY, |all| {
                &all.connect_latency
            }),
            Self::Rtt(which) => times(side(which), Columns::RTT, |all| &all.rtt),
            Self::Own(name) => own(name, seen, ends),
        }
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "beyond 2^53 nothing is compared exactly"
)]
fn number(value: u64) -> Cell {
    Cell::Number(value as f64)
}

fn own(name: &str, seen: &Seen, ends: &Ends) -> Cell {
    let edge = &seen.edge;
    let text = |text: Option<&str>| match text {
        Some(text) if !text.is_empty() => Cell::Text(String::from(text)),
        _ => Cell::Absent,
    };
    match name {
        "client" => text(Some(&edge.client)),
        "server" => text(Some(&edge.server)),
        "client_host" => text(ends.client.host.as_deref()),
        "server_host" => text(ends.server.host.as_deref()),
        "client_service" => text(Some(&ends.client.service)),
        "server_service" => text(Some(&ends.server.service)),
        "endpoint" => text(Some(&edge.server_endpoint)),
        "port" => {
            let port = edge
                .server_endpoint
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok());
            port.map_or(Cell::Absent, Cell::Number)
        }
        "vip" => text(ends.vip.as_deref()),
        "gateway" => text(ends.gateways.first().map(String::as_str)),
        "joined" => Cell::Flag(seen.is_joined),
        "reason" => edge.reason.map_or(Cell::Absent, |reason| {
            let word = serde_json::to_value(reason).ok();
            text(word.as_ref().and_then(serde_json::Value::as_str))
        }),
        "confidence" => Cell::Number(edge.confidence),
        "connections" => number(edge.connections),
        "open" => {
            let of = edge
                .client_counters
                .as_ref()
                .or(edge.server_counters.as_ref());
            of.map_or(Cell::Absent, |counters| number(counters.open))
        }
        "attempts" => number(
            edge.attempts
                .as_ref()
                .map_or(0, |attempts| attempts.endpoints),
        ),
        "sampled" => Cell::Flag(edge.sampled),
        _ => Cell::Absent,
    }
}

/// Most addresses of which it is told whose they are.
const MAX_HOMES: usize = 20_000;

/// Hosts by the addresses at which joined edges reach them.
pub(super) fn homes(picture: &Picture) -> BTreeMap<String, String> {
    let of_process = |node: Node| Some((node.id, node.process?.host));
    let hosts: HashMap<String, String> = picture.nodes().filter_map(of_process).collect();
    let mut homes = BTreeMap::new();
    for told in picture.edges().filter(|told| told.is_joined()) {
        let edge = told.edge();
        let address = edge
            .server_endpoint
            .rsplit_once(':')
            .map(|(address, _)| address);
        let host = hosts.get(&edge.server);
        if let (Some(address), Some(host)) = (address, host)
            && homes.len() < MAX_HOMES
        {
            let bare = address.trim_start_matches('[').trim_end_matches(']');
            homes.insert(String::from(bare), host.clone());
        }
    }
    homes
}

/// Gives each edge to the inputs that read this window.
pub(super) fn add(pass: &mut Pass<'_>, inputs: &[(usize, &[String])], picture: &Picture) {
    let mut ends: HashMap<String, End> = HashMap::new();
    for node in picture.nodes() {
        let (host, service) = match node.process {
            Some(process) => (Some(process.host), process.service),
            None => (None, String::new()),
        };
        let end = End {
            name: node.id.clone(),
            host,
            service,
        };
        ends.insert(node.id, end);
    }
    let gets: Vec<(usize, Vec<Get>)> = inputs
        .iter()
        .map(|(input, columns)| (*input, columns.iter().map(|name| Get::of(name)).collect()))
        .collect();
    for told in picture.edges() {
        let seen = Seen::of(told);
        let named = ends_of(&seen.edge, &ends);
        for (input, gets) in &gets {
            let row = Row {
                cells: gets.iter().map(|get| get.cell(&seen, &named)).collect(),
                end_ms: seen.edge.last_seen_ms,
                ends: Some(Box::new(named.clone())),
                ..Row::default()
            };
            pass.add(*input, &row);
        }
    }
}

fn ends_of(edge: &Edge, known: &HashMap<String, End>) -> Ends {
    let end = |id: &String| {
        known.get(id).cloned().unwrap_or_else(|| End {
            name: id.clone(),
            ..End::default()
        })
    };
    let via = |kind: ViaKind| edge.via.iter().filter(move |via| via.kind == kind);
    Ends {
        client: end(&edge.client),
        server: end(&edge.server),
        endpoint: edge.server_endpoint.clone(),
        vip: via(ViaKind::Vip).next().map(|via| via.address.clone()),
        gateways: via(ViaKind::Gateway)
            .map(|via| via.address.clone())
            .take(8)
            .collect(),
        evidence: edge.evidence.iter().map(|evidence| evidence.kind).collect(),
        confidence: edge.confidence,
    }
}

#[cfg(test)]
mod tests {
    use super::{Get, PLAIN};
    use crate::alert::rule::source::{Source, Values};

    #[test]
    fn every_column_of_the_description_is_got_and_no_other() {
        let columns = Source::Edge.columns();
        for column in columns {
            let is_own = matches!(Get::of(&column.name), Get::Own(_));
            let is_counted = matches!(column.values, Values::Counter | Values::Histogram);
            assert_eq!(is_own, !is_counted, "{}", column.name);
        }
        for name in PLAIN {
            assert!(columns.iter().any(|column| column.name == name), "{name}");
        }
    }
}

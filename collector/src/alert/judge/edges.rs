//! Edges of a picture as rows.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use wire::schema::Kind;
use wire::{Columns, Histogram};

use super::declared::{Declared, Verdict};
use crate::alert::evaluate::{Cell, Ends, Pass, Row};
use crate::alert::finding::End;
use crate::counters::{CLOSED, Counters, RESET_LOCAL, RESET_REMOTE, column};
use crate::join::{Picture, Told};
use crate::packed::Packed;
use crate::topology::{Edge, Node, ViaKind};

/// Names of [`Counters::plain`] in its order: those of the table's description, and last the one
/// that agents add.
fn plain() -> &'static [&'static str] {
    static NAMES: OnceLock<Vec<&str>> = OnceLock::new();
    NAMES.get_or_init(|| {
        let mut tables = wire::tables().into_iter();
        let columns = tables.find(|table| table.name == "edge");
        let columns = columns.into_iter().flat_map(|table| &table.columns);
        let counters = columns.filter(|column| column.kind == Kind::Counter);
        let mut names: Vec<&str> = counters.map(|column| column.name.as_str()).collect();
        names.sort_by_key(|name| *name == "adopted");
        names
    })
}

/// An edge as it is read for all inputs.
struct Seen {
    edge: Edge,
    is_joined: bool,
    counters: [Option<Counters>; 2],
    /// By the declared matrix, where there is one.
    verdict: Option<Verdict>,
}

impl Seen {
    fn of(told: Told<'_>, declared: Option<&mut Declared>) -> Self {
        let edge = told.edge();
        let (_, counted) = told.counted();
        let mut counters = counted.map(|side| side.as_ref().map(Packed::counters));
        let sides = [&edge.client_counters, &edge.server_counters];
        blame(
            &mut counters,
            sides.map(|side| side.as_ref().is_some_and(|side| side.apportioned)),
        );
        Self {
            verdict: declared.map(|declared| declared.verdict(told, &edge)),
            edge,
            is_joined: told.is_joined(),
            counters,
        }
    }
}

/// What a side had in common with other edges was divided among them, whoever of these was to blame.
/// Where the other side counted this edge alone, connections ended as that one says: whom one side
/// resets is reset by the other.
fn blame(counters: &mut [Option<Counters>; 2], apportioned: [bool; 2]) {
    let (divided, exact) = match (&mut *counters, apportioned) {
        ([Some(divided), Some(exact)], [true, false])
        | ([Some(exact), Some(divided)], [false, true]) => (divided, exact),
        _ => return,
    };
    for (mine, theirs) in [
        (RESET_LOCAL, RESET_REMOTE),
        (RESET_REMOTE, RESET_LOCAL),
        (CLOSED, CLOSED),
    ] {
        let is_known = column(theirs).is_none_or(|column| !exact.absent.has(column));
        if is_known {
            divided.plain[mine] = exact.plain[theirs];
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
        match plain().iter().position(|known| *known == column) {
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
        "verdict" => text(seen.verdict.as_ref().map(|verdict| verdict.word)),
        name => {
            let flow = seen
                .verdict
                .as_ref()
                .and_then(|verdict| verdict.flow.as_ref());
            match name {
                "flow" => text(flow.map(|flow| flow.id.as_str())),
                "owner" => text(flow.map(|flow| flow.owner.as_str())),
                "valid_for" => valid_for(flow.and_then(|flow| flow.valid_for_ms)),
                _ => Cell::Absent,
            }
        }
    }
}

/// In seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "times far beyond a lifetime are compared with days"
)]
fn valid_for(ms: Option<i64>) -> Cell {
    ms.map_or(Cell::Absent, |ms| Cell::Number(ms as f64 / 1000.0))
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
pub(super) fn add(
    pass: &mut Pass<'_>,
    inputs: &[(usize, &[String])],
    picture: &Picture,
    mut declared: Option<Declared>,
) {
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
        let seen = Seen::of(told, declared.as_mut());
        let named = Arc::new(ends_of(&seen, &ends));
        for (input, gets) in &gets {
            let row = Row {
                cells: gets.iter().map(|get| get.cell(&seen, &named)).collect(),
                end_ms: seen.edge.last_seen_ms,
                ends: Some(Arc::clone(&named)),
                ..Row::default()
            };
            pass.add(*input, &row);
        }
    }
}

fn ends_of(seen: &Seen, known: &HashMap<String, End>) -> Ends {
    let edge = &seen.edge;
    let flow = seen
        .verdict
        .as_ref()
        .and_then(|verdict| verdict.flow.as_ref());
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
        flow: flow.map(|flow| Arc::clone(&flow.subject)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Get, blame, plain};
    use crate::alert::rule::source::{Source, Values};
    use crate::counters::{
        ADOPTED, CLOSED, COUNTERS, Counters, OPENED, RESET_LOCAL, RESET_REMOTE, RETRANSMITS,
        ZERO_WINDOWS,
    };

    #[test]
    fn resets_of_several_backends_are_those_that_each_of_them_counted() {
        let counted = |some: &[(usize, u64)]| {
            let mut counters = Counters::default();
            for (at, value) in some {
                counters.plain[*at] = *value;
            }
            counters
        };
        // A client that dials one address has half of its 32 resets with each of two backends.
        let client = || counted(&[(CLOSED, 110), (RESET_REMOTE, 16), (OPENED, 110)]);
        let mut well = [Some(client()), Some(counted(&[(CLOSED, 112)]))];
        blame(&mut well, [true, false]);
        let own = well[0].as_ref().unwrap();
        assert_eq!(
            (
                own.plain[RESET_REMOTE],
                own.plain[CLOSED],
                own.plain[OPENED]
            ),
            (0, 112, 110)
        );
        let server = counted(&[(CLOSED, 108), (RESET_LOCAL, 32)]);
        let mut ill = [Some(client()), Some(server.clone())];
        blame(&mut ill, [true, false]);
        assert_eq!(ill[0].as_ref().unwrap().plain[RESET_REMOTE], 32);
        // Nobody knows better.
        for apportioned in [[false; 2], [true; 2]] {
            let mut both = [Some(client()), Some(server.clone())];
            blame(&mut both, apportioned);
            assert_eq!(both, [Some(client()), Some(server.clone())]);
        }
        let mut alone = [Some(client()), None];
        blame(&mut alone, [true, false]);
        assert_eq!(alone[0], Some(client()));
    }

    #[test]
    fn every_column_of_the_description_is_got_and_no_other() {
        let columns = Source::Edge.columns();
        for column in columns {
            let is_own = matches!(Get::of(&column.name), Get::Own(_));
            let is_counted = matches!(column.values, Values::Counter | Values::Histogram);
            assert_eq!(is_own, !is_counted, "{}", column.name);
        }
        assert_eq!(plain().len(), COUNTERS);
        let at = [OPENED, RETRANSMITS, ZERO_WINDOWS, ADOPTED].map(|at| plain()[at]);
        assert_eq!(at, ["opened", "retransmits", "zero_windows", "adopted"]);
    }
}

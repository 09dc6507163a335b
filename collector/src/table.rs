//! Documents as text for a terminal of 100 columns. Names are shortened and escaped.

mod alerts;
mod api;
mod hosts;
mod line;
mod matrix;
mod rows;

use std::io::{self, Write};

pub use alerts::{alert, alerts};
pub use api::{chain, diagnosis, edge, search};
pub use hosts::{Hosts, hosts};
use line::write_items;
pub use matrix::matrix;
pub use rows::{rows, tables};

use crate::escape::{Shown, shorten};
use crate::time::rfc3339;
use crate::topology::{
    Attempts, Count, Edge, EdgeCounters, EvidenceKind, Node, Percentiles, ReasonCount, Seer,
    Topology, ViaKind,
};

/// Width of "client -> server".
const PATH: usize = 50;

/// The topology: two or more lines per edge.
///
/// # Errors
/// Those of the writer.
pub fn topology(out: &mut dyn Write, topology: &Topology) -> io::Result<()> {
    writeln!(
        out,
        "{:<PATH$}{:>9}{:>15}{:>7}{:>14}{:>5}",
        "CLIENT -> SERVER", "CONNS", "SENT/RECEIVED", "RETR", "RTT P50/P95", "CONF"
    )?;
    for edge in &topology.edges {
        write_edge(out, edge)?;
    }
    if !topology.unjoined.is_empty() {
        writeln!(out, "\nKNOWN BY ONE SIDE ONLY")?;
        for edge in &topology.unjoined {
            write_edge(out, edge)?;
        }
    }
    writeln!(
        out,
        "\njoined: {}, known by one side only: {}, ambiguous tokens: {}, sequence numbers: {}",
        topology.edges.len(),
        topology.unjoined.len(),
        topology.ambiguous_tokens,
        topology.ambiguous_sequences,
    )?;
    for ReasonCount { reason, edges, .. } in &topology.unjoined_reasons {
        writeln!(out, "    {edges}: {}", reason.describe())?;
    }
    let Count { edges, connections } = topology.unknown_owners;
    if edges > 0 {
        writeln!(
            out,
            "    {edges} edges with {connections} connections: process of a side not known"
        )?;
    }
    writeln!(
        out,
        "from {} to {}",
        rfc3339(topology.from_ms),
        rfc3339(topology.to_ms),
    )?;
    if let Some(before) = topology.evicted_before_ms {
        let before = rfc3339(before);
        writeln!(
            out,
            "the store was full: data up to {before} may be missing"
        )?;
    }
    if let Some(from) = topology.whole_from_ms {
        writeln!(
            out,
            "whole from {} on: what is older was deleted",
            rfc3339(from)
        )?;
    }
    let copied = |node: &Node| node.process.as_ref().is_some_and(|of| of.host_copied);
    if topology.nodes.iter().any(copied) {
        writeln!(
            out,
            "several machines use one host id (copied state): each run of their agents is a host"
        )?;
    }
    let estimated = topology
        .edges
        .iter()
        .chain(&topology.unjoined)
        .any(is_estimated);
    if estimated {
        writeln!(out, "~ divided in proportion, or estimated")?;
    }
    Ok(())
}

fn write_edge(out: &mut dyn Write, edge: &Edge) -> io::Result<()> {
    let cells = Cells::of(edge);
    writeln!(
        out,
        "{:<PATH$}{:>9}{:>15}{:>7}{:>14}{:>5.2}",
        path(&edge.client, &edge.server),
        cells.connections,
        cells.bytes,
        cells.retransmits,
        cells.rtt,
        // Cut, not rounded: what is not certain must not read as certain.
        (edge.confidence * 100.0).floor() / 100.0,
    )?;
    let mut items = match &edge.attempts {
        None => vec![format!("at {}", Shown(&edge.server_endpoint))],
        Some(attempts) => tried(attempts),
    };
    items.extend(edge.via.iter().map(|via| {
        let kind = match via.kind {
            ViaKind::Vip => "vip",
            ViaKind::Nat => "nat",
            ViaKind::Gateway => "gateway",
        };
        format!("via {kind} {}", Shown(&via.address))
    }));
    items.extend(edge.evidence.iter().map(|evidence| {
        let kind = match evidence.kind {
            EvidenceKind::Token => "token",
            EvidenceKind::Sequence => "sequence",
            EvidenceKind::Conntrack => "conntrack",
            EvidenceKind::Address => "address",
        };
        format!("{kind} {}", evidence.connections)
    }));
    let interval = edge.interval.as_ref();
    items.extend(interval.map(|known| format!("{} to {} connections", known.low, known.high)));
    items.extend(edge.unknown_owners.iter().map(|side| unknown_owner(*side)));
    items.extend(edge.reason.map(|reason| reason.describe().to_owned()));
    let candidates = edge.candidates.iter();
    items.extend(candidates.map(|node| format!("perhaps {}", Shown(node))));
    items.extend(troubles(edge));
    write_items(out, "    ", &items)
}

fn unknown_owner(side: Seer) -> String {
    let side = match side {
        Seer::Client => "the client",
        Seer::Server => "the server",
        Seer::Gateway => "the gateway",
    };
    format!("process of {side} not known")
}

/// What was tried in vain, in words.
fn tried(attempts: &Attempts) -> Vec<String> {
    let Attempts {
        endpoints,
        addresses,
        ports,
        ports_left_out,
    } = attempts;
    let several = |n: u64, one: &str, many: &str| {
        let word = if n == 1 { one } else { many };
        format!("{n} {word}")
    };
    let endpoints = several(*endpoints, "endpoint", "endpoints");
    let addresses = several(*addresses, "address", "addresses");
    let mut items = vec![format!("{endpoints}, {addresses}")];
    items.extend((0..).zip(ports).map(|(at, port)| {
        let label = if at == 0 { "ports " } else { "" };
        format!("{label}{}", Shown(port))
    }));
    if *ports_left_out > 0 {
        items.push(format!("and {ports_left_out} more"));
    }
    items
}

/// What went wrong on an edge, in words.
fn troubles(edge: &Edge) -> Vec<String> {
    let sides = [&edge.client_counters, &edge.server_counters];
    let sum = |field: fn(&EdgeCounters) -> u64| -> u64 {
        sides
            .iter()
            .filter_map(|side| side.as_ref())
            .map(field)
            .fold(0, u64::saturating_add)
    };
    [
        ("failed", sum(|c| c.failed.saturating_sub(c.refused))),
        ("refused", sum(|c| c.refused)),
        ("reset", sum(|c| c.reset_local.unwrap_or(0))),
    ]
    .into_iter()
    .filter(|(_, n)| *n > 0)
    .map(|(what, n)| format!("{n} {what}"))
    .collect()
}

/// What stands in the columns of an edge's line.
struct Cells {
    connections: String,
    bytes: String,
    retransmits: String,
    rtt: String,
}

impl Cells {
    fn of(edge: &Edge) -> Self {
        let (client, server) = (edge.client_counters.as_ref(), edge.server_counters.as_ref());
        // The side that has the edge for itself knows; of two such, the one that asked.
        let sides = [(client, true), (server, false)];
        let mut sides: Vec<_> = sides
            .into_iter()
            .filter_map(|(side, is_client)| Some((side?, is_client)))
            .collect();
        sides.sort_by_key(|(side, _)| side.apportioned);
        let bytes = sides.iter().find_map(|(side, is_client)| {
            let (out, back) = (side.bytes_sent?, side.bytes_received?);
            let (sent, received) = if *is_client { (out, back) } else { (back, out) };
            Some((sent, received, side.apportioned))
        });
        // A sum of which a part is not known is not known.
        let retransmits: Option<Vec<u64>> =
            sides.iter().map(|(side, _)| side.retransmits).collect();
        let retransmits = retransmits.filter(|list| !list.is_empty());
        let retransmits = retransmits.map(|list| list.into_iter().fold(0, u64::saturating_add));
        let divided = sides.iter().any(|(side, _)| side.apportioned);
        let mut rtts = sides.iter().filter_map(|(side, _)| side.rtt_us);
        let rtt = rtts.find(|rtt| rtt.p50.is_some());
        let mark = |estimated: bool| if estimated { "~" } else { "" };
        Self {
            connections: format!("{}{}", mark(edge.interval.is_some()), edge.connections),
            bytes: bytes.map_or(String::from("-"), |(sent, received, divided)| {
                format!("{}{}/{}", mark(divided), size(sent), size(received))
            }),
            retransmits: retransmits.map_or(String::from("-"), |n| format!("{}{n}", mark(divided))),
            rtt: rtt.map_or(String::from("-"), |Percentiles { p50, p95, .. }| {
                format!("{}/{}", duration(p50), duration(p95))
            }),
        }
    }
}

fn is_estimated(edge: &Edge) -> bool {
    let sides = [&edge.client_counters, &edge.server_counters];
    edge.interval.is_some() || sides.into_iter().flatten().any(|side| side.apportioned)
}

/// `client -> server`; a short name leaves its room to the other one.
fn path(client: &str, server: &str) -> String {
    const ROOM: usize = PATH - 5;
    let shown_client = Shown(client).to_string().chars().count();
    let shown_server = Shown(server).to_string().chars().count();
    let client_room = (ROOM / 2).max(ROOM.saturating_sub(shown_server));
    let client = shorten(client, client_room.min(shown_client.max(1)));
    let server = shorten(server, ROOM.saturating_sub(client.chars().count()));
    format!("{client} -> {server}")
}

/// `999`, `1.2K`, `34M`.
fn size(bytes: u64) -> String {
    scaled(bytes, 1024, &["", "K", "M", "G", "T", "P", "E"])
}

/// `250us`, `1.2ms`, `34s`.
fn duration(us: Option<u64>) -> String {
    us.map_or(String::from("-"), |us| {
        scaled(us, 1000, &["us", "ms", "s", "ks", "Ms", "Gs", "Ts"])
    })
}

fn scaled(value: u64, base: u64, units: &[&str]) -> String {
    let (mut scale, mut unit) = (1_u64, 0);
    while unit + 1 < units.len() && value / scale >= base {
        scale = scale.saturating_mul(base);
        unit += 1;
    }
    let tenths = u128::from(value) * 10 / u128::from(scale);
    if unit > 0 && tenths < 100 {
        format!("{}.{}{}", tenths / 10, tenths % 10, units[unit])
    } else {
        format!("{}{}", tenths / 10, units[unit])
    }
}

#[cfg(test)]
mod tests;

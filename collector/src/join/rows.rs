//! Rows and links: what one service saw of one counterpart, and which rows belong together.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Endpoint, Role};

use super::counters::{Counters, ESTABLISHED};
use super::token::Connection;
use super::{HostId, Input, Process};
use crate::topology::{Seer, Via, ViaKind};

/// Name of a process whose identity has not arrived.
const UNKNOWN_SERVICE: &str = "(unknown)";
/// Highest sampling level that is believed; a 64-bit token has no more bits to sample by.
const MAX_LEVEL: u8 = 40;
/// Most addresses kept as `via` per link: behind one service there may be many gateways.
pub(super) const MAX_VIA: usize = 64;

/// A node: a service on a host.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NodeKey {
    pub(super) host: HostId,
    pub(super) service: String,
}

/// What makes a row: all its flows, of whichever process or agent run, lead to the same edges.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowKey {
    pub(super) node: NodeKey,
    pub(super) role: Role,
    pub(super) netns: u32,
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
}

/// One side's view, summed over its flows.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) key: RowKey,
    pub(super) counters: Option<Counters>,
    /// Connections open at the begin of the window.
    open_before: u64,
    pub(super) seen_ms: (i64, i64),
    /// Tokens of this row that only this end has reported.
    pub(super) halves: u64,
    /// True once a link leads to it.
    pub(super) linked: bool,
    /// Connections that no link accounts for yet.
    pub(super) rest: u64,
}

/// All rows, and the row of each flow.
pub(super) struct Rows {
    pub(super) all: Vec<Row>,
    of_flow: Vec<usize>,
}

impl Rows {
    pub(super) fn collect(input: &Input) -> Self {
        let keys: Vec<RowKey> = (0..input.flows.len())
            .map(|flow| key(input, flow))
            .collect();
        let distinct: BTreeSet<&RowKey> = keys.iter().collect();
        let index: BTreeMap<&RowKey, usize> = distinct.into_iter().zip(0..).collect();
        let of_flow: Vec<usize> = keys.iter().map(|key| index[key]).collect();
        let mut all: Vec<Row> = index.keys().map(|key| Row::new((*key).clone())).collect();
        for (flow, row) in input.flows.iter().zip(&of_flow) {
            let row = &mut all[*row];
            if let Some(counters) = &flow.counters {
                row.counters
                    .get_or_insert_with(Counters::default)
                    .add(counters);
            }
            row.open_before = row.open_before.saturating_add(flow.open_before);
            row.seen_ms.0 = row.seen_ms.0.min(flow.first_ms);
            row.seen_ms.1 = row.seen_ms.1.max(flow.last_ms);
        }
        for row in &mut all {
            row.rest = row.connections();
        }
        Self { all, of_flow }
    }

    pub(super) fn add_half(&mut self, flow: usize) {
        self.all[self.of_flow[flow]].halves += 1;
    }
}

impl Row {
    fn new(key: RowKey) -> Self {
        Self {
            key,
            counters: None,
            open_before: 0,
            seen_ms: (i64::MAX, i64::MIN),
            halves: 0,
            linked: false,
            rest: 0,
        }
    }

    /// Connections that lived in the window: open at its begin, opened in it, or at least one
    /// where only its traffic shows.
    pub(super) fn connections(&self) -> u64 {
        let Some(counters) = &self.counters else {
            return 0;
        };
        // Failed and refused attempts are not connections, and they too count segments.
        let active = ESTABLISHED.iter().any(|at| counters.plain[*at] > 0);
        let known = counters.opened().saturating_add(self.open_before);
        known.max(u64::from(active))
    }
}

fn key(input: &Input, flow: usize) -> RowKey {
    let flow = &input.flows[flow];
    RowKey {
        node: NodeKey {
            host: flow.host,
            service: service(flow.process.map(|at| &input.processes[at])).to_owned(),
        },
        role: flow.role,
        netns: flow.netns,
        local: flow.local,
        remote: flow.remote,
    }
}

/// The name of a process's node: its service, else what is known of it.
pub(super) fn service(process: Option<&Process>) -> &str {
    let Some(Process { row, .. }) = process else {
        return UNKNOWN_SERVICE;
    };
    [&row.service, &row.exe, &row.comm]
        .into_iter()
        .find(|name| !name.is_empty())
        .map_or(UNKNOWN_SERVICE, String::as_str)
}

/// What joins a client's row to a server's row.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// Joined connections, each once.
    pub(super) tokens: u64,
    /// What those in the sampled part stand for.
    weighted: u64,
    /// The coarsest level at which its tokens were sampled.
    level: u8,
    /// Connections without a token that both rows have left over.
    extra: u64,
    /// Connections joined because both sides name the same addresses.
    pub(super) addresses: u64,
    pub(super) via: BTreeSet<Via>,
    /// Begin and end of all reports of its tokens.
    pub(super) seen_ms: Option<(i64, i64)>,
}

impl Link {
    /// True when not every token was kept.
    pub(super) fn sampled(&self) -> bool {
        self.level > 0
    }

    /// Connections by token evidence: exact when nothing was sampled.
    pub(super) fn estimate(&self) -> u64 {
        self.tokens.max(self.weighted)
    }

    /// Share of its rows.
    pub(super) fn weight(&self) -> u64 {
        self.estimate()
            .saturating_add(self.extra)
            .saturating_add(self.addresses)
    }
}

/// Links by client row and server row.
#[derive(Default)]
pub(super) struct Links {
    pub(super) all: BTreeMap<(usize, usize), Link>,
}

impl Links {
    pub(super) fn add_connection(&mut self, rows: &Rows, connection: Connection) {
        let pair = (
            rows.of_flow[connection.client.0],
            rows.of_flow[connection.server.0],
        );
        let link = self.all.entry(pair).or_default();
        link.tokens += 1;
        let level = connection.level.min(MAX_LEVEL);
        link.level = link.level.max(level);
        if connection.sampled {
            link.weighted = link.weighted.saturating_add(1 << level);
        }
        let seen = link.seen_ms.get_or_insert(connection.seen_ms);
        seen.0 = seen.0.min(connection.seen_ms.0);
        seen.1 = seen.1.max(connection.seen_ms.1);
        for via in via(&connection) {
            if link.via.len() < MAX_VIA {
                link.via.insert(via);
            }
        }
    }

    /// Gives connections without a token to linked rows that both have some left over.
    ///
    /// Such connections are older than an agent, or their option was stripped, or their tokens
    /// were not among the sampled ones.
    pub(super) fn match_rest(&mut self, rows: &mut Rows) {
        let mut levels: BTreeMap<usize, u8> = BTreeMap::new();
        let mut order = Vec::new();
        for (pair, link) in &mut self.all {
            link.cap(
                rows.all[pair.0].connections(),
                rows.all[pair.1].connections(),
            );
            for row in [pair.0, pair.1] {
                let level = levels.entry(row).or_default();
                *level = link.level.max(*level);
                let row = &mut rows.all[row];
                row.linked = true;
                row.rest = row.rest.saturating_sub(link.estimate());
            }
            order.push((std::cmp::Reverse(link.estimate()), *pair));
        }
        order.sort_unstable();
        for (_, (client, server)) in order {
            let both = rows.all[client].rest.min(rows.all[server].rest);
            rows.all[client].rest -= both;
            rows.all[server].rest -= both;
            if let Some(link) = self.all.get_mut(&(client, server)) {
                link.extra = both;
            }
        }
        for (row, level) in levels {
            let row = &mut rows.all[row];
            if row.rest <= noise(row.connections(), level) {
                row.rest = 0;
            }
        }
    }
}

impl Link {
    /// An estimate from samples is no more than what either side counted, where it counted.
    fn cap(&mut self, client: u64, server: u64) {
        if self.sampled() {
            for counted in [client, server].into_iter().filter(|n| *n > 0) {
                self.weighted = self.weighted.min(counted);
            }
        }
    }
}

/// How far an estimate of `connections` from one in `2^level` tokens may be off by chance: four
/// standard deviations of a binomial distribution; nothing without sampling.
fn noise(connections: u64, level: u8) -> u64 {
    if level == 0 {
        return 0;
    }
    let variance = u128::from(connections) << level;
    u64::try_from(4 * variance.isqrt()).unwrap_or(u64::MAX)
}

/// The addresses that one side saw where the other side has another one.
fn via(connection: &Connection) -> impl Iterator<Item = Via> {
    let (client, server) = (&connection.client.1, &connection.server.1);
    let vip = (client.remote != server.local).then(|| Via {
        seen_by: Seer::Client,
        kind: ViaKind::Vip,
        address: client.remote.to_string(),
    });
    let nat = (server.remote.ip() != client.local.ip()).then(|| Via {
        seen_by: Seer::Server,
        kind: ViaKind::Nat,
        address: server.remote.ip().to_string(),
    });
    vip.into_iter().chain(nat)
}

//! Rows and links: what one service saw of one counterpart, and which rows belong together.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use wire::{Endpoint, Role};

use super::counters::{Counters, ESTABLISHED};
use super::token::{Connection, Pairing};
use super::{HostId, Input, Process, cost};
use crate::meter::{Exceeded, Meter};
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

/// Number of a node, in the order of their keys.
pub(super) type NodeId = u32;

/// What makes a row: all its flows, of whichever process or agent run, lead to the same edges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowKey {
    /// The host of the node.
    pub(super) host: HostId,
    pub(super) node: NodeId,
    pub(super) role: Role,
    pub(super) netns: u32,
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
}

/// One side's view, summed over its flows.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) key: RowKey,
    pub(super) counters: Option<Box<Counters>>,
    /// Connections open at the begin of the window.
    open_before: u64,
    pub(super) seen_ms: (i64, i64),
    /// Tokens of this row that only this end has reported.
    pub(super) halves: u64,
    /// The same for sequence numbers.
    pub(super) sequence_halves: u64,
    /// Some of its tokens or sequence numbers are ambiguous.
    pub(super) ambiguous: bool,
    /// Others claim the same addresses, so that they decide nothing.
    pub(super) shared: bool,
    /// A gateway says that it translated it.
    pub(super) translated: bool,
    /// True once a link leads to it.
    pub(super) linked: bool,
    /// Connections that no link accounts for yet.
    pub(super) rest: u64,
}

/// All rows, and the row of each flow.
pub(super) struct Rows {
    pub(super) all: Vec<Row>,
    /// By their numbers.
    pub(super) nodes: Vec<NodeKey>,
    of_flow: Vec<u32>,
}

impl Rows {
    /// Takes the counters out of the flows.
    pub(super) fn collect(input: &mut Input) -> Self {
        let (nodes, of_process) = nodes(input);
        let key = |at: &u32| {
            let flow = &input.flows[*at as usize];
            let node = of_process(flow.host, flow.process);
            RowKey {
                host: flow.host,
                node,
                role: flow.role,
                netns: flow.netns,
                local: flow.local,
                remote: flow.remote,
            }
        };
        let mut keys: Vec<(RowKey, u32)> = (0..)
            .take(input.flows.len())
            .map(|at| (key(&at), at))
            .collect();
        keys.sort_unstable();
        let mut all: Vec<Row> = Vec::with_capacity(keys.chunk_by(|a, b| a.0 == b.0).count());
        let mut of_flow = vec![0; keys.len()];
        for of_row in keys.chunk_by(|a, b| a.0 == b.0) {
            let mut row = Row::new(of_row[0].0);
            let at = u32::try_from(all.len()).expect("no more rows than flows");
            for (_, flow) in of_row {
                of_flow[*flow as usize] = at;
                let flow = &mut input.flows[*flow as usize];
                row.open_before = row.open_before.saturating_add(flow.open_before);
                row.seen_ms.0 = row.seen_ms.0.min(flow.first_ms);
                row.seen_ms.1 = row.seen_ms.1.max(flow.last_ms);
                match (&mut row.counters, flow.counters.take()) {
                    (Some(sum), Some(counters)) => sum.add(&counters),
                    (sum @ None, Some(counters)) => *sum = Some(counters),
                    (_, None) => {}
                }
            }
            row.rest = row.connections();
            all.push(row);
        }
        Self {
            all,
            nodes,
            of_flow,
        }
    }

    /// The row of a flow.
    fn of_flow(&self, flow: usize) -> usize {
        self.of_flow[flow] as usize
    }

    /// Whether exactly one network namespace of one host has these rows.
    pub(super) fn of_one_namespace(&self, rows: &[usize]) -> bool {
        let namespace = |at: &usize| (self.all[*at].key.host, self.all[*at].key.netns);
        let mut all = rows.iter().map(namespace);
        all.next()
            .is_some_and(|first| all.all(|other| other == first))
    }

    /// Takes connections from what no link accounts for.
    pub(super) fn take(&mut self, row: usize, connections: u64) {
        let row = &mut self.all[row];
        row.rest = row.rest.saturating_sub(connections);
    }

    /// What pairing left over.
    pub(super) fn add_left_over(&mut self, tokens: &Pairing, sequences: &Pairing) {
        for flow in &tokens.halves {
            let row = self.of_flow(*flow);
            self.all[row].halves += 1;
        }
        for flow in &sequences.halves {
            let row = self.of_flow(*flow);
            self.all[row].sequence_halves += 1;
        }
        for flow in tokens
            .ambiguous_flows
            .iter()
            .chain(&sequences.ambiguous_flows)
        {
            let row = self.of_flow(*flow);
            self.all[row].ambiguous = true;
        }
    }
}

impl Row {
    /// Whether its addresses are known: where an agent's table was full, it counts without them.
    pub(super) fn named(&self) -> bool {
        !self.key.local.ip().is_unspecified() && !self.key.remote.ip().is_unspecified()
    }

    fn new(key: RowKey) -> Self {
        Self {
            key,
            counters: None,
            open_before: 0,
            seen_ms: (i64::MAX, i64::MIN),
            halves: 0,
            sequence_halves: 0,
            ambiguous: false,
            shared: false,
            translated: false,
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

/// All nodes in order, and what finds the number of a process's.
fn nodes(
    input: &Input,
) -> (
    Vec<NodeKey>,
    impl Fn(HostId, Option<usize>) -> NodeId + use<>,
) {
    let mut owners: Vec<(HostId, Option<usize>)> = input
        .flows
        .iter()
        .map(|flow| (flow.host, flow.process))
        .collect();
    owners.sort_unstable();
    owners.dedup();
    let node = |owner: &(HostId, Option<usize>)| {
        let process = owner.1.map(|at| &input.processes[at]);
        (owner.0, service(process))
    };
    let mut order: Vec<usize> = (0..owners.len()).collect();
    order.sort_by_key(|at| node(&owners[*at]));
    let mut nodes: Vec<NodeKey> = Vec::new();
    let mut numbers: Vec<NodeId> = vec![0; owners.len()];
    for at in order {
        let (host, service) = node(&owners[at]);
        let same = |last: &NodeKey| last.host == host && last.service == service;
        if !nodes.last().is_some_and(same) {
            nodes.push(NodeKey {
                host,
                service: service.to_owned(),
            });
        }
        numbers[at] = NodeId::try_from(nodes.len() - 1).expect("no more nodes than flows");
    }
    let find = move |host, process| {
        let at = owners.binary_search(&(host, process));
        at.map_or(0, |at| numbers[at])
    };
    (nodes, find)
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

/// Connections joined by one kind of evidence, some of which stand for others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Joined {
    /// Each once.
    pub(super) number: u64,
    /// What those in the sampled part stand for.
    weighted: u64,
    /// The coarsest level at which they were sampled.
    level: u8,
}

impl Joined {
    fn add(&mut self, connection: &Connection) {
        self.number += 1;
        let level = connection.level.min(MAX_LEVEL);
        self.level = self.level.max(level);
        if connection.sampled {
            self.weighted = self.weighted.saturating_add(1 << level);
        }
    }

    /// Exact when nothing was sampled.
    pub(super) fn estimate(&self) -> u64 {
        self.number.max(self.weighted)
    }

    /// An estimate from samples is no more than what either side counted, where it counted.
    fn cap(&mut self, counted: [u64; 2]) {
        if self.level > 0 {
            for counted in counted.into_iter().filter(|n| *n > 0) {
                self.weighted = self.weighted.min(counted);
            }
        }
    }
}

/// What joins a client's row to a server's row.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// By tokens.
    pub(super) tokens: Joined,
    /// By sequence numbers and not by tokens.
    pub(super) sequences: Joined,
    /// Connections that sequence numbers account for beside tokens.
    by_sequence: u64,
    /// Connections that a gateway translated from one side's addresses to the other's.
    pub(super) conntrack: u64,
    /// Connections without any of these that both rows have left over.
    extra: u64,
    /// Connections joined because both sides name the same addresses.
    pub(super) addresses: u64,
    pub(super) via: BTreeSet<Via>,
    /// Begin and end of all reports of its tokens and sequence numbers.
    pub(super) seen_ms: Option<(i64, i64)>,
}

impl Link {
    /// True when not everything was kept that it rests on.
    pub(super) fn sampled(&self) -> bool {
        self.tokens.level > 0 || self.sequences.level > 0
    }

    /// Connections by token and sequence evidence: exact when nothing was sampled.
    pub(super) fn estimate(&self) -> u64 {
        self.tokens.estimate().saturating_add(self.by_sequence)
    }

    /// Share of its rows.
    pub(super) fn weight(&self) -> u64 {
        self.estimate()
            .saturating_add(self.conntrack)
            .saturating_add(self.extra)
            .saturating_add(self.addresses)
    }

    /// Adds addresses on the way, as many as there is room for; the number that was added.
    pub(super) fn add_via(&mut self, vias: impl IntoIterator<Item = Via>) -> usize {
        let before = self.via.len();
        for via in vias {
            if self.via.len() < MAX_VIA {
                self.via.insert(via);
            }
        }
        self.via.len() - before
    }
}

/// Links by client row and server row.
pub(super) struct Links {
    pub(super) all: BTreeMap<(usize, usize), Link>,
    meter: Meter,
    exceeded: Option<Exceeded>,
}

impl Links {
    /// None yet, and so much memory for them.
    pub(super) fn new(meter: Meter) -> Self {
        Self {
            all: BTreeMap::new(),
            meter,
            exceeded: None,
        }
    }

    /// The link of a pair, with more addresses on its way; nothing once there is no memory.
    pub(super) fn entry(
        &mut self,
        pair: (usize, usize),
        via: impl IntoIterator<Item = Via>,
    ) -> Option<&mut Link> {
        if self.exceeded.is_some() {
            return None;
        }
        let mut bytes = 0;
        let link = self.all.entry(pair).or_insert_with(|| {
            bytes = cost::LINK;
            Link::default()
        });
        bytes += link.add_via(via) * cost::VIA;
        self.exceeded = self.meter.bytes(bytes).err();
        Some(link)
    }

    /// What is left of the memory.
    ///
    /// # Errors
    /// There was not enough.
    pub(super) fn check(&self) -> Result<Meter, Exceeded> {
        self.exceeded.map_or(Ok(self.meter), Err)
    }

    /// Adds what was joined by tokens.
    pub(super) fn add_tokens(&mut self, input: &Input, rows: &Rows, connections: &[Connection]) {
        for connection in connections {
            if let Some(link) = self.link(input, rows, connection) {
                link.tokens.add(connection);
            }
        }
    }

    /// Adds what was joined by sequence numbers and not by tokens.
    pub(super) fn add_sequences(&mut self, input: &Input, rows: &Rows, connections: &[Connection]) {
        for connection in connections {
            if let Some(link) = self.link(input, rows, connection) {
                link.sequences.add(connection);
            }
        }
    }

    fn link(&mut self, input: &Input, rows: &Rows, connection: &Connection) -> Option<&mut Link> {
        let ends = [connection.client, connection.server];
        let [client, server] = ends.map(|(flow, end)| end.addresses(&input.flows[flow]));
        let pair = (rows.of_flow(ends[0].0), rows.of_flow(ends[1].0));
        let link = self.entry(pair, via(client, server))?;
        let seen = link.seen_ms.get_or_insert(connection.seen_ms);
        seen.0 = seen.0.min(connection.seen_ms.0);
        seen.1 = seen.1.max(connection.seen_ms.1);
        Some(link)
    }

    /// Takes from the rows what tokens and sequence numbers account for.
    pub(super) fn account(&mut self, rows: &mut Rows) {
        for (pair, link) in &mut self.all {
            let counted = [pair.0, pair.1].map(|row| rows.all[row].connections());
            link.tokens.cap(counted);
            link.sequences.cap(counted);
            for row in [pair.0, pair.1] {
                rows.all[row].linked = true;
                rows.take(row, link.tokens.estimate());
            }
        }
        for (pair, link) in &mut self.all {
            // Where tokens were sampled, some of what they stand for was joined by sequence
            // numbers as well: these account for what is left. Else no connection is in both.
            let exact = link.tokens.number == 0 || link.tokens.level == 0;
            let sure = if exact { link.sequences.number } else { 0 };
            let counting = [pair.0, pair.1].map(|row| &rows.all[row]);
            let left = counting.iter().filter(|row| row.connections() > 0);
            let left = left.map(|row| row.rest).min().unwrap_or(u64::MAX);
            link.by_sequence = link.sequences.estimate().min(left).max(sure);
            for row in [pair.0, pair.1] {
                rows.take(row, link.by_sequence);
            }
        }
    }

    /// Gives connections without evidence of their own to linked rows that both have some left
    /// over.
    ///
    /// Such connections are older than an agent, or their option was stripped, or their tokens
    /// were not among the sampled ones.
    pub(super) fn match_rest(&mut self, rows: &mut Rows) {
        let mut levels: BTreeMap<usize, u8> = BTreeMap::new();
        let mut order = Vec::new();
        for (pair, link) in &self.all {
            for row in [pair.0, pair.1] {
                let level = levels.entry(row).or_default();
                *level = link.tokens.level.max(link.sequences.level).max(*level);
            }
            if link.estimate() > 0 {
                order.push((Reverse(link.estimate()), *pair));
            }
        }
        order.sort_unstable();
        for (_, (client, server)) in order {
            let both = rows.all[client].rest.min(rows.all[server].rest);
            rows.take(client, both);
            rows.take(server, both);
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

/// How far an estimate of `connections` from one in `2^level` tokens may be off by chance: four
/// standard deviations of a binomial distribution; nothing without sampling.
fn noise(connections: u64, level: u8) -> u64 {
    if level == 0 {
        return 0;
    }
    let variance = u128::from(connections) << level;
    u64::try_from(4 * variance.isqrt()).unwrap_or(u64::MAX)
}

/// The addresses that one side saw where the other side has another one; of each its local and its
/// remote endpoint.
pub(super) fn via(
    client: (Endpoint, Endpoint),
    server: (Endpoint, Endpoint),
) -> impl Iterator<Item = Via> {
    let vip = (client.1 != server.0).then(|| Via {
        seen_by: Seer::Client,
        kind: ViaKind::Vip,
        address: client.1.to_string(),
    });
    let nat = (server.1.ip() != client.0.ip()).then(|| Via {
        seen_by: Seer::Server,
        kind: ViaKind::Nat,
        address: server.1.ip().to_string(),
    });
    vip.into_iter().chain(nat)
}

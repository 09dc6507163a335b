//! Rows: what one service saw of one counterpart.

use std::collections::BTreeSet;

use wire::{Columns, Endpoint, Role};

use super::input::{Flow, HostId, Input, Process};
use super::runs::{self, RunCounts};
use crate::counters::{ADOPTED, CLOSED, ESTABLISHED, OPENED};
use crate::packed::Packed;

/// Name of a process whose identity has not arrived.
pub(crate) const UNKNOWN_SERVICE: &str = "(unknown)";
/// Most services that are named as the possible other end of a row.
pub(super) const MAX_CANDIDATES: usize = 16;

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
    pub(super) counters: Option<Packed>,
    /// Connections that nobody saw being opened in the window, each once.
    pub(super) open_before: u64,
    /// Connections open at the end of the window.
    pub(super) open: u64,
    pub(super) seen_ms: (i64, i64),
    /// Connections that only this end has told.
    pub(super) half_ends: u64,
    /// Those of them with a token, and those with sequence numbers.
    pub(super) halves: u64,
    pub(super) sequence_halves: u64,
    /// Some of its tokens or sequence numbers are ambiguous.
    pub(super) ambiguous: bool,
    /// Others claim the same addresses, so that they decide nothing.
    pub(super) shared: bool,
    /// Who may be the other end of what is left, where that is not certain.
    pub(super) candidates: BTreeSet<NodeId>,
    /// Its agent came in the window, and may have missed connections.
    pub(super) late: bool,
    /// A gateway tells what it made of it.
    pub(super) tracked: bool,
    /// A gateway says that it translated it, and nobody behind reports it.
    pub(super) translated: bool,
    /// True once a link leads to it.
    pub(super) linked: bool,
    /// Connections that no link accounts for yet.
    pub(super) rest: u64,
    /// Connections that the other sides of its links count in another window.
    apart: u64,
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
    pub(super) fn collect(input: &mut Input, from_ms: i64) -> Self {
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
            let mut runs: Vec<RunCounts> = Vec::new();
            for (_, flow) in of_row {
                of_flow[*flow as usize] = at;
                let flow = &mut input.flows[*flow as usize];
                runs.push(seen(flow));
                row.seen_ms.0 = row.seen_ms.0.min(flow.first_ms);
                row.seen_ms.1 = row.seen_ms.1.max(flow.last_ms);
                let counted = flow.counters.take();
                match (&mut row.counters, counted) {
                    (Some(sum), Some(counters)) => sum.add(&counters),
                    (sum @ None, Some(counters)) => *sum = Some(counters),
                    (_, None) => {}
                }
            }
            row.add_up(&mut runs);
            row.rest = row.connections();
            all.push(row);
        }
        // They are in the order of their hosts.
        for of_host in all.chunk_by_mut(|a, b| a.key.host == b.key.host) {
            let since_ms = of_host.iter().map(|row| row.seen_ms.0).min();
            let late = since_ms.is_some_and(|since_ms| since_ms > from_ms);
            of_host.iter_mut().for_each(|row| row.late = late);
        }
        Self {
            all,
            nodes,
            of_flow,
        }
    }

    /// Bytes of what all of them counted.
    pub(super) fn counted_bytes(&self) -> usize {
        let counted = self.all.iter().filter_map(|row| row.counters.as_ref());
        counted.map(|counters| counters.heap() + 24).sum()
    }

    /// The row of a flow.
    pub(super) fn of_flow(&self, flow: usize) -> usize {
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

    /// Takes connections that the other side counts in another window.
    pub(super) fn set_apart(&mut self, row: usize, connections: u64) {
        self.take(row, connections);
        let row = &mut self.all[row];
        row.apart = row.apart.saturating_add(connections);
    }

    /// Some of what its ends told is ambiguous.
    pub(super) fn set_ambiguous(&mut self, flow: usize) {
        let row = self.of_flow(flow);
        self.all[row].ambiguous = true;
    }

    /// Notes that what is left of these rows may be with each other, or with somebody else.
    pub(super) fn add_candidate(&mut self, a: usize, b: usize) {
        for (row, other) in [(a, b), (b, a)] {
            let node = self.all[other].key.node;
            let known = &mut self.all[row].candidates;
            if known.len() < MAX_CANDIDATES {
                known.insert(node);
            }
        }
    }
}

impl Row {
    /// Whether nobody knows which side of its connections this is.
    pub(super) fn is_directionless(&self) -> bool {
        let counters = self.counters.as_ref();
        counters.is_some_and(|counters| counters.absent().has(Columns::ROLE))
    }

    /// Whether its addresses say to what it belongs: where an agent's table was full it counts
    /// without them, and without a direction they say nothing.
    pub(super) fn named(&self) -> bool {
        !self.is_directionless()
            && !self.key.local.ip().is_unspecified()
            && !self.key.remote.ip().is_unspecified()
    }

    fn new(key: RowKey) -> Self {
        Self {
            key,
            counters: None,
            open_before: 0,
            open: 0,
            seen_ms: (i64::MAX, i64::MIN),
            half_ends: 0,
            halves: 0,
            sequence_halves: 0,
            ambiguous: false,
            shared: false,
            candidates: BTreeSet::new(),
            late: false,
            tracked: false,
            translated: false,
            linked: false,
            rest: 0,
            apart: 0,
        }
    }

    /// Connections that it counted and the other sides of its links as well; `None` where it did not
    /// count, or only tokens show them.
    pub(super) fn counted(&self) -> Option<u64> {
        let all = Some(self.connections()).filter(|n| *n > 0)?;
        Some(all.saturating_sub(self.apart))
    }

    /// Counts what each run of the agent found open once.
    fn add_up(&mut self, runs: &mut [RunCounts]) {
        let sum = runs::sum(runs);
        (self.open_before, self.open) = (sum.found, sum.open);
        if let Some(counters) = &mut self.counters {
            counters.adopt_at_most(sum.found);
        }
    }

    /// Connections that lived in the window: open at its begin or found later, opened in it, or at
    /// least one where only its traffic shows.
    pub(super) fn connections(&self) -> u64 {
        let Some(counters) = &self.counters else {
            return 0;
        };
        // Failed and refused attempts are not connections, and they too count segments.
        let active = ESTABLISHED.iter().any(|at| counters.plain(*at) > 0);
        let known = counters.opened().saturating_add(self.open_before);
        known.max(u64::from(active))
    }
}

/// What a flow's run saw of its row.
fn seen(flow: &Flow) -> RunCounts {
    let counted = |at: usize| flow.counters.as_ref().map_or(0, |all| all.plain(at));
    RunCounts {
        run: flow.run,
        found: flow.open_before.saturating_add(counted(ADOPTED)),
        opened: counted(OPENED),
        closed: counted(CLOSED),
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

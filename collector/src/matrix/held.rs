//! A matrix that is held against edges, one by one.

use std::borrow::Cow;
use std::collections::HashMap;

use super::flow::{Action, Flow, Protocol};
use super::report::{EdgeState, Why};
use super::seen::{Line, SeenNode};
use super::tri::Known;

/// A matrix, ready to be held against edges.
#[derive(Clone, Debug)]
pub struct Held<'f> {
    flows: Cow<'f, [Flow]>,
    by_port: ByPort,
}

/// What a matrix says of one edge, whatever its confidence is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// What it is.
    pub state: EdgeState,
    /// Why, where that is not plain.
    pub why: Vec<Why>,
    /// Places of the flows that say so; of those that allow it the one that does for longest first.
    pub flows: Vec<usize>,
}

impl<'f> Held<'f> {
    /// These flows.
    #[must_use]
    pub fn of(flows: impl Into<Cow<'f, [Flow]>>) -> Self {
        let flows = flows.into();
        let by_port = ByPort::of(&flows);
        Self { flows, by_port }
    }

    /// Its flows, in their order.
    #[must_use]
    pub fn flows(&self) -> &[Flow] {
        &self.flows
    }

    /// Whether a flow names an address or a network, so that it matters which ones services have.
    #[must_use]
    pub fn names_addresses(&self) -> bool {
        let named = |flow: &Flow| flow.source.has_network() || flow.destination.has_network();
        self.flows.iter().any(named)
    }

    /// What an edge between these nodes is at a time, Unix milliseconds.
    #[must_use]
    pub fn edge(&self, line: &Line, nodes: &[SeenNode], now_ms: i64) -> Decided {
        self.decide(line, nodes, now_ms, |_, _| {})
    }

    /// The same; `note` is told whether each flow that it can be means it.
    pub(super) fn decide(
        &self,
        line: &Line,
        nodes: &[SeenNode],
        now_ms: i64,
        mut note: impl FnMut(usize, Known),
    ) -> Decided {
        // By what a flow of each kind says.
        let (mut denied, mut allowed, mut expired) = (Vec::new(), Vec::new(), Vec::new());
        let mut maybe = Vec::new();
        let mut maybe_allowed = false;
        for at in self.by_port.of_line(line) {
            let flow = &self.flows[at];
            let means = means(flow, line, nodes);
            note(at, means);
            let live = !flow.is_expired(line.told.last_seen_ms.min(now_ms));
            match (means, flow.action) {
                (Known::No, _) => {}
                (Known::Unknown, Action::Allow) if !live => {}
                (Known::Unknown, action) => {
                    maybe.push(at);
                    maybe_allowed |= action == Action::Allow;
                }
                (Known::Yes, Action::Deny) if live => denied.push(at),
                (Known::Yes, Action::Deny) => {}
                (Known::Yes, Action::Allow) if live => allowed.push(at),
                (Known::Yes, Action::Allow) => expired.push(at),
            }
        }
        let ends = |at: &usize| self.flows[*at].valid_until_ms.unwrap_or(i64::MAX);
        allowed.sort_by_key(|at| std::cmp::Reverse(ends(at)));
        let was_allowed = !expired.is_empty();
        let (state, flows) = if !denied.is_empty() {
            (EdgeState::Violating, denied)
        } else if !allowed.is_empty() {
            (EdgeState::Declared, allowed)
        } else if maybe_allowed {
            (EdgeState::Undecided, maybe)
        } else if was_allowed {
            (EdgeState::Violating, expired)
        } else if !maybe.is_empty() {
            (EdgeState::Undecided, maybe)
        } else {
            (EdgeState::Undeclared, Vec::new())
        };
        let why = match state {
            EdgeState::Undecided => vec![Why::UnknownEnd],
            EdgeState::Violating if was_allowed => vec![Why::UsedAfterEnd],
            _ => Vec::new(),
        };
        Decided { state, why, flows }
    }
}

/// Flows by the ports that they name, and those that name none or ranges.
#[derive(Clone, Debug)]
struct ByPort {
    single: HashMap<u16, Vec<usize>>,
    others: Vec<usize>,
}

impl ByPort {
    fn of(flows: &[Flow]) -> Self {
        let mut by_port = Self {
            single: HashMap::new(),
            others: Vec::new(),
        };
        for (at, flow) in flows.iter().enumerate() {
            match flow.ports.single() {
                Some(ports) => {
                    for port in ports {
                        by_port.single.entry(port).or_default().push(at);
                    }
                }
                None => by_port.others.push(at),
            }
        }
        by_port
    }

    /// The flows that an edge can be, in their order.
    fn of_line(&self, line: &Line) -> Vec<usize> {
        let mut flows = self.others.clone();
        if line.called.is_empty() || !line.tried.is_empty() {
            flows.extend(self.single.values().flatten());
        } else {
            let ports = line.called.iter().map(|at| at.port());
            flows.extend(ports.filter_map(|port| self.single.get(&port)).flatten());
        }
        flows.sort_unstable();
        flows.dedup();
        flows
    }
}

/// Whether a flow means an edge.
fn means(flow: &Flow, line: &Line, nodes: &[SeenNode]) -> Known {
    if flow.protocol != Protocol::Tcp {
        return Known::No;
    }
    let [client, server] = line.ends.map(|at| &nodes[at]);
    let source = flow
        .source
        .means(client.end(line.unknown[0]), &client.addresses, &line.nat);
    if source == Known::No {
        return Known::No;
    }
    let end = server.end(line.unknown[1]);
    let destination = if line.tried.is_empty() && line.called.is_empty() {
        Known::Unknown.and(flow.destination.means(end, &server.addresses, &[]))
    } else if line.tried.is_empty() {
        let called = line.called.iter().map(|at| {
            let means = flow.destination.means(end, &[at.ip()], &[]);
            Known::of(flow.ports.has(at.port())).and(means)
        });
        called.fold(Known::No, Known::or)
    } else {
        let means = flow.destination.means(end, &server.addresses, &[]);
        tried(flow, line).and(means)
    };
    source.and(destination)
}

/// Whether the ports that were tried are those of a flow.
fn tried(flow: &Flow, line: &Line) -> Known {
    let covered: Vec<_> = line
        .tried
        .iter()
        .map(|range| flow.ports.cover(*range))
        .collect();
    if covered.iter().all(|(all, _)| *all) {
        Known::Yes
    } else if covered.iter().any(|(_, some)| *some) {
        Known::Unknown
    } else {
        Known::No
    }
}

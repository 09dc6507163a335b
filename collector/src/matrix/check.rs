//! Holds a matrix against what was seen. A function of both and the time.

use super::flow::{Action, Flow, Protocol};
use super::held::{Decided, Held};
use super::report::{EdgeState, EdgeVerdict, FlowVerdict, Report, SeenEdge, Summary, Verdict, Why};
use super::seen::{Line, Seen};
use super::tri::Known;

/// Edges that are shown of a flow, and flows of an edge.
const SHOWN: usize = 5;

/// How a matrix is checked.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Edges of less confidence decide nothing alone.
    pub least_confidence: f64,
    /// Most edges that are told one by one.
    pub limit: usize,
    /// Unix milliseconds: what is expired.
    pub now_ms: i64,
}

/// What was found of a flow.
#[derive(Clone, Default)]
struct Found {
    edges: u64,
    confident: u64,
    undecided: u64,
    connections: u64,
    failed: u64,
    attempts_only: u64,
    first_ms: Option<i64>,
    last_ms: Option<i64>,
    seen: Vec<SeenEdge>,
}

/// Checks every flow and every edge. The window and what is missing of it are the caller's to fill
/// in.
#[must_use]
pub fn check(flows: &[Flow], seen: &Seen, bounds: Bounds) -> Report {
    let held = Held::of(flows);
    let mut found = vec![Found::default(); flows.len()];
    let mut summary = Summary::default();
    let mut edges = Vec::new();
    for line in &seen.edges {
        let verdict = of_edge(&held, (line, seen), &mut found, bounds);
        summary.edges += 1;
        *match verdict.state {
            EdgeState::Declared => &mut summary.edges_declared,
            EdgeState::Undeclared => &mut summary.edges_undeclared,
            EdgeState::Violating => &mut summary.edges_violating,
            EdgeState::Undecided => &mut summary.edges_undecided,
        } += 1;
        if verdict.state != EdgeState::Declared || !verdict.why.is_empty() {
            edges.push(verdict);
        }
    }
    edges.sort_by(|a, b| {
        let many = |one: &EdgeVerdict| one.edge.connections.max(one.edge.failed);
        let rank = (a.state, many(b)).cmp(&(b.state, many(a)));
        rank.then_with(|| a.edge.key.cmp(&b.edge.key))
    });
    let edges_left_out = edges.len().saturating_sub(bounds.limit) as u64;
    edges.truncate(bounds.limit);
    let flows = flows.iter().zip(found);
    let flows: Vec<_> = flows
        .map(|(flow, found)| of_flow(flow, found, seen, bounds))
        .collect();
    for flow in &flows {
        summary.flows += 1;
        *match flow.verdict {
            Verdict::Violated => &mut summary.violated,
            Verdict::Expired => &mut summary.expired,
            Verdict::Undecided => &mut summary.undecided,
            Verdict::NotObservable => &mut summary.not_observable,
            Verdict::Unused => &mut summary.unused,
            Verdict::Kept => &mut summary.kept,
            Verdict::Used => &mut summary.used,
        } += 1;
    }
    Report {
        least_confidence: bounds.least_confidence,
        summary,
        flows,
        edges,
        edges_left_out,
        ..Report::default()
    }
}

fn of_edge(
    held: &Held<'_>,
    (line, seen): (&Line, &Seen),
    found: &mut [Found],
    bounds: Bounds,
) -> EdgeVerdict {
    let confident = line.told.confidence >= bounds.least_confidence;
    let take = |at: usize, means| found[at].take(line, means, confident);
    let Decided {
        state,
        mut why,
        flows,
    } = held.decide(line, &seen.nodes, bounds.now_ms, take);
    let shown = match state {
        EdgeState::Declared => 0,
        _ => SHOWN,
    };
    let ids = flows.iter().take(shown);
    let ids = ids.map(|at| held.flows()[*at].id.clone()).collect();
    if !confident {
        why.push(Why::LowConfidence);
    }
    if line.only_attempts && state != EdgeState::Declared {
        why.push(Why::OnlyAttempts);
    }
    EdgeVerdict {
        state,
        why,
        edge: line.told.clone(),
        flows: ids,
    }
}

impl Found {
    fn take(&mut self, line: &Line, means: Known, confident: bool) {
        match means {
            Known::No => return,
            Known::Unknown => {
                self.undecided += 1;
                if self.edges > 0 {
                    return;
                }
            }
            Known::Yes => {
                if self.edges == 0 {
                    // What is it is better evidence than what may be it.
                    self.seen.clear();
                }
                self.edges += 1;
                self.confident += u64::from(confident);
                self.connections = self.connections.saturating_add(line.told.connections);
                self.failed = self.failed.saturating_add(line.told.failed);
                self.attempts_only += u64::from(line.only_attempts);
                let (first, last) = (line.told.first_seen_ms, line.told.last_seen_ms);
                self.first_ms = Some(self.first_ms.map_or(first, |known| known.min(first)));
                self.last_ms = Some(self.last_ms.map_or(last, |known| known.max(last)));
            }
        }
        self.seen.push(line.told.clone());
        if self.seen.len() > SHOWN {
            let least = |(_, edge): &(usize, &SeenEdge)| edge.connections.max(edge.failed);
            let at = self.seen.iter().enumerate().min_by_key(least);
            let at = at.map_or(0, |(at, _)| at);
            self.seen.swap_remove(at);
        }
    }
}

fn of_flow(flow: &Flow, mut found: Found, seen: &Seen, bounds: Bounds) -> FlowVerdict {
    let mut why = Vec::new();
    let is_expired = flow.is_expired(bounds.now_ms);
    let used_after = match (found.last_ms, flow.valid_until_ms) {
        (Some(last), Some(until)) => last > until,
        _ => false,
    };
    let verdict = if flow.protocol != Protocol::Tcp {
        why.push(Why::Protocol);
        Verdict::NotObservable
    } else if is_expired {
        if used_after {
            why.push(Why::UsedAfterEnd);
        }
        Verdict::Expired
    } else if found.edges > 0 {
        if found.attempts_only == found.edges {
            why.push(Why::OnlyAttempts);
        }
        match flow.action {
            Action::Allow => Verdict::Used,
            Action::Deny => Verdict::Violated,
        }
    } else if found.undecided > 0 {
        why.push(Why::UnknownEnd);
        Verdict::Undecided
    } else if !is_observed(flow, seen) {
        why.push(Why::NoAgent);
        Verdict::NotObservable
    } else {
        match flow.action {
            Action::Allow => Verdict::Unused,
            Action::Deny => Verdict::Kept,
        }
    };
    if found.edges > 0 && found.confident == 0 {
        why.push(Why::LowConfidence);
    }
    found
        .seen
        .sort_by_key(|edge| std::cmp::Reverse(edge.connections.max(edge.failed)));
    let text = &flow.text;
    let action = match flow.action {
        Action::Allow => "allow",
        Action::Deny => "deny",
    };
    FlowVerdict {
        id: flow.id.clone(),
        line: flow.line,
        source: text.source.clone(),
        destination: text.destination.clone(),
        port: text.port.clone(),
        action: String::from(action),
        owner: text.owner.clone(),
        valid_until: text.valid_until.clone(),
        comment: text.comment.clone(),
        verdict,
        why,
        edges: found.edges,
        edges_undecided: found.undecided,
        connections: found.connections,
        failed: found.failed,
        first_seen_ms: found.first_ms,
        last_seen_ms: found.last_ms,
        seen: found.seen,
    }
}

/// Whether somebody would have seen connections of a flow: an end of it is on a host that reports.
fn is_observed(flow: &Flow, seen: &Seen) -> bool {
    let nodes = seen.nodes.iter().filter(|node| node.process.is_some());
    let mut nodes = nodes.map(|node| (node.end(false), &node.addresses));
    let ends = [&flow.source, &flow.destination];
    nodes.any(|(end, own)| ends.iter().any(|one| one.is_seen_from(end, own)))
        || seen.hosts.iter().any(|host| {
            let on = |one: &&super::Selector| one.is_seen_from(host.end(), &host.addresses);
            ends.iter().any(on)
        })
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;

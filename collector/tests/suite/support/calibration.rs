//! What edges claim against what is true, over many histories.

use std::collections::BTreeMap;

use collector::counters::OPENED;
use collector::join::topology;
use collector::topology::{Edge, Interval, Topology};
use wire::Role;

use super::histories::{History, Shape, history};
use super::measure::key;

/// Edges of one tenth of confidence.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bin {
    pub(crate) edges: u64,
    /// Those that exist.
    pub(crate) right: u64,
    /// Sum of the confidence that they claim.
    pub(crate) claimed: f64,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Calibration {
    /// By tenths of confidence.
    pub(crate) bins: [Bin; 10],
    /// Edges of which both ends told every connection that both counted, and those that were found.
    pub(crate) told: (u64, u64),
    /// Edges that both ends counted, and those that were found.
    pub(crate) counted: (u64, u64),
    /// Edges that claim an exact number, and those whose number is at least that of the connections
    /// that both ends counted, and at most that of those that happened.
    pub(crate) exact: (u64, u64),
    /// Edges that both ends told whole and without samples, and those with the right number
    /// or interval.
    pub(crate) whole: (u64, u64),
    /// Edges that say an interval, and those whose interval holds the true number.
    pub(crate) intervals: (u64, u64),
    /// Sides, and those whose edges and rests add up to what they counted.
    pub(crate) sides: (u64, u64),
    /// Wrong edges, for whoever looks into them.
    pub(crate) wrong: Vec<(u64, String)>,
}

fn add(tally: &mut (u64, u64), right: bool) {
    tally.0 += 1;
    tally.1 += u64::from(right);
}

/// Looks at the histories of these seeds.
pub(crate) fn calibrate(shape: Shape, seeds: std::ops::Range<u64>) -> Calibration {
    let mut found = Calibration::default();
    for seed in seeds {
        let history = history(seed, shape);
        let (from_ms, to_ms) = history.window;
        let joined = topology(&history.input, from_ms, to_ms);
        found.add(seed, &history, &joined);
    }
    found
}

impl Calibration {
    /// Edges at or above this tenth that do not exist.
    pub(crate) fn wrong_from(&self, tenth: usize) -> u64 {
        let bins = self.bins[tenth..].iter();
        bins.map(|bin| bin.edges - bin.right).sum()
    }

    /// Adds what another one found.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.bins.iter_mut().zip(&other.bins) {
            mine.edges += theirs.edges;
            mine.right += theirs.right;
            mine.claimed += theirs.claimed;
        }
        for (mine, theirs) in [
            (&mut self.told, other.told),
            (&mut self.counted, other.counted),
            (&mut self.exact, other.exact),
            (&mut self.whole, other.whole),
            (&mut self.intervals, other.intervals),
            (&mut self.sides, other.sides),
        ] {
            mine.0 += theirs.0;
            mine.1 += theirs.1;
        }
        self.wrong.extend_from_slice(&other.wrong);
    }

    fn add(&mut self, seed: u64, history: &History, joined: &Topology) {
        let found: BTreeMap<_, &Edge> = joined.edges.iter().map(|e| (key(e), e)).collect();
        for (key, counted) in &history.counted {
            add(&mut self.counted, found.contains_key(key));
            if history.told.get(key) == Some(counted) {
                add(&mut self.told, found.contains_key(key));
            }
        }
        for (key, edge) in &found {
            let right = history.all.contains_key(key);
            let counted = history.counted.get(key).copied().unwrap_or(0);
            // A side may have missed some that did happen.
            let all = history.all.get(key).copied().unwrap_or(0);
            let possible = |n: u64| (counted..=all).contains(&n);
            let bin = &mut self.bins[tenth(edge.confidence)];
            bin.edges += 1;
            bin.right += u64::from(right);
            bin.claimed += edge.confidence;
            let holds = |interval: Interval| interval.low <= all && counted <= interval.high;
            if !right {
                let line = format!("{:.3} {} -> {}", edge.confidence, edge.client, edge.server);
                self.wrong.push((seed, line));
            } else if let Some(interval) = edge.interval {
                add(&mut self.intervals, holds(interval));
            } else {
                add(&mut self.exact, possible(edge.connections));
            }
            if history.told.get(key) == Some(&counted) && !edge.sampled {
                let right = possible(edge.connections) || edge.interval.is_some_and(holds);
                add(&mut self.whole, right);
            }
        }
        self.add_sides(history, joined);
    }

    fn add_sides(&mut self, history: &History, joined: &Topology) {
        let names: BTreeMap<_, _> = history.input.hosts.iter().cloned().collect();
        let mut counted: BTreeMap<(String, bool), u64> = BTreeMap::new();
        for flow in &history.input.flows {
            let process = flow
                .process
                .map(|at| &history.input.processes[at].row.service);
            let service = process.map_or("(unknown)", String::as_str);
            let node = format!("{}/{service}", names[&flow.host]);
            let opened = flow.counters.as_ref().map_or(0, |c| c.plain[OPENED]);
            *counted
                .entry((node, flow.role == Role::Client))
                .or_default() += opened + flow.open_before;
        }
        let mut shown: BTreeMap<(String, bool), u64> = BTreeMap::new();
        for edge in joined.edges.iter().chain(&joined.unjoined) {
            for (node, client) in [(&edge.client, true), (&edge.server, false)] {
                *shown.entry((node.clone(), client)).or_default() += edge.connections;
            }
        }
        for (side, counted) in counted {
            add(&mut self.sides, shown.get(&side) == Some(&counted));
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a confidence is between 0 and 1"
)]
fn tenth(confidence: f64) -> usize {
    // Claims have three decimals.
    (((confidence * 1000.0).round() as usize) / 100).min(9)
}

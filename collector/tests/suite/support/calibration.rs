//! What edges claim against what is true, over many histories.

use std::collections::{BTreeMap, BTreeSet};

use collector::counters::{ADOPTED, OPENED};
use collector::join::{Flow, topology};
use collector::topology::{Edge, Interval, Topology};
use wire::{Columns, Role};

use super::fleet::Key;
use super::histories::{History, history};
use super::measure::{key, ratio};
use super::shapes::Shape;

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
    /// Edges of a process that is not known, and those that are one service's.
    pub(crate) owners: (u64, u64),
    /// Wrong edges, for whoever looks into them.
    pub(crate) wrong: Vec<(u64, String)>,
    /// Wrong numbers, the same.
    pub(crate) off: Vec<(u64, String)>,
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

    /// With the shape in the lines for whoever looks into them.
    pub(crate) fn named(mut self, shape: Shape) -> Self {
        for (_, text) in self.wrong.iter_mut().chain(&mut self.off) {
            *text = format!("{shape:?} {text}");
        }
        self
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
            (&mut self.owners, other.owners),
        ] {
            mine.0 += theirs.0;
            mine.1 += theirs.1;
        }
        self.wrong.extend_from_slice(&other.wrong);
        self.off.extend_from_slice(&other.off);
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
            self.add_edge(seed, history, key, edge);
        }
        self.add_sides(history, joined);
    }

    fn add_edge(&mut self, seed: u64, history: &History, key: &Key, edge: &Edge) {
        let exists = history.all.contains_key(key);
        let mut right = exists;
        if exists && !edge.unknown_owners.is_empty() {
            // It claims to be one service's, whichever that is.
            right = history.services[key].len() == 1;
            add(&mut self.owners, right);
        }
        let bin = &mut self.bins[tenth(edge.confidence)];
        bin.edges += 1;
        bin.right += u64::from(right);
        bin.claimed += edge.confidence;
        let counted = history.counted.get(key).copied().unwrap_or(0);
        // A side may have missed some that did happen.
        let all = history.all.get(key).copied().unwrap_or(0);
        let possible = (counted..=all).contains(&edge.connections);
        let holds = |interval: Interval| interval.low <= all && counted <= interval.high;
        let told = history.told.get(key) == Some(&counted) && !edge.sampled;
        let shown = || {
            let evidence = edge.evidence.iter();
            let evidence: Vec<String> = evidence
                .map(|one| format!("{:?} {}", one.kind, one.connections))
                .collect();
            format!(
                "{:.3} {} -> {} at {}: {} ({:?}) by {}, both counted {counted} of {all}",
                edge.confidence,
                edge.client,
                edge.server,
                edge.server_endpoint,
                edge.connections,
                edge.interval,
                evidence.join(", "),
            )
        };
        if !exists {
            self.wrong.push((seed, shown()));
        } else if let Some(interval) = edge.interval {
            add(&mut self.intervals, holds(interval));
        } else {
            add(&mut self.exact, possible);
            if !possible {
                self.off.push((seed, shown()));
            }
        }
        if told {
            let right = possible || edge.interval.is_some_and(holds);
            add(&mut self.whole, right);
            if !right && edge.interval.is_some() {
                self.off.push((seed, shown()));
            }
        }
    }

    fn add_sides(&mut self, history: &History, joined: &Topology) {
        let names: BTreeMap<_, _> = history.input.hosts.iter().cloned().collect();
        let flows = history.input.flows.iter().map(|flow| {
            let process = flow
                .process
                .map(|at| &history.input.processes[at].row.service);
            let service = process.map_or("(unknown)", String::as_str);
            (format!("{}/{service}", names[&flow.host]), flow)
        });
        let flows: Vec<(String, &Flow)> = flows.collect();
        // Which side they are shown as is not known of all connections of some nodes.
        let unknown = flows.iter().filter(|(_, flow)| {
            let counters = flow.counters.as_ref();
            counters.is_some_and(|counters| counters.absent().has(Columns::ROLE))
        });
        let unknown: BTreeSet<&str> = unknown.map(|(node, _)| node.as_str()).collect();
        let side = |node: &str, client: bool| {
            let client = client || unknown.contains(node);
            (node.to_owned(), client)
        };
        let mut counted: BTreeMap<(String, bool), u64> = BTreeMap::new();
        for (node, flow) in &flows {
            let begun = flow.counters.as_ref();
            let begun = begun.map_or(0, |c| c.plain(OPENED) + c.plain(ADOPTED));
            let side = side(node, flow.role == Role::Client);
            *counted.entry(side).or_default() += begun + flow.open_before;
        }
        let mut shown: BTreeMap<(String, bool), u64> = BTreeMap::new();
        for edge in joined.edges.iter().chain(&joined.unjoined) {
            for (node, client) in [(&edge.client, true), (&edge.server, false)] {
                *shown.entry(side(node, client)).or_default() += edge.connections;
            }
        }
        for (side, counted) in counted {
            add(&mut self.sides, shown.get(&side) == Some(&counted));
        }
    }

    /// What was found that must never be: each in a sentence.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let wrong = self.wrong_from(9);
        if wrong > 0 {
            faults.push(format!("{wrong} wrong edges of 0.9 or more"));
        }
        for (what, (all, right)) in [
            ("edges that both ends told, found", self.told),
            ("right numbers of edges that both ends told", self.whole),
            ("right numbers that claim to be exact", self.exact),
            ("sides that add up", self.sides),
        ] {
            if right < all {
                faults.push(format!("{what}: {right} of {all}"));
            }
        }
        if ratio(self.intervals.1, self.intervals.0) < 0.95 && self.intervals.0 > 0 {
            let (all, right) = self.intervals;
            faults.push(format!(
                "intervals that hold the true number: {right} of {all}"
            ));
        }
        for (tenth, bin) in self.bins.iter().enumerate() {
            let right = ratio(bin.right, bin.edges);
            let claimed = bin.claimed / ratio(bin.edges, 1);
            // Where none is wrong, nobody can claim less than is true.
            if bin.right < bin.edges && right < claimed {
                faults.push(format!("0.{tenth}: claims {claimed:.3}, true {right:.3}"));
            }
        }
        faults
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

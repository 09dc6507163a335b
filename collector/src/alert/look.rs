//! What changed around the begin of an alert, from joined edges: the same windows before and since.

use std::collections::BTreeMap;

use super::finding::{End, Subject};
use super::group::{Link, Sample, Surroundings, changed};
use super::keeper::Look;
use crate::counters::{
    CLOSED, Counters, FAILED, OPENED, RESET_LOCAL, RESET_REMOTE, RETRANSMITS, SEGMENTS_SENT,
    percentile,
};
use crate::join::Picture;
use crate::joined;
use crate::meter::Meter;
use crate::store::{Questions, Window};
use crate::topology::Node;

/// Length of the windows that are compared, milliseconds.
const STEP_MS: i64 = 300_000;
/// Windows from before.
const BEFORE: usize = 12;
/// Most windows since.
const SINCE: usize = 3;
/// Most edges of which numbers are compared, and as many servers and hosts with them.
const MAX_EDGES: usize = 20_000;

/// Numbers that are compared: name, unit, and a change that is none.
const NUMBERS: [(&str, &str, f64); 5] = [
    ("failed", "%", 0.5),
    ("resets", "%", 0.02),
    ("retransmits", "%", 0.5),
    ("rtt", "ms", 1.0),
    ("opened", "/s", 0.5),
];

/// Reads the store for candidates.
pub struct Reader<'a> {
    /// The store.
    pub reader: &'a mut dyn Questions,
    /// What each window may take.
    pub meter: Meter,
}

/// What is known while windows are read.
#[derive(Default)]
struct Known {
    /// Edges by their keys.
    links: BTreeMap<String, Link>,
    /// Edges, what they lead to, and the hosts of that, by their keys.
    things: BTreeMap<String, Thing>,
}

/// One thing of which numbers are compared.
struct Thing {
    subject: Subject,
    confidence: f64,
    /// By number.
    values: [Values; NUMBERS.len()],
}

/// Values of a number, in place: there are those of many things at once.
#[derive(Default)]
struct Values {
    before: [f64; BEFORE],
    since: [f64; SINCE],
    /// How many of both there are.
    counts: [usize; 2],
}

impl Values {
    /// Those before, and those since.
    fn both(&self) -> [&[f64]; 2] {
        [
            &self.before[..self.counts[0]],
            &self.since[..self.counts[1]],
        ]
    }

    /// Adds one of a window before, or since.
    fn add(&mut self, side: usize, value: f64) {
        let count = &mut self.counts[side];
        let place = match side {
            0 => self.before.get_mut(*count),
            _ => self.since.get_mut(*count),
        };
        if let Some(place) = place {
            *place = value;
            *count += 1;
        }
    }
}

/// What a server or a host counted in a window, on all edges that lead to it.
struct Sum {
    subject: Subject,
    confidence: f64,
    counters: Counters,
}

impl Look for Reader<'_> {
    fn around(&mut self, since_ms: i64, now_ms: i64) -> Option<Surroundings> {
        let mut known = Known::default();
        let end_ms = super::rule::unit::floor(since_ms, 60_000);
        let steps = |n: usize| STEP_MS.saturating_mul(i64::try_from(n).unwrap_or(i64::MAX));
        for at in (1..=BEFORE).rev() {
            self.window(end_ms.saturating_sub(steps(at)), 0, &mut known)?;
        }
        for at in 0..SINCE {
            let from_ms = now_ms.saturating_sub(steps(SINCE - at));
            // The first of them may be that in which it began.
            if from_ms.saturating_add(STEP_MS) > end_ms {
                self.window(from_ms, 1, &mut known)?;
            }
        }
        let mut samples = Vec::new();
        for thing in known.things.into_values() {
            for ((metric, unit, least), values) in NUMBERS.into_iter().zip(&thing.values) {
                let [before, after] = values.both();
                // Most did not, and there are very many.
                if !changed(before, after, least) {
                    continue;
                }
                samples.push(Sample {
                    subject: thing.subject.clone(),
                    metric: String::from(metric),
                    unit: String::from(unit),
                    before: before.to_vec(),
                    after: after.to_vec(),
                    least,
                    confidence: Some(thing.confidence),
                });
            }
        }
        let links = known.links.into_values().collect();
        Some(Surroundings::of(samples, links))
    }
}

impl Reader<'_> {
    fn window(&mut self, from_ms: i64, side: usize, known: &mut Known) -> Option<()> {
        let window = Window {
            from_ms,
            to_ms: from_ms.saturating_add(STEP_MS),
        };
        // Where it takes too much, nothing is known.
        let picture = joined::topology(self.reader, window, window, self.meter).ok()?;
        add(&picture, side, known);
        Some(())
    }
}

impl Thing {
    fn of(subject: &Subject) -> Self {
        Self {
            subject: subject.clone(),
            confidence: 1.0,
            values: Default::default(),
        }
    }

    fn take(&mut self, side: usize, counters: &Counters, confidence: f64) {
        self.confidence = confidence;
        for (of, value) in self.values.iter_mut().zip(numbers(counters)) {
            if let Some(value) = value {
                of.add(side, value);
            }
        }
    }
}

fn add(picture: &Picture, side: usize, known: &mut Known) {
    let end = |node: Node| {
        let (host, service) = match node.process {
            Some(process) => (Some(process.host), process.service),
            None => (None, String::new()),
        };
        End {
            name: node.id,
            host,
            service,
        }
    };
    // In the order of the picture's nodes, of which an edge has the places.
    let ends: Vec<End> = picture.nodes().map(end).collect();
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    for told in picture.edges() {
        let [client, server] = told.ends().map(|at| &ends[at]);
        let subject = Subject::Edge {
            client: client.clone(),
            server: server.clone(),
            endpoint: told.endpoint(),
        };
        let key = subject.key();
        if known.links.len() >= MAX_EDGES && !known.links.contains_key(&key) {
            continue;
        }
        known.links.entry(key.clone()).or_insert_with(|| Link {
            edge: subject.clone(),
            client: client.key(),
            server: server.key(),
            hosts: [client.host.clone(), server.host.clone()],
        });
        let (confidence, counters) = told.counted();
        let Some(counters) = counters.into_iter().flatten().next() else {
            continue;
        };
        let counters = counters.counters();
        let thing = known.things.entry(key);
        let thing = thing.or_insert_with(|| Thing::of(&subject));
        thing.take(side, &counters, confidence);
        for subject in led_to(server) {
            let sum = sums.entry(subject.key()).or_insert_with(|| Sum {
                subject,
                confidence: 1.0,
                counters: Counters::default(),
            });
            sum.confidence = sum.confidence.min(confidence);
            sum.counters.add(&counters);
        }
    }
    for (key, sum) in sums {
        let thing = known.things.entry(key);
        let thing = thing.or_insert_with(|| Thing::of(&sum.subject));
        thing.take(side, &sum.counters, sum.confidence);
    }
}

/// The server, and its host where that is known.
fn led_to(server: &End) -> impl Iterator<Item = Subject> {
    let host = server.host.clone().map(|host| Subject::Host {
        name: match server.name.split_once('/') {
            Some((name, _)) => String::from(name),
            None => String::new(),
        },
        host,
    });
    let node = Subject::Node {
        node: server.clone(),
    };
    std::iter::once(node).chain(host)
}

/// In the order of [`NUMBERS`].
#[expect(clippy::cast_precision_loss, reason = "counts of minutes")]
fn numbers(counters: &Counters) -> [Option<f64>; NUMBERS.len()] {
    let number = |at| counters.known(at).map(|value| value as f64);
    let part = |part: f64, of: f64| (of > 0.0).then(|| 100.0 * part / of);
    let share = |of: usize, whole: usize| part(number(of)?, number(whole)?);
    let opened = number(OPENED);
    let failed = || part(number(FAILED)?, opened? + number(FAILED)?);
    // By either side: which one it was depends on who tells.
    let resets = || {
        let all = number(RESET_LOCAL)? + number(RESET_REMOTE)?;
        part(all, number(CLOSED)?)
    };
    let rtt = match counters.absent.has(wire::Columns::RTT) {
        true => None,
        false => percentile(&counters.rtt, 50),
    };
    [
        failed(),
        resets(),
        share(RETRANSMITS, SEGMENTS_SENT),
        rtt.map(|us| us as f64 / 1000.0),
        opened.map(|opened| opened * 1000.0 / STEP_MS as f64),
    ]
}

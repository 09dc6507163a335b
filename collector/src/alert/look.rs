//! What changed around the begin of an alert, from joined edges: the same windows before and since.

use std::collections::BTreeMap;

use super::finding::{End, Subject};
use super::group::{Graph, Link, Sample};
use super::keeper::{Around, Look};
use crate::counters::{Counters, percentile};
use crate::join::Picture;
use crate::joined;
use crate::meter::Meter;
use crate::store::{Questions, Window};
use crate::topology::Node;

/// Length of the windows that are compared, milliseconds.
const STEP_MS: i64 = 300_000;
/// Windows from before.
const BEFORE: i64 = 12;
/// Most windows since.
const SINCE: i64 = 3;
/// Most edges of which numbers are compared.
const MAX_EDGES: usize = 20_000;

/// Numbers of an edge that are compared: name, unit, and a change that is none.
const NUMBERS: [(&str, &str, f64); 4] = [
    ("failed", "%", 0.5),
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

/// One edge while its windows are read.
struct Known {
    subject: Subject,
    link: Link,
    confidence: f64,
    /// By number: values before and since.
    values: [[Vec<f64>; 2]; NUMBERS.len()],
}

impl Look for Reader<'_> {
    fn around(&mut self, since_ms: i64, now_ms: i64) -> Option<Around> {
        let mut edges = BTreeMap::new();
        let end_ms = super::rule::unit::floor(since_ms, 60_000);
        for at in (1..=BEFORE).rev() {
            let from_ms = end_ms.saturating_sub(at.saturating_mul(STEP_MS));
            self.window(from_ms, 0, &mut edges)?;
        }
        for at in 0..SINCE {
            let from_ms = now_ms.saturating_sub((SINCE - at).saturating_mul(STEP_MS));
            // The first of them may be that in which it began.
            if from_ms.saturating_add(STEP_MS) > end_ms {
                self.window(from_ms, 1, &mut edges)?;
            }
        }
        let mut around = Around {
            samples: Vec::new(),
            graph: Graph { links: Vec::new() },
        };
        for edge in edges.into_values() {
            for ((metric, unit, least), [before, after]) in NUMBERS.into_iter().zip(edge.values) {
                if after.is_empty() {
                    continue;
                }
                around.samples.push(Sample {
                    subject: edge.subject.clone(),
                    metric: String::from(metric),
                    unit: String::from(unit),
                    before,
                    after,
                    least,
                    confidence: Some(edge.confidence),
                });
            }
            around.graph.links.push(edge.link);
        }
        Some(around)
    }
}

impl Reader<'_> {
    fn window(
        &mut self,
        from_ms: i64,
        side: usize,
        edges: &mut BTreeMap<String, Known>,
    ) -> Option<()> {
        let window = Window {
            from_ms,
            to_ms: from_ms.saturating_add(STEP_MS),
        };
        // Where it takes too much, nothing is known.
        let picture = joined::topology(self.reader, window, window, self.meter).ok()?;
        add(&picture, side, edges);
        Some(())
    }
}

fn add(picture: &Picture, side: usize, edges: &mut BTreeMap<String, Known>) {
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
    for told in picture.edges() {
        let [client, server] = told.ends().map(|at| &ends[at]);
        let subject = Subject::Edge {
            client: client.clone(),
            server: server.clone(),
            endpoint: told.endpoint(),
        };
        let key = subject.key();
        if edges.len() >= MAX_EDGES && !edges.contains_key(&key) {
            continue;
        }
        let known = edges.entry(key).or_insert_with(|| Known {
            link: Link {
                edge: subject.clone(),
                client: client.key(),
                server: server.key(),
                hosts: [client.host.clone(), server.host.clone()],
            },
            subject,
            confidence: 1.0,
            values: Default::default(),
        });
        known.confidence = told.confidence();
        if let Some(counters) = told.counters().into_iter().flatten().next() {
            let counters = counters.counters();
            for (of, value) in known.values.iter_mut().zip(numbers(&counters)) {
                of[side].extend(value);
            }
        }
    }
}

/// In the order of [`NUMBERS`].
#[expect(clippy::cast_precision_loss, reason = "counts of minutes")]
fn numbers(counters: &Counters) -> [Option<f64>; NUMBERS.len()] {
    let [opened, _, failed, ..] = counters.plain.map(|value| value as f64);
    let (sent, again) = (counters.plain[8] as f64, counters.plain[10] as f64);
    let known = |column| !counters.absent.has(column);
    let part = |part: f64, of: f64| (of > 0.0).then(|| 100.0 * part / of);
    let retransmits = known(wire::Columns::RETRANSMITS) && known(wire::Columns::SEGMENTS_SENT);
    let rtt = known(wire::Columns::RTT)
        .then(|| percentile(&counters.rtt, 50))
        .flatten();
    [
        part(failed, opened + failed),
        retransmits.then(|| part(again, sent)).flatten(),
        rtt.map(|us| us as f64 / 1000.0),
        Some(opened * 1000.0 / STEP_MS as f64),
    ]
}

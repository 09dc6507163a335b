//! What changed near an alert when it began: at most three candidates for its cause, each with its
//! numbers, and no verdict.
//!
//! A robust score (BARO, FSE 2024): the distance of what is from the median of what was, in
//! interquartile ranges, for medians and quartiles are not moved by a single outlier. Then a walk
//! from the alerted edge along calls: what the server rests on comes before what calls it, and what
//! is near before what is far (MicroRCA, NOMS 2020, has the same order by a random walk).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alert::finding::{Said, Subject};
use crate::alert::labels::named;
use crate::alert::rule::unit::{self, Unit};

/// Most candidates: more would be no help.
pub const MOST_CANDIDATES: usize = 3;
/// A change of fewer interquartile ranges is none.
const LEAST_SCORE: f64 = 3.0;
/// Scores beyond say no more.
const MOST_SCORE: f64 = 1000.0;
/// How much each hop takes from a score.
const HOP: f64 = 0.7;
/// How far the walk goes.
const MOST_HOPS: u32 = 4;
/// Fewer values from before say little.
const FEW: usize = 4;
/// The interquartile range is at least this part of the median.
const LEAST_SPREAD: f64 = 0.05;
/// Less confidence than this is said.
const SURE: f64 = 0.8;

/// Values of one number of one thing, before an alert began and since.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Of what.
    pub subject: Subject,
    /// Which number.
    pub metric: String,
    /// Its unit, as UCUM writes it.
    pub unit: String,
    /// Values of windows before.
    pub before: Vec<f64>,
    /// Values of windows since.
    pub after: Vec<f64>,
    /// A change of so much is none, whatever the spread.
    pub least: f64,
    /// The confidence of the edge, 0 to 1; none for what is no edge.
    pub confidence: Option<f64>,
}

/// An edge of the topology.
#[derive(Clone, Debug, PartialEq)]
pub struct Link {
    /// The edge.
    pub edge: Subject,
    /// Key of the client's node.
    pub client: String,
    /// Key of the server's node.
    pub server: String,
    /// Hosts of both, where they are known.
    pub hosts: [Option<String>; 2],
}

/// Who calls whom, and the numbers of all of it. Looking for the candidates of one alert takes what
/// is near it, however much there is.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// By the keys of their subjects, then by their metrics.
    samples: BTreeMap<String, Vec<Sample>>,
    /// By the keys of their edges.
    links: BTreeMap<String, Link>,
    /// Keys of the edges of a node: those on which it calls, and those on which it is called.
    of_nodes: BTreeMap<String, [Vec<String>; 2]>,
}

impl Surroundings {
    /// Of these numbers and edges, in any order.
    #[must_use]
    pub fn of(samples: Vec<Sample>, links: Vec<Link>) -> Self {
        let mut all = Self::default();
        for sample in samples {
            let of = all.samples.entry(sample.subject.key()).or_default();
            let at = of.partition_point(|known| known.metric <= sample.metric);
            of.insert(at, sample);
        }
        for link in links {
            all.links.insert(link.edge.key(), link);
        }
        for (key, link) in &all.links {
            for (side, node) in [&link.client, &link.server].into_iter().enumerate() {
                let of = all.of_nodes.entry(node.clone()).or_default();
                of[side].push(key.clone());
            }
        }
        all
    }

    /// Edges on which a node calls, or is called, in the order of their keys.
    fn links_of(&self, node: &str, side: usize) -> impl Iterator<Item = (&String, &Link)> {
        let keys = self.of_nodes.get(node).into_iter();
        let keys = keys.flat_map(move |sides| &sides[side]);
        keys.filter_map(|key| self.links.get_key_value(key))
    }
}

/// Something that changed near an alert.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Candidate {
    /// It.
    #[serde(flatten)]
    pub change: Change,
    /// One sentence with the numbers.
    pub why: Said,
}

/// A change, in numbers.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Change {
    /// What changed.
    pub subject: Subject,
    /// Which number of it.
    pub metric: String,
    /// Its unit, as UCUM writes it; empty where there is none.
    pub unit: String,
    /// How far it is from its median of before, in interquartile ranges; at most 1000.
    pub score: f64,
    /// Median of the windows before.
    pub before: f64,
    /// Interquartile range of the windows before.
    pub spread: f64,
    /// The value since that is farthest from it.
    pub after: f64,
    /// Windows before that this rests on.
    pub windows: u32,
    /// Steps from what the alert is about; 0 is itself.
    pub hops: u32,
    /// The evidence for it has little confidence, or little is known from before.
    pub low_confidence: bool,
}

/// At most [`MOST_CANDIDATES`] for what an alert is about, the most telling first.
#[must_use]
pub fn candidates(of: &[Subject], around: &Surroundings) -> Vec<Candidate> {
    let mut best: BTreeMap<String, Change> = BTreeMap::new();
    for (key, hops) in walk(of, around) {
        let samples = around.samples.get(&key).into_iter().flatten();
        let changes = samples.filter_map(|sample| score(sample, hops));
        // Of several that changed as much, the first.
        let most = changes.reduce(|known, found| match known.score >= found.score {
            true => known,
            false => found,
        });
        if let Some(change) = most {
            best.insert(key, change);
        }
    }
    let mut all: Vec<(String, Change)> = best.into_iter().collect();
    all.sort_by(|(a, left), (b, right)| {
        let rank = weight(right).total_cmp(&weight(left));
        rank.then(left.hops.cmp(&right.hops)).then(a.cmp(b))
    });
    all.truncate(MOST_CANDIDATES);
    let told = |(_, change)| Candidate {
        why: why(&change),
        change,
    };
    all.into_iter().map(told).collect()
}

fn weight(change: &Change) -> f64 {
    let hops = i32::try_from(change.hops).unwrap_or(i32::MAX);
    change.score * HOP.powi(hops)
}

/// Steps to everything near: callees and their hosts first, callers a step farther.
fn walk(of: &[Subject], around: &Surroundings) -> BTreeMap<String, u32> {
    let mut hops: BTreeMap<String, u32> = of.iter().map(|one| (one.key(), 0)).collect();
    let starts: BTreeSet<String> = hops.keys().cloned().collect();
    let mut nodes: VecDeque<(&str, u32)> = VecDeque::new();
    for start in &starts {
        if let Some(link) = around.links.get(start) {
            nodes.push_back((&link.server, 1));
            reach(&mut hops, &link.hosts[1], 1);
            reach(&mut hops, &link.hosts[0], 2);
            near(&mut hops, format!("node\t{}", link.client), 2);
        }
        let Some((node, _)) = start
            .strip_prefix("node\t")
            .and_then(|node| around.of_nodes.get_key_value(node))
        else {
            continue;
        };
        nodes.push_back((node, 0));
        for side in [0, 1] {
            for (_, link) in around.links_of(node, side) {
                reach(&mut hops, &link.hosts[side], 1);
            }
        }
    }
    let mut seen = BTreeSet::new();
    // Nearer ones first, so that each is reached on its shortest way.
    nodes
        .make_contiguous()
        .sort_by_key(|(node, far)| (*far, *node));
    while let Some((node, far)) = nodes.pop_front() {
        if far > MOST_HOPS || !seen.insert(node) {
            continue;
        }
        near(&mut hops, format!("node\t{node}"), far);
        for (key, link) in around.links_of(node, 0) {
            near(&mut hops, key.clone(), far + 1);
            reach(&mut hops, &link.hosts[1], far + 1);
            nodes.push_back((&link.server, far + 1));
        }
    }
    hops
}

fn reach(hops: &mut BTreeMap<String, u32>, host: &Option<String>, far: u32) {
    if let Some(host) = host {
        near(hops, format!("host\t{host}"), far);
    }
}

fn near(hops: &mut BTreeMap<String, u32>, key: String, far: u32) {
    let known = hops.entry(key).or_insert(far);
    *known = far.min(*known);
}

/// How much a number changed, where it did.
fn score(sample: &Sample, hops: u32) -> Option<Change> {
    let moved = Moved::of(&sample.before, &sample.after, sample.least)?;
    let unsure = sample.confidence.is_some_and(|value| value < SURE);
    Some(Change {
        subject: sample.subject.clone(),
        metric: sample.metric.clone(),
        unit: sample.unit.clone(),
        score: (moved.score * 10.0).round() / 10.0,
        before: moved.median,
        spread: moved.spread,
        after: moved.most,
        windows: u32::try_from(moved.windows).unwrap_or(u32::MAX),
        hops,
        low_confidence: unsure || moved.windows < FEW,
    })
}

/// Whether values changed by more than `least`, so that they may make a candidate.
#[must_use]
pub fn changed(before: &[f64], after: &[f64], least: f64) -> bool {
    Moved::of(before, after, least).is_some()
}

/// How far values moved from what they were.
struct Moved {
    median: f64,
    spread: f64,
    /// The value since that is farthest away.
    most: f64,
    score: f64,
    /// Values before.
    windows: usize,
}

impl Moved {
    /// None where they moved as little as ever.
    fn of(before: &[f64], after: &[f64], least: f64) -> Option<Self> {
        let finite =
            |all: &[f64]| -> Vec<f64> { all.iter().copied().filter(|x| x.is_finite()).collect() };
        let (mut before, after) = (finite(before), finite(after));
        if before.is_empty() || after.is_empty() {
            return None;
        }
        before.sort_by(f64::total_cmp);
        let median = quantile(&before, 0.5);
        let spread = quantile(&before, 0.75) - quantile(&before, 0.25);
        let scale = spread.max(median.abs() * LEAST_SPREAD).max(least);
        let far = |x: &f64| (x - median).abs();
        let most = after.into_iter().max_by(|a, b| far(a).total_cmp(&far(b)))?;
        let score = if scale > 0.0 {
            (far(&most) / scale).min(MOST_SCORE)
        } else if far(&most) > 0.0 {
            MOST_SCORE
        } else {
            0.0
        };
        (score >= LEAST_SCORE).then_some(Self {
            median,
            spread,
            most,
            score,
            windows: before.len(),
        })
    }
}

/// What a number is called; one without a name there by its own.
fn in_chinese(metric: &str) -> &str {
    match metric {
        "failed" => "失败比例",
        "resets" => "重置比例",
        "retransmits" => "重传比例",
        "rtt" => "往返时间",
        "opened" => "新建连接速率",
        other => other,
    }
}

/// Of sorted values, between the two that are nearest.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a handful of values")]
    let at = part * (sorted.len() - 1) as f64;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and their number"
    )]
    let low = at.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    sorted[low] + (sorted[high] - sorted[low]) * (at - at.floor())
}

fn why(change: &Change) -> Said {
    let Change {
        metric,
        unit,
        before,
        after,
        score,
        ..
    } = change;
    let name = named(&change.subject);
    let number = |x: f64| match unit.as_str() {
        "%" => format!("{}%", unit::digits(x)),
        of => {
            let (of, scale) = unit::parse(of).unwrap_or((Unit::ONE, 1.0));
            unit::shown(x * scale, of)
        }
    };
    let (before, after) = (number(*before), number(*after));
    let (low_en, low_zh) = if change.low_confidence {
        (
            " Little is known of it: take it as a hint.",
            "证据不足，仅供参考。",
        )
    } else {
        ("", "")
    };
    Said {
        en: format!(
            "{metric} of {name}: {after}, usual {before}: {score} times its usual spread.{low_en}"
        ),
        zh: format!(
            "{name} 的{}：{after}，通常 {before}，偏离为通常波动的 {score} 倍。{low_zh}",
            in_chinese(metric)
        ),
    }
}

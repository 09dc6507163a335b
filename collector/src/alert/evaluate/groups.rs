//! Groups of rows, and the wholes that they are parts of.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compute::Context;
use super::group::Sum;
use super::plan::{Fold, Judged};
use super::row::Row;
use super::subject;
use crate::alert::finding::{RuleName, Subject, Unjudged, Usual};
use crate::topology::EvidenceKind;

/// Most groups of one kind.
const MAX_GROUPS: usize = 100_000;

/// Who told something in the window.
#[derive(Clone, Debug, Default)]
pub struct Reporting {
    /// Ids of hosts that did.
    pub hosts: BTreeSet<String>,
    /// Ids of hosts that did not.
    pub silent: BTreeSet<String>,
}

/// A group of rows.
pub(super) struct Group {
    pub(super) subject: Arc<Subject>,
    pub(super) sums: Vec<Sum>,
    /// The whole that it is a part of.
    pub(super) whole: String,
    pub(super) evidence: BTreeSet<EvidenceKind>,
    pub(super) confidence: Option<f64>,
    pub(super) through: BTreeSet<String>,
}

/// Groups of a fold.
#[derive(Default)]
pub(super) struct Groups {
    pub(super) all: BTreeMap<String, Group>,
    pub(super) cut: u64,
}

pub(super) fn unjudged(rule: &RuleName, subject: Option<Subject>, why: &str) -> Unjudged {
    Unjudged {
        rule: rule.clone(),
        subject,
        why: String::from(why),
    }
}

impl Groups {
    /// Adds a row to the group of its subject, which has that key.
    pub(super) fn add(&mut self, fold: &Fold, (subject, key): (&Arc<Subject>, &str), row: &Row) {
        let mut whole = String::new();
        for at in &fold.within {
            let text = subject::text(row.cells.get(*at));
            if text.is_empty() {
                // It is a part of nothing.
                return;
            }
            whole.push_str(&text);
            whole.push('\u{1f}');
        }
        let key = match whole.is_empty() {
            true => Cow::Borrowed(key),
            false => Cow::Owned(format!("{key}\t{whole}")),
        };
        // Most rows are of a group that is there: nothing is made for these.
        if !self.all.contains_key(&*key) {
            if self.all.len() >= MAX_GROUPS {
                self.cut += 1;
                return;
            }
            let sums = fold.aggregates.iter().map(|(one, _)| Sum::of(one));
            let group = Group {
                subject: Arc::clone(subject),
                sums: sums.collect(),
                whole,
                evidence: BTreeSet::new(),
                confidence: None,
                through: BTreeSet::new(),
            };
            self.all.insert(String::from(&*key), group);
        }
        let Some(group) = self.all.get_mut(&*key) else {
            return;
        };
        for (sum, (aggregate, cell)) in group.sums.iter_mut().zip(&fold.aggregates) {
            sum.add(&aggregate.made, *cell, row);
        }
        if let Some(ends) = &row.ends {
            group.evidence.extend(&ends.evidence);
            let least = group.confidence.unwrap_or(1.0).min(ends.confidence);
            group.confidence = Some(least);
            let named = ends.vip.iter().chain(&ends.gateways);
            for name in named.take(16_usize.saturating_sub(group.through.len())) {
                group.through.insert(name.clone());
            }
        }
    }
}

/// The whole that a group with that key is a part of.
pub(super) fn whole_of(key: &str, subject: &Subject) -> String {
    let behind = key.strip_prefix(&subject.key());
    let whole = behind.and_then(|rest| rest.strip_prefix('\t'));
    whole.map_or_else(String::new, String::from)
}

/// Groups that belong together.
pub(super) struct Whole {
    pub(super) sums: Vec<Sum>,
    pub(super) parts: usize,
}

pub(super) fn wholes<'g>((fold, groups): (&Fold, &'g Groups)) -> BTreeMap<&'g str, Whole> {
    let mut all: BTreeMap<&str, Whole> = BTreeMap::new();
    if fold.within.is_empty() {
        return all;
    }
    for group in groups.all.values() {
        match all.get_mut(group.whole.as_str()) {
            Some(whole) => {
                whole.parts += 1;
                for ((sum, more), (aggregate, _)) in
                    whole.sums.iter_mut().zip(&group.sums).zip(&fold.aggregates)
                {
                    sum.unite(&aggregate.made, more);
                }
            }
            None => {
                let whole = Whole {
                    sums: group.sums.clone(),
                    parts: 1,
                };
                all.insert(&group.whole, whole);
            }
        }
    }
    all
}

/// The numbers of a rule: of each of its places, where there is one.
pub(super) fn numbers(
    (judged, fold): (&Judged, &Fold),
    sums: &[Sum],
    shorter: f64,
) -> Vec<Option<f64>> {
    let number = |at: &usize| {
        let (sum, (aggregate, _)) = (sums.get(*at)?, fold.aggregates.get(*at)?);
        sum.value(aggregate, shorter)
    };
    judged.numbers.iter().map(number).collect()
}

#[expect(clippy::cast_precision_loss, reason = "windows are at most an hour")]
pub(super) fn context<'c>(
    judged: &'c Judged,
    (numbers, whole, parts): (&'c [Option<f64>], &'c [Option<f64>], usize),
    usuals: &'c [Option<Usual>],
) -> Context<'c> {
    Context {
        numbers,
        whole,
        parts,
        limits: &judged.limits,
        window: judged.rule.window_ms as f64 / 1000.0,
        usuals,
    }
}

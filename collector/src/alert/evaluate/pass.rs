//! One pass: rows come, groups collect, rules judge.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::compute::of_row;
use super::groups::{Groups, Reporting, Whole, context, numbers, unjudged, wholes};
use super::plan::{Fold, Plan};
use super::row::{Cell, Row};
use super::subject;
use super::verdict::Judge;
use crate::alert::baseline::Usuals;
use crate::alert::finding::{Evaluated, Subject};
use crate::alert::rule::By;

/// A subject and its key.
type Named = (Arc<Subject>, String);

/// One pass over rows for all rules.
pub struct Pass<'p> {
    plan: &'p Plan,
    groups: Vec<Groups>,
    /// Inputs of which rows were left out, or that could not be read, with the reason.
    cut: BTreeSet<usize>,
    unread: BTreeMap<usize, String>,
    rows: u64,
}

impl<'p> Pass<'p> {
    /// Before any row.
    #[must_use]
    pub fn new(plan: &'p Plan) -> Self {
        Self {
            plan,
            groups: plan.folds.iter().map(|_| Groups::default()).collect(),
            cut: BTreeSet::new(),
            unread: BTreeMap::new(),
            rows: 0,
        }
    }

    /// Rows of an input were left out.
    pub fn cut(&mut self, input: usize) {
        self.cut.insert(input);
    }

    /// An input could not be read.
    pub fn unread(&mut self, input: usize, why: &str) {
        self.unread.insert(input, String::from(why));
    }

    /// Rows so far, and groups beyond the bound.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.rows, self.groups.iter().map(|groups| groups.cut).sum())
    }

    /// Takes a row of an input.
    pub fn add(&mut self, input: usize, row: &Row) {
        self.rows += 1;
        let plan = self.plan;
        // Of an edge, a subject is the same for each fold by it.
        let mut subjects: Vec<(&By, Option<Named>)> = Vec::new();
        for (fold, groups) in plan.folds.iter().zip(&mut self.groups) {
            if fold.input != input {
                continue;
            }
            let columns = &plan.inputs[input].columns;
            if !is_wanted(fold, columns, row) {
                continue;
            }
            let known = subjects
                .iter()
                .position(|(by, _)| row.ends.is_some() && **by == fold.by);
            let at = known.unwrap_or_else(|| {
                let subject = subject::of(fold, &plan.inputs[input].source, row);
                let named = subject.map(|subject| {
                    let key = subject.key();
                    (Arc::new(subject), key)
                });
                subjects.push((&fold.by, named));
                subjects.len() - 1
            });
            if let Some((subject, key)) = &subjects[at].1 {
                groups.add(fold, (subject, key), row);
            }
        }
    }

    /// What the rules find; `span` is the time of the longest window's end.
    #[must_use]
    pub fn finish(self, at_ms: i64, usuals: &Usuals, reporting: &Reporting) -> Evaluated {
        let mut found = Evaluated {
            at_ms,
            silent: reporting.silent.clone(),
            ..Evaluated::default()
        };
        let wholes: Vec<BTreeMap<&str, Whole>> = self
            .plan
            .folds
            .iter()
            .zip(&self.groups)
            .map(wholes)
            .collect();
        for judged in &self.plan.rules {
            let fold = &self.plan.folds[judged.fold];
            let groups = &self.groups[judged.fold];
            let name = &judged.rule.name;
            if groups.cut > 0 || self.cut.contains(&fold.input) {
                found.cut.insert(name.clone());
            }
            if let Some(why) = self.unread.get(&fold.input) {
                found.unjudged.push(unjudged(name, None, why));
                continue;
            }
            let mut judge = Judge::new((judged, fold), at_ms, usuals, &wholes[judged.fold]);
            for (key, group) in &groups.all {
                judge.group(key, group);
            }
            if judged.rule.missing_is_zero {
                judge.missing(groups, reporting);
            }
            judge.tell(&mut found);
        }
        found
            .findings
            .sort_by(|a, b| (&a.rule, &a.subject).cmp(&(&b.rule, &b.subject)));
        found
            .unjudged
            .sort_by(|a, b| (&a.rule, &a.subject).cmp(&(&b.rule, &b.subject)));
        found
    }

    /// Notes the numbers of which rules ask what is usual, as if the rows were from a window of the
    /// rule; `span_ms` is how much time they are from.
    pub fn note(self, span_ms: i64, usuals: &mut Usuals) {
        for judged in &self.plan.rules {
            let rule = &judged.rule;
            let (fold, groups) = (&self.plan.folds[judged.fold], &self.groups[judged.fold]);
            let wholes = wholes((fold, groups));
            #[expect(clippy::cast_precision_loss, reason = "hours in milliseconds")]
            let shorter = rule.window_ms as f64 / span_ms.max(1) as f64;
            for (key, group) in &groups.all {
                let own = numbers((judged, fold), &group.sums, shorter);
                let whole = wholes.get(group.whole.as_str());
                let whole = whole.map_or(&[][..], |whole| &whole.sums[..]);
                let whole = numbers((judged, fold), whole, shorter);
                let parts = wholes
                    .get(group.whole.as_str())
                    .map_or(1, |whole| whole.parts);
                let context = context(judged, (&own, &whole, parts), &[]);
                for (at, expr) in rule.usuals.iter().enumerate() {
                    if let Some(value) = context.number(expr) {
                        let of = (&*group.subject, rule.missing_is_zero);
                        usuals.note((&rule.name, at, key), of, value);
                    }
                }
            }
        }
    }
}

fn is_wanted(fold: &Fold, columns: &[String], row: &Row) -> bool {
    let Some((expr, limits)) = &fold.rows else {
        return true;
    };
    let find = |name: &str| -> Option<&Cell> {
        let at = columns.iter().position(|column| column == name)?;
        row.cells.get(at)
    };
    of_row(expr, limits, &find) == Some(true)
}

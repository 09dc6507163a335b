//! One pass: rows come, groups collect, rules judge.

use std::collections::{BTreeMap, BTreeSet};

use super::compute::{Context, of_row};
use super::group::Sum;
use super::plan::{Fold, Judged, Plan};
use super::row::{Cell, Row};
use super::subject;
use crate::alert::baseline::Usuals;
use crate::alert::finding::{
    Evaluated, Finding, RuleName, Severity, Span, Subject, Unjudged, Usual,
};
use crate::alert::rule::expr::{Expr, Made};
use crate::alert::sentence;
use crate::topology::EvidenceKind;

/// Most groups of one kind.
const MAX_GROUPS: usize = 100_000;
/// Most findings of one rule.
const MAX_FINDINGS: usize = 10_000;
/// Subjects of one rule that are told one by one where they could not be judged.
const MAX_UNJUDGED: usize = 500;

/// Who told something in the window.
#[derive(Clone, Debug, Default)]
pub struct Reporting {
    /// Ids of hosts that did.
    pub hosts: BTreeSet<String>,
    /// Ids of hosts that did not.
    pub silent: BTreeSet<String>,
}

/// A group of rows.
struct Group {
    subject: Subject,
    sums: Vec<Sum>,
    /// The whole that it is a part of.
    whole: String,
    evidence: BTreeSet<EvidenceKind>,
    confidence: Option<f64>,
    through: BTreeSet<String>,
}

/// Groups of a fold.
#[derive(Default)]
struct Groups {
    all: BTreeMap<String, Group>,
    cut: u64,
}

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
        for (fold, groups) in plan.folds.iter().zip(&mut self.groups) {
            if fold.input != input {
                continue;
            }
            let columns = &plan.inputs[input].columns;
            if !is_wanted(fold, columns, row) {
                continue;
            }
            if let Some(subject) = subject::of(fold, &plan.inputs[input].source, row) {
                groups.add(fold, subject, row);
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
            let mut judge = Judge {
                judged,
                fold,
                at_ms,
                usuals,
                wholes: &wholes[judged.fold],
                findings: BTreeMap::new(),
                unjudged: Vec::new(),
            };
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

    /// The numbers of which rules ask what is usual, as if the rows were from a window of the rule:
    /// rule, which number, key of the subject; `span_ms` is how much time the rows are from.
    pub fn usual(self, span_ms: i64, mut put: impl FnMut(&RuleName, usize, &str, &Subject, f64)) {
        for judged in &self.plan.rules {
            let rule = &judged.rule;
            let (fold, groups) = (&self.plan.folds[judged.fold], &self.groups[judged.fold]);
            let wholes = wholes((fold, groups));
            #[expect(clippy::cast_precision_loss, reason = "hours in milliseconds")]
            let shorter = rule.window_ms as f64 / span_ms.max(1) as f64;
            for (key, group) in &groups.all {
                let all = numbers(fold, &group.sums, shorter);
                let whole = wholes.get(group.whole.as_str());
                let whole = whole.map(|whole| numbers(fold, &whole.sums, shorter));
                let own = pick(&judged.numbers, &all);
                let whole = pick(&judged.numbers, &whole.unwrap_or_default());
                let parts = wholes
                    .get(group.whole.as_str())
                    .map_or(1, |whole| whole.parts);
                let context = context(judged, (&own, &whole, parts), &[]);
                for (at, expr) in rule.usuals.iter().enumerate() {
                    if let Some(value) = context.number(expr) {
                        put(&rule.name, at, key, &group.subject, value);
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

fn unjudged(rule: &RuleName, subject: Option<Subject>, why: &str) -> Unjudged {
    Unjudged {
        rule: rule.clone(),
        subject,
        why: String::from(why),
    }
}

impl Groups {
    fn add(&mut self, fold: &Fold, subject: Subject, row: &Row) {
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
        let mut key = subject.key();
        if !whole.is_empty() {
            key.push('\t');
            key.push_str(&whole);
        }
        if !self.all.contains_key(&key) && self.all.len() >= MAX_GROUPS {
            self.cut += 1;
            return;
        }
        let group = self.all.entry(key).or_insert_with(|| Group {
            subject,
            sums: fold
                .aggregates
                .iter()
                .map(|(one, _)| Sum::of(one))
                .collect(),
            whole,
            evidence: BTreeSet::new(),
            confidence: None,
            through: BTreeSet::new(),
        });
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

/// Groups that belong together.
struct Whole {
    sums: Vec<Sum>,
    parts: usize,
}

fn wholes<'g>((fold, groups): (&Fold, &'g Groups)) -> BTreeMap<&'g str, Whole> {
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

fn numbers(fold: &Fold, sums: &[Sum], shorter: f64) -> Vec<Option<f64>> {
    let each = sums.iter().zip(&fold.aggregates);
    each.map(|(sum, (aggregate, _))| sum.value(aggregate, shorter))
        .collect()
}

fn pick(places: &[usize], all: &[Option<f64>]) -> Vec<Option<f64>> {
    places
        .iter()
        .map(|at| all.get(*at).copied().flatten())
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "windows are at most an hour")]
fn context<'c>(
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

/// What one rule says of its groups.
struct Judge<'a> {
    judged: &'a Judged,
    fold: &'a Fold,
    at_ms: i64,
    usuals: &'a Usuals,
    wholes: &'a BTreeMap<&'a str, Whole>,
    /// One for each subject: the worst.
    findings: BTreeMap<String, Finding>,
    unjudged: Vec<Unjudged>,
}

impl Judge<'_> {
    fn group(&mut self, key: &str, group: &Group) {
        let all = numbers(self.fold, &group.sums, 1.0);
        let whole = self.wholes.get(group.whole.as_str());
        let parts = whole.map_or(1, |whole| whole.parts);
        let whole = whole.map(|whole| numbers(self.fold, &whole.sums, 1.0));
        let own = pick(&self.judged.numbers, &all);
        let whole = pick(&self.judged.numbers, &whole.unwrap_or_default());
        self.judge(key, group, (&own, &whole, parts));
    }

    fn judge(&mut self, key: &str, group: &Group, of: (&[Option<f64>], &[Option<f64>], usize)) {
        let rule = &*self.judged.rule;
        let usuals: Vec<Option<Usual>> = (0..rule.usuals.len())
            .map(|at| self.usuals.get(&rule.name, at, key, rule.days))
            .collect();
        let context = context(self.judged, of, &usuals);
        let holds = |expr: &Option<Expr>| match expr {
            Some(expr) => context.truth(expr),
            None => Some(false),
        };
        match rule.only_where.as_ref().map(|expr| context.truth(expr)) {
            Some(Some(false)) => return,
            Some(None) => return self.cannot(group, &usuals),
            Some(Some(true)) | None => {}
        }
        let severity = match (holds(&rule.critical), holds(&rule.warning)) {
            (Some(true), _) => Severity::Critical,
            (_, Some(true)) => Severity::Warning,
            (Some(false), Some(false)) => return,
            _ => return self.cannot(group, &usuals),
        };
        let Some(value) = context.number(&rule.value) else {
            return self.cannot(group, &usuals);
        };
        let mut finding = Finding {
            rule: rule.name.clone(),
            subject: group.subject.clone(),
            severity,
            value,
            unit: rule.unit.1.clone(),
            usual: rule.usual.and_then(|at| usuals[at]),
            numbers: BTreeMap::new(),
            window: Span {
                from_ms: self.at_ms.saturating_sub(rule.window_ms),
                to_ms: self.at_ms,
            },
            terms: rule.terms,
            evidence: group.evidence.iter().copied().collect(),
            confidence: group.confidence,
            through: group.through.iter().cloned().collect(),
            summary: crate::alert::Said::default(),
        };
        for (name, expr, _) in &rule.numbers {
            if let Some(number) = context.number(expr) {
                finding.numbers.insert(name.clone(), number);
            }
        }
        finding.summary = sentence::said(rule, &finding, &context);
        let key = finding.subject.key();
        match self.findings.get(&key) {
            Some(known) if known.severity >= finding.severity => {}
            _ => drop(self.findings.insert(key, finding)),
        }
    }

    /// What is usually there and told nothing, while its hosts did, added nothing.
    fn missing(&mut self, groups: &Groups, reporting: &Reporting) {
        let usuals = self.usuals;
        for (key, subject) in usuals.subjects(&self.judged.rule.name) {
            if groups.all.contains_key(key) {
                continue;
            }
            let tells = |host: &&str| reporting.hosts.contains(*host);
            let hosts = subject.hosts();
            let group = Group {
                subject: subject.clone(),
                sums: Vec::new(),
                whole: String::new(),
                evidence: BTreeSet::new(),
                confidence: None,
                through: BTreeSet::new(),
            };
            if hosts.is_empty() || !hosts.iter().all(tells) {
                self.cannot(&group, &[]);
                continue;
            }
            let nothing = |at: &usize| {
                let made = &self.fold.aggregates[*at].0.made;
                let adds = matches!(
                    made,
                    Made::Increase | Made::Rows | Made::Values | Made::Distinct
                );
                adds.then_some(0.0)
            };
            let zeros: Vec<Option<f64>> = self.judged.numbers.iter().map(nothing).collect();
            self.judge(key, &group, (&zeros, &[], 1));
        }
    }

    fn cannot(&mut self, group: &Group, usuals: &[Option<Usual>]) {
        let why = match usuals.contains(&None) {
            true => "no usual yet",
            false => "a number that it needs is not known",
        };
        let name = &self.judged.rule.name;
        if self.unjudged.len() <= MAX_UNJUDGED {
            self.unjudged
                .push(unjudged(name, Some(group.subject.clone()), why));
        }
    }

    fn tell(mut self, found: &mut Evaluated) {
        let name = &self.judged.rule.name;
        if self.unjudged.len() > MAX_UNJUDGED {
            let why = "many of its subjects could not be judged";
            self.unjudged = vec![unjudged(name, None, why)];
        }
        if self.findings.len() > MAX_FINDINGS {
            found.cut.insert(name.clone());
        }
        let mut worst: Vec<Finding> = self.findings.into_values().collect();
        worst.sort_by(|a, b| b.severity.cmp(&a.severity).then(a.subject.cmp(&b.subject)));
        worst.truncate(MAX_FINDINGS);
        found.findings.extend(worst);
        found.unjudged.extend(self.unjudged);
    }
}

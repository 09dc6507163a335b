//! What one rule says of its groups.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::groups::{Group, Groups, Reporting, Whole, context, numbers, unjudged, whole_of};
use super::plan::{Fold, Judged};
use crate::alert::baseline::Usuals;
use crate::alert::finding::{Evaluated, Finding, Said, Severity, Span, Subject, Unjudged, Usual};
use crate::alert::rule::expr::{Expr, Made};
use crate::alert::sentence;

/// Most findings of one rule.
const MAX_FINDINGS: usize = 10_000;
/// Subjects of one rule that are told one by one where they could not be judged.
const MAX_UNJUDGED: usize = 500;

/// What one rule says of its groups.
pub(super) struct Judge<'a> {
    judged: &'a Judged,
    fold: &'a Fold,
    at_ms: i64,
    usuals: &'a Usuals,
    wholes: &'a BTreeMap<&'a str, Whole>,
    /// One for each subject: the worst.
    findings: BTreeMap<String, Finding>,
    unjudged: Vec<Unjudged>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(
        (judged, fold): (&'a Judged, &'a Fold),
        at_ms: i64,
        usuals: &'a Usuals,
        wholes: &'a BTreeMap<&'a str, Whole>,
    ) -> Self {
        Self {
            judged,
            fold,
            at_ms,
            usuals,
            wholes,
            findings: BTreeMap::new(),
            unjudged: Vec::new(),
        }
    }

    /// Judges one group.
    pub(super) fn group(&mut self, key: &str, group: &Group) {
        let rule = (self.judged, self.fold);
        let own = numbers(rule, &group.sums, 1.0);
        let whole = self.wholes.get(group.whole.as_str());
        let parts = whole.map_or(1, |whole| whole.parts);
        let whole = numbers(rule, whole.map_or(&[], |whole| &whole.sums), 1.0);
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
            subject: Subject::clone(&group.subject),
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
            declared: self.judged.declared,
            summary: Said::default(),
        };
        for (name, expr, _) in &rule.numbers {
            if let Some(number) = context.number(expr) {
                finding.numbers.insert(name.clone(), number);
            }
        }
        finding.summary = sentence::said(rule, &finding);
        let key = finding.subject.key();
        match self.findings.get(&key) {
            Some(known) if known.severity >= finding.severity => {}
            _ => drop(self.findings.insert(key, finding)),
        }
    }

    /// What is usually there and told nothing, while its hosts did, added nothing.
    pub(super) fn missing(&mut self, groups: &Groups, reporting: &Reporting) {
        let usuals = self.usuals;
        for (key, subject) in usuals.subjects(&self.judged.rule.name) {
            if groups.all.contains_key(key) {
                continue;
            }
            let tells = |host: &&str| reporting.hosts.contains(*host);
            let hosts = subject.hosts();
            let group = Group {
                subject: Arc::new(subject.clone()),
                sums: Vec::new(),
                whole: whole_of(key, subject),
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
            let whole = self.wholes.get(group.whole.as_str());
            let parts = 1 + whole.map_or(0, |whole| whole.parts);
            let rule = (self.judged, self.fold);
            let whole = numbers(rule, whole.map_or(&[], |whole| &whole.sums), 1.0);
            self.judge(key, &group, (&zeros, &whole, parts));
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
                .push(unjudged(name, Some(Subject::clone(&group.subject)), why));
        }
    }

    /// Adds what it found to all that was found.
    pub(super) fn tell(mut self, found: &mut Evaluated) {
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

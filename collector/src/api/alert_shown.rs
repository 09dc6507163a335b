//! Alerts, groups and rules as they are answered: sentences in the language that was asked for.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::alert::catalogue::RuleText;
use crate::alert::finding::{Said, Severity, Subject, Usual};
use crate::alert::group::{Candidate, Cause, Change, Group};
use crate::alert::labels::{kind, named};
use crate::alert::mute::Muted;
use crate::alert::rule::unit;
use crate::alert::state::{Phase, Transition, What};
use crate::alert::store::{Acknowledged, Kept};
use crate::topology::EvidenceKind;

/// Alerts of a group that are named.
const NAMED: usize = 500;

/// A language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl Language {
    /// Of a word; English for what is none.
    #[must_use]
    pub fn of(word: Option<&str>) -> Self {
        match word {
            Some("zh") => Self::Zh,
            _ => Self::En,
        }
    }

    /// A text in it.
    #[must_use]
    pub fn say(self, said: &Said) -> String {
        match self {
            Self::En => said.en.clone(),
            Self::Zh => said.zh.clone(),
        }
    }
}

/// An alert.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct AlertShown {
    /// `a-` and 16 hex digits, the same whenever this rule finds this subject.
    pub id: String,
    /// Its rule.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// Where it is in its life.
    pub phase: Phase,
    /// `edge`, `node`, `host`, `gateway`, `series`, `flow` or `collector`.
    pub kind: String,
    /// What it is about, for people.
    pub name: String,
    /// What it is about.
    pub subject: Subject,
    /// One sentence with its numbers.
    pub summary: String,
    /// The rule's value when it was last found, in `unit`.
    pub value: f64,
    /// The unit of `value` and `usual`, as UCUM writes it: `s`, `By`, `1` for a share (0.05 is 5 %),
    /// each of these and pieces per second (`/s`); empty for pieces.
    pub unit: String,
    /// What is usual, in `unit`; `null`: the rule does not ask, or nothing is usual yet.
    pub usual: Option<Usual>,
    /// Further numbers by name: seconds, bytes, pieces, shares as parts of one.
    pub numbers: BTreeMap<String, f64>,
    /// When it was first found this time, Unix milliseconds.
    pub began_ms: i64,
    /// When it was last found, Unix milliseconds.
    pub found_ms: i64,
    /// When it began to fire this time, Unix milliseconds.
    pub fired_ms: Option<i64>,
    /// When it was over, Unix milliseconds.
    pub resolved_ms: Option<i64>,
    /// Since when it cannot be judged, Unix milliseconds.
    pub unknown_since_ms: Option<i64>,
    /// Why it cannot be judged.
    pub unknown_why: Option<String>,
    /// It fired so often of late that it goes on until it was quiet for longer.
    pub flapping: bool,
    /// What joins the ends of an edge.
    pub evidence: Vec<EvidenceKind>,
    /// The confidence of an edge, 0 to 1; `null` for what is no edge.
    pub confidence: Option<f64>,
    /// Gateways and VIPs on the way.
    pub through: Vec<String>,
    /// Who knows of it.
    pub acknowledged: Option<Acknowledged>,
    /// What keeps it from being told.
    pub muted: Option<Muted>,
    /// Its group, while it fires.
    pub group: Option<String>,
    /// The alert that stands for it: about what it rests on.
    pub covered_by: Option<String>,
}

impl AlertShown {
    /// What is kept, with what mutes it and the group it is in.
    #[must_use]
    pub fn new(kept: &Kept, muted: Option<Muted>, group: Option<&Group>, in_: Language) -> Self {
        let (alert, finding) = (&kept.alert, &kept.alert.finding);
        let lead = group.and_then(|group| group.lead.clone());
        Self {
            id: alert.id.clone(),
            rule: finding.rule.to_string(),
            severity: finding.severity,
            phase: alert.phase,
            kind: kind(&finding.subject).to_owned(),
            name: named(&finding.subject),
            subject: finding.subject.clone(),
            summary: in_.say(&finding.summary),
            value: finding.value,
            unit: unit::kept(&finding.unit).to_owned(),
            usual: finding.usual,
            numbers: finding.numbers.clone(),
            began_ms: alert.began_ms,
            found_ms: alert.found_ms,
            fired_ms: alert.fired_ms,
            resolved_ms: alert.resolved_ms,
            unknown_since_ms: alert.unknown_since_ms,
            unknown_why: alert.unknown_why.clone(),
            flapping: alert.flapping,
            evidence: finding.evidence.clone(),
            confidence: finding.confidence,
            through: finding.through.clone(),
            acknowledged: kept.acknowledged.clone(),
            muted,
            group: group.map(|group| group.id.clone()),
            covered_by: lead.filter(|lead| *lead != alert.id),
        }
    }
}

/// Alerts that are one trouble.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct GroupShown {
    /// `g-` and 16 hex digits, the same while what they have in common is.
    pub id: String,
    /// What they have in common.
    pub cause: Cause,
    /// One sentence.
    pub headline: String,
    /// The worst of them.
    pub severity: Severity,
    /// When the first of them began to fire, Unix milliseconds.
    pub since_ms: i64,
    /// The alert about what they have in common, which stands for the others.
    pub lead: Option<String>,
    /// Ids of its alerts, 500 at most.
    pub alerts: Vec<String>,
    /// How many they are.
    pub count: u64,
    /// An alert of its own says that what they have in common is in trouble; without one that is
    /// likely and not proven.
    pub proven: bool,
    /// The evidence for an edge among them has little confidence.
    pub low_confidence: bool,
    /// What changed nearby at the same time, at most three: no verdict.
    pub candidates: Vec<CandidateShown>,
}

/// Something that changed near an alert when it began.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct CandidateShown {
    /// What changed, for people.
    pub name: String,
    /// It.
    #[serde(flatten)]
    pub change: Change,
    /// One sentence with the numbers.
    pub why: String,
}

impl CandidateShown {
    fn new(candidate: &Candidate, in_: Language) -> Self {
        Self {
            name: named(&candidate.change.subject),
            change: candidate.change.clone(),
            why: in_.say(&candidate.why),
        }
    }
}

impl GroupShown {
    /// A group in a language.
    #[must_use]
    pub fn new(group: &Group, in_: Language) -> Self {
        let candidates = group.candidates.iter();
        Self {
            id: group.id.clone(),
            cause: group.cause.clone(),
            headline: in_.say(&group.headline),
            severity: group.severity,
            since_ms: group.since_ms,
            lead: group.lead.clone(),
            alerts: group.alerts.iter().take(NAMED).cloned().collect(),
            count: group.alerts.len() as u64,
            proven: group.proven,
            low_confidence: group.low_confidence,
            candidates: candidates
                .map(|one| CandidateShown::new(one, in_))
                .collect(),
        }
    }
}

/// Something that became of an alert.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct TransitionShown {
    /// When, Unix milliseconds.
    pub at_ms: i64,
    /// What.
    pub what: What,
    /// The rule's value then, in the alert's `unit`; the last one where there was none.
    pub value: f64,
    /// How bad it was.
    pub severity: Severity,
    /// Why, where there is more to say.
    pub why: Option<String>,
}

impl From<Transition> for TransitionShown {
    fn from(transition: Transition) -> Self {
        Self {
            at_ms: transition.at_ms,
            what: transition.what,
            value: transition.value,
            severity: transition.severity,
            why: transition.why,
        }
    }
}

/// A rule.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct RuleShown {
    /// Its name.
    pub name: String,
    /// The table it reads.
    pub table: String,
    /// Its expression, as it was written.
    pub expression: String,
    /// How bad it is.
    pub severity: Severity,
    /// So long it must be found before it fires, milliseconds.
    pub for_ms: i64,
    /// So long it goes on firing after it was found last, milliseconds.
    pub keep_for_ms: i64,
    /// `shipped`, or the file it came from.
    pub source: String,
    /// Whether it is evaluated.
    pub enabled: bool,
    /// Its sentence, with places for numbers.
    pub summary: String,
    /// What it means where it fires.
    pub meaning: String,
    /// What it is likely to come from.
    pub likely_causes: Vec<String>,
    /// What to look at or do next.
    pub next_step: String,
}

impl RuleShown {
    /// A rule in a language.
    #[must_use]
    pub fn new(rule: &RuleText, in_: Language) -> Self {
        Self {
            name: rule.name.to_string(),
            table: rule.table.clone(),
            expression: rule.expression.clone(),
            severity: rule.severity,
            for_ms: rule.terms.for_ms,
            keep_for_ms: rule.terms.keep_for_ms,
            source: rule.source.clone(),
            enabled: rule.enabled,
            summary: in_.say(&rule.summary),
            meaning: in_.say(&rule.meaning),
            likely_causes: rule.causes.iter().map(|one| in_.say(one)).collect(),
            next_step: in_.say(&rule.next_step),
        }
    }
}

//! What people are told of: one notice for a group, not one for each alert. Pure.
//!
//! An alert is told once when it fires, once when it gets worse and once when it resolves. What is
//! muted is not told; what still fires when nothing mutes it any more is told then.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::{Said, Severity, Subject, Usual};
use super::group::{Candidate, Group};
use super::labels::{kind, labels, named};
use super::mute::Mutes;
use super::rule::unit;
use super::state::{Alert, Phase, State};

/// After a notice about a group there is none for so long, milliseconds, unless it gets worse.
const GROUP_INTERVAL_MS: i64 = 300_000;
/// Most alerts of each kind that a notice has one by one.
const LISTED: usize = 50;

/// What was told of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Which time it was: when it was first found, Unix milliseconds.
    pub began_ms: i64,
    /// How bad it was.
    pub severity: Severity,
    /// In which group.
    pub group: String,
}

/// What is known of what was told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// By alert.
    pub told: BTreeMap<String, Told>,
    /// When a group was told of last, Unix milliseconds.
    pub sent: BTreeMap<String, i64>,
}

/// One notice, as webhooks get it.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Notice {
    /// Of this form: 1.
    pub version: u32,
    /// As of when, Unix milliseconds.
    pub at_ms: i64,
    /// Of which group.
    pub group: String,
    /// One sentence about the group.
    pub headline: Said,
    /// The worst that still fires; of what resolved, where nothing does.
    pub severity: Severity,
    /// Alerts that began to fire.
    pub firing: Vec<Shown>,
    /// Alerts that got worse.
    pub escalated: Vec<Shown>,
    /// Alerts that resolved.
    pub resolved: Vec<Shown>,
    /// Alerts for which there was no room in the lists.
    pub left_out: u64,
    /// Alerts of the group that fire now.
    pub still_firing: u64,
    /// What changed nearby, with its numbers: candidates, no verdict.
    #[serde(default)]
    pub candidates: Vec<Candidate>,
}

/// An alert in a notice.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Shown {
    /// Its id.
    pub id: String,
    /// Its rule.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// `edge`, `node`, `host`, `gateway`, `series` or `collector`.
    pub kind: String,
    /// What it is about, for people.
    pub name: String,
    /// What it is about.
    pub subject: Subject,
    /// One sentence.
    pub summary: Said,
    /// The rule's value, in `unit`.
    pub value: f64,
    /// The unit of `value` and `usual`, as UCUM writes it: seconds, bytes, pieces, shares of one.
    pub unit: String,
    /// What is usual, in `unit`.
    pub usual: Option<Usual>,
    /// The confidence of an edge.
    pub confidence: Option<f64>,
    /// When it began to fire, Unix milliseconds.
    pub fired_ms: Option<i64>,
    /// When it resolved, Unix milliseconds.
    pub resolved_ms: Option<i64>,
}

impl From<&Alert> for Shown {
    fn from(alert: &Alert) -> Self {
        let finding = &alert.finding;
        Self {
            id: alert.id.clone(),
            rule: finding.rule.to_string(),
            severity: finding.severity,
            kind: kind(&finding.subject).to_owned(),
            name: named(&finding.subject),
            subject: finding.subject.clone(),
            summary: finding.summary.clone(),
            value: finding.value,
            unit: unit::kept(&finding.unit).to_owned(),
            usual: finding.usual,
            confidence: finding.confidence,
            fired_ms: alert.fired_ms,
            resolved_ms: alert.resolved_ms,
        }
    }
}

impl Notice {
    /// The part of it that is at least so bad; none where nothing is.
    #[must_use]
    pub fn least(&self, severity: Severity) -> Option<Self> {
        let keep = |all: &[Shown]| -> Vec<Shown> {
            let kept = all.iter().filter(|one| one.severity >= severity);
            kept.cloned().collect()
        };
        let notice = Self {
            firing: keep(&self.firing),
            escalated: keep(&self.escalated),
            resolved: keep(&self.resolved),
            ..self.clone()
        };
        let lists = [&notice.firing, &notice.escalated, &notice.resolved];
        let is_empty = lists.iter().all(|all| all.is_empty());
        (!is_empty).then_some(notice)
    }
}

/// What changed of a group since it was told of.
#[derive(Default)]
struct News<'a> {
    firing: Vec<&'a Alert>,
    escalated: Vec<&'a Alert>,
    resolved: Vec<&'a Alert>,
    still_firing: u64,
}

/// The notices of a step, and what is told with them.
#[must_use]
pub fn notices(
    state: &State,
    groups: &[Group],
    mutes: &Mutes,
    memory: &Memory,
    now_ms: i64,
) -> (Vec<Notice>, Memory) {
    let group_of: BTreeMap<&str, &Group> = groups
        .iter()
        .flat_map(|group| group.alerts.iter().map(move |id| (id.as_str(), group)))
        .collect();
    let is_muted = |alert: &Alert| mutes.of(&labels(alert), now_ms).is_some();
    let mut news: BTreeMap<String, News<'_>> = BTreeMap::new();
    for alert in state.alerts.values() {
        let told = memory.told.get(&alert.id);
        let told = told.filter(|told| told.began_ms == alert.began_ms);
        let group = group_of
            .get(alert.id.as_str())
            .map(|group| group.id.clone());
        match (alert.phase, told, group) {
            (Phase::Firing, None, Some(group)) if !is_muted(alert) => {
                news.entry(group).or_default().firing.push(alert);
            }
            (Phase::Firing, Some(told), Some(group)) => {
                let news = news.entry(group).or_default();
                news.still_firing += 1;
                let worse = alert.finding.severity > told.severity;
                if worse && !is_muted(alert) {
                    news.escalated.push(alert);
                }
            }
            (Phase::Resolved, Some(told), _) => {
                news.entry(told.group.clone())
                    .or_default()
                    .resolved
                    .push(alert);
            }
            _ => {}
        }
    }
    let mut next = memory.clone();
    let mut notices = Vec::new();
    for (id, news) in news {
        if news.firing.is_empty() && news.escalated.is_empty() && news.resolved.is_empty() {
            continue;
        }
        let group = groups.iter().find(|group| group.id == id);
        if is_held(&news, memory.sent.get(&id).copied(), now_ms) {
            continue;
        }
        for alert in news.firing.iter().chain(&news.escalated) {
            let told = Told {
                began_ms: alert.began_ms,
                severity: alert.finding.severity,
                group: id.clone(),
            };
            next.told.insert(alert.id.clone(), told);
        }
        for alert in &news.resolved {
            next.told.remove(&alert.id);
        }
        next.sent.insert(id.clone(), now_ms);
        notices.push(notice(id, group, &news, now_ms));
    }
    forget(&mut next, state, now_ms);
    (notices, next)
}

/// Whether a group was told of a moment ago and what is new can wait.
fn is_held(news: &News<'_>, sent: Option<i64>, now_ms: i64) -> bool {
    let recent = sent.is_some_and(|at| now_ms - at < GROUP_INTERVAL_MS);
    let grave = |alert: &&&Alert| alert.finding.severity == Severity::Critical;
    // The first thing that is critical does not wait behind warnings.
    let urgent = !news.escalated.is_empty()
        || (news.still_firing == 0 && news.firing.iter().any(|one| grave(&one)));
    recent && !urgent
}

fn notice(id: String, group: Option<&Group>, news: &News<'_>, at_ms: i64) -> Notice {
    let list = |all: &[&Alert]| -> Vec<Shown> {
        let mut all: Vec<&&Alert> = all.iter().collect();
        all.sort_by(|a, b| {
            let worse = b.finding.severity.cmp(&a.finding.severity);
            worse.then(a.id.cmp(&b.id))
        });
        all.into_iter()
            .take(LISTED)
            .map(|one| Shown::from(*one))
            .collect()
    };
    let all = [&news.firing, &news.escalated, &news.resolved];
    let over = all
        .iter()
        .map(|all| all.len().saturating_sub(LISTED))
        .sum::<usize>();
    let worst = all.iter().flat_map(|all| all.iter());
    let worst = worst.max_by_key(|alert| alert.finding.severity);
    let headline = match (group, worst) {
        (Some(group), _) => group.headline.clone(),
        (None, Some(alert)) => over_now(alert, news.resolved.len()),
        (None, None) => Said::default(),
    };
    Notice {
        version: 1,
        at_ms,
        headline,
        severity: match (group, worst) {
            (Some(group), _) => group.severity,
            (None, worst) => worst.map_or(Severity::Warning, |one| one.finding.severity),
        },
        firing: list(&news.firing),
        escalated: list(&news.escalated),
        resolved: list(&news.resolved),
        left_out: over as u64,
        still_firing: news.still_firing + news.firing.len() as u64,
        candidates: group
            .map(|group| group.candidates.clone())
            .unwrap_or_default(),
        group: id,
    }
}

fn over_now(alert: &Alert, many: usize) -> Said {
    let Said { en, zh } = &alert.finding.summary;
    match many {
        1 => Said {
            en: format!("Over: {en}"),
            zh: format!("已恢复:{zh}"),
        },
        _ => Said {
            en: format!("Over, as are {} more: {en}", many - 1),
            zh: format!("已恢复(另有 {} 条):{zh}", many - 1),
        },
    }
}

/// Forgets what nothing is known of any more.
fn forget(memory: &mut Memory, state: &State, now_ms: i64) {
    memory.told.retain(|id, _| state.alerts.contains_key(id));
    let groups: BTreeSet<&String> = memory.told.values().map(|told| &told.group).collect();
    memory
        .sent
        .retain(|id, at| groups.contains(id) || now_ms - *at < GROUP_INTERVAL_MS);
}

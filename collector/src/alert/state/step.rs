//! One step of all alerts: what a pass of the rules found is held against what was known.

use std::collections::{BTreeMap, BTreeSet};

use super::alert::{Alert, Ended, Phase, State, Transition, What, alert_id};
use crate::alert::finding::{Evaluated, Finding, RuleName};

/// A step counts for at most so long, milliseconds: while nobody judged, nothing is known.
const MOST_STEP_MS: i64 = 120_000;
/// Within so long, milliseconds, an alert may fire [`FLAPS`] times less one.
const FLAP_WINDOW_MS: i64 = 3_600_000;
/// So many times is too many.
const FLAPS: usize = 3;
/// So long one that flaps must be quiet, milliseconds; doubles with each further time.
const FLAP_KEEP_MS: [i64; 2] = [600_000, 3_600_000];
/// Times of firing that are kept of one alert.
const FIRED: usize = 16;

/// What bounds alerts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Most alerts at once.
    pub alerts: usize,
    /// A pending one that cannot be judged is dropped after so long, milliseconds.
    pub pending_unknown_ms: i64,
    /// A firing one that cannot be judged ends after so long, milliseconds.
    pub firing_unknown_ms: i64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            alerts: 10_000,
            pending_unknown_ms: 3_600_000,
            firing_unknown_ms: 7 * 86_400_000,
        }
    }
}

/// What a step changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// By alert, in the order in which they came about.
    pub transitions: Vec<Transition>,
    /// Alerts that are not followed any more: they resolved long ago, or did not fire of late.
    pub gone: Vec<Alert>,
    /// Findings for which there was no room.
    pub cut: u64,
}

/// The state after a pass of the rules. `rules`: those in force. A pass that was taken before, or is
/// older than one that was, changes nothing.
#[must_use]
pub fn step(
    state: State,
    evaluated: &Evaluated,
    rules: &BTreeSet<RuleName>,
    bounds: &Bounds,
) -> (State, Changes) {
    let mut changes = Changes::default();
    let now = evaluated.at_ms;
    if now <= state.through_ms {
        return (state, changes);
    }
    let lasted = match state.through_ms {
        0 => 0,
        through => (now - through).min(MOST_STEP_MS),
    };
    let mut next = State {
        through_ms: now,
        alerts: state.alerts,
    };
    let unjudged = Judgement::of(evaluated);
    let mut found: Vec<(String, &Finding)> = evaluated
        .findings
        .iter()
        .map(|one| (alert_id(&one.rule, &one.subject), one))
        .collect();
    // The worst first, for there may not be room for all.
    found.sort_by(|(a, left), (b, right)| right.severity.cmp(&left.severity).then(a.cmp(b)));
    found.dedup_by(|(later, _), (first, _)| later == first);
    let ids: BTreeSet<&str> = found.iter().map(|(id, _)| id.as_str()).collect();
    let mut steps = Steps {
        now,
        lasted,
        told: &mut changes.transitions,
    };
    for (id, alert) in &mut next.alerts {
        if alert.phase != Phase::Resolved && !ids.contains(id.as_str()) {
            steps.missing(alert, &unjudged, rules, bounds);
        }
    }
    let mut room = bounds.alerts.saturating_sub(open(&next));
    for (id, finding) in found {
        match next.alerts.get_mut(&id) {
            Some(alert) if alert.phase != Phase::Resolved => steps.found(alert, finding),
            again => {
                if room == 0 {
                    changes.cut += 1;
                    continue;
                }
                room -= 1;
                let fired = again.map(|alert| alert.fired.clone()).unwrap_or_default();
                let alert = steps.begin(id.clone(), finding, fired);
                next.alerts.insert(id, alert);
            }
        }
    }
    let dropped = |alert: &Alert| {
        alert
            .resolved_ms
            .is_some_and(|at| alert.fired.is_empty() || now - at >= FLAP_WINDOW_MS)
    };
    let gone = next.alerts.values().filter(|alert| dropped(alert));
    changes.gone = gone.cloned().collect();
    next.alerts.retain(|_, alert| !dropped(alert));
    changes
        .transitions
        .sort_by(|left, right| left.id.cmp(&right.id));
    (next, changes)
}

fn open(state: &State) -> usize {
    let open = state.alerts.values();
    open.filter(|alert| alert.phase != Phase::Resolved).count()
}

/// What could not be judged, with why.
struct Judgement<'a> {
    evaluated: &'a Evaluated,
    rules: BTreeMap<&'a RuleName, &'a str>,
    alerts: BTreeMap<String, &'a str>,
}

impl<'a> Judgement<'a> {
    fn of(evaluated: &'a Evaluated) -> Self {
        let (mut rules, mut alerts) = (BTreeMap::new(), BTreeMap::new());
        for one in &evaluated.unjudged {
            let why = one.why.as_str();
            if let Some(subject) = &one.subject {
                alerts.insert(alert_id(&one.rule, subject), why);
            } else {
                rules.insert(&one.rule, why);
            }
        }
        Self {
            evaluated,
            rules,
            alerts,
        }
    }

    /// Why an alert that was not found cannot be judged.
    fn why(&self, alert: &Alert) -> Option<String> {
        let rule = &alert.finding.rule;
        let told = self.rules.get(rule).or_else(|| self.alerts.get(&alert.id));
        if let Some(why) = told {
            return Some(String::from(*why));
        }
        if self.evaluated.cut.contains(rule) {
            let why = "the rule has more to look at than it may: what it did not find may be there";
            return Some(String::from(why));
        }
        let hosts = alert.finding.subject.hosts();
        let silent = hosts
            .into_iter()
            .find(|host| self.evaluated.silent.contains(*host))?;
        Some(format!("host {silent} reports nothing"))
    }
}

/// One step, and what came about in it.
struct Steps<'a> {
    now: i64,
    lasted: i64,
    told: &'a mut Vec<Transition>,
}

impl Steps<'_> {
    fn tell(&mut self, alert: &Alert, what: What, why: Option<&str>) {
        self.told.push(Transition {
            id: alert.id.clone(),
            at_ms: self.now,
            what,
            value: alert.finding.value,
            severity: alert.finding.severity,
            why: why.map(str::to_owned),
        });
    }

    fn begin(&mut self, id: String, finding: &Finding, fired: Vec<i64>) -> Alert {
        let mut alert = Alert {
            id,
            finding: finding.clone(),
            phase: Phase::Pending,
            began_ms: self.now,
            found_ms: self.now,
            fired_ms: None,
            resolved_ms: None,
            held_ms: 0,
            clear_ms: 0,
            unknown_since_ms: None,
            unknown_why: None,
            fired,
            flapping: false,
        };
        self.tell(&alert, What::Pending, None);
        self.fire(&mut alert);
        alert
    }

    fn found(&mut self, alert: &mut Alert, finding: &Finding) {
        let before = alert.finding.severity;
        alert.finding = finding.clone();
        alert.found_ms = self.now;
        alert.clear_ms = 0;
        alert.held_ms = alert.held_ms.saturating_add(self.lasted);
        self.known(alert);
        if alert.phase == Phase::Pending {
            self.fire(alert);
        } else if finding.severity != before {
            let worse = finding.severity > before;
            self.tell(
                alert,
                if worse { What::Escalated } else { What::Eased },
                None,
            );
        }
        self.settle(alert);
    }

    /// A pending alert fires once it was found for long enough.
    fn fire(&mut self, alert: &mut Alert) {
        if alert.held_ms < alert.finding.terms.for_ms {
            return;
        }
        alert.phase = Phase::Firing;
        alert.fired_ms = Some(self.now);
        alert.fired.push(self.now);
        self.tell(alert, What::Firing, None);
        self.settle(alert);
        if alert.fired.len() >= FLAPS {
            alert.flapping = true;
            self.tell(alert, What::Flapping, None);
        }
    }

    /// Forgets when it fired long ago.
    fn settle(&self, alert: &mut Alert) {
        let since = self.now - FLAP_WINDOW_MS;
        alert.fired.retain(|at| *at > since);
        let over = alert.fired.len().saturating_sub(FIRED);
        alert.fired.drain(..over);
        alert.flapping &= alert.fired.len() >= FLAPS;
    }

    fn known(&mut self, alert: &mut Alert) {
        alert.unknown_why = None;
        if alert.unknown_since_ms.take().is_some() {
            self.tell(alert, What::Known, None);
        }
    }

    fn missing(
        &mut self,
        alert: &mut Alert,
        unjudged: &Judgement<'_>,
        rules: &BTreeSet<RuleName>,
        bounds: &Bounds,
    ) {
        if !rules.contains(&alert.finding.rule) {
            return self.end(alert, Some(Ended::RuleGone));
        }
        if let Some(why) = unjudged.why(alert) {
            return self.unknown(alert, why, bounds);
        }
        self.known(alert);
        self.settle(alert);
        alert.clear_ms = alert.clear_ms.saturating_add(self.lasted);
        let long_enough = match alert.phase {
            Phase::Pending => true,
            _ => alert.clear_ms >= keep_ms(alert),
        };
        if long_enough {
            self.end(alert, None);
        }
    }

    fn unknown(&mut self, alert: &mut Alert, why: String, bounds: &Bounds) {
        if alert.unknown_since_ms.is_none() {
            alert.unknown_since_ms = Some(self.now);
            self.tell(alert, What::Unknown, Some(&why));
        }
        alert.unknown_why = Some(why);
        let since = alert.unknown_since_ms.unwrap_or(self.now);
        let most = match alert.phase {
            Phase::Pending => bounds.pending_unknown_ms,
            _ => bounds.firing_unknown_ms,
        };
        if self.now - since >= most {
            self.end(alert, Some(Ended::Forgotten));
        }
    }

    fn end(&mut self, alert: &mut Alert, ended: Option<Ended>) {
        let what = match alert.phase {
            Phase::Pending => What::Dropped,
            _ => What::Resolved,
        };
        alert.phase = Phase::Resolved;
        alert.resolved_ms = Some(self.now);
        alert.unknown_since_ms = None;
        alert.unknown_why = None;
        self.tell(alert, what, ended.map(Ended::why));
    }
}

/// For how long an alert goes on firing after it was found last.
fn keep_ms(alert: &Alert) -> i64 {
    let keep = alert.finding.terms.keep_for_ms;
    let Some(beyond) = alert
        .fired
        .len()
        .checked_sub(FLAPS)
        .filter(|_| alert.flapping)
    else {
        return keep;
    };
    let beyond = u32::try_from(beyond).unwrap_or(u32::MAX).min(8);
    let quiet = FLAP_KEEP_MS[0].saturating_mul(1 << beyond);
    keep.max(quiet.min(FLAP_KEEP_MS[1]))
}

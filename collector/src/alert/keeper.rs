//! Takes what a pass of the rules found, and makes of it what becomes of alerts.
//!
//! The one place that puts the pure parts together: state, groups, candidates, notices, and all of
//! it into the database in one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::finding::{Evaluated, RuleName, Severity, Span, Subject};
use super::group::{Candidate, Cause, Context, Group, Surroundings, candidates, converge};
use super::notify::{Memory, Notice, notices};
use super::state::{Alert, Bounds, Phase, State, step};
use super::store::{AlertStore, Error, Step};
use crate::metrics::Metrics;

/// An output, as far as it matters which notices it gets.
#[derive(Clone, Debug)]
pub struct Wants {
    /// Its name.
    pub output: String,
    /// What is less bad is not for it.
    pub least: Severity,
}

/// What the keeper asks somebody who can read the store.
pub trait Look {
    /// What is known of the time around `since_ms`, Unix milliseconds; `None` where it cannot be read
    /// now. It is asked at most once in a pass.
    fn around(&mut self, since_ms: i64, now_ms: i64) -> Option<Surroundings>;
}

/// Alerts between passes of the rules.
pub struct Keeper {
    store: Arc<AlertStore>,
    metrics: Arc<Metrics>,
    wants: Vec<Wants>,
    bounds: Bounds,
    state: State,
    memory: Memory,
    /// Candidates by group, once they were looked for.
    looked: BTreeMap<String, (i64, Vec<Candidate>)>,
}

impl Keeper {
    /// Goes on where it was ended.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub fn open(
        store: Arc<AlertStore>,
        metrics: Arc<Metrics>,
        wants: Vec<Wants>,
    ) -> Result<Self, Error> {
        let looked = store.groups()?.into_iter();
        let looked = looked.map(|group| (group.id, (group.since_ms, group.candidates)));
        Ok(Self {
            state: store.state()?,
            memory: store.memory()?,
            looked: looked.collect(),
            bounds: Bounds::default(),
            store,
            metrics,
            wants,
        })
    }

    /// Up to when was judged, Unix milliseconds; 0: never.
    #[must_use]
    pub fn through_ms(&self) -> i64 {
        self.state.through_ms
    }

    /// Takes a pass. `rules`: those in force; `homes`: hosts by their addresses, as far as joined
    /// edges name them. A pass that was taken before changes nothing.
    ///
    /// # Errors
    /// When the database cannot be used: then nothing changed, and the same pass can be taken again.
    pub fn take(
        &mut self,
        evaluated: &Evaluated,
        rules: &BTreeSet<RuleName>,
        homes: BTreeMap<String, String>,
        look: &mut dyn Look,
    ) -> Result<(), Error> {
        let (after, changes) = step(self.state.clone(), evaluated, rules, &self.bounds);
        if after.through_ms == self.state.through_ms {
            return Ok(());
        }
        let firing: Vec<&Alert> = after
            .alerts
            .values()
            .filter(|alert| alert.phase == Phase::Firing)
            .collect();
        let context = Context {
            silent: evaluated.silent.clone(),
            homes,
        };
        let mut groups = converge(&firing, &context);
        let looked = self.causes(&mut groups, &after, evaluated.at_ms, look);
        let mutes = self.store.mutes()?;
        let now_ms = evaluated.at_ms;
        let (made, memory) = notices(&after, &groups, &mutes, &self.memory, now_ms);
        let queued = self.queued(&made);
        let dropped = self.store.keep(&Step {
            before: &self.state,
            after: &after,
            changes: &changes,
            groups: &groups,
            memory: (&self.memory, &memory),
            notices: &queued,
        })?;
        self.count(
            &after,
            changes.cut,
            changes.transitions.len() as u64,
            dropped,
        );
        self.state = after;
        self.memory = memory;
        self.looked = looked;
        Ok(())
    }

    /// Gives each group its candidates: those that it had, or such as are looked for now.
    fn causes(
        &self,
        groups: &mut [Group],
        state: &State,
        now_ms: i64,
        look: &mut dyn Look,
    ) -> BTreeMap<String, (i64, Vec<Candidate>)> {
        let mut around = None;
        let mut looked = BTreeMap::new();
        // What is not declared has no cause that numbers would tell of.
        for group in groups.iter_mut().filter(|one| one.cause != Cause::Matrix) {
            let known = self.looked.get(&group.id);
            let known = known.filter(|(since_ms, _)| *since_ms == group.since_ms);
            let found = match known {
                Some((_, candidates)) => Some(candidates.clone()),
                None => {
                    let around =
                        around.get_or_insert_with(|| look.around(began(group, state), now_ms));
                    let of = subjects(group, state);
                    let find = |around: &Surroundings| candidates(&of, around);
                    around.as_ref().map(find)
                }
            };
            if let Some(found) = found {
                group.candidates.clone_from(&found);
                looked.insert(group.id.clone(), (group.since_ms, found));
            }
        }
        looked
    }

    fn queued(&self, made: &[Notice]) -> Vec<(String, Notice)> {
        let mut queued = Vec::new();
        for wants in &self.wants {
            for notice in made {
                if let Some(notice) = notice.least(wants.least) {
                    queued.push((wants.output.clone(), notice));
                }
            }
        }
        queued
    }

    fn count(&self, state: &State, cut: u64, transitions: u64, dropped: u64) {
        let metrics = &self.metrics;
        let of = |phase| {
            let all = state.alerts.values();
            all.filter(|alert| alert.phase == phase).count() as u64
        };
        metrics.alerts_firing.set(of(Phase::Firing));
        metrics.alerts_pending.set(of(Phase::Pending));
        let unknown = state.alerts.values();
        let unknown = unknown.filter(|alert| alert.unknown_since_ms.is_some());
        metrics.alerts_unknown.set(unknown.count() as u64);
        metrics.alerts_cut_total.add(cut);
        metrics.alert_transitions_total.add(transitions);
        metrics.alert_notices_dropped_total.add(dropped);
        if cut > 0 {
            log::warn!(findings = cut; "more alerts than are kept: the least bad are left out");
        }
        if dropped > 0 {
            log::warn!(notices = dropped; "notices that waited made room for newer ones");
        }
    }
}

fn members<'a>(group: &'a Group, state: &'a State) -> impl Iterator<Item = &'a Alert> {
    let alerts = group.alerts.iter();
    alerts.filter_map(|id| state.alerts.get(id))
}

/// What the walk begins at: what leads, else all.
fn subjects(group: &Group, state: &State) -> Vec<Subject> {
    let lead = group.lead.as_ref().and_then(|id| state.alerts.get(id));
    match lead {
        Some(alert) => vec![alert.finding.subject.clone()],
        None => members(group, state)
            .map(|one| one.finding.subject.clone())
            .collect(),
    }
}

/// Begin of the first window in which something was found.
fn began(group: &Group, state: &State) -> i64 {
    let began = members(group, state).map(|alert| {
        let Span { from_ms, to_ms } = alert.finding.window;
        alert.began_ms.saturating_sub(to_ms.saturating_sub(from_ms))
    });
    began.min().unwrap_or(group.since_ms)
}

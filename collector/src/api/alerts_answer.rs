//! What is answered about alerts: functions of their database, the parameters and the time; the
//! server and the commands call the same.

use std::collections::BTreeMap;

use super::alert_shown::{AlertShown, GroupShown, Language, TransitionShown};
use super::alerts::{AlertDetail, Alerts, asked, next};
use super::failure::Problem;
use super::given::Given;
use crate::alert::catalogue::{Catalogue, RuleText};
use crate::alert::finding::Said;
use crate::alert::group::Group;
use crate::alert::labels::labels;
use crate::alert::mute::Mutes;
use crate::alert::store::{AlertStore, Error, Kept};

/// Why there is no answer about alerts.
#[derive(Debug)]
pub enum Unanswered {
    /// The question is refused.
    Refused(Problem),
    /// The database does not answer.
    Store(Error),
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Self::Store(error)
    }
}

impl From<Problem> for Unanswered {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

/// What alerts are shown with.
struct Shown {
    groups: Vec<Group>,
    mutes: Mutes,
    language: Language,
    now_ms: i64,
}

impl Shown {
    fn of(store: &AlertStore, given: &Given, now_ms: i64) -> Result<Self, Error> {
        Ok(Self {
            groups: store.groups()?,
            mutes: store.mutes()?,
            language: Language::of(given.text("language")),
            now_ms,
        })
    }

    fn by_id(&self) -> BTreeMap<&str, &Group> {
        self.groups
            .iter()
            .map(|one| (one.id.as_str(), one))
            .collect()
    }

    fn alert(&self, kept: &Kept, groups: &BTreeMap<&str, &Group>) -> AlertShown {
        let muted = self.mutes.of(&labels(&kept.alert), self.now_ms);
        let group = kept.group.as_deref().and_then(|id| groups.get(id)).copied();
        AlertShown::new(kept, muted, group, self.language)
    }
}

/// `GET /api/v1/alerts`
///
/// # Errors
/// A parameter that cannot be used, or the database cannot be read.
pub fn alerts(store: &AlertStore, given: &Given, now_ms: i64) -> Result<Alerts, Unanswered> {
    let asked = asked(given)?;
    let page = store.page(&asked)?;
    let (counts, at_ms) = store.counts()?;
    let shown = Shown::of(store, given, now_ms)?;
    let groups = shown.by_id();
    let first = shown.groups.iter().filter(|_| asked.after.is_none());
    Ok(Alerts {
        at_ms,
        counts,
        groups: first
            .map(|one| GroupShown::new(one, shown.language))
            .collect(),
        alerts: page
            .alerts
            .iter()
            .map(|one| shown.alert(one, &groups))
            .collect(),
        next: page.next.map(|place| next(given, place)),
    })
}

/// `GET /api/v1/alerts/{id}`
///
/// # Errors
/// There is none of that id, or the database cannot be read.
pub fn alert(
    store: &AlertStore,
    rules: &Catalogue,
    given: &Given,
    now_ms: i64,
) -> Result<AlertDetail, Unanswered> {
    let id = given.text("id").unwrap_or_default();
    let found = store.one(id)?;
    let (kept, history) = found.ok_or_else(|| Problem::unknown("there is no such alert"))?;
    let shown = Shown::of(store, given, now_ms)?;
    let groups = shown.by_id();
    let language = shown.language;
    let rule = rules.find(&kept.alert.finding.rule);
    let say = |of: fn(&RuleText) -> &Said| {
        let text = rule.as_ref().map(|rule| language.say(of(rule)));
        text.unwrap_or_default()
    };
    let causes = rule.iter().flat_map(|rule| &rule.causes);
    let group = kept.group.as_deref().and_then(|id| groups.get(id));
    Ok(AlertDetail {
        alert: shown.alert(&kept, &groups),
        meaning: say(|rule| &rule.meaning),
        likely_causes: causes.map(|one| language.say(one)).collect(),
        next_step: say(|rule| &rule.next_step),
        history: history.into_iter().map(TransitionShown::from).collect(),
        group: group.map(|one| GroupShown::new(one, language)),
    })
}

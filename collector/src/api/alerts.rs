//! Operations about alerts: what is wrong, since when, and who knows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::alert_shown::{AlertShown, GroupShown, RuleShown, TransitionShown};
use super::failure::Problem;
use super::given::Given;
use super::operation::{Form, Operation, form};
use super::page::{self, CURSOR};
use super::parameter::{Kind, Need, Parameter};
use super::people::{BAD, NO_JSON};
use crate::alert::finding::Severity;
use crate::alert::state::Phase;
use crate::alert::store::{Acknowledged, Asked, Counts, Place};

/// The parameter with a language.
pub(super) const LANGUAGE: Parameter = Parameter::new(
    "language",
    Kind::Choice(&["en", "zh"]),
    "Of the sentences: English or Chinese.",
)
.or("en");

/// The parameter with an alert.
const ID: Parameter = Parameter::new(
    "id",
    Kind::Text(32),
    "The alert's `id`: `a-` and 16 hex digits.",
)
.at(Need::Path);

/// `GET /api/v1/alerts`
pub const ALERTS: Operation = Operation {
    method: "GET",
    path: "/api/v1/alerts",
    id: "alerts",
    summary: "What is wrong: groups of alerts that fire, and the alerts one by one",
    help: "Alerts that fire come first, then those that are pending, then those that are over; of \
           each the worst and newest first. `at_ms` says up to when was judged.",
    parameters: &[
        &[
            Parameter::new(
                "phase",
                Kind::Text(64),
                "`firing`, `pending` and `resolved`, or some of them with commas between.",
            )
            .or("firing,pending"),
            Parameter::new(
                "severity",
                Kind::Choice(&["warning", "critical"]),
                "How bad they are.",
            ),
            Parameter::new("rule", Kind::Text(64), "Of this rule."),
            Parameter::new(
                "host",
                Kind::Text(256),
                "About this host or what is on it, by name or id.",
            ),
            Parameter::new("service", Kind::Text(256), "About this service."),
            Parameter::new("group", Kind::Text(32), "Of this group, by its id."),
            Parameter::new("limit", Kind::Number(1, 1000), "Most alerts of a page.").or("200"),
        ],
        &[CURSOR, LANGUAGE],
    ],
    body: None,
    form: Form::Json(form::<Alerts>),
    refusals: &[BAD],
    answer: None,
};

/// `GET /api/v1/alerts/{id}`
pub const ALERT: Operation = Operation {
    method: "GET",
    path: "/api/v1/alerts/{id}",
    id: "alert",
    summary: "One alert: its numbers, its history, what it means and what to do next",
    help: "",
    parameters: &[&[ID, LANGUAGE]],
    body: None,
    form: Form::Json(form::<AlertDetail>),
    refusals: &[BAD, (404, "There is no such alert")],
    answer: None,
};

/// `POST /api/v1/alerts/{id}/ack`
pub const ACKNOWLEDGE: Operation = Operation {
    method: "POST",
    path: "/api/v1/alerts/{id}/ack",
    id: "acknowledgeAlert",
    summary: "Say that somebody knows of an alert",
    help: "It counts until the alert is over; when it fires again, nobody knows of it yet.",
    parameters: &[&[ID]],
    body: Some(form::<Acknowledge>),
    form: Form::Json(form::<Acknowledged>),
    refusals: CHANGES,
    answer: None,
};

/// `DELETE /api/v1/alerts/{id}/ack`
pub const UNACKNOWLEDGE: Operation = Operation {
    method: "DELETE",
    path: "/api/v1/alerts/{id}/ack",
    id: "unacknowledgeAlert",
    summary: "Take an acknowledgement back",
    help: "",
    parameters: &[&[ID]],
    body: None,
    form: Form::Json(form::<Removed>),
    refusals: CHANGES,
    answer: None,
};

/// `GET /api/v1/rules`
pub const RULES: Operation = Operation {
    method: "GET",
    path: "/api/v1/rules",
    id: "rules",
    summary: "The rules by which alerts are found",
    help: "",
    parameters: &[&[LANGUAGE]],
    body: None,
    form: Form::Json(form::<Rules>),
    refusals: &[BAD],
    answer: None,
};

/// Refusals of what changes something about alerts.
pub(super) const CHANGES: &[(u16, &str)] = &[
    BAD,
    (404, "There is nothing of that name"),
    NO_JSON,
    (409, "It is over, or there are too many"),
    (429, "This peer changes as much as it may at once"),
];

/// What is wrong.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Alerts {
    /// Up to when was judged, Unix milliseconds; 0: nothing was judged yet.
    pub at_ms: i64,
    /// How many there are in all.
    pub counts: Counts,
    /// Groups of those that fire, the worst and oldest first; on the first page alone.
    pub groups: Vec<GroupShown>,
    /// The alerts.
    pub alerts: Vec<AlertShown>,
    /// The cursor of the next page; not there on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// One alert.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct AlertDetail {
    /// It.
    pub alert: AlertShown,
    /// What it means; empty where its rule is not in force any more.
    pub meaning: String,
    /// What it is likely to come from.
    pub likely_causes: Vec<String>,
    /// What to look at or do next.
    pub next_step: String,
    /// What became of it, the newest first; the last 200.
    pub history: Vec<TransitionShown>,
    /// Its group with candidates for the cause, while it fires.
    pub group: Option<GroupShown>,
}

/// Somebody knows of an alert.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Acknowledge {
    /// What others are to know; may be empty.
    #[serde(default)]
    pub why: String,
}

/// What was removed.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Removed {
    /// What named it.
    pub id: String,
}

/// Rules.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Rules {
    /// By name.
    pub rules: Vec<RuleShown>,
}

/// What a request for alerts asks for.
///
/// # Errors
/// A word that is no phase, or a cursor of something else.
pub(super) fn asked(given: &Given) -> Result<Asked, Problem> {
    let phase = |word: &str| {
        let found = Phase::ALL.into_iter().find(|phase| phase.name() == word);
        found.ok_or_else(|| {
            let shown = crate::escape::shorten(word, 40);
            let why = format!("phase={shown}: expected firing, pending or resolved");
            Problem::query(why)
        })
    };
    let phases = given.text("phase").unwrap_or_default().split(',');
    let labels = ["rule", "host", "service"];
    let labels = labels.into_iter().filter_map(|label| {
        let value = given.text(label)?;
        Some((label, value.to_owned()))
    });
    let cursor = given.text("cursor");
    Ok(Asked {
        phases: phases.map(str::trim).map(phase).collect::<Result<_, _>>()?,
        severity: given.text("severity").and_then(Severity::of),
        labels: labels.collect(),
        group: given.text("group").map(str::to_owned),
        limit: given.count("limit"),
        after: cursor
            .map(|text| page::place(&of(given), text))
            .transpose()?,
    })
}

/// The cursor of a place in the list that a request asks for.
#[must_use]
pub(super) fn next(given: &Given, place: Place) -> String {
    page::cursor(&of(given), place)
}

fn of(given: &Given) -> String {
    let names = ["phase", "severity", "rule", "host", "service", "group"];
    let values = names.map(|name| given.text(name).unwrap_or_default());
    format!("alerts\n{}", values.join("\n"))
}

//! What is known of an alert.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alert::finding::{Finding, RuleName, Severity, Subject};
use crate::digest::{hex, sha256};

/// Where an alert is in its life.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Found, and not for long enough yet.
    Pending,
    /// Found for long enough.
    Firing,
    /// Not found any more for long enough.
    Resolved,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Firing, Self::Resolved];

    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One rule and one subject, from when it is first found.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Alert {
    /// `a-` and 16 hex digits, the same whenever this rule finds this subject.
    pub id: String,
    /// What was found last.
    pub finding: Finding,
    /// Where it is in its life.
    pub phase: Phase,
    /// When it was first found this time, Unix milliseconds.
    pub began_ms: i64,
    /// When it was last found, Unix milliseconds.
    pub found_ms: i64,
    /// When it began to fire this time, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fired_ms: Option<i64>,
    /// When it resolved, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved_ms: Option<i64>,
    /// Milliseconds for which it was found without a break; time that could not be judged is none.
    pub held_ms: i64,
    /// Milliseconds for which it was judged and not found since it was found last.
    pub clear_ms: i64,
    /// Since when it cannot be judged, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_since_ms: Option<i64>,
    /// Why it cannot be judged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown_why: Option<String>,
    /// When it began to fire within the last hour, Unix milliseconds.
    #[serde(default)]
    pub fired: Vec<i64>,
    /// It began to fire so often of late that it goes on firing until it was quiet for longer.
    #[serde(default)]
    pub flapping: bool,
}

/// All alerts of which something is known, and up to when they were judged.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// End of what was judged last, Unix milliseconds; 0 before the first.
    pub through_ms: i64,
    /// By id.
    pub alerts: BTreeMap<String, Alert>,
}

/// Something that became of an alert.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct Transition {
    /// Which alert.
    pub id: String,
    /// When, Unix milliseconds: the end of the time that was judged.
    pub at_ms: i64,
    /// What.
    pub what: What,
    /// The rule's value then; the last one where there was none.
    pub value: f64,
    /// How bad it was.
    pub severity: Severity,
    /// Why, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// What became of an alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It was found.
    Pending,
    /// It was found for long enough.
    Firing,
    /// It is not found any more, before it fired.
    Dropped,
    /// It is not found any more; or see why.
    Resolved,
    /// It cannot be judged.
    Unknown,
    /// It can be judged again.
    Known,
    /// It got worse.
    Escalated,
    /// It is less bad.
    Eased,
    /// It fired so often that it goes on until it was quiet for longer.
    Flapping,
}

impl What {
    /// Its word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Firing => "firing",
            Self::Dropped => "dropped",
            Self::Resolved => "resolved",
            Self::Unknown => "unknown",
            Self::Known => "known",
            Self::Escalated => "escalated",
            Self::Eased => "eased",
            Self::Flapping => "flapping",
        }
    }

    /// What a word says.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        let all = [
            Self::Pending,
            Self::Firing,
            Self::Dropped,
            Self::Resolved,
            Self::Unknown,
            Self::Known,
            Self::Escalated,
            Self::Eased,
            Self::Flapping,
        ];
        all.into_iter().find(|what| what.name() == word)
    }
}

/// Why an alert ended that did not just go away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It could not be judged for too long.
    Forgotten,
    /// Its rule is not in force any more.
    RuleGone,
}

impl Ended {
    /// For people.
    #[must_use]
    pub fn why(self) -> &'static str {
        match self {
            Self::Forgotten => "it could not be judged for too long; nobody saw it go away",
            Self::RuleGone => "its rule is not in force any more; nobody saw it go away",
        }
    }
}

/// The id of the alert of a rule and a subject.
#[must_use]
pub fn alert_id(rule: &RuleName, subject: &Subject) -> String {
    let text = format!("{rule}\n{}", subject.key());
    format!("a-{}", hex(&sha256(text.as_bytes())[..8]))
}

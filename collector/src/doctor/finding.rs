//! One thing that was looked at, and what to do about it.

use serde::Serialize;

/// How it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// As it should be.
    Ok,
    /// It works, and may not for long, or not as meant.
    Warning,
    /// It does not work.
    Failed,
}

impl State {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it belongs to: `configuration`, `store`, `address`, `certificate`, `credentials`,
    /// `outputs`, `alerts`, `process` or `clock`.
    pub part: &'static str,
    /// What was looked at; a key of the configuration where it is one.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What was found.
    pub what: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub advice: Option<String>,
}

/// Makes findings of one part.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part(pub(super) &'static str);

impl Part {
    pub(super) fn ok(self, name: impl Into<String>, what: impl Into<String>) -> Finding {
        self.finding(State::Ok, name.into(), what.into(), None)
    }

    pub(super) fn warning(
        self,
        name: impl Into<String>,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        self.finding(
            State::Warning,
            name.into(),
            what.into(),
            Some(advice.into()),
        )
    }

    pub(super) fn failed(
        self,
        name: impl Into<String>,
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Finding {
        self.finding(State::Failed, name.into(), what.into(), Some(advice.into()))
    }

    fn finding(self, state: State, name: String, what: String, advice: Option<String>) -> Finding {
        Finding {
            part: self.0,
            name,
            state,
            what,
            advice,
        }
    }
}

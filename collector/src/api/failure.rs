//! Why a question is not answered, and what to do about it: `application/problem+json` (RFC 9457).

use std::io;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::meter::Exceeded;
use crate::store;

/// A refusal, as it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// `urn:waybill:problem:` and `error`.
    #[serde(rename = "type")]
    pub kind: String,
    /// What the status means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong with this request, and what to do about it.
    pub detail: String,
    /// A word for programs.
    pub error: String,
}

impl Problem {
    /// Of a status, a word and a sentence.
    #[must_use]
    pub fn new(status: u16, error: &str, detail: impl Into<String>) -> Self {
        let title = axum::http::StatusCode::from_u16(status).ok();
        let title = title.and_then(|status| status.canonical_reason());
        Self {
            kind: format!("urn:waybill:problem:{error}"),
            title: title.unwrap_or("Refused").to_owned(),
            status,
            detail: detail.into(),
            error: error.to_owned(),
        }
    }

    /// A parameter that cannot be used.
    #[must_use]
    pub fn query(detail: impl Into<String>) -> Self {
        Self::new(400, "query", detail)
    }

    /// Nothing of that name.
    #[must_use]
    pub fn unknown(detail: impl Into<String>) -> Self {
        Self::new(404, "unknown", detail)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub enum Failure {
    /// The question is refused.
    Refused(Problem),
    /// The store did not answer, or not within the bounds.
    Store(store::Error),
    /// The answer could not be written: it is longer than its bound.
    Unwritten(io::Error),
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self::Refused(problem)
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<Exceeded> for Failure {
    fn from(exceeded: Exceeded) -> Self {
        Self::Store(store::Error::Exceeded(exceeded))
    }
}

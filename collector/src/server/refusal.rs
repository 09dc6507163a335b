//! Answers that are refusals: counted, logged, and in the form that the other side reads.

use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use wire::answer::{Answer, Status};

use super::acceptor::Peer;
use super::app::App;
use super::body;
use crate::accept::{BatchKey, Reason, Refusal};
use crate::api::Problem;
use crate::auth::CredentialId;
use crate::metrics::Metrics;
use crate::time;

/// How many times the limit of a batch is read and thrown away before a refusal.
const DISCARD_FACTOR: usize = 4;

/// What a refusal is written as.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form {
    /// About a batch, with the key that the request named.
    Batch(Option<BatchKey>),
    /// About anything else.
    Plain,
}

impl Form {
    /// The key of the batch, `none` where there is none that can be read.
    fn batch(self) -> String {
        match self {
            Self::Batch(Some(key)) => key.to_string(),
            Self::Batch(None) | Self::Plain => String::from("none"),
        }
    }
}

/// Says what was held back of lines about refusals that have ended since.
pub(super) fn say_held_back(metrics: &Metrics) {
    for (reason, suppressed) in metrics.held_back(time::now_ms()) {
        log::warn!(reason = reason.name(), suppressed; "more requests were refused");
    }
}

/// Counts, logs and answers a refusal; reads what is left of the body first.
pub(super) async fn refuse(
    app: &App,
    (peer, credential): (&Option<Peer>, Option<CredentialId>),
    form: Form,
    refusal: Refusal,
    body: Option<Body>,
) -> Response {
    let Refusal { reason, detail } = refusal;
    if let Some(suppressed) = app.metrics.refused(reason, time::now_ms()) {
        let peer = peer
            .as_ref()
            .map_or(String::from("unknown"), |peer| peer.address.to_string());
        let (reason, batch) = (reason.name(), form.batch());
        // Who sends it shows by the credential, as `credential list` names it.
        let credential = credential.map_or(String::from("none"), |id| id.to_string());
        log::warn!(
            peer, credential, batch, reason, detail:% = detail, suppressed; "request refused"
        );
    }
    if let Some(mut body) = body {
        // A stranger is read no further than an agent with a wrong token would send.
        let factor = if reason == Reason::Unauthorized {
            1
        } else {
            DISCARD_FACTOR
        };
        let limit = app.config.limits.batch_bytes.saturating_mul(factor);
        let wait = app.config.limits.body_timeout.min(Duration::from_secs(10));
        // Whether all of it came does not change the answer.
        drop(tokio::time::timeout(wait, body::discard(&mut body, limit)).await);
    }
    let mut response = match form {
        Form::Plain => error(reason.status(), reason.name(), &detail),
        Form::Batch(key) => {
            let answer = Answer {
                status: if reason.is_final() {
                    Status::Refused
                } else {
                    Status::Kept
                },
                batch: key.map(|key| key.to_string()),
                error: Some(reason.name().into()),
                message: Some(detail),
                orders: None,
            };
            (reason.status(), Json(answer)).into_response()
        }
    };
    let headers = response.headers_mut();
    if let Some(seconds) = reason.retry_after_s() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if reason == Reason::Unauthorized {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// A refusal that is not about a batch.
pub(super) fn error(status: StatusCode, name: &str, message: &str) -> Response {
    refused(Problem::new(status.as_u16(), name, message))
}

/// The same.
pub(super) fn refused(problem: Problem) -> Response {
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
    let problems = HeaderValue::from_static("application/problem+json");
    (status, [(CONTENT_TYPE, problems)], Json(problem)).into_response()
}

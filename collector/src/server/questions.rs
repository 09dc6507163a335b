//! What people ask: topology, hosts, counters, health.

use std::sync::atomic::Ordering;

use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::answers;
use super::app::Shared;
use super::fair::Party;
use super::refusal::error;
use crate::query::Asked;
use crate::time;

/// `GET /api/v1/topology?from_ms=&to_ms=`
pub(super) async fn topology(
    State(app): Shared,
    Extension(party): Extension<Party>,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Ok(Query(asked)) = asked else {
        app.metrics.query_failures_total.add(1);
        let message = "expected from_ms and to_ms, both optional, in Unix milliseconds";
        return error(StatusCode::BAD_REQUEST, "query", message);
    };
    let checked = asked.check_units();
    if let Err(message) = checked.and_then(|()| asked.check_order(time::now_ms())) {
        app.metrics.query_failures_total.add(1);
        return error(StatusCode::BAD_REQUEST, "query", &message);
    }
    answers::topology(&app, party, asked).await
}

/// `GET /api/v1/hosts`
pub(super) async fn hosts(State(app): Shared, Extension(party): Extension<Party>) -> Response {
    answers::hosts(&app, party).await
}

/// `GET /metrics`
pub(super) async fn metrics(State(app): Shared) -> Response {
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(CONTENT_TYPE, text)], app.metrics.prometheus()).into_response()
}

/// `GET /healthz`: 200 while batches can be stored.
pub(super) async fn healthz(State(app): Shared) -> Response {
    if app.healthy.load(Ordering::Relaxed) {
        Json(serde_json::json!({ "status": "ok" })).into_response()
    } else {
        error(
            StatusCode::SERVICE_UNAVAILABLE,
            "store",
            "the store cannot be written",
        )
    }
}

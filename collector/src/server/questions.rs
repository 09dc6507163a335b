//! What people ask: topology, hosts, counters, health.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::Serialize;

use super::body::{Held, Whole};
use super::fair::{Denied, Party};
use super::routes::{App, Shared, error};
use crate::config::Config;
use crate::query::{self, Asked};
use crate::store;
use crate::{escape, time};

/// How long a question waits for its turn.
const TURN: Duration = Duration::from_secs(2);
/// How long an answer may take to be sent; whoever asks with our command waits as long.
const SENT: Duration = Duration::from_secs(120);

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
    ask(&app, party, move |config| {
        let rows = config.limits.query_rows;
        query::topology(&config.store.path, asked, time::now_ms(), rows)
    })
    .await
}

/// `GET /api/v1/hosts`
pub(super) async fn hosts(State(app): Shared, Extension(party): Extension<Party>) -> Response {
    ask(&app, party, |config| query::fleet(&config.store.path)).await
}

/// Answers a question on a thread that may be busy; a bounded number at once, fairly shared.
async fn ask<T: Serialize>(
    app: &App,
    party: Party,
    question: impl FnOnce(&Config) -> Result<T, store::Error> + Send + 'static,
) -> Response {
    let place = match app.queries.wait(party, 1, TURN).await {
        Ok(place) => place,
        Err(denied) => return busy(app, denied),
    };
    let config = app.config.clone();
    let answer = tokio::task::spawn_blocking(move || {
        let document = question(&config)?;
        let mut text = Vec::new();
        escape::json(&mut text, &document).expect("a document without foreign types is JSON");
        // Held until here also when nobody waits for the answer any more.
        Ok((text, place))
    });
    match answer.await {
        Ok(Ok((text, place))) => {
            app.metrics.query_answers_total.add(1);
            let json = HeaderValue::from_static("application/json");
            let whole = Body::new(Whole::new(text));
            let body = Body::new(Held::new(whole, SENT, &app.metrics, place));
            ([(CONTENT_TYPE, json)], body).into_response()
        }
        Ok(Err(failure)) => {
            app.metrics.query_failures_total.add(1);
            query_failed(failure)
        }
        Err(_) => error(
            StatusCode::SERVICE_UNAVAILABLE,
            "stopping",
            "the collector is stopping",
        ),
    }
}

fn busy(app: &App, denied: Denied) -> Response {
    app.metrics.query_failures_total.add(1);
    app.metrics.query_refused_busy_total.add(1);
    let (status, message) = match denied {
        Denied::Own => (
            StatusCode::TOO_MANY_REQUESTS,
            "this peer asks as much at once as may be left for all others",
        ),
        Denied::Others => (
            StatusCode::SERVICE_UNAVAILABLE,
            "as many questions being answered as configured",
        ),
    };
    let mut response = error(status, "busy", message);
    response
        .headers_mut()
        .insert(RETRY_AFTER, HeaderValue::from(1_u32));
    response
}

fn query_failed(failure: store::Error) -> Response {
    if matches!(failure, store::Error::TooManyRows { .. }) {
        return error(
            StatusCode::UNPROCESSABLE_ENTITY,
            "rows",
            &failure.to_string(),
        );
    }
    let failure = format!("{:#}", anyhow::Error::new(failure));
    log::error!(error:% = failure; "question not answered");
    error(
        StatusCode::SERVICE_UNAVAILABLE,
        "store",
        "the store cannot be read now",
    )
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

//! What people ask: topology, hosts, counters, health.

use std::sync::atomic::Ordering;

use axum::Json;
use axum::extract::{Query, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::routes::{App, Shared, error};
use crate::config::Config;
use crate::query::{self, Asked};
use crate::store;
use crate::{escape, time};

/// `GET /api/v1/topology?from_ms=&to_ms=`
pub(super) async fn topology(
    State(app): Shared,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let Ok(Query(asked)) = asked else {
        app.metrics.query_failures_total.add(1);
        let message = "expected from_ms and to_ms, both optional, in Unix milliseconds";
        return error(StatusCode::BAD_REQUEST, "query", message);
    };
    ask(&app, move |config| {
        let rows = config.limits.query_rows;
        query::topology(&config.store.path, asked, time::now_ms(), rows)
    })
    .await
}

/// `GET /api/v1/hosts`
pub(super) async fn hosts(State(app): Shared) -> Response {
    ask(&app, |config| query::fleet(&config.store.path)).await
}

/// Answers a question on a thread that may be busy; a bounded number at once.
async fn ask<T: Serialize>(
    app: &App,
    question: impl FnOnce(&Config) -> Result<T, store::Error> + Send + 'static,
) -> Response {
    let Ok(_permit) = app.queries.try_acquire() else {
        app.metrics.query_failures_total.add(1);
        let message = "as many questions being answered as configured";
        let mut response = error(StatusCode::TOO_MANY_REQUESTS, "busy", message);
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(1_u32));
        return response;
    };
    let config = app.config.clone();
    let answer = tokio::task::spawn_blocking(move || {
        let document = question(&config)?;
        let mut text = Vec::new();
        escape::json(&mut text, &document).expect("a document without foreign types is JSON");
        Ok(text)
    });
    match answer.await {
        Ok(Ok(text)) => {
            app.metrics.query_answers_total.add(1);
            let json = HeaderValue::from_static("application/json");
            ([(CONTENT_TYPE, json)], text).into_response()
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

//! What each address of the API does.
//!
//! | request | credential | answer |
//! |---|---|---|
//! | `POST /api/v1/batches` | needed | `stored` or `duplicate`, with orders that the agent lacks; else the refusal of [`Reason`] |
//! | `GET /api/v1/topology?from_ms=&to_ms=` | needed | [`crate::topology::Topology`] |
//! | `GET /api/v1/hosts` | needed | [`crate::fleet::Fleet`] |
//! | `GET /metrics` | needed | Prometheus text |
//! | `GET /healthz` | none | 200 while batches can be stored, else 503 |
//!
//! An answer to a batch has the form of [`wire::answer`], also when it is a refusal. Other refusals are
//! `{"error": <name>, "message": <sentence>}`.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::header::{
    AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use tokio::sync::{Semaphore, oneshot};
use wire::answer::{Answer, KEY_HEADER, Status};
use wire::orders::HEADER;

use super::acceptor::Peer;
use super::body::{self, Unread};
use crate::accept::{self, BatchKey, Reason, Refusal, hex};
use crate::auth::{Tokens, bearer};
use crate::config::Config;
use crate::metrics::Metrics;
use crate::query::{self, Asked};
use crate::store::writer::{Job, Newest};
use crate::store::{self, Outcome, SignedOrders};
use crate::{escape, time};

/// How many times the limit of a batch is read and thrown away before a refusal.
const DISCARD_FACTOR: usize = 4;

/// What handlers share.
pub(super) struct App {
    pub(super) config: Config,
    pub(super) tokens: Tokens,
    pub(super) metrics: Arc<Metrics>,
    /// Batches being received, decoded or stored.
    pub(super) batches: Semaphore,
    /// Questions being answered.
    pub(super) queries: Semaphore,
    pub(super) jobs: SyncSender<Job>,
    /// What agents are told in answers.
    pub(super) orders: Newest,
    /// False while the store cannot be written.
    pub(super) healthy: Arc<AtomicBool>,
}

type Shared = State<Arc<App>>;

/// All routes.
pub(super) fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/v1/batches", post(batches))
        .route("/api/v1/topology", get(topology))
        .route("/api/v1/hosts", get(hosts))
        .route("/metrics", get(metrics))
        .layer(middleware::from_fn_with_state(Arc::clone(&app), authorize))
        // After the layer, so that it is asked without credentials.
        .route("/healthz", get(healthz))
        .with_state(app)
}

/// Lets through whoever has a valid token or a verified certificate.
async fn authorize(State(app): Shared, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>().cloned();
    let certificate = peer.as_ref().is_some_and(|peer| peer.certificate);
    let token = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(bearer)
        .is_some_and(|token| app.tokens.contains(token));
    if certificate || token {
        return next.run(request).await;
    }
    let refusal = Refusal::new(
        Reason::Unauthorized,
        "a valid bearer token or client certificate is needed",
    );
    refuse(&app, &peer, None, refusal, Some(request.into_body())).await
}

/// `POST /api/v1/batches`
async fn batches(State(app): Shared, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().cloned();
    let key = match precheck(&app, &parts.headers) {
        Ok(key) => key,
        Err(refusal) => {
            let key = key(&parts.headers).ok();
            return refuse(&app, &peer, key, refusal, Some(body)).await;
        }
    };
    // Before the body is read: what is read is held in memory.
    let Ok(_permit) = app.batches.try_acquire() else {
        let refusal = Refusal::new(Reason::Busy, "as many batches in flight as configured");
        return refuse(&app, &peer, Some(key), refusal, Some(body)).await;
    };
    let _in_flight = InFlight::begin(&app);
    let limits = &app.config.limits;
    let read = tokio::time::timeout(
        limits.body_timeout,
        body::read(&mut body, limits.batch_bytes),
    );
    let (refusal, rest) = match read.await {
        Ok(Ok(bytes)) => match accept(&app, bytes, key).await {
            Ok(outcome) => return answer(&app, (&peer, &parts.headers), key, outcome).await,
            Err(refusal) => (refusal, None),
        },
        Ok(Err(Unread::TooLarge)) => (too_large(limits.batch_bytes), Some(body)),
        Ok(Err(Unread::Broken)) => (
            Refusal::new(
                Reason::Broken,
                "the connection broke before the body was complete",
            ),
            None,
        ),
        Err(_) => (
            Refusal::new(Reason::Slow, "the body did not arrive in time"),
            None,
        ),
    };
    refuse(&app, &peer, Some(key), refusal, rest).await
}

/// The key that a request names.
fn key(headers: &HeaderMap) -> Result<BatchKey, Refusal> {
    let text = headers.get(KEY_HEADER).and_then(|key| key.to_str().ok());
    BatchKey::parse(text.unwrap_or_default())
}

/// What can be said before the body is there.
fn precheck(app: &App, headers: &HeaderMap) -> Result<BatchKey, Refusal> {
    let text = |name| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    // Parameters of a media type (`; charset=...`) do not change what it is.
    let media_type = text(CONTENT_TYPE.as_str())
        .and_then(|value| value.split(';').next())
        .map(str::trim);
    if media_type.is_none_or(|found| !found.eq_ignore_ascii_case(wire::CONTENT_TYPE)) {
        return Err(Refusal::new(
            Reason::MediaType,
            format!("expected Content-Type {}", wire::CONTENT_TYPE),
        ));
    }
    let key = key(headers)?;
    let limit = app.config.limits.batch_bytes;
    let announced = text(CONTENT_LENGTH.as_str()).and_then(|value| value.parse::<usize>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large(limit));
    }
    Ok(key)
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(
        Reason::TooLarge,
        format!("a batch may have at most {limit} bytes here"),
    )
}

/// Decodes on a thread that may be busy, and waits until the store has it.
async fn accept(app: &App, bytes: Vec<u8>, key: BatchKey) -> Result<Outcome, Refusal> {
    let limits = app.config.limits.wire();
    let opened = tokio::task::spawn_blocking(move || accept::open(&bytes, &key, &limits)).await;
    // It can only be lost when the process is ending.
    let unavailable = || Refusal::new(Reason::Store, "the store cannot take it now");
    let opened = opened.map_err(|_| unavailable())??;
    let (reply, outcome) = oneshot::channel();
    app.jobs
        .try_send(Job { opened, reply })
        .map_err(|_| unavailable())?;
    match outcome.await {
        Ok(Some(Outcome::Conflict)) => Err(Refusal::new(
            Reason::Conflict,
            "another batch is stored under this key",
        )),
        Ok(Some(outcome)) => Ok(outcome),
        Ok(None) | Err(_) => Err(unavailable()),
    }
}

async fn answer(
    app: &App,
    (peer, headers): (&Option<Peer>, &HeaderMap),
    key: BatchKey,
    outcome: Outcome,
) -> Response {
    let status = match outcome {
        Outcome::Stored { clock_ahead } => {
            log::debug!(key:%, clock_ahead; "batch stored");
            Status::Stored
        }
        Outcome::Duplicate => Status::Duplicate,
        // Refused before.
        Outcome::Conflict => {
            let refusal = Refusal::new(Reason::Conflict, "another batch is stored under this key");
            return refuse(app, peer, Some(key), refusal, None).await;
        }
    };
    let orders = newer(app, headers).map(|orders| {
        app.metrics.orders_sent_total.add(1);
        wire::answer::SignedOrders {
            body: orders.body.clone(),
            signature: hex(&orders.signature),
        }
    });
    let answer = Answer {
        status,
        batch: Some(key.to_string()),
        error: None,
        message: None,
        orders,
    };
    Json(answer).into_response()
}

/// The orders that an agent lacks; nothing for one that does not say what it has, for it would not
/// understand them.
fn newer(app: &App, headers: &HeaderMap) -> Option<Arc<SignedOrders>> {
    let has: u64 = headers.get(HEADER)?.to_str().ok()?.parse().ok()?;
    let newest = app.orders.lock().unwrap_or_else(PoisonError::into_inner);
    newest.clone().filter(|orders| orders.version > has)
}

/// Counts a batch as in flight while it lives.
struct InFlight<'a>(&'a App);

impl<'a> InFlight<'a> {
    fn begin(app: &'a App) -> Self {
        app.metrics.ingest_batches_in_flight.add(1);
        Self(app)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.metrics.ingest_batches_in_flight.leave();
    }
}

/// Counts, logs and answers a refusal; reads what is left of the body first.
async fn refuse(
    app: &App,
    peer: &Option<Peer>,
    key: Option<BatchKey>,
    refusal: Refusal,
    body: Option<Body>,
) -> Response {
    let Refusal { reason, detail } = refusal;
    if let Some(suppressed) = app.metrics.refused(reason, time::now_ms()) {
        let peer = peer
            .as_ref()
            .map_or(String::from("unknown"), |peer| peer.address.to_string());
        log::warn!(peer, reason = reason.name(), detail:% = detail, suppressed; "request refused");
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
    let mut response = (reason.status(), Json(answer)).into_response();
    let headers = response.headers_mut();
    if let Some(seconds) = reason.retry_after_s() {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    if reason == Reason::Unauthorized {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// `GET /api/v1/topology?from_ms=&to_ms=`
async fn topology(
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
async fn hosts(State(app): Shared) -> Response {
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

fn error(status: StatusCode, name: &str, message: &str) -> Response {
    let answer = serde_json::json!({ "error": name, "message": message });
    (status, Json(answer)).into_response()
}

/// `GET /metrics`
async fn metrics(State(app): Shared) -> Response {
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(CONTENT_TYPE, text)], app.metrics.prometheus()).into_response()
}

/// `GET /healthz`: 200 while batches can be stored.
async fn healthz(State(app): Shared) -> Response {
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

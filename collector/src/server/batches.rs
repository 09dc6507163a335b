//! `POST /api/v1/batches`: from the head of a request to the answer that the batch is stored.

use std::sync::{Arc, PoisonError};

use axum::Json;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use tokio::sync::oneshot;
use wire::answer::{Answer, KEY_HEADER, Status};
use wire::orders::HEADER;

use super::acceptor::Peer;
use super::body::{self, Unread};
use super::routes::{App, Form, Shared, refuse};
use crate::accept::{self, BatchKey, Reason, Refusal, hex};
use crate::auth::{Credential, CredentialId};
use crate::store::writer::Job;
use crate::store::{Outcome, SignedOrders};

/// `POST /api/v1/batches`
pub(super) async fn batches(State(app): Shared, request: Request) -> Response {
    let (parts, mut body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().cloned();
    // Put there by the check of the scope.
    let credential = parts.extensions.get::<Credential>().copied();
    let key = match precheck(&app, &parts.headers) {
        Ok(key) => key,
        Err(refusal) => {
            let key = key(&parts.headers).ok();
            return refuse(&app, &peer, Form::Batch(key), refusal, Some(body)).await;
        }
    };
    // Before the body is read: what is read is held in memory.
    let Ok(_permit) = app.batches.try_acquire() else {
        let refusal = Refusal::new(Reason::Busy, "as many batches in flight as configured");
        return refuse(&app, &peer, Form::Batch(Some(key)), refusal, Some(body)).await;
    };
    let _in_flight = InFlight::begin(&app);
    let limits = &app.config.limits;
    let read = tokio::time::timeout(
        limits.body_timeout,
        body::read(&mut body, limits.batch_bytes),
    );
    let (refusal, rest) = match read.await {
        Ok(Ok(bytes)) => match accept(&app, bytes, key, credential).await {
            Ok(status) => return answer(&app, &parts.headers, key, status),
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
    refuse(&app, &peer, Form::Batch(Some(key)), refusal, rest).await
}

/// The key that a request names.
pub(super) fn key(headers: &HeaderMap) -> Result<BatchKey, Refusal> {
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
async fn accept(
    app: &App,
    bytes: Vec<u8>,
    key: BatchKey,
    credential: Option<Credential>,
) -> Result<Status, Refusal> {
    let limits = app.config.limits.wire();
    let opened = tokio::task::spawn_blocking(move || accept::open(&bytes, &key, &limits)).await;
    // It can only be lost when the process is ending.
    let unavailable = || Refusal::new(Reason::Store, "the store cannot take it now");
    let mut opened = opened.map_err(|_| unavailable())??;
    let bound = credential.and_then(|credential| credential.of_one_host());
    opened.credential = bound;
    let (reply, outcome) = oneshot::channel();
    app.jobs
        .try_send(Job { opened, reply })
        .map_err(|_| unavailable())?;
    match outcome.await {
        Ok(Some(Outcome::Stored { clock_ahead })) => {
            log::debug!(key:%, clock_ahead; "batch stored");
            Ok(Status::Stored)
        }
        Ok(Some(Outcome::Duplicate)) => Ok(Status::Duplicate),
        Ok(Some(Outcome::Conflict)) => Err(Refusal::new(
            Reason::Conflict,
            "another batch is stored under this key",
        )),
        Ok(Some(Outcome::Foreign)) => Err(foreign(&key, bound)),
        Ok(None) | Err(_) => Err(unavailable()),
    }
}

fn foreign(key: &BatchKey, credential: Option<CredentialId>) -> Refusal {
    let name = credential.map_or(String::new(), |id| id.to_string());
    let host = hex(&key.host);
    Refusal::new(
        Reason::Foreign,
        format!(
            "credential {name} speaks for another host than {host}; where that host was installed \
             anew or got the other one's credential on purpose, `waybill-collector credential \
             release {name}` lets it in"
        ),
    )
}

fn answer(app: &App, headers: &HeaderMap, key: BatchKey, status: Status) -> Response {
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

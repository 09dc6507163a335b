//! `POST /api/v1/batches`: from the head of a request to the answer that the batch is stored.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use tokio::sync::oneshot;
use wire::answer::{Answer, KEY_HEADER, Status};
use wire::orders::HEADER;

use super::acceptor::Peer;
use super::app::{App, Shared};
use super::body::{self, Unread};
use super::fair::{Denied, Party, Share};
use super::refusal::{Form, refuse};
use crate::accept::{self, BatchKey, Opened, Reason, Refusal};
use crate::auth::{Credential, CredentialId};
use crate::digest::hex;
use crate::metrics::Metrics;
use crate::store::writer::{Job, Message};
use crate::store::{self, Outcome, SignedOrders};
use crate::time;

/// How long a batch that has arrived waits for its turn: agents wait 10 s for an answer.
const TURN: Duration = Duration::from_secs(5);

/// `POST /api/v1/batches`
pub(super) async fn batches(
    State(app): Shared,
    Extension(party): Extension<Party>,
    request: Request,
) -> Response {
    let (parts, mut body) = request.into_parts();
    let peer = parts.extensions.get::<Peer>().cloned();
    // Put there by the check of the scope.
    let credential = parts.extensions.get::<Credential>().copied();
    let who = (&peer, credential.map(|credential| credential.id));
    let begun = time::monotonic();
    let key = match precheck(&app, &parts.headers) {
        Ok(key) => key,
        Err(refusal) => {
            let key = key(&parts.headers).ok();
            return refuse(&app, who, Form::Batch(key), refusal, Some(body)).await;
        }
    };
    let in_flight = InFlight::begin(&app);
    let (refusal, rest) = match receive(&app, party, &mut body).await {
        Ok(received) => {
            let work = accept(Arc::clone(&app), in_flight, received, key, credential);
            // A task of its own: it holds what it takes until it has ended, also when the other
            // side goes away meanwhile.
            match tokio::spawn(work).await {
                Ok(Ok(status)) => {
                    let took = time::monotonic().duration_since(begun);
                    app.metrics.ingest_seconds.observe(took);
                    return answer(&app, &parts.headers, key, status);
                }
                Ok(Err(refusal)) => (refusal, None),
                Err(_) => (unavailable(), None),
            }
        }
        Err((refusal, true)) => (refusal, Some(body)),
        Err((refusal, false)) => (refusal, None),
    };
    refuse(&app, who, Form::Batch(Some(key)), refusal, rest).await
}

/// A body that has arrived, and what it takes of the memory for bodies.
struct Received {
    bytes: Vec<u8>,
    party: Party,
    held: Share,
}

/// Reads the body. No place for work is taken for one that is still coming: it may come slowly.
///
/// A refusal says whether there is more of the body to read.
async fn receive(app: &App, party: Party, body: &mut Body) -> Result<Received, (Refusal, bool)> {
    let limits = &app.config.limits;
    let mut held = app.bodies.take(party, 0).map_err(|d| (no_room(d), true))?;
    let read = body::read(body, limits.batch_bytes, &mut held);
    let bytes = match tokio::time::timeout(limits.body_timeout, read).await {
        Ok(Ok(bytes)) => bytes,
        Ok(Err(Unread::TooLarge)) => return Err((too_large(limits.batch_bytes), true)),
        Ok(Err(Unread::NoRoom(denied))) => return Err((no_room(denied), true)),
        Ok(Err(Unread::Broken)) => {
            let why = "the connection broke before the body was complete";
            return Err((Refusal::new(Reason::Broken, why), false));
        }
        Err(_) => {
            let why = "the body did not arrive in time";
            return Err((Refusal::new(Reason::Slow, why), false));
        }
    };
    Ok(Received { bytes, party, held })
}

fn no_room(denied: Denied) -> Refusal {
    match denied {
        Denied::Own => Refusal::new(
            Reason::Busy,
            "this peer has as much in flight as may be left for all others",
        ),
        Denied::Others => Refusal::new(Reason::Full, "as much in flight as configured"),
    }
}

// It can only be lost when the process is ending.
fn unavailable() -> Refusal {
    Refusal::new(Reason::Store, "the store cannot take it now")
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

/// Waits for a place, decodes on a thread that may be busy, and waits until the store has it.
async fn accept(
    app: Arc<App>,
    _in_flight: InFlight,
    received: Received,
    key: BatchKey,
    credential: Option<Credential>,
) -> Result<Status, Refusal> {
    let bound = credential.and_then(|credential| credential.of_one_host());
    let Received { bytes, party, held } = received;
    let place = app.batches.wait(party, 1, TURN).await.map_err(no_room)?;
    let limits = app.config.limits.wire();
    // However much one needs, a quarter is left: one large batch keeps no others out.
    let most = app.config.limits.batch_memory / 4 * 3;
    let needed = wire::memory(&bytes, &limits).min(most);
    let memory = app.batch_memory.wait(party, needed, TURN).await;
    let memory = memory.map_err(no_room)?;
    let is_output = !app.config.outputs.is_empty();
    let opened = tokio::task::spawn_blocking(move || {
        let opened = accept::open(&bytes, &key, &limits)?;
        let payload = is_output.then_some(bytes);
        Ok(Opened { payload, ..opened })
    });
    let opened = opened.await;
    // Outputs get the bytes themselves, which stay in memory until they are in the store.
    let held = is_output.then_some(held);
    let mut opened = opened.map_err(|_| unavailable())??;
    opened.credential = bound;
    // Again: it may have been revoked while the body came.
    if let Some(credential) = credential {
        app.admits(&credential)?;
    }
    let (reply, outcome) = oneshot::channel();
    let job = Job::new(opened, reply, time::monotonic());
    // Before it is there: the other thread takes it away.
    app.metrics.store_queue_batches.add(1);
    let sent = app.jobs.try_send(Message::Batch(Box::new(job)));
    sent.map_err(|_| {
        app.metrics.store_queue_batches.leave();
        app.metrics.store_queue_refused_total.add(1);
        unavailable()
    })?;
    let outcome = outcome.await;
    drop((place, memory, held));
    match outcome {
        Ok(Ok(Outcome::Stored {
            clock_ahead,
            copied,
            ..
        })) => {
            log::debug!(key:%, clock_ahead, copied; "batch stored");
            Ok(Status::Stored)
        }
        Ok(Ok(Outcome::Duplicate)) => Ok(Status::Duplicate),
        Ok(Ok(Outcome::Conflict)) => Err(Refusal::new(
            Reason::Conflict,
            "another batch is stored under this key",
        )),
        Ok(Ok(Outcome::Foreign)) => Err(foreign(&key, bound)),
        Ok(Ok(Outcome::TooManyHosts)) => Err(Refusal::new(
            Reason::Hosts,
            "there are as many hosts as configured, and all of them report",
        )),
        Ok(Err(error @ store::Error::TooLarge { .. })) => {
            Err(Refusal::new(Reason::TooLarge, error.to_string()))
        }
        Ok(Err(_)) | Err(_) => Err(unavailable()),
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
struct InFlight(Arc<Metrics>);

impl InFlight {
    fn begin(app: &App) -> Self {
        app.metrics.ingest_batches_in_flight.add(1);
        Self(Arc::clone(&app.metrics))
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.ingest_batches_in_flight.leave();
    }
}

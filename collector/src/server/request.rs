//! Small requests in JSON that change something: read, done a few at a time, refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts as _, RawPathParams, Request};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;
use wire::enrol::{MAX_BYTES, MEDIA_TYPE};

use super::acceptor::Peer;
use super::app::App;
use super::fair::Party;
use super::refusal::error;
use crate::api::{Given, Operation, Problem, parts};
use crate::time;

/// Time in which a request must have arrived.
const BODY: Duration = Duration::from_secs(10);
/// Time a request waits for its turn.
pub(super) const TURN: Duration = Duration::from_secs(5);

/// The address of the peer.
pub(super) fn source(request: &Request) -> Option<IpAddr> {
    Some(request.extensions().get::<Peer>()?.address.ip())
}

/// Whose share something is that an address asks for without a credential.
pub(super) fn party(source: Option<IpAddr>) -> Party {
    Party::of(source.unwrap_or(IpAddr::from([0, 0, 0, 0])))
}

/// Does what changes something on a thread that may wait for the disk, a few at a time.
pub(super) async fn change<T: Send + 'static>(
    app: Arc<App>,
    source: Option<IpAddr>,
    work: impl FnOnce(&App) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    let place = app.access_work.wait(party(source), 1, TURN).await;
    let place = place.map_err(|_| Refused::busy())?;
    let worker = Arc::clone(&app);
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&worker);
        drop(place);
        done
    });
    done.await.unwrap_or_else(|_| Err(Refused::busy()))
}

/// The parameters of a request, in its path and its query.
///
/// # Errors
/// They do not fit the operation.
pub(super) async fn given(operation: &Operation, head: &mut Parts) -> Result<Given, Problem> {
    let path = RawPathParams::from_request_parts(head, &()).await;
    let path = path.map_err(|_| {
        Problem::query("an address with a part that is no UTF-8; encode it as UTF-8")
    })?;
    let path = path.iter().map(|(name, value)| (name.into(), value.into()));
    let query = parts(head.uri.query().unwrap_or_default())?;
    // What the path says is not said again in the query.
    Given::of(operation.parameters, path.chain(query), time::now_ms())
}

/// The same, and the request, whose body is read after that.
///
/// # Errors
/// They do not fit the operation.
pub(super) async fn given_of(
    operation: &Operation,
    request: Request,
) -> Result<(Given, Request), Refused> {
    let (mut head, body) = request.into_parts();
    let given = given(operation, &mut head).await?;
    Ok((given, Request::from_parts(head, body)))
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
        Self::new(status, "query", problem.detail)
    }
}

/// Reads the whole of a small JSON request.
pub(super) async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Refused> {
    let (parts, body) = request.into_parts();
    if !is_json(&parts.headers) {
        return Err(Refused::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "media_type",
            "expected Content-Type application/json",
        ));
    }
    let bytes = tokio::time::timeout(BODY, collect(body)).await;
    let bytes = bytes.ok().flatten().ok_or_else(|| {
        Refused::new(
            StatusCode::BAD_REQUEST,
            "request",
            "the request is too long or did not arrive in time",
        )
    })?;
    // What is wrong is not repeated: it may hold a secret.
    serde_json::from_slice(&bytes).map_err(|error| {
        let at = format!("line {}, column {}", error.line(), error.column());
        Refused::new(
            StatusCode::BAD_REQUEST,
            "request",
            format!("not the JSON that is expected here ({at})"),
        )
    })
}

async fn collect(body: Body) -> Option<axum::body::Bytes> {
    axum::body::to_bytes(body, MAX_BYTES).await.ok()
}

fn is_json(headers: &HeaderMap) -> bool {
    let text = headers
        .get(CONTENT_TYPE)
        .and_then(|text| text.to_str().ok());
    let media_type = text.and_then(|text| text.split(';').next()).map(str::trim);
    media_type.is_some_and(|found| found.eq_ignore_ascii_case(MEDIA_TYPE))
}

/// An answer about people, which nothing on its way keeps.
pub(super) fn answer<T: IntoResponse>(made: Result<T, Refused>) -> Response {
    let mut response = match made {
        Ok(made) => made.into_response(),
        Err(refused) => refused.answer(),
    };
    let nowhere = HeaderValue::from_static("no-store");
    response.headers_mut().insert(CACHE_CONTROL, nowhere);
    response
}

/// An answer that is a refusal.
#[derive(Debug)]
pub(super) struct Refused {
    status: StatusCode,
    name: &'static str,
    message: String,
    retry_after_s: Option<u64>,
}

impl Refused {
    pub(super) fn new(status: StatusCode, name: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            name,
            message: message.into(),
            retry_after_s: None,
        }
    }

    /// It should come again.
    pub(super) fn busy() -> Self {
        Self {
            retry_after_s: Some(5),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "busy",
                "this cannot be done now",
            )
        }
    }

    /// It may come again after so many seconds.
    pub(super) fn after(self, seconds: u64) -> Self {
        Self {
            retry_after_s: Some(seconds),
            ..self
        }
    }

    pub(super) fn answer(self) -> Response {
        let mut response = error(self.status, self.name, &self.message);
        if let Some(seconds) = self.retry_after_s {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

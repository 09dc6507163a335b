//! Hosts that are enrolled: their first certificate by a token, and the next ones by the last.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::de::DeserializeOwned;
use serde_json::json;
use wire::enrol::{Certificate, Enroll, MAX_BYTES, MEDIA_TYPE, Renew};

use super::acceptor::Peer;
use super::app::{App, Shared};
use super::fair::Party;
use super::refusal::error;
use crate::access::{Action, Actor, Entry, NotEnrolled};
use crate::auth::Credential;
use crate::authority::{Authority, Issued};
use crate::time;

/// Time in which a request must have arrived.
const BODY: Duration = Duration::from_secs(10);
/// Time a request waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// `POST /api/v1/enroll`
pub(super) async fn enroll(State(app): Shared, request: Request) -> Response {
    let source = source(&request);
    let asked: Enroll = match read(request).await {
        Ok(asked) => asked,
        Err(refusal) => return refusal.answer(),
    };
    work(app, source, move |app, authority| {
        let now_ms = time::now_ms();
        let sign = |name: &str| authority.sign(&asked.csr, name, now_ms);
        match app.access.enrol(&asked.token, sign, source, now_ms) {
            Ok((name, issued)) => {
                app.metrics.enroll_issued_total.add(1);
                log::info!(name, certificate:% = issued.id; "host enrolled");
                Ok(certificate(name, issued))
            }
            Err(refused) => Err(not_enrolled(app, refused, source)),
        }
    })
    .await
}

/// `POST /api/v1/renew`
pub(super) async fn renew(
    State(app): Shared,
    Extension(credential): Extension<Credential>,
    request: Request,
) -> Response {
    let source = source(&request);
    let asked: Renew = match read(request).await {
        Ok(asked) => asked,
        Err(refusal) => return refusal.answer(),
    };
    work(app, source, move |app, authority| {
        let name = app.access.enrolled_name(credential.id, time::now_ms());
        let name = name.map_err(|error| not_enrolled(app, error.into(), source))?;
        let Some(name) = name.filter(|_| credential.identity.is_some()) else {
            return Err(Refused::new(
                StatusCode::FORBIDDEN,
                "not_enrolled",
                "only a certificate that this collector has signed is renewed here",
            ));
        };
        // It may have been revoked while the request came.
        if let Err(refusal) = app.admits(&credential) {
            let reason = refusal.reason;
            return Err(Refused::new(reason.status(), reason.name(), refusal.detail));
        }
        let now_ms = time::now_ms();
        let renewed = authority
            .sign(&asked.csr, &name, now_ms)
            .map_err(NotEnrolled::from)
            .and_then(|issued| {
                app.access
                    .renew(&name, &issued, credential.id, source, now_ms)?;
                Ok(issued)
            });
        let issued = renewed.map_err(|refused| not_enrolled(app, refused, source))?;
        app.metrics.enroll_renewed_total.add(1);
        log::info!(name, certificate:% = issued.id; "certificate renewed");
        Ok(certificate(name, issued))
    })
    .await
}

/// Does what changes something on a thread that may wait for the disk, a few at a time.
async fn work(
    app: Arc<App>,
    source: Option<IpAddr>,
    work: impl FnOnce(&App, &Authority) -> Result<Certificate, Refused> + Send + 'static,
) -> Response {
    let Some(authority) = app.secrets.known().authority() else {
        let refused = Refused::new(
            StatusCode::NOT_FOUND,
            "no_authority",
            "this collector enrolls nobody: [enroll] ca_cert_file is not set",
        );
        return refused.answer();
    };
    let party = Party::of(source.unwrap_or(IpAddr::from([0, 0, 0, 0])));
    let Ok(place) = app.access_work.wait(party, 1, TURN).await else {
        return Refused::busy().answer();
    };
    let worker = Arc::clone(&app);
    let done = tokio::task::spawn_blocking(move || {
        let done = work(&worker, &authority);
        drop(place);
        done
    });
    match done.await {
        Ok(Ok(certificate)) => Json(certificate).into_response(),
        Ok(Err(refused)) => refused.answer(),
        Err(_) => Refused::busy().answer(),
    }
}

fn certificate(name: String, issued: Issued) -> Certificate {
    Certificate {
        name,
        certificate: issued.pem,
        issued_ms: issued.issued_ms,
        expires_ms: issued.expires_ms,
    }
}

fn source(request: &Request) -> Option<IpAddr> {
    Some(request.extensions().get::<Peer>()?.address.ip())
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

/// Counts and says why a host gets no certificate; a token that was used or is too old is written
/// down, for it may have been stolen.
fn not_enrolled(app: &App, refused: NotEnrolled, source: Option<IpAddr>) -> Refused {
    let (counter, status, name) = match &refused {
        NotEnrolled::Unknown => (
            &app.metrics.enroll_refused_unknown_total,
            StatusCode::FORBIDDEN,
            "token_unknown",
        ),
        NotEnrolled::Used { .. } => (
            &app.metrics.enroll_refused_used_total,
            StatusCode::FORBIDDEN,
            "token_used",
        ),
        NotEnrolled::Expired { .. } => (
            &app.metrics.enroll_refused_expired_total,
            StatusCode::FORBIDDEN,
            "token_expired",
        ),
        NotEnrolled::Authority(_) => (
            &app.metrics.enroll_refused_request_total,
            StatusCode::BAD_REQUEST,
            "csr",
        ),
        NotEnrolled::Access(_) => {
            if let NotEnrolled::Access(error) = refused {
                app.cannot_judge(error);
            }
            return Refused::busy();
        }
    };
    counter.add(1);
    let why = refused.to_string();
    if let Some(suppressed) = app.enroll_refusals.admit(time::now_ms()) {
        let peer = source.map_or(String::from("unknown"), |source| source.to_string());
        log::warn!(peer, error = why, suppressed; "host not enrolled");
        if let NotEnrolled::Used { name: of } | NotEnrolled::Expired { name: of } = &refused {
            let entry = Entry::new(Action::EnrolmentRefused, of.as_str());
            let entry = entry.after(json!({ "error": name, "suppressed": suppressed }));
            let actor = Actor::remote("enrolment", "refused", source);
            if let Err(error) = app.access.record(&actor, entry, time::now_ms()) {
                app.cannot_judge(error);
            }
        }
    }
    Refused::new(status, name, why)
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

    pub(super) fn answer(self) -> Response {
        let mut response = error(self.status, self.name, &self.message);
        if let Some(seconds) = self.retry_after_s {
            let seconds = HeaderValue::from(seconds);
            response.headers_mut().insert(RETRY_AFTER, seconds);
        }
        response
    }
}

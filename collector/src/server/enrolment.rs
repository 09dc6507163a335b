//! Hosts that are enrolled: their first certificate by a token, and the next ones by the last.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde_json::json;
use wire::enrol::{Certificate, Enroll, Renew};

use super::app::{App, Shared};
use super::request::{Refused, change, read, source};
use crate::access::{Action, Actor, Entry, NotEnrolled};
use crate::auth::Credential;
use crate::authority::{Authority, Issued};
use crate::time;

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

/// Does what the authority is needed for.
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
    match change(app, source, move |app| work(app, &authority)).await {
        Ok(certificate) => Json(certificate).into_response(),
        Err(refused) => refused.answer(),
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

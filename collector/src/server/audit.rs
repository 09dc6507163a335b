//! `GET /api/v1/audit`: who changed what, for admins.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::app::Shared;
use super::fair::Party;
use super::refusal::{error, refused};
use crate::accept::Reason;
use crate::access::{AuditLog, AuditQuery};
use crate::api::{AUDIT, Given, parts};
use crate::time;

/// `GET /api/v1/audit`
pub(super) async fn audit(
    State(app): Shared,
    Extension(party): Extension<Party>,
    request: Request,
) -> Response {
    let asked = parts(request.uri().query().unwrap_or_default());
    let given = match asked.and_then(|asked| Given::of(AUDIT.parameters, asked, time::now_ms())) {
        Ok(given) => given,
        Err(problem) => {
            app.metrics.query_failures_total.add(1);
            return refused(problem);
        }
    };
    let number = |name| given.text(name).and_then(|text| text.parse().ok());
    let asked = AuditQuery {
        from_ms: number("from"),
        to_ms: number("to"),
        before_id: number("before_id"),
        limit: given
            .number("limit")
            .and_then(|limit| u32::try_from(limit).ok()),
    };
    let Ok(place) = app.queries.take(party, 1) else {
        let reason = Reason::Busy;
        return error(
            reason.status(),
            reason.name(),
            "as many questions as configured are answered now",
        );
    };
    let reader = Arc::clone(&app);
    let read = tokio::task::spawn_blocking(move || {
        let records = reader.access.audit(&asked);
        drop(place);
        records
    });
    match read.await {
        Ok(Ok(records)) => Json(AuditLog { records }).into_response(),
        Ok(Err(failure)) => {
            let refusal = app.cannot_judge(failure);
            error(
                refusal.reason.status(),
                refusal.reason.name(),
                &refusal.detail,
            )
        }
        Err(_) => error(
            Reason::Store.status(),
            Reason::Store.name(),
            "the collector is stopping",
        ),
    }
}

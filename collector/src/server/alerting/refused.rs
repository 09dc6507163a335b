//! Why something about alerts is not answered or done.

use axum::http::StatusCode;

use crate::alert::store::{self, NotDone};
use crate::api::Unanswered;
use crate::server::app::App;
use crate::server::request::Refused;
use crate::time;

/// The database of alerts does not answer.
pub(super) fn unread(app: &App, error: store::Error) -> Refused {
    if let Some(suppressed) = app.access_failures.admit(time::now_ms()) {
        let error = format!("{:#}", anyhow::Error::new(error));
        log::error!(error, suppressed; "alerts cannot be read or changed");
    }
    let why = "alerts cannot be read or changed now";
    Refused::new(StatusCode::SERVICE_UNAVAILABLE, "store", why).after(5)
}

/// A question about alerts is not answered.
pub(super) fn unanswered(app: &App, why: Unanswered) -> Refused {
    match why {
        Unanswered::Refused(problem) if problem.status == 404 => {
            Refused::new(StatusCode::NOT_FOUND, "unknown", problem.detail)
        }
        Unanswered::Refused(problem) => problem.into(),
        Unanswered::Store(error) => unread(app, error),
    }
}

/// Something is not done.
pub(super) fn not_done(app: &App, why: NotDone) -> Refused {
    let said = why.to_string();
    match why {
        NotDone::Unknown(_) => Refused::new(StatusCode::NOT_FOUND, "unknown", said),
        NotDone::Conflict(_) => Refused::new(StatusCode::CONFLICT, "conflict", said),
        NotDone::Wrong(_) => Refused::new(StatusCode::BAD_REQUEST, "request", said),
        NotDone::Store(error) => unread(app, error),
    }
}

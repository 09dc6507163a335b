//! Why something about people is not done.

use axum::http::StatusCode;

use super::password::unknown;
use crate::access::NotChanged;
use crate::server::app::App;
use crate::server::request::Refused;

/// There is nothing of that name, or nothing that is one's own.
pub(super) fn nothing(what: &str) -> Refused {
    let why = format!("no such {what}, or none of yours");
    Refused::new(StatusCode::NOT_FOUND, "unknown", why)
}

/// One may not ask for all.
pub(super) fn only_admins() -> Refused {
    let why = "only admins see those of others";
    Refused::new(StatusCode::FORBIDDEN, "forbidden", why)
}

/// What is asked for is of local users, and who asks is none.
pub(super) fn of_nobody() -> Refused {
    let why = "this credential is of no local user, who alone has a password and tokens";
    Refused::new(StatusCode::CONFLICT, "no_user", why)
}

/// A user or a token is not changed.
pub(super) fn not_changed(app: &App, why: NotChanged) -> Refused {
    let said = why.to_string();
    match why {
        NotChanged::Unknown => Refused::new(StatusCode::NOT_FOUND, "unknown", said),
        NotChanged::Exists => Refused::new(StatusCode::CONFLICT, "exists", said),
        NotChanged::TooMany(_) => Refused::new(StatusCode::CONFLICT, "too_many", said),
        NotChanged::Beyond(_) => Refused::new(StatusCode::CONFLICT, "beyond", said),
        NotChanged::Access(error) => unknown(app, error),
    }
}

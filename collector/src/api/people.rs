//! Operations of people about themselves: logging in and out, sessions, passwords.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::operation::{Form, Operation, form};
use super::parameter::{Kind, Need, Parameter};
use crate::rank::Rank;

/// `POST /api/v1/login`
pub const LOGIN: Operation = Operation {
    method: "POST",
    path: "/api/v1/login",
    id: "login",
    summary: "Log in: begin a session",
    help: "By `user` and `password`, or by the `link` of `waybill-collector user login-link`. The \
           answer sets the cookie `__Host-waybill`, which no script can read; it counts from then \
           on, on requests that do not ask for more than to read only where the browser says that \
           they come from a page of this collector (`Sec-Fetch-Site` or `Origin`).",
    parameters: &[],
    body: Some(form::<Login>),
    form: Form::Json(form::<Whoami>),
    refusals: &[
        BAD,
        (
            401,
            "User or password is wrong, the link is unknown or was used, or the user is disabled",
        ),
        (403, "The request comes from a page of somebody else"),
        NO_JSON,
        (
            429,
            "Too many attempts for this user or from this address; `Retry-After` says when",
        ),
    ],
    answer: None,
};

/// `POST /api/v1/logout`
pub const LOGOUT: Operation = Operation {
    method: "POST",
    path: "/api/v1/logout",
    id: "logout",
    summary: "Log out: end this session",
    help: "Without a session, or with one that has ended, nothing is ended. The cookie is taken back.",
    parameters: &[],
    body: None,
    form: Form::Json(form::<Ended>),
    refusals: &[(429, "This peer changes as much as it may at once")],
    answer: None,
};

/// `GET /api/v1/whoami`
pub const WHOAMI: Operation = Operation {
    method: "GET",
    path: "/api/v1/whoami",
    id: "whoami",
    summary: "Who asks, with which role, and until when",
    help: "",
    parameters: &[],
    body: None,
    form: Form::Json(form::<Whoami>),
    refusals: &[(400, "It takes no parameters")],
    answer: None,
};

/// `POST /api/v1/password`
pub const PASSWORD: Operation = Operation {
    method: "POST",
    path: "/api/v1/password",
    id: "changePassword",
    summary: "Change one's own password",
    help: "For local users, by a session or a token of theirs. All of the user's sessions end; a \
           request by a session gets another one in its place.",
    parameters: &[],
    body: Some(form::<ChangePassword>),
    form: Form::Json(form::<Ended>),
    refusals: &[
        BAD,
        NO_JSON,
        (409, "The credential is of no local user"),
        (
            422,
            "The old password is wrong, or the new one cannot be taken",
        ),
        (
            429,
            "Too many attempts for this user or from this address; `Retry-After` says when",
        ),
    ],
    answer: None,
};

/// `GET /api/v1/sessions`
pub const SESSIONS: Operation = Operation {
    method: "GET",
    path: "/api/v1/sessions",
    id: "sessions",
    summary: "One's own sessions; those of all users, to admins",
    help: "",
    parameters: &[ALL],
    body: None,
    form: Form::Json(form::<Sessions>),
    refusals: &[BAD],
    answer: None,
};

/// `DELETE /api/v1/sessions/{id}`
pub const END_SESSION: Operation = Operation {
    method: "DELETE",
    path: "/api/v1/sessions/{id}",
    id: "endSession",
    summary: "End one of one's own sessions; any session, to admins",
    help: "",
    parameters: &[ID],
    body: None,
    form: Form::Json(form::<Ended>),
    refusals: CHANGES,
    answer: None,
};

/// A request that cannot be read.
pub(super) const BAD: (u16, &str) = (
    400,
    "The request cannot be read, or has something that cannot be used",
);
/// One in another form.
pub(super) const NO_JSON: (u16, &str) = (415, "The request is not JSON");

/// Refusals of what changes one thing.
pub(super) const CHANGES: &[(u16, &str)] = &[
    BAD,
    (404, "There is nothing of that name"),
    NO_JSON,
    (409, "It is there already, or may not be changed so"),
    (422, "The password cannot be taken"),
    (429, "This peer changes as much as it may at once"),
];

/// All, and not one's own.
pub(super) const ALL: &[Parameter] = &[Parameter::new(
    "all",
    Kind::Flag,
    "Those of all users, and not one's own alone. For admins.",
)
.or("false")];

/// What lists name things by.
pub(super) const ID: &[Parameter] =
    &[Parameter::new("id", Kind::Text(64), "Its `id`, as the list has it.").at(Need::Path)];

/// How to log in: by `user` and `password`, or by `link`.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Login {
    /// The user's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The user's password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<String>,
    /// The secret of a link.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Another password.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangePassword {
    /// What it is.
    pub old: String,
    /// What it is to be: at least 12 characters.
    pub new: String,
}

/// Who asks.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Whoami {
    /// A user's name; of what is nobody's in particular, the first 16 digits of its SHA-256.
    pub name: String,
    /// What may be done.
    pub role: Rank,
    /// By what that is known.
    pub by: By,
    /// The name is that of a local user, who has a password, sessions and tokens.
    pub is_user: bool,
    /// The session, where it is one.
    pub session: Option<SessionShown>,
    /// When the session or token ends at the latest, Unix milliseconds; `null`: not known.
    pub expires_ms: Option<i64>,
}

/// By what it is known who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// A session, by its cookie.
    Session,
    /// A token of a user.
    UserToken,
    /// A token of the configuration.
    Token,
    /// A client certificate.
    Certificate,
    /// A proxy that says so.
    Proxy,
}

/// A session that goes on.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct SessionShown {
    /// What names it; not what the browser has.
    pub id: String,
    /// Whose.
    pub user: String,
    /// When it began, Unix milliseconds.
    pub begun_ms: i64,
    /// When it was last used, to the minute, Unix milliseconds.
    pub used_ms: i64,
    /// When it ends if nobody uses it, Unix milliseconds.
    pub idle_ends_ms: i64,
    /// When it ends at the latest, Unix milliseconds.
    pub expires_ms: i64,
    /// From which address it began.
    pub source: String,
    /// By what it began: `password` or `link`.
    pub begun_by: String,
    /// It is that of this request.
    pub is_this: bool,
}

/// Sessions that go on.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Sessions {
    /// The last begun first.
    pub sessions: Vec<SessionShown>,
}

/// What ended.
#[derive(Clone, Copy, Debug, Default, JsonSchema, Serialize)]
pub struct Ended {
    /// Number of sessions that were ended.
    pub sessions: u32,
    /// Number of tokens that were revoked.
    pub tokens: u32,
}

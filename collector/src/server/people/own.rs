//! What people see and change of themselves: who they are, their sessions and password.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::SET_COOKIE;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};

use super::login::{begin_session, cookie_of};
use super::password::{kept, prove, unknown};
use super::person::{Person, Reach, shown};
use super::refusals::{not_changed, nothing, of_nobody, only_admins};
use crate::access::{self, Access, Actor, Change, NAME_BYTES};
use crate::api::{
    ChangePassword, END_SESSION, Ended, Given, Operation, SESSIONS, Sessions, WHOAMI,
};
use crate::digest::unhex;
use crate::server::app::{App, Shared};
use crate::server::request::{Refused, answer, change, given, read};
use crate::time;

/// `GET /api/v1/whoami`
pub(in crate::server) async fn whoami(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    let given = given(&WHOAMI, &mut request.into_parts().0).await;
    let shown = given.map(|_| Json(person.shown(app.idle_ms())));
    answer(shown.map_err(Refused::from))
}

/// `GET /api/v1/sessions`
pub(in crate::server) async fn sessions(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(listed(app, person, request).await)
}

async fn listed(app: Arc<App>, person: Person, request: Request) -> Result<Response, Refused> {
    let given = given(&SESSIONS, &mut request.into_parts().0).await?;
    let reach = reach(&person, &given)?;
    let of = reach.map(|reach| reach.user().map(str::to_owned));
    let Some(of) = of else {
        let none = Sessions {
            sessions: Vec::new(),
        };
        return Ok(Json(none).into_response());
    };
    change(app, person.source, move |app| {
        let (idle_ms, now_ms) = (app.idle_ms(), time::now_ms());
        let found = app.access.sessions(of.as_deref(), idle_ms, now_ms);
        let found = found.map_err(|error| unknown(app, error))?;
        let own = person.session();
        let shown = found.iter().map(|session| shown(session, idle_ms, own));
        let sessions = shown.collect();
        Ok(Json(Sessions { sessions }).into_response())
    })
    .await
}

/// Whose things are listed; `None`: who asks has none.
///
/// # Errors
/// Those of all are for admins.
pub(super) fn reach<'a>(person: &'a Person, given: &Given) -> Result<Option<Reach<'a>>, Refused> {
    if !given.flag("all") {
        return Ok(person.user().map(Reach::Own));
    }
    match person.reach() {
        Some(Reach::All) => Ok(Some(Reach::All)),
        _ => Err(only_admins()),
    }
}

/// `DELETE /api/v1/sessions/{id}`
pub(in crate::server) async fn end_session(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    let removal = Removal {
        operation: &END_SESSION,
        what: "session",
        remove: Access::end_session,
        ended: Ended {
            sessions: 1,
            tokens: 0,
        },
    };
    answer(removal.run(app, person, request).await.map(Json))
}

/// How something of a user is taken away by its id: by oneself, or by an admin.
pub(super) struct Removal {
    pub(super) operation: &'static Operation,
    /// What it is called.
    pub(super) what: &'static str,
    /// Whether there was one.
    pub(super) remove: Remove,
    /// What is answered.
    pub(super) ended: Ended,
}

type Remove =
    fn(&Access, [u8; NAME_BYTES], Option<&str>, &Actor, i64) -> Result<bool, access::Error>;

impl Removal {
    pub(super) async fn run(
        self,
        app: Arc<App>,
        person: Person,
        request: Request,
    ) -> Result<Ended, Refused> {
        let given = given(self.operation, &mut request.into_parts().0).await?;
        let (Some(id), Some(_)) = (id(&given), person.reach()) else {
            return Err(nothing(self.what));
        };
        change(app, person.source, move |app| {
            let of = person.reach().and_then(Reach::user);
            let removed = (self.remove)(&app.access, id, of, &person.actor(), time::now_ms());
            match removed.map_err(|error| unknown(app, error))? {
                false => Err(nothing(self.what)),
                true => Ok(self.ended),
            }
        })
        .await
    }
}

/// What an `id` in a path names.
fn id(given: &Given) -> Option<[u8; NAME_BYTES]> {
    unhex(given.text("id")?)
}

/// `POST /api/v1/password`
pub(in crate::server) async fn change_password(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(replace(app, person, request).await)
}

async fn replace(app: Arc<App>, person: Person, request: Request) -> Result<Response, Refused> {
    let user = person.user().ok_or_else(of_nobody)?.to_owned();
    let asked: ChangePassword = read(request).await?;
    let source = person.source.unwrap_or(IpAddr::from([0, 0, 0, 0]));
    if prove(&app, source, &user, asked.old).await?.is_none() {
        let why = "the old password is wrong";
        return Err(Refused::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "password",
            why,
        ));
    }
    let (hashed, _) = kept(&app, source, (&user, Some(asked.new))).await?;
    change(app, person.source, move |app| {
        let to = Change {
            password: Some(hashed),
            ..Change::default()
        };
        let changed = app
            .access
            .change_user(&user, &to, &person.actor(), time::now_ms());
        let sessions = changed.map_err(|error| not_changed(app, error))?;
        let ended = Ended {
            sessions,
            tokens: 0,
        };
        let mut response = Json(ended).into_response();
        if person.session().is_some()
            && let Some((secret, session)) = begin_session(app, source, &user)?
        {
            let cookie = cookie_of(&secret, &session);
            response.headers_mut().insert(SET_COOKIE, cookie);
        }
        Ok(response)
    })
    .await
}

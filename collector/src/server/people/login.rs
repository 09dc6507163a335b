//! `POST /api/v1/login` and `/api/v1/logout`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::SET_COOKIE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use super::identity::source;
use super::password::{attempt, failed, prove, unknown};
use super::person::{How, Person};
use super::{cookie, origin};
use crate::accept::Reason;
use crate::access::{Actor, Lasting, Method, Session, named, secret};
use crate::api::{Ended, Login};
use crate::server::app::{App, Shared};
use crate::server::request::{Refused, answer, change, read};
use crate::time;

/// `POST /api/v1/login`
pub(in crate::server) async fn login(State(app): Shared, request: Request) -> Response {
    answer(begin(app, request).await)
}

async fn begin(app: Arc<App>, request: Request) -> Result<Response, Refused> {
    // Nobody is logged in as somebody else by a page of theirs.
    origin::check(request.headers(), false).map_err(|why| {
        app.metrics.refused(Reason::CrossSite, time::now_ms());
        let reason = Reason::CrossSite;
        Refused::new(reason.status(), reason.name(), why)
    })?;
    let source = source(&app, &request).unwrap_or(IpAddr::from([0, 0, 0, 0]));
    let asked: Login = read(request).await?;
    let begun = match asked {
        Login {
            user: Some(user),
            password: Some(password),
            link: None,
        } => match prove(&app, source, &user, password).await? {
            Some(name) => by_password(&app, source, name).await?,
            None => None,
        },
        Login {
            user: None,
            password: None,
            link: Some(link),
        } => by_link(&app, source, link).await?,
        _ => {
            let why = "expected user and password, or link";
            return Err(Refused::new(StatusCode::BAD_REQUEST, "request", why));
        }
    };
    let Some((secret, session)) = begun else {
        // The same for whatever was wrong.
        let why =
            "user or password is wrong, the link was used or is too old, or the user is disabled";
        return Err(Refused::new(StatusCode::UNAUTHORIZED, "login", why));
    };
    app.metrics.logins_total.add(1);
    log::info!(user = session.user, peer = source.to_string(); "logged in");
    Ok(with_session(&app, &secret, session, source))
}

/// An answer that begins a session.
fn with_session(app: &App, secret: &str, session: Session, source: IpAddr) -> Response {
    let cookie = cookie_of(secret, &session);
    let person = Person {
        name: session.user.clone(),
        rank: session.rank,
        how: How::Session(session),
        source: Some(source),
    };
    let mut response = answer(Ok(axum::Json(person.shown(app.idle_ms()))));
    response.headers_mut().insert(SET_COOKIE, cookie);
    response
}

/// The cookie of a session that has just begun.
pub(super) fn cookie_of(secret: &str, session: &Session) -> HeaderValue {
    let seconds = (session.expires_ms - session.begun_ms) / 1000;
    cookie::set(secret, seconds.max(1))
}

fn lasting(app: &App) -> Lasting {
    Lasting {
        idle_ms: app.idle_ms(),
        longest_ms: time::whole_ms(app.config.auth.session_lifetime),
    }
}

pub(super) type Begun = Option<(String, Session)>;

async fn by_password(app: &Arc<App>, source: IpAddr, user: String) -> Result<Begun, Refused> {
    change(Arc::clone(app), Some(source), move |app| {
        begin_session(app, source, &user)
    })
    .await
}

/// Begins a session of a user whose password was right.
pub(super) fn begin_session(app: &App, source: IpAddr, user: &str) -> Result<Begun, Refused> {
    let actor = Actor::remote("user", user, Some(source));
    let begin = || {
        let secret = secret("")?;
        let by = (user, Method::Password);
        let begun = app
            .access
            .begin_session(by, &secret, lasting(app), &actor, time::now_ms())?;
        Ok(begun.map(|session| (secret, session)))
    };
    begin().map_err(|error| unknown(app, error))
}

async fn by_link(app: &Arc<App>, source: IpAddr, link: String) -> Result<Begun, Refused> {
    attempt(app, None, source)?;
    let begun = change(Arc::clone(app), Some(source), move |app| {
        let begin = || {
            let secret = secret("")?;
            let actor = |user: &str| Actor::remote("user", user, Some(source));
            let now_ms = time::now_ms();
            let begun = app
                .access
                .follow_link(&link, &secret, lasting(app), actor, now_ms)?;
            if begun.is_none() {
                failed(app, None, "link", source)?;
            }
            Ok(begun.map(|session| (secret, session)))
        };
        begin().map_err(|error| unknown(app, error))
    });
    let begun = begun.await?;
    if begun.is_some() {
        app.logins.give_back(None, source);
    }
    Ok(begun)
}

/// `POST /api/v1/logout`
pub(in crate::server) async fn logout(
    State(app): Shared,
    Extension(person): Extension<Person>,
) -> Response {
    let ended = match person.session().cloned() {
        None => Ok(Ended::default()),
        Some(session) => {
            change(Arc::clone(&app), person.source, move |app| {
                let name = named(session.id);
                let ended = app.access.end_session(
                    name,
                    Some(&session.user),
                    &person.actor(),
                    time::now_ms(),
                );
                let sessions = ended.map_err(|error| unknown(app, error))?.into();
                Ok(Ended {
                    sessions,
                    ..Ended::default()
                })
            })
            .await
        }
    };
    let is_done = ended.is_ok();
    let mut response = answer(ended.map(axum::Json));
    if is_done {
        response.headers_mut().insert(SET_COOKIE, cookie::clear());
    }
    response
}

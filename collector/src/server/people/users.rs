//! What admins see and change of local users.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};

use super::password::{kept, unknown};
use super::person::Person;
use super::refusals::{not_changed, nothing};
use crate::access::{Change, user_name};
use crate::api::{
    AddUser, CHANGE_USER, ChangeUser, Ended, Operation, REMOVE_USER, USERS, UserChanged, UserShown,
    Users,
};
use crate::server::app::{App, Shared};
use crate::server::request::{Refused, answer, change, given, given_of, read};
use crate::time;

/// `GET /api/v1/users`
pub(in crate::server) async fn users(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(listed(app, person, request).await.map(Json))
}

async fn listed(app: Arc<App>, person: Person, request: Request) -> Result<Users, Refused> {
    given(&USERS, &mut request.into_parts().0).await?;
    change(app, person.source, move |app| {
        let found = app.access.users(app.idle_ms(), time::now_ms());
        let found = found.map_err(|error| unknown(app, error))?;
        let shown = found.into_iter().map(|user| UserShown {
            name: user.name,
            role: user.rank,
            is_disabled: user.is_disabled,
            made_ms: user.made_ms,
            password_ms: user.password_ms,
            login_ms: user.login_ms,
            sessions: user.sessions,
            tokens: user.tokens,
        });
        let users = shown.collect();
        Ok(Users { users })
    })
    .await
}

/// `POST /api/v1/users`
pub(in crate::server) async fn add_user(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(add(app, person, request).await.map(Json))
}

async fn add(app: Arc<App>, person: Person, request: Request) -> Result<UserChanged, Refused> {
    let asked: AddUser = read(request).await?;
    let name = user_name(&asked.name)
        .map_err(|why| Refused::new(StatusCode::BAD_REQUEST, "request", why))?;
    let (hashed, password) = kept(&app, address(&person), (&name, asked.password)).await?;
    change(app, person.source, move |app| {
        let added =
            app.access
                .add_user(&name, asked.role, &hashed, &person.actor(), time::now_ms());
        added.map_err(|why| not_changed(app, why))?;
        Ok(UserChanged {
            name,
            password,
            sessions_ended: 0,
        })
    })
    .await
}

/// `PATCH /api/v1/users/{name}`
pub(in crate::server) async fn change_user(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(alter(app, person, request).await.map(Json))
}

async fn alter(app: Arc<App>, person: Person, request: Request) -> Result<UserChanged, Refused> {
    let (name, request) = named(&CHANGE_USER, request).await?;
    let asked: ChangeUser = read(request).await?;
    if asked.role.is_some() || asked.is_disabled.is_some() {
        not_oneself(&person, &name)?;
    }
    let makes = asked.make_password == Some(true);
    let (hashed, password) = match (asked.password, makes) {
        (None, false) => (None, None),
        (Some(_), true) => {
            let why = "expected password or make_password, not both";
            return Err(Refused::new(StatusCode::BAD_REQUEST, "request", why));
        }
        (given, _) => {
            let (hashed, made) = kept(&app, address(&person), (&name, given)).await?;
            (Some(hashed), made)
        }
    };
    let to = Change {
        rank: asked.role,
        is_disabled: asked.is_disabled,
        password: hashed,
    };
    change(app, person.source, move |app| {
        let changed = app
            .access
            .change_user(&name, &to, &person.actor(), time::now_ms());
        let sessions_ended = changed.map_err(|why| not_changed(app, why))?;
        Ok(UserChanged {
            name,
            password,
            sessions_ended,
        })
    })
    .await
}

/// `DELETE /api/v1/users/{name}`
pub(in crate::server) async fn remove_user(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(remove(app, person, request).await.map(Json))
}

async fn remove(app: Arc<App>, person: Person, request: Request) -> Result<Ended, Refused> {
    let (name, _) = named(&REMOVE_USER, request).await?;
    not_oneself(&person, &name)?;
    change(app, person.source, move |app| {
        let removed = app
            .access
            .remove_user(&name, &person.actor(), time::now_ms());
        let (sessions, tokens) = removed.map_err(|why| not_changed(app, why))?;
        Ok(Ended { sessions, tokens })
    })
    .await
}

/// The user in the path.
async fn named(
    operation: &'static Operation,
    request: Request,
) -> Result<(String, Request), Refused> {
    let (given, request) = given_of(operation, request).await?;
    let name = given.text("name").and_then(|text| user_name(text).ok());
    let name = name.ok_or_else(|| nothing("user"))?;
    Ok((name, request))
}

/// An admin who goes leaves another one: it takes somebody else to do it.
fn not_oneself(person: &Person, name: &str) -> Result<(), Refused> {
    if person.user() == Some(name) {
        let why =
            "nobody disables, removes or changes the role of oneself: let another admin do it";
        return Err(Refused::new(StatusCode::CONFLICT, "oneself", why));
    }
    Ok(())
}

fn address(person: &Person) -> IpAddr {
    person.source.unwrap_or(IpAddr::from([0, 0, 0, 0]))
}

//! Silences and maintenance windows.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::one::by;
use super::refused::{not_done, unread};
use crate::alert::mute::{NewMaintenance, NewSilence};
use crate::alert::store::{AlertStore, By, NotDone};
use crate::api::{
    ADD_MAINTENANCE, ADD_SILENCE, CHANGE_MAINTENANCE, CHANGE_SILENCE, END_SILENCE, MAINTENANCE,
    Operation, REMOVE_MAINTENANCE, Removed, SILENCES, Silences, Windows,
};
use crate::server::app::{App, Shared};
use crate::server::people::Person;
use crate::server::request::{Refused, answer, change, given, given_of, read};

type Who = Extension<Person>;

/// `GET /api/v1/silences`
pub(in crate::server) async fn silences(
    State(app): Shared,
    Extension(person): Who,
    request: Request,
) -> Response {
    let all = |store: &AlertStore| store.mutes().map(|all| all.silences);
    let listed = listed(&SILENCES, app, person, request, all).await;
    answer(listed.map(|silences| Json(Silences { silences })))
}

/// `GET /api/v1/maintenance`
pub(in crate::server) async fn maintenance(
    State(app): Shared,
    Extension(person): Who,
    request: Request,
) -> Response {
    let all = |store: &AlertStore| store.mutes().map(|all| all.windows);
    let listed = listed(&MAINTENANCE, app, person, request, all).await;
    answer(listed.map(|windows| Json(Windows { windows })))
}

async fn listed<T: Send + 'static>(
    operation: &'static Operation,
    app: Arc<App>,
    person: Person,
    request: Request,
    all: fn(&AlertStore) -> Result<T, crate::alert::store::Error>,
) -> Result<T, Refused> {
    given(operation, &mut request.into_parts().0).await?;
    change(app, person.source, move |app| {
        all(&app.alerts).map_err(|error| unread(app, error))
    })
    .await
}

/// `POST /api/v1/silences`
pub(in crate::server) async fn add_silence(
    State(app): Shared,
    Extension(person): Who,
    request: Request,
) -> Response {
    changed(
        &ADD_SILENCE,
        app,
        person,
        request,
        |store, _, new: NewSilence, by| store.add_silence(&new, by),
    )
    .await
}

/// `PUT /api/v1/silences/{id}`
pub(in crate::server) async fn change_silence(
    State(app): Shared,
    Extension(person): Who,
    request: Request,
) -> Response {
    changed(
        &CHANGE_SILENCE,
        app,
        person,
        request,
        |store, id, new: NewSilence, by| store.change_silence(id, &new, by),
    )
    .await
}

/// `DELETE /api/v1/silences/{id}`
pub(in crate::server) async fn end_silence(
    State(app): Shared,
    Extension(person): Who,
    request: Request,
) -> Response {
    removed(&END_SILENCE, app, person, request, AlertStore::end_silence).await
}

/// `POST /api/v1/maintenance`
pub(in crate::server) async fn add_maintenance(
    State(app): Shared,
    Extension(person): Who,
    request: Request,
) -> Response {
    changed(
        &ADD_MAINTENANCE,
        app,
        person,
        request,
        |store, _, new: NewMaintenance, by| store.add_maintenance(new, by),
    )
    .await
}

/// `PUT /api/v1/maintenance/{id}`
pub(in crate::server) async fn change_maintenance(
    State(app): Shared,
    Extension(person): Who,
    request: Request,
) -> Response {
    let change = |store: &AlertStore, id, new: NewMaintenance, by: By<'_>| {
        store.change_maintenance(id, new, by)
    };
    changed(&CHANGE_MAINTENANCE, app, person, request, change).await
}

/// `DELETE /api/v1/maintenance/{id}`
pub(in crate::server) async fn remove_maintenance(
    State(app): Shared,
    Extension(person): Who,
    request: Request,
) -> Response {
    removed(
        &REMOVE_MAINTENANCE,
        app,
        person,
        request,
        AlertStore::remove_maintenance,
    )
    .await
}

/// Makes or changes what the body says.
async fn changed<N, T>(
    operation: &'static Operation,
    app: Arc<App>,
    person: Person,
    request: Request,
    work: fn(&AlertStore, i64, N, By<'_>) -> Result<T, NotDone>,
) -> Response
where
    N: DeserializeOwned + Send + 'static,
    T: Serialize + Send + 'static,
{
    let done = async move {
        let (id, request) = numbered(operation, request).await?;
        let new: N = read(request).await?;
        change(app, person.source, move |app| {
            let actor = person.actor();
            work(&app.alerts, id, new, by(app, &actor)).map_err(|why| not_done(app, why))
        })
        .await
    };
    answer(done.await.map(Json))
}

async fn removed(
    operation: &'static Operation,
    app: Arc<App>,
    person: Person,
    request: Request,
    work: fn(&AlertStore, i64, By<'_>) -> Result<(), NotDone>,
) -> Response {
    let done = async move {
        let (id, _) = numbered(operation, request).await?;
        change(app, person.source, move |app| {
            let actor = person.actor();
            let done = work(&app.alerts, id, by(app, &actor));
            done.map_err(|why| not_done(app, why))?;
            Ok(Removed { id: id.to_string() })
        })
        .await
    };
    answer(done.await.map(Json))
}

/// The number in the path; 0 where there is none.
async fn numbered(
    operation: &'static Operation,
    request: Request,
) -> Result<(i64, Request), Refused> {
    let (given, request) = given_of(operation, request).await?;
    let id = given.number("id").unwrap_or(0);
    let id = i64::try_from(id).map_err(|_| {
        Refused::new(
            StatusCode::NOT_FOUND,
            "unknown",
            "there is nothing of that number",
        )
    })?;
    Ok((id, request))
}

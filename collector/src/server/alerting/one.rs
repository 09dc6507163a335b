//! Alerts and rules.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Json};

use super::refused::{not_done, unanswered};
use crate::alert::store::{Acknowledged, By};
use crate::api::{
    ACKNOWLEDGE, ALERT, ALERTS, Acknowledge, AlertDetail, Alerts, Given, Language, Operation,
    RULES, Removed, RuleShown, Rules, UNACKNOWLEDGE, alert_detail, alert_list,
};
use crate::server::app::{App, Shared};
use crate::server::people::Person;
use crate::server::request::{Refused, answer, change, given, given_of, read};
use crate::time;

/// `GET /api/v1/alerts`
pub(in crate::server) async fn alerts(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(listed(app, person, request).await.map(Json))
}

async fn listed(app: Arc<App>, person: Person, request: Request) -> Result<Alerts, Refused> {
    let given = given(&ALERTS, &mut request.into_parts().0).await?;
    change(app, person.source, move |app| {
        let answered = alert_list(&app.alerts, &given, time::now_ms());
        answered.map_err(|why| unanswered(app, why))
    })
    .await
}

/// `GET /api/v1/alerts/{id}`
pub(in crate::server) async fn alert(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(detail(app, person, request).await.map(Json))
}

async fn detail(app: Arc<App>, person: Person, request: Request) -> Result<AlertDetail, Refused> {
    let given = given(&ALERT, &mut request.into_parts().0).await?;
    change(app, person.source, move |app| {
        let answered = alert_detail(&app.alerts, &app.rules, &given, time::now_ms());
        answered.map_err(|why| unanswered(app, why))
    })
    .await
}

fn nothing() -> Refused {
    Refused::new(StatusCode::NOT_FOUND, "unknown", "there is no such alert")
}

/// `POST /api/v1/alerts/{id}/ack`
pub(in crate::server) async fn acknowledge(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(known(app, person, request).await.map(Json))
}

async fn known(app: Arc<App>, person: Person, request: Request) -> Result<Acknowledged, Refused> {
    let (id, request) = named(&ACKNOWLEDGE, request).await?;
    let said: Acknowledge = read(request).await?;
    change(app, person.source, move |app| {
        let actor = person.actor();
        let done = app.alerts.acknowledge(&id, &said.why, by(app, &actor));
        done.map_err(|why| not_done(app, why))
    })
    .await
}

/// `DELETE /api/v1/alerts/{id}/ack`
pub(in crate::server) async fn unacknowledge(
    State(app): Shared,
    Extension(person): Extension<Person>,
    request: Request,
) -> Response {
    answer(unknown(app, person, request).await.map(Json))
}

async fn unknown(app: Arc<App>, person: Person, request: Request) -> Result<Removed, Refused> {
    let (id, _) = named(&UNACKNOWLEDGE, request).await?;
    change(app, person.source, move |app| {
        let actor = person.actor();
        let done = app.alerts.unacknowledge(&id, by(app, &actor));
        done.map_err(|why| not_done(app, why))?;
        Ok(Removed { id })
    })
    .await
}

/// `GET /api/v1/rules`
pub(in crate::server) async fn rules(State(app): Shared, request: Request) -> Response {
    let given = given(&RULES, &mut request.into_parts().0).await;
    let rules = |given: Given| {
        let language = Language::of(given.text("language"));
        let all = app.rules.all();
        let rules = all
            .iter()
            .map(|rule| RuleShown::new(rule, language))
            .collect();
        Json(Rules { rules })
    };
    answer(given.map(rules).map_err(Refused::from))
}

/// Who changes something.
pub(super) fn by<'a>(app: &'a App, actor: &'a crate::access::Actor) -> By<'a> {
    By {
        actor,
        log: &app.access,
        now_ms: time::now_ms(),
    }
}

/// The alert in the path.
async fn named(
    operation: &'static Operation,
    request: Request,
) -> Result<(String, Request), Refused> {
    let (given, request) = given_of(operation, request).await?;
    let id = given.text("id").map(str::to_owned).ok_or_else(nothing)?;
    Ok((id, request))
}

//! How the collector does, for balancers and service managers: whether batches can be stored, and
//! whether it should get any.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::app::{App, Shared};
use super::refusal::error;
use crate::api::{Check, Readiness};
use crate::time;

/// A piece of work of the writer thread that takes so long: others should get the batches.
const SLOW: Duration = Duration::from_secs(10);
/// One that takes so long: it does not come back by itself.
const STUCK: Duration = Duration::from_secs(60);

/// `GET /healthz`: 200 while batches can be stored.
pub(super) async fn healthz(State(app): Shared) -> Response {
    let problem = match app.health.failing() {
        Some(_) => Some(("store", "the store cannot be written")),
        None => writer(&app, STUCK).map(|_| ("writer", "the store is not written any more")),
    };
    match problem {
        None => Json(serde_json::json!({ "status": "ok" })).into_response(),
        Some((name, why)) => error(StatusCode::SERVICE_UNAVAILABLE, name, why),
    }
}

/// `GET /readyz`: 200 while batches should come here.
pub(super) async fn readyz(State(app): Shared) -> Response {
    let ending = *app.ending.borrow();
    let ending = ending.then(|| String::from("the collector is stopping"));
    let readiness = Readiness::of(vec![
        Check::new("store", app.health.failing()),
        Check::new("writer", writer(&app, SLOW)),
        Check::new("serving", ending),
    ]);
    let status = match readiness.ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(readiness)).into_response()
}

/// What is wrong with the writer thread.
fn writer(app: &App, most: Duration) -> Option<String> {
    if app.health.ended() {
        return Some(String::from("the thread that writes has ended"));
    }
    let at_work = app.health.at_work(time::monotonic());
    (at_work >= most).then(|| {
        let seconds = at_work.as_secs();
        format!("the store has been at one piece of work for {seconds} s")
    })
}

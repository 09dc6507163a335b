//! What people ask: questions to the store, hosts, counters.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, IF_NONE_MATCH};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};

use super::answers::{self, Question};
use super::app::{App, Shared};
use super::fair::Party;
use super::packed::Encoding;
use super::refusal::{error, refused};
use super::request::given;
use crate::api::{Answers, Given, HOSTS, Operation, parts};
use crate::{escape, process, time};

/// Answers a question whose parameters are in the address.
pub(super) async fn question(
    app: Arc<App>,
    (operation, answer): (&'static Operation, Answers),
    request: Request,
) -> Response {
    let party = request.extensions().get::<Party>().copied();
    let party = party.expect("whoever gets here was let in");
    let (mut head, _) = request.into_parts();
    let given = match given(operation, &mut head).await {
        Ok(given) => given,
        Err(problem) => {
            app.metrics.query_failures_total.add(1);
            return refused(problem);
        }
    };
    let question = Question {
        answer,
        given,
        encoding: Encoding::of(&head.headers),
        known: known(&head.headers),
        head_only: head.method == Method::HEAD,
    };
    answers::question(&app, party, question).await
}

/// The tags of answers that the other side has.
pub(super) fn known(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(IF_NONE_MATCH).iter();
    let lines = lines.filter_map(|line| line.to_str().ok());
    let tags = lines.flat_map(|line| line.split(','));
    tags.map(|tag| tag.trim().to_owned()).collect()
}

/// `GET /api/v1/hosts`
pub(super) async fn hosts(
    State(app): Shared,
    Extension(party): Extension<Party>,
    request: Request,
) -> Response {
    let asked = parts(request.uri().query().unwrap_or_default());
    let asked = asked.and_then(|asked| Given::of(HOSTS.parameters, asked, time::now_ms()));
    if let Err(problem) = asked {
        app.metrics.query_failures_total.add(1);
        return refused(problem);
    }
    if request.method() == Method::HEAD {
        let json = HeaderValue::from_static("application/json");
        return ([(CONTENT_TYPE, json)], ()).into_response();
    }
    answers::hosts(&app, party).await
}

/// `GET /metrics`
pub(super) async fn metrics(State(app): Shared) -> Response {
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    let outputs = app.outputs.prometheus(time::now_ms());
    let own = [app.metrics.prometheus(), outputs, process::prometheus()].concat();
    ([(CONTENT_TYPE, text)], own).into_response()
}

/// An address that is none of the API.
pub(super) async fn nothing(request: Request) -> Response {
    let shown = escape::shorten(request.uri().path(), 80);
    let why = format!("no address {shown}; /api/v1/openapi.json lists those there are");
    error(StatusCode::NOT_FOUND, "unknown", &why)
}

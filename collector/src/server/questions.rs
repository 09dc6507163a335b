//! What people ask: questions to the store, hosts, counters.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_DISPOSITION, CONTENT_TYPE, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body::Frame;

use super::answers::{self, Question};
use super::app::{App, Shared};
use super::body::{self, Unread};
use super::declared;
use super::fair::{Denied, Party, Share};
use super::levels;
use super::packed::Encoding;
use super::refusal::{error, refused};
use super::request::given;
use crate::api::{Answers, Given, HOSTS, Operation, Problem, parts};
use crate::matrix::MAX_BYTES;
use crate::outputs::Pieces;
use crate::{escape, process, time};

/// Answers a question whose parameters are in the address.
pub(super) async fn question(
    app: Arc<App>,
    (operation, answer): (&'static Operation, Answers),
    request: Request,
) -> Response {
    let party = request.extensions().get::<Party>().copied();
    let party = party.expect("whoever gets here was let in");
    let (mut head, mut sent) = request.into_parts();
    let mut read = given(operation, &mut head).await;
    // What came with a question counts as a part of its answer, which is made of it.
    let mut held = None;
    if operation.method == "POST" && read.is_ok() {
        match body(&app, party, &mut sent).await {
            Ok((bytes, share)) => {
                read = read.map(|given| given.with_body(bytes));
                held = Some(share);
            }
            Err(problem) => read = Err(problem),
        }
    }
    if let Ok(given) = &read
        && declared::is_asked(operation, given)
    {
        let of = read_declared(&app, party, given).await;
        read = of.and_then(|(bytes, share)| {
            held = Some(share);
            read.map(|given| given.with_body(bytes))
        });
    }
    let given = match read {
        Ok(given) => given,
        Err(problem) => {
            app.metrics.query_failures_total.add(1);
            return refused(problem);
        }
    };
    let file = operation.file(&given);
    let question = Question {
        answer,
        given,
        encoding: Encoding::of(&head.headers),
        known: known(&head.headers),
        head_only: head.method == Method::HEAD,
    };
    let mut answer = answers::question(&app, party, question).await;
    drop(held);
    if let Some((media, name)) = file
        && answer.status() == StatusCode::OK
    {
        // Not shown in the page's own origin, whatever is in it.
        let name = HeaderValue::try_from(format!("attachment; filename=\"{name}\""));
        let headers = answer.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        headers.insert(CONTENT_DISPOSITION, name.expect("words of a fixed list"));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    }
    answer
}

/// The declared matrix, as if it had come with the question.
async fn read_declared(
    app: &Arc<App>,
    party: Party,
    given: &Given,
) -> Result<(Vec<u8>, Share), Problem> {
    let bytes = declared::file(app, given).await?;
    let share = app.answers.unsent.take(party, bytes.len()).map_err(busy)?;
    Ok((bytes, share))
}

fn busy(_: Denied) -> Problem {
    let why = "as much is being asked at once as is configured; try again";
    Problem::new(503, "busy", why)
}

/// Reads what comes with a question.
async fn body(app: &App, party: Party, sent: &mut Body) -> Result<(Vec<u8>, Share), Problem> {
    let mut share = app.answers.unsent.take(party, 0).map_err(busy)?;
    let read = body::read(sent, MAX_BYTES, &mut share);
    let problem = match tokio::time::timeout(app.config.limits.body_timeout, read).await {
        Ok(Ok(bytes)) => return Ok((bytes, share)),
        Ok(Err(Unread::TooLarge)) => {
            let why = format!("the body is longer than {MAX_BYTES} bytes");
            Problem::new(413, "size", why)
        }
        Ok(Err(Unread::NoRoom(denied))) => busy(denied),
        Ok(Err(Unread::Broken)) => {
            Problem::query("the connection broke before the body was complete")
        }
        Err(_) => Problem::new(408, "slow", "the body did not arrive in time"),
    };
    // A connection that is closed with unread data is reset, and the answer with it.
    let rest = body::discard(sent, 4 * MAX_BYTES);
    drop(tokio::time::timeout(app.config.limits.body_timeout, rest).await);
    Err(problem)
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
    let own = [
        app.metrics.prometheus(),
        levels::prometheus(&app),
        outputs,
        process::prometheus(),
    ];
    let body = Scraped {
        own: Some(own.concat()),
        fleet: Pieces::new(&app.outputs),
    };
    ([(CONTENT_TYPE, text)], Body::new(body)).into_response()
}

/// The collector's own series, then those of the fleet, made as they are taken.
struct Scraped {
    own: Option<String>,
    fleet: Pieces,
}

impl HttpBody for Scraped {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let own = self.own.take();
        let text = own.or_else(|| self.fleet.next(time::now_ms()));
        Poll::Ready(text.map(|text| Ok(Frame::data(Bytes::from(text)))))
    }
}

/// An address that is none of the API.
pub(super) async fn nothing(request: Request) -> Response {
    let shown = escape::shorten(request.uri().path(), 80);
    let why = format!("no address {shown}; /api/v1/openapi.json lists those there are");
    error(StatusCode::NOT_FOUND, "unknown", &why)
}

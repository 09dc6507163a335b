//! Answers to questions: made within a bound of memory that all share, sent in pieces.
//!
//! A question is first tried with a small share of the memory. One that needs more waits for its
//! turn: one such question at a time has all that the small shares leave. What was made is kept
//! packed until the other side has taken it, so that somebody who reads slowly holds little; a list
//! of hosts is read page by page as it is taken. Whoever takes nothing for [`STALL`], or not all
//! within [`SEND`], is given up.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, RETRY_AFTER, VARY};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::app::{App, shares};
use super::fair::{Denied, Party, Share};
use super::packed::{Encoding, Packed};
use super::refusal::{error, refused};
use crate::api::{Answers, Asking, Failure, Given};
use crate::fleet::FleetText;
use crate::meter::{Exceeded, Meter};
use crate::metrics::Metrics;
use crate::query::Hosts;
use crate::store::Error;
use crate::time;

/// Time a question waits for a place.
const PLACE: Duration = Duration::from_secs(2);
/// Time a large question waits for its turn.
const TURN: Duration = Duration::from_secs(30);
/// Time the other side may take for one piece.
const STALL: Duration = Duration::from_secs(30);
/// Time the other side may take for all.
const SEND: Duration = Duration::from_secs(300);
/// Bytes of a list of hosts on its way: a page of reports, and its text.
const HOSTS: usize = 4 << 20;
/// A question whose answer is a function of the store.
pub(super) struct Question {
    pub(super) answer: Answers,
    pub(super) given: Given,
    pub(super) encoding: Encoding,
    /// `If-None-Match`.
    pub(super) known: Vec<String>,
    /// Nothing but the head of the answer is wanted.
    pub(super) head_only: bool,
}

/// Answers a question.
pub(super) async fn question(app: &App, party: Party, question: Question) -> Response {
    let Question {
        answer,
        given,
        encoding,
        known,
        head_only,
    } = question;
    let mut held = match app.queries.wait(party, 1, PLACE).await {
        Ok(place) => vec![place],
        Err(denied) => return busy(app, denied),
    };
    let (small, large, _) = shares(&app.config.limits);
    let asked = (answer, given);
    let mut made;
    let meter = |bytes| Meter::new(app.config.limits.query_rows, bytes);
    (made, held) = match make(app, asked.clone(), meter(small), held).await {
        Ok(made) => made,
        Err(_) => return stopping(),
    };
    if matches!(
        made,
        Err(Failure::Store(Error::Exceeded(Exceeded::Memory { .. })))
    ) {
        match app.answers.turn.wait(party, 1, TURN).await {
            Ok(turn) => held.push(turn),
            Err(denied) => return busy(app, denied),
        }
        (made, held) = match make(app, asked, meter(large).for_parts(), held).await {
            Ok(made) => made,
            Err(_) => return stopping(),
        };
        // The turn is over; the place is kept until the answer is taken.
        held.truncate(1);
    }
    let packed = match made {
        Ok(packed) => packed,
        Err(failure) => return failed(app, failure),
    };
    let tag = packed.tag.clone();
    if known
        .iter()
        .any(|known| known == "*" || weak(known) == weak(&tag))
    {
        app.metrics.query_answers_total.add(1);
        return tagged(StatusCode::NOT_MODIFIED.into_response(), &tag, None);
    }
    if head_only {
        app.metrics.query_answers_total.add(1);
        let json = HeaderValue::from_static("application/json");
        let head = ([(CONTENT_TYPE, json)], Body::empty()).into_response();
        return tagged(head, &tag, encoding.name());
    }
    match app.answers.unsent.take(party, packed.held()) {
        Ok(unsent) => held.push(unsent),
        Err(denied) => return busy(app, denied),
    }
    let answer = send(app, held, move |pieces| unpack(packed, encoding, pieces));
    tagged(answer, &tag, encoding.name())
}

/// What two tags have in common that name the same answer.
fn weak(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag)
}

fn tagged(mut response: Response, tag: &str, encoding: Option<&'static str>) -> Response {
    let headers = response.headers_mut();
    let tag = HeaderValue::from_str(tag).expect("a tag is hexadecimal digits");
    headers.insert(ETAG, tag);
    headers.insert(
        VARY,
        HeaderValue::from_static("accept-encoding, authorization, cookie"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if let Some(encoding) = encoding {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    response
}

type Made = Result<(Result<Packed, Failure>, Vec<Share>), tokio::task::JoinError>;

/// Reads, joins and packs on a thread that may be busy. What is held for it is held until it has
/// ended, also when nobody waits for the answer any more.
async fn make(app: &App, asked: (Answers, Given), meter: Meter, held: Vec<Share>) -> Made {
    let source = Arc::clone(&app.source);
    let kept = Arc::clone(&app.answers.kept);
    let beside = Arc::clone(&app.beside);
    tokio::task::spawn_blocking(move || {
        let (answer, given) = asked;
        let asking = Asking {
            store: &source,
            given: &given,
            now_ms: time::now_ms(),
            meter,
            kept: Some(&kept),
            beside: Some(&beside),
        };
        (Packed::of(|out| answer(&asking, out)), held)
    })
    .await
}

/// Answers `GET /api/v1/hosts`.
pub(super) async fn hosts(app: &App, party: Party) -> Response {
    let place = app.queries.wait(party, 1, PLACE).await;
    let held = place.and_then(|place| Ok(vec![place, app.answers.unsent.take(party, HOSTS)?]));
    let held = match held {
        Ok(held) => held,
        Err(denied) => return busy(app, denied),
    };
    let source = Arc::clone(&app.source);
    // The first page now: what fails is still an answer of its own.
    let first = tokio::task::spawn_blocking(move || {
        let pages = Hosts::of(&source)?;
        Ok::<_, Error>((Page::read(pages, FleetText::default())?, held))
    });
    let (first, held) = match first.await {
        Ok(Ok(first)) => first,
        Ok(Err(failure)) => return failed(app, failure.into()),
        Err(_) => return stopping(),
    };
    send(app, held, |pieces| list(first, pieces))
}

/// Some text, and what follows it; nothing after the end.
struct Page {
    text: Vec<u8>,
    rest: Option<(Hosts, FleetText)>,
}

impl Page {
    fn read(mut pages: Hosts, mut document: FleetText) -> Result<Self, Error> {
        let mut text = Vec::new();
        let Some(page) = pages.next_page()? else {
            document.end(&pages.rest()?, &mut text);
            return Ok(Self { text, rest: None });
        };
        for host in page {
            document.host(host, &mut text);
        }
        Ok(Self {
            text,
            rest: Some((pages, document)),
        })
    }
}

async fn list(mut page: Page, pieces: Pieces) -> io::Result<()> {
    loop {
        pieces.send(Bytes::from(page.text)).await?;
        let Some((pages, document)) = page.rest else {
            return Ok(());
        };
        let next = tokio::task::spawn_blocking(move || Page::read(pages, document));
        page = next.await?.map_err(io::Error::other)?;
    }
}

async fn unpack(packed: Packed, encoding: Encoding, pieces: Pieces) -> io::Result<()> {
    let mut source = packed.pieces(encoding)?;
    while let Some(piece) = source.next_piece()? {
        pieces.send(piece).await?;
    }
    Ok(())
}

/// Where pieces of an answer go.
struct Pieces(Sender<Option<Bytes>>);

impl Pieces {
    async fn send(&self, piece: Bytes) -> io::Result<()> {
        match timeout(STALL, self.0.send(Some(piece))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

/// A body of the pieces that `source` makes; it ends when they are taken, or when they are not.
fn send<F: Future<Output = io::Result<()>> + Send + 'static>(
    app: &App,
    held: Vec<Share>,
    source: impl FnOnce(Pieces) -> F,
) -> Response {
    app.metrics.query_answers_total.add(1);
    let (sender, receiver) = channel(1);
    let made = source(Pieces(sender.clone()));
    let metrics = Arc::clone(&app.metrics);
    tokio::spawn(async move {
        let sent = timeout(SEND, made).await;
        let sent = sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        finish(sent, &sender, &metrics).await;
        drop(held);
    });
    let json = HeaderValue::from_static("application/json");
    (
        [(CONTENT_TYPE, json)],
        Body::new(AnswerBody(Some(receiver))),
    )
        .into_response()
}

async fn finish(sent: io::Result<()>, sender: &Sender<Option<Bytes>>, metrics: &Metrics) {
    match sent {
        // Whether the end is taken is all the same.
        Ok(()) => drop(timeout(STALL, sender.send(None)).await),
        Err(error) => {
            metrics.query_answers_given_up_total.add(1);
            log::debug!(error:%; "answer not taken");
        }
    }
}

/// The body of an answer. It breaks off where its end did not come.
struct AnswerBody(Option<Receiver<Option<Bytes>>>);

impl HttpBody for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Some(receiver) = &mut self.0 else {
            return Poll::Ready(None);
        };
        receiver.poll_recv(context).map(|piece| match piece {
            Some(Some(piece)) => Some(Ok(Frame::data(piece))),
            Some(None) => {
                self.0 = None;
                None
            }
            None => {
                self.0 = None;
                Some(Err(io::ErrorKind::TimedOut.into()))
            }
        })
    }
}

fn busy(app: &App, denied: Denied) -> Response {
    app.metrics.query_failures_total.add(1);
    app.metrics.query_refused_busy_total.add(1);
    let (status, message) = match denied {
        Denied::Own => (
            StatusCode::TOO_MANY_REQUESTS,
            "this peer asks as much at once as may be left for all others",
        ),
        Denied::Others => (
            StatusCode::SERVICE_UNAVAILABLE,
            "as many questions being answered, or as much memory taken for them, as configured",
        ),
    };
    let mut response = error(status, "busy", message);
    let headers = response.headers_mut();
    headers.insert(RETRY_AFTER, HeaderValue::from(1_u32));
    response
}

fn stopping() -> Response {
    let message = "the collector is stopping";
    error(StatusCode::SERVICE_UNAVAILABLE, "stopping", message)
}

fn failed(app: &App, failure: Failure) -> Response {
    app.metrics.query_failures_total.add(1);
    let failure = match failure {
        Failure::Refused(problem) => return refused(problem),
        Failure::Store(failure) => failure,
        Failure::Unwritten(why) => {
            let message = format!("the answer cannot be written: {why}");
            return error(StatusCode::SERVICE_UNAVAILABLE, "store", &message);
        }
    };
    let name = match &failure {
        Error::Exceeded(Exceeded::Rows { .. }) => "rows",
        Error::Exceeded(Exceeded::Memory { .. }) => "memory",
        Error::Exceeded(Exceeded::Answer { .. }) => "answer",
        Error::Exceeded(Exceeded::Time { .. }) => "slow",
        _ => {
            let failure = format!("{:#}", anyhow::Error::new(failure));
            log::error!(error:% = failure; "question not answered");
            let message = "the store cannot be read now; ask again";
            return error(StatusCode::SERVICE_UNAVAILABLE, "store", message);
        }
    };
    error(StatusCode::UNPROCESSABLE_ENTITY, name, &failure.to_string())
}

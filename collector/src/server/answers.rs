//! Answers to questions: made within a bound of memory that all share, sent in pieces.
//!
//! A question is first tried with a small share of the memory. One that needs more waits for its
//! turn: one such question at a time has all that the small shares leave. What was made is kept
//! packed until the other side has taken it, so that somebody who reads slowly holds little; a list
//! of hosts is read page by page as it is taken. Whoever takes nothing for [`STALL`], or not all
//! within [`SEND`], is given up.

use std::io::{self, Read as _, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;

use super::app::{App, UNSENT};
use super::fair::{Denied, Party, Share};
use super::refusal::error;
use crate::config::Limits;
use crate::fleet::FleetText;
use crate::join::Picture;
use crate::meter::{Exceeded, Meter};
use crate::metrics::Metrics;
use crate::query::{self, Asked, Hosts};
use crate::store::Error;
use crate::{escape, time};

/// Time a question waits for a place.
const PLACE: Duration = Duration::from_secs(2);
/// Time a large question waits for its turn.
const TURN: Duration = Duration::from_secs(30);
/// Time the other side may take for one piece.
const STALL: Duration = Duration::from_secs(30);
/// Time the other side may take for all.
const SEND: Duration = Duration::from_secs(300);
/// Bytes of a piece, about.
const PIECE: usize = 64 << 10;
/// Longest text of an answer, as long as `waybill-collector topology --url` reads.
const MAX_TEXT: usize = 512 << 20;
/// Bytes that each takes beside its packed text: to unpack it, and pieces on their way.
const SENDING: usize = 512 << 10;
/// Bytes of a list of hosts on its way: a page of reports, and its text.
const HOSTS: usize = 4 << 20;
/// Logarithm of the bytes in which repetitions are found: what packing and unpacking hold.
const PACK_WINDOW: u32 = 17;

/// The memory of a small question, and of the large one: never more than all of it.
fn shares(limits: &Limits) -> (usize, usize) {
    let small = limits.query_memory / 4 / limits.concurrent_queries;
    let others = small * (limits.concurrent_queries - 1);
    (small, limits.query_memory - others)
}

/// Answers `GET /api/v1/topology`.
pub(super) async fn topology(app: &App, party: Party, asked: Asked) -> Response {
    let mut held = match app.queries.wait(party, 1, PLACE).await {
        Ok(place) => vec![place],
        Err(denied) => return busy(app, denied),
    };
    let (small, large) = shares(&app.config.limits);
    let mut made;
    (made, held) = match make(app, asked, small, held).await {
        Ok(made) => made,
        Err(_) => return stopping(),
    };
    if matches!(made, Err(Error::Exceeded(Exceeded::Memory { .. }))) {
        match app.answers.turn.wait(party, 1, TURN).await {
            Ok(turn) => held.push(turn),
            Err(denied) => return busy(app, denied),
        }
        (made, held) = match make(app, asked, large, held).await {
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
    match app.answers.unsent.take(party, packed.0.len() + SENDING) {
        Ok(unsent) => held.push(unsent),
        Err(denied) => return busy(app, denied),
    }
    send(app, held, |pieces| unpack(packed, pieces))
}

type Made = Result<(Result<Packed, Error>, Vec<Share>), tokio::task::JoinError>;

/// Reads, joins and packs on a thread that may be busy. What is held for it is held until it has
/// ended, also when nobody waits for the answer any more.
async fn make(app: &App, asked: Asked, bytes: usize, held: Vec<Share>) -> Made {
    let path = app.config.store.path.clone();
    let meter = Meter::new(app.config.limits.query_rows, bytes);
    tokio::task::spawn_blocking(move || {
        let picture = query::topology(&path, asked, time::now_ms(), meter);
        let packed = picture.and_then(|picture| Ok(Packed::of(&picture)?));
        (packed, held)
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
    let path = app.config.store.path.clone();
    // The first page now: what fails is still an answer of its own.
    let first = tokio::task::spawn_blocking(move || {
        let pages = Hosts::of(&path)?;
        Ok((Page::read(pages, FleetText::default())?, held))
    });
    let (first, held) = match first.await {
        Ok(Ok(first)) => first,
        Ok(Err(failure)) => return failed(app, failure),
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

/// A text, packed.
struct Packed(Vec<u8>);

impl Packed {
    /// # Errors
    /// [`Exceeded::Answer`] for a text that nobody would read, or that cannot wait packed.
    fn of(picture: &Picture) -> Result<Self, Exceeded> {
        let pack = || -> io::Result<Vec<u8>> {
            let mut encoder = zstd::Encoder::new(Vec::new(), 1)?;
            encoder.window_log(PACK_WINDOW)?;
            let bounded = Bounded {
                encoder,
                left: MAX_TEXT,
            };
            let mut text = io::BufWriter::with_capacity(PIECE, bounded);
            escape::json(&mut text, picture)?;
            let bounded = text.into_inner().map_err(io::Error::from)?;
            bounded.encoder.finish()
        };
        // Memory can be written: only a bound ends it.
        let packed = pack().map(Self);
        packed.map_err(|_| Exceeded::Answer { limit: MAX_TEXT })
    }
}

/// Ends a text that becomes too long, plain or packed.
struct Bounded {
    encoder: zstd::Encoder<'static, Vec<u8>>,
    left: usize,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len());
        self.left = left.ok_or(io::ErrorKind::FileTooLarge)?;
        if self.encoder.get_ref().len() > UNSENT - 2 * SENDING {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.encoder.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn unpack(packed: Packed, pieces: Pieces) -> io::Result<()> {
    let mut decoder = zstd::Decoder::new(&packed.0[..])?;
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        (&mut decoder).take(PIECE as u64).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Ok(());
        }
        pieces.send(Bytes::from(piece)).await?;
    }
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

fn failed(app: &App, failure: Error) -> Response {
    app.metrics.query_failures_total.add(1);
    let name = match &failure {
        Error::Exceeded(Exceeded::Rows { .. }) => "rows",
        Error::Exceeded(Exceeded::Memory { .. }) => "memory",
        Error::Exceeded(Exceeded::Answer { .. }) => "answer",
        Error::Exceeded(Exceeded::Time { .. }) => "slow",
        _ => {
            let failure = format!("{:#}", anyhow::Error::new(failure));
            log::error!(error:% = failure; "question not answered");
            let message = "the store cannot be read now";
            return error(StatusCode::SERVICE_UNAVAILABLE, "store", message);
        }
    };
    error(StatusCode::UNPROCESSABLE_ENTITY, name, &failure.to_string())
}

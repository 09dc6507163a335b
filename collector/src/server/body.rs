//! Bodies: of requests, read up to a limit or read and thrown away; of answers, sent within a time.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};

use super::fair::{Denied, Share};
use crate::metrics::Metrics;
use crate::time;

/// How long any answer may take to be sent.
pub(super) const SENT: Duration = Duration::from_secs(300);

/// Why a body was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// It is longer than the limit.
    TooLarge,
    /// The connection broke.
    Broken,
    /// There is no more memory for bodies.
    NoRoom(Denied),
}

/// Reads the whole body, at most `limit` bytes; `share` grows by what is held.
pub(super) async fn read(
    body: &mut Body,
    limit: usize,
    share: &mut Share,
) -> Result<Vec<u8>, Unread> {
    // Grown as it arrives: a length that is only announced costs nothing.
    let mut bytes = Vec::new();
    while let Some(chunk) = next(body).await? {
        if bytes.len() + chunk.len() > limit {
            return Err(Unread::TooLarge);
        }
        share.grow(chunk.len()).map_err(Unread::NoRoom)?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

/// Throws away up to `limit` bytes of the body.
///
/// A connection that is closed with unread data is reset, and then the other side may never see
/// the answer that was sent: an agent would send a refused batch again and again.
pub(super) async fn discard(body: &mut Body, limit: usize) {
    let mut left = limit;
    while let Ok(Some(chunk)) = next(body).await {
        match left.checked_sub(chunk.len()) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}

/// The next data; `None` at the end.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Unread> {
    loop {
        let frame = std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(Unread::Broken),
            // Trailers carry nothing for us.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// A body that keeps something until it was sent, for so long at most.
#[derive(Debug)]
pub(super) struct Held<T> {
    body: Body,
    until: Instant,
    metrics: Arc<Metrics>,
    _kept: T,
}

impl<T> Held<T> {
    pub(super) fn new(body: Body, within: Duration, metrics: &Arc<Metrics>, kept: T) -> Self {
        Self {
            body,
            until: time::monotonic() + within,
            metrics: Arc::clone(metrics),
            _kept: kept,
        }
    }
}

impl<T: Unpin> HttpBody for Held<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if !self.body.is_end_stream() && time::monotonic() > self.until {
            self.metrics.connections_dropped_unread_total.add(1);
            // The length was promised: the connection has to end.
            let late = io::Error::new(io::ErrorKind::TimedOut, "the answer is not being read");
            return Poll::Ready(Some(Err(axum::Error::new(late))));
        }
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

//! A TCP stream that can be told to end, and that ends when the other side does not read.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

use super::connections::Switch;
use crate::metrics::Metrics;
use crate::time;

/// Over each such time of waiting the other side has to take [`LEAST`].
const PERIOD: Duration = Duration::from_secs(10);
/// Bytes; far less than the slowest line that an operator would call one.
const LEAST: usize = 16 << 10;
/// A writer that was silent for so long had nothing to write: it did not wait.
const SILENT: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    switch: Arc<Switch>,
    metrics: Arc<Metrics>,
    waiting: Option<Waiting>,
}

/// A time in which writing had to wait.
#[derive(Debug)]
struct Waiting {
    over: Pin<Box<Sleep>>,
    written: usize,
    /// When the last write was done; `None` while one waits.
    done: Option<Instant>,
}

impl Waiting {
    fn begin() -> Self {
        Self {
            over: Box::pin(tokio::time::sleep(PERIOD)),
            written: 0,
            done: None,
        }
    }
}

impl Watched {
    pub(super) fn new(stream: TcpStream, switch: Arc<Switch>, metrics: Arc<Metrics>) -> Self {
        Self {
            stream,
            switch,
            metrics,
            waiting: None,
        }
    }

    fn ended(&self, cx: &Context<'_>) -> io::Result<()> {
        if self.switch.poll(cx.waker()) {
            let why = "closed for another connection";
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, why));
        }
        Ok(())
    }

    /// A write by `write`, within what the other side may take for it.
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.ended(cx)?;
        let silent = |done: Instant| time::monotonic().duration_since(done) > SILENT;
        if self
            .waiting
            .as_ref()
            .is_some_and(|w| w.done.is_some_and(silent))
        {
            self.waiting = None;
        }
        match write(Pin::new(&mut self.stream), cx) {
            Poll::Ready(result) => {
                if let (Some(waiting), Ok(written)) = (&mut self.waiting, &result) {
                    waiting.written = waiting.written.saturating_add(*written);
                    waiting.done = Some(time::monotonic());
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.wait(cx),
        }
    }

    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let waiting = self.waiting.get_or_insert_with(Waiting::begin);
        waiting.done = None;
        while waiting.over.as_mut().poll(cx).is_ready() {
            if waiting.written < LEAST {
                self.metrics.connections_dropped_unread_total.add(1);
                let why = "the other side does not read";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
            *waiting = Waiting::begin();
        }
        Poll::Pending
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ended(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |stream, cx| stream.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.ended(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

//! A bound on one answer as a whole: its head, however many interim answers (`100 Continue`) come
//! before it, and the framing of its body. The client bounds each of them, but not how many there are.

use std::io;

use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};

/// Bytes of one answer: head, body of [`super::transport::ANSWER_MAX_BYTES`] and its framing.
const MAX_BYTES: usize = 512 << 10;
/// Pieces in which it may come; each is looked at from the answer's begin.
const MAX_PIECES: usize = 4096;

/// Puts the bound around a connection.
#[derive(Debug)]
pub(super) struct Bound;

impl<In: Transport> Connector<In> for Bound {
    type Out = Bounded<In>;

    fn connect(
        &self,
        _details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, ureq::Error> {
        Ok(chained.map(|inner| Bounded {
            inner,
            bytes: 0,
            pieces: 0,
        }))
    }
}

/// A connection whose answers end.
#[derive(Debug)]
pub(super) struct Bounded<T> {
    inner: T,
    /// What came since something was sent.
    bytes: usize,
    pieces: usize,
}

impl<T: Transport> Transport for Bounded<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), ureq::Error> {
        (self.bytes, self.pieces) = (0, 0);
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, ureq::Error> {
        let before = self.inner.buffers().input().len();
        let more = self.inner.await_input(timeout)?;
        let after = self.inner.buffers().input().len();
        self.bytes += after.saturating_sub(before);
        self.pieces += 1;
        if self.bytes > MAX_BYTES || self.pieces > MAX_PIECES {
            return Err(io::Error::other("the answer does not end").into());
        }
        Ok(more)
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

//! Destinations that take requests over HTTP: batches are encoded piece by piece, and pieces are sent
//! together, as many as a request may be long.

use std::collections::VecDeque;

use super::http::{Answered, Client};
use super::rows::{Interval, Rows};
use super::sink::{Done, Later, Parcel, Sink};

/// Bytes of a request before it is compressed, beyond which nothing is added to it.
const REQUEST: usize = 4 << 20;

/// One kind of request.
pub(super) struct Endpoint {
    /// What follows on the configured URL.
    pub(super) path: &'static str,
    pub(super) headers: &'static [(&'static str, &'static str)],
}

/// How rows become requests. Bodies of one endpoint can be put one behind the other, as messages of
/// protobuf can whose fields are lists.
pub(super) trait Encode: Send {
    fn endpoints(&self) -> &'static [Endpoint];

    /// Encodes rows of one table into the body of each endpoint, from row `from` on until `most`
    /// bytes; returns the row after the last one. `keys` gets the series whose sums changed.
    fn encode(
        &mut self,
        of: (&Rows<'_>, Interval),
        from: usize,
        most: usize,
        bodies: &mut [Vec<u8>],
        keys: &mut Vec<[u8; 16]>,
    ) -> usize;

    /// Compresses a body.
    ///
    /// # Errors
    /// When it is too large for that.
    fn pack(&self, body: &[u8]) -> anyhow::Result<Vec<u8>>;

    /// What was told of these series was refused.
    fn forget(&mut self, keys: &[[u8; 16]]);

    fn left_out(&self) -> u64;
}

/// Part of a batch, or all of it, for each endpoint; an empty body has been sent.
struct Piece {
    position: i64,
    /// Nothing of its batch follows.
    is_last: bool,
    bodies: Vec<Vec<u8>>,
    keys: Vec<[u8; 16]>,
}

/// A destination that takes requests.
pub(super) struct Requests<E> {
    client: Client,
    encode: E,
    waiting: VecDeque<Parcel>,
    /// The first table and row of the first batch that are not encoded.
    next: (usize, usize),
    pieces: Vec<Piece>,
    /// A piece of this batch was refused.
    refused: Option<i64>,
}

impl<E: Encode> Requests<E> {
    pub(super) fn new(client: Client, encode: E) -> Self {
        Self {
            client,
            encode,
            waiting: VecDeque::new(),
            next: (0, 0),
            pieces: Vec::new(),
            refused: None,
        }
    }

    /// Encodes as much as fits into one request.
    fn fill(&mut self) {
        let endpoints = self.encode.endpoints().len();
        let mut bytes = 0;
        while bytes < REQUEST
            && let Some(parcel) = self.waiting.front()
        {
            let mut piece = Piece {
                position: parcel.position,
                is_last: true,
                bodies: vec![Vec::new(); endpoints],
                keys: Vec::new(),
            };
            let interval = Interval::of(&parcel.header, parcel.received_ms);
            let (mut table, mut row) = self.next;
            while let Some(of) = parcel.tables.get(table) {
                let rows = Rows::new(&parcel.header, of);
                let most = REQUEST.saturating_sub(bytes + length(&piece));
                row = self.encode.encode(
                    (&rows, interval),
                    row,
                    most,
                    &mut piece.bodies,
                    &mut piece.keys,
                );
                if row < rows.len() {
                    piece.is_last = false;
                    break;
                }
                (table, row) = (table + 1, 0);
            }
            self.next = if piece.is_last { (0, 0) } else { (table, row) };
            bytes += length(&piece);
            if piece.is_last {
                self.waiting.pop_front();
            } else {
                bytes = REQUEST;
            }
            self.pieces.push(piece);
        }
    }

    /// Sends what pieces have for each endpoint; says why where an endpoint refuses it.
    fn post(&mut self, of: std::ops::Range<usize>) -> Result<Option<String>, Later> {
        for (at, endpoint) in self.encode.endpoints().iter().enumerate() {
            let pieces = &mut self.pieces[of.clone()];
            let body = pieces.iter().map(|piece| &piece.bodies[at][..]);
            let body: Vec<u8> = body.collect::<Vec<_>>().concat();
            if body.is_empty() {
                continue;
            }
            let packed = self.encode.pack(&body)?;
            match self.client.post(endpoint.path, endpoint.headers, &packed)? {
                Answered::Taken => pieces.iter_mut().for_each(|piece| piece.bodies[at].clear()),
                Answered::Refused(why) => return Ok(Some(why)),
            }
        }
        Ok(None)
    }

    /// The first `count` pieces are done with, some of them refused.
    fn done(&mut self, count: usize, why: Option<String>) -> Option<Done> {
        let mut done: Option<Done> = None;
        for piece in self.pieces.drain(..count) {
            if let Some(why) = &why {
                self.refused = Some(piece.position);
                self.encode.forget(&piece.keys);
                log::debug!(position = piece.position, why; "batch refused by an output");
            }
            if !piece.is_last {
                continue;
            }
            let is_refused = self.refused.take() == Some(piece.position);
            done = Some(Done {
                position: piece.position,
                refused: done.map_or(0, |done| done.refused) + u64::from(is_refused),
                why: why.clone(),
            });
        }
        done
    }
}

fn length(piece: &Piece) -> usize {
    piece.bodies.iter().map(Vec::len).sum()
}

impl<E: Encode> Sink for Requests<E> {
    fn take(&mut self, parcel: Parcel) {
        self.waiting.push_back(parcel);
    }

    fn is_busy(&self) -> bool {
        !self.waiting.is_empty() || !self.pieces.is_empty()
    }

    fn send(&mut self, _end: bool) -> Result<Option<Done>, Later> {
        if self.pieces.is_empty() {
            self.fill();
        }
        let count = self.pieces.len();
        match self.post(0..count)? {
            None => Ok(self.done(count, None)),
            // One of them is to blame: each by itself.
            Some(_) if count > 1 => {
                let mut done: Option<Done> = None;
                while !self.pieces.is_empty() {
                    let why = match self.post(0..1) {
                        Ok(why) => why,
                        Err(later) if done.is_none() => return Err(later),
                        // The next call meets it again.
                        Err(_) => break,
                    };
                    let one = self.done(1, why);
                    done = match (done, one) {
                        (Some(before), Some(one)) => Some(Done {
                            refused: before.refused + one.refused,
                            why: one.why.or(before.why),
                            ..one
                        }),
                        (before, one) => one.or(before),
                    };
                }
                Ok(done)
            }
            why => Ok(self.done(count, why)),
        }
    }

    fn left_out(&self) -> u64 {
        self.encode.left_out()
    }
}

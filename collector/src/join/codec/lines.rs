//! Edges as bytes, each of which is read alone; those of a picture one after the other.
//!
//! ```text
//! of NUMBERS numbers a bit for each that is not zero, then these as LEB128; the lists
//! ```

use std::collections::BTreeMap;

use wire::Endpoint;

use super::super::parts::Parts;
use super::super::rows::NodeId;
use super::numbers::{self, Damaged, NUMBERS, Row};
use crate::topology::{Attempts, Reason, Via};

/// Bytes for a bit of each number.
const BITS: usize = NUMBERS.div_ceil(8);
/// What all edges have in common in [`numbers::put`].
const NO_KEY: [u64; 3] = [0; 3];

/// What is read of an edge most often.
#[derive(Clone, Copy)]
pub(in super::super) struct Line {
    /// The places of client and server among the nodes of the document.
    pub(in super::super) ends: [u32; 2],
    pub(in super::super) endpoint: Endpoint,
    pub(in super::super) connections: u64,
    /// Connections that failed or were reset, by the side that saw more of them.
    pub(in super::super) wrong: u64,
    /// Where its bytes begin.
    begin: usize,
}

/// What edges have in common, each with a number.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Common {
    pub(super) vias: Vec<Via>,
    pub(super) reasons: Vec<Reason>,
    /// Times are from then on, Unix milliseconds.
    pub(super) base_ms: i64,
}

/// Writes edges as bytes, without their keys, candidates and attempts.
#[derive(Clone, Debug, Default)]
pub(in super::super) struct Packer {
    common: Common,
    vias: BTreeMap<Via, u64>,
    row: Vec<u64>,
    /// Whether times have a base.
    is_based: bool,
}

impl Packer {
    pub(in super::super) fn common(&self) -> &Common {
        &self.common
    }

    /// Adds the bytes of an edge.
    pub(in super::super) fn pack(&mut self, parts: &Parts, bytes: &mut Vec<u8>) {
        let common = &mut self.common;
        // Those without any time are the same whatever it is.
        let seen = parts.seen.0.or(parts.shared_rows_seen.0);
        if let (false, Some((first_ms, _))) = (self.is_based, seen) {
            (self.is_based, common.base_ms) = (true, first_ms);
        }
        self.row.clear();
        let key = (NO_KEY, &mut NO_KEY.clone());
        numbers::put(&mut self.row, key, parts, common.base_ms);
        let begin = bytes.len();
        bytes.resize(begin + BITS, 0);
        let row = self.row.iter().enumerate();
        for (at, value) in row.filter(|(_, value)| **value != 0) {
            bytes[begin + at / 8] |= 1 << (at % 8);
            numbers::leb128(bytes, *value);
        }
        numbers::leb128(bytes, parts.via.len() as u64);
        for via in &parts.via {
            let number = match self.vias.get(via) {
                Some(number) => *number,
                None => {
                    let number = common.vias.len() as u64;
                    common.vias.push(via.clone());
                    self.vias.insert(via.clone(), number);
                    number
                }
            };
            numbers::leb128(bytes, number);
        }
        numbers::leb128(bytes, parts.reasons.len() as u64);
        for (reason, left) in &parts.reasons {
            let known = common.reasons.iter().position(|known| known == reason);
            let number = known.unwrap_or_else(|| {
                common.reasons.push(*reason);
                common.reasons.len() - 1
            });
            numbers::leb128(bytes, number as u64);
            numbers::leb128(bytes, *left);
        }
    }
}

impl Common {
    /// Takes the bytes of an edge.
    ///
    /// # Errors
    /// They are not what [`Packer::pack`] adds.
    pub(in super::super) fn read(&self, rest: &mut &[u8]) -> Result<Parts, Damaged> {
        let (bits, behind) = rest.split_at_checked(BITS).ok_or(Damaged)?;
        *rest = behind;
        let mut row = Row::default();
        for (byte, bits) in bits.iter().enumerate() {
            let mut left = *bits;
            while left != 0 {
                let column = 8 * byte + left.trailing_zeros() as usize;
                row.add(column, numbers::number(rest)?);
                left &= left - 1;
            }
        }
        let mut parts = numbers::take(&row, &mut NO_KEY.clone(), self.base_ms)?.parts;
        for via in list(rest)? {
            parts.via.push(numbers::nth(&self.vias, via)?.clone());
        }
        for _ in 0..numbers::number(rest)? {
            let reason = *numbers::nth(&self.reasons, numbers::number(rest)?)?;
            parts.reasons.push((reason, numbers::number(rest)?));
        }
        Ok(parts)
    }

    fn bytes(&self) -> usize {
        let vias = self.vias.iter();
        let vias = vias.map(|via| size_of::<Via>() + via.address.len() + 24);
        vias.sum()
    }
}

/// Edges.
#[derive(Default)]
pub(in super::super) struct Lines {
    pub(in super::super) all: Vec<Line>,
    bytes: Vec<u8>,
    common: Common,
    attempts: Vec<Attempts>,
}

/// Packs edges in the order in which they are given.
pub(in super::super) struct Packing {
    lines: Lines,
    packer: Packer,
}

impl Packing {
    /// So many.
    pub(in super::super) fn new(edges: usize) -> Self {
        let lines = Lines {
            all: Vec::with_capacity(edges),
            ..Lines::default()
        };
        let packer = Packer::default();
        Self { lines, packer }
    }

    pub(in super::super) fn add(&mut self, ends: [u32; 2], endpoint: Endpoint, parts: Parts) {
        let lines = &mut self.lines;
        lines.all.push(Line {
            ends,
            endpoint,
            connections: parts.connections(),
            wrong: parts.wrong(),
            begin: lines.bytes.len(),
        });
        let bytes = &mut lines.bytes;
        self.packer.pack(&parts, bytes);
        let mut list = |values: &mut dyn ExactSizeIterator<Item = u64>| {
            numbers::leb128(bytes, values.len() as u64);
            values.for_each(|value| numbers::leb128(bytes, value));
        };
        list(&mut parts.candidates.into_iter().map(u64::from));
        list(&mut parts.attempts.into_iter().map(|attempts| {
            lines.attempts.push(*attempts);
            lines.attempts.len() as u64 - 1
        }));
    }

    pub(in super::super) fn end(self) -> Lines {
        let mut lines = self.lines;
        lines.bytes.shrink_to_fit();
        lines.common = self.packer.common;
        lines
    }
}

impl Lines {
    /// What was packed of an edge.
    pub(in super::super) fn parts(&self, at: usize) -> Parts {
        self.read(&self.bytes[self.all[at].begin..])
            .expect("bytes that were packed here")
    }

    fn read(&self, mut rest: &[u8]) -> Result<Parts, Damaged> {
        let mut parts = self.common.read(&mut rest)?;
        for node in list(&mut rest)? {
            let node = NodeId::try_from(node).map_err(|_| Damaged)?;
            parts.candidates.insert(node);
        }
        for attempts in list(&mut rest)? {
            let attempts = numbers::nth(&self.attempts, attempts)?.clone();
            parts.attempts = Some(Box::new(attempts));
        }
        Ok(parts)
    }

    /// Bytes that it takes.
    pub(in super::super) fn bytes(&self) -> usize {
        let ports = self.attempts.iter().flat_map(|attempts| &attempts.ports);
        let ports = ports.map(|port| size_of::<String>() + port.len() + 24);
        self.all.capacity() * size_of::<Line>()
            + self.bytes.capacity()
            + self.common.bytes()
            + self.attempts.len() * size_of::<Attempts>()
            + ports.sum::<usize>()
    }
}

fn list(rest: &mut &[u8]) -> Result<Vec<u64>, Damaged> {
    let length = numbers::number(rest)?;
    (0..length).map(|_| numbers::number(rest)).collect()
}

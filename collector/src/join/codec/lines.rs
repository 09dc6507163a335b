//! The edges of a picture, one after the other as bytes: a fraction of what they take while they are
//! added up, and each is read alone.
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

/// Edges.
#[derive(Default)]
pub(in super::super) struct Lines {
    pub(in super::super) all: Vec<Line>,
    bytes: Vec<u8>,
    vias: Vec<Via>,
    reasons: Vec<Reason>,
    attempts: Vec<Attempts>,
    base_ms: i64,
}

/// Packs edges in the order in which they are given.
pub(in super::super) struct Packing {
    lines: Lines,
    vias: BTreeMap<Via, u64>,
    row: Vec<u64>,
}

impl Packing {
    /// So many; their times are near `base_ms`, Unix milliseconds.
    pub(in super::super) fn new(edges: usize, base_ms: i64) -> Self {
        let lines = Lines {
            all: Vec::with_capacity(edges),
            base_ms,
            ..Lines::default()
        };
        Self {
            lines,
            vias: BTreeMap::new(),
            row: Vec::with_capacity(NUMBERS),
        }
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
        self.row.clear();
        numbers::put(
            &mut self.row,
            (NO_KEY, &mut NO_KEY.clone()),
            &parts,
            lines.base_ms,
        );
        let bytes = &mut lines.bytes;
        let begin = bytes.len();
        bytes.resize(begin + BITS, 0);
        for (at, value) in self
            .row
            .iter()
            .enumerate()
            .filter(|(_, value)| **value != 0)
        {
            bytes[begin + at / 8] |= 1 << (at % 8);
            numbers::leb128(bytes, *value);
        }
        let mut list = |values: &mut dyn ExactSizeIterator<Item = u64>| {
            numbers::leb128(bytes, values.len() as u64);
            values.for_each(|value| numbers::leb128(bytes, value));
        };
        let (known, vias) = (&mut self.vias, &mut lines.vias);
        list(&mut parts.via.into_iter().map(|via| {
            *known.entry(via).or_insert_with_key(|via| {
                vias.push(via.clone());
                vias.len() as u64 - 1
            })
        }));
        let reasons = &mut lines.reasons;
        let number = |reason: Reason| {
            let known = reasons.iter().position(|known| *known == reason);
            known.unwrap_or_else(|| {
                reasons.push(reason);
                reasons.len() - 1
            }) as u64
        };
        let of_reasons: Vec<u64> = parts.reasons.iter().map(|(_, left)| *left).collect();
        list(
            &mut parts
                .reasons
                .into_iter()
                .map(|(reason, _)| reason)
                .map(number),
        );
        list(&mut of_reasons.into_iter());
        list(&mut parts.candidates.into_iter().map(u64::from));
        list(&mut parts.attempts.into_iter().map(|attempts| {
            lines.attempts.push(*attempts);
            lines.attempts.len() as u64 - 1
        }));
    }

    pub(in super::super) fn end(self) -> Lines {
        let mut lines = self.lines;
        lines.bytes.shrink_to_fit();
        lines
    }
}

impl Lines {
    /// What was packed of an edge.
    pub(in super::super) fn parts(&self, at: usize) -> Parts {
        self.read(&self.bytes[self.all[at].begin..])
            .expect("bytes that were packed here")
    }

    fn read(&self, bytes: &[u8]) -> Result<Parts, Damaged> {
        let (bits, mut rest) = bytes.split_at_checked(BITS).ok_or(Damaged)?;
        let mut row = Row::default();
        for (byte, bits) in bits.iter().enumerate() {
            let mut left = *bits;
            while left != 0 {
                let column = 8 * byte + left.trailing_zeros() as usize;
                row.add(column, numbers::number(&mut rest)?);
                left &= left - 1;
            }
        }
        let mut parts = numbers::take(&row, &mut NO_KEY.clone(), self.base_ms)?.parts;
        for via in list(&mut rest)? {
            parts.via.push(numbers::nth(&self.vias, via)?.clone());
        }
        let (reasons, left) = (list(&mut rest)?, list(&mut rest)?);
        for (reason, left) in reasons.into_iter().zip(left) {
            let reason = *numbers::nth(&self.reasons, reason)?;
            parts.reasons.push((reason, left));
        }
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
        let vias = self
            .vias
            .iter()
            .map(|via| size_of::<Via>() + via.address.len() + 24);
        let ports = self.attempts.iter().flat_map(|attempts| &attempts.ports);
        let ports = ports.map(|port| size_of::<String>() + port.len() + 24);
        self.all.capacity() * size_of::<Line>()
            + self.bytes.capacity()
            + vias.sum::<usize>()
            + self.attempts.len() * size_of::<Attempts>()
            + ports.sum::<usize>()
    }
}

fn list(rest: &mut &[u8]) -> Result<Vec<u64>, Damaged> {
    let length = numbers::number(rest)?;
    (0..length).map(|_| numbers::number(rest)).collect()
}

//! What was joined, as bytes to keep.
//!
//! ```text
//! version u8 | edges u32 | bytes u32 | zstd of:
//!     length u32 | head: names, addresses and whatever else many edges share, JSON
//!     chunks of up to CHUNK edges: each number of all of them, then the next one; lists
//! ```
//!
//! Numbers are LEB128; one that is zero for all edges of a chunk is one byte. Edges refer to the
//! head by number, so each name is there once. A part is decodable alone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv6Addr;

use wire::{Endpoint, ProcessRow};

use super::input::HostId;
use super::joined::Joined;
use super::parts::Parts;
use super::rows::NodeKey;
use super::side::Side;
use crate::digest::hex;
use crate::pack::pack;
use crate::topology::{Reason, Via};
use kept::{CHUNK, Head, Kept, u32_of};
pub(super) use lines::{Common, Line, Lines, Packer, Packing};
pub use numbers::Damaged;
use numbers::NUMBERS;
use process::of_process;

mod kept;
mod lines;
mod numbers;
mod process;

const VERSION: u8 = 1;
/// Most bytes before compression that are believed.
const MOST_BYTES: usize = 1 << 30;
/// How hard zstd tries: what is stored is written once and read again and again.
const STORED: i32 = 6;
/// The same of what is made again a minute later.
const PASSING: i32 = 3;

/// Values with their numbers.
struct Names<T>(BTreeMap<T, u64>);

impl<T: Ord + Clone> Names<T> {
    fn of(all: impl Iterator<Item = T>) -> Self {
        let mut names: BTreeMap<T, u64> = all.map(|one| (one, 0)).collect();
        for (number, at) in (0..).zip(names.values_mut()) {
            *at = number;
        }
        Self(names)
    }

    fn number(&self, one: &T) -> u64 {
        self.0[one]
    }
}

/// What many edges share, each with a number.
struct Shared {
    hosts: Names<HostId>,
    /// Addresses and networks; processes have the numbers of their nodes, and these follow.
    others: Names<Side>,
    endpoints: Names<Endpoint>,
    vias: Names<Via>,
    reasons: Names<Reason>,
    nodes: u64,
}

impl Shared {
    fn of(joined: &Joined) -> Self {
        let common = joined.edges.common();
        let of_nodes = joined.nodes.iter().map(|node| node.host);
        let others = joined.reported.iter().chain(&joined.copies).copied();
        let is_process = |side: &Side| matches!(side, Side::Process(_));
        let sides = joined.sides().into_iter();
        Self {
            hosts: Names::of(of_nodes.chain(others)),
            others: Names::of(sides.filter(|side| !is_process(side))),
            endpoints: Names::of(joined.edges.keys().map(|key| key.endpoint)),
            vias: Names::of(common.vias.iter().cloned()),
            reasons: Names::of(common.reasons.iter().copied()),
            nodes: joined.nodes.len() as u64,
        }
    }

    fn side(&self, side: &Side) -> u64 {
        match side {
            Side::Process(node) => u64::from(*node),
            other => self.nodes + self.others.number(other),
        }
    }

    /// Without attempts, which are added as their edges come.
    fn head(&self, joined: &Joined) -> Head {
        let node = |(node, process): (&NodeKey, &Option<ProcessRow>)| {
            let host = self.hosts.number(&node.host);
            (host, node.service.clone(), process.as_ref().map(of_process))
        };
        let numbers = |hosts: &BTreeSet<HostId>| {
            let numbers = hosts.iter().map(|host| self.hosts.number(host));
            numbers.collect::<Vec<u64>>()
        };
        let endpoints = self.endpoints.0.keys();
        let mut head = Head {
            hosts: self.hosts.0.keys().map(|host| hex(&host.0)).collect(),
            nodes: joined
                .nodes
                .iter()
                .zip(&joined.processes)
                .map(node)
                .collect(),
            reported: numbers(&joined.reported),
            copies: numbers(&joined.copies),
            ambiguous: joined.ambiguous,
            endpoints: endpoints
                .map(|end| (Ipv6Addr::from(end.addr), end.port))
                .collect(),
            vias: self.vias.0.keys().cloned().collect(),
            reasons: self.reasons.0.keys().copied().collect(),
            base_ms: joined.edges.common().base_ms,
            ..Head::default()
        };
        for side in self.others.0.keys() {
            match side {
                Side::Process(_) => {}
                Side::Address(ip) => head.addresses.push(*ip),
                Side::Network(ip, bits) => head.networks.push((*ip, *bits)),
            }
        }
        head
    }

    /// The chunks of edges.
    fn body(&self, joined: &Joined, head: &mut Head) -> Vec<u8> {
        let mut edges = joined.edges.iter();
        let mut body = Vec::new();
        let mut before = [0; 3];
        let mut rows: Vec<u64> = Vec::with_capacity(CHUNK.min(joined.edges()) * NUMBERS);
        let mut lists: Vec<u8> = Vec::new();
        for _ in 0..joined.edges().div_ceil(CHUNK) {
            rows.clear();
            lists.clear();
            for (key, parts) in edges.by_ref().take(CHUNK) {
                let of_key = [
                    self.side(&key.client),
                    self.side(&key.server),
                    self.endpoints.number(&key.endpoint),
                ];
                numbers::put(&mut rows, (of_key, &mut before), &parts, head.base_ms);
                self.lists(&mut lists, &parts, head);
            }
            numbers::columns(&mut body, &rows);
            body.extend_from_slice(&lists);
        }
        body
    }

    fn lists(&self, bytes: &mut Vec<u8>, parts: &Parts, head: &mut Head) {
        let mut list = |values: Vec<u64>| {
            numbers::leb128(bytes, values.len() as u64);
            let each = values.into_iter();
            each.for_each(|value| numbers::leb128(bytes, value));
        };
        list(parts.via.iter().map(|via| self.vias.number(via)).collect());
        let reasons = parts.reasons.iter();
        list(
            reasons
                .flat_map(|(reason, left)| [self.reasons.number(reason), *left])
                .collect(),
        );
        list(
            parts
                .candidates
                .iter()
                .map(|node| u64::from(*node))
                .collect(),
        );
        let attempts = parts.attempts.iter().map(|attempts| {
            head.attempts.push((**attempts).clone());
            head.attempts.len() as u64 - 1
        });
        list(attempts.collect());
    }
}

impl Joined {
    /// Its bytes.
    ///
    /// # Errors
    /// It is larger than anything that can be read again.
    pub fn encode(&self) -> Result<Vec<u8>, Damaged> {
        self.encode_at(STORED)
    }

    /// The same, larger and in half of the time.
    ///
    /// # Errors
    /// As [`Self::encode`].
    pub fn encode_passing(&self) -> Result<Vec<u8>, Damaged> {
        self.encode_at(PASSING)
    }

    fn encode_at(&self, level: i32) -> Result<Vec<u8>, Damaged> {
        let shared = Shared::of(self);
        let mut head = shared.head(self);
        let body = shared.body(self, &mut head);
        let head = serde_json::to_vec(&head).map_err(|_| Damaged)?;
        let length = |bytes: usize| u32::try_from(bytes).map_err(|_| Damaged);
        let raw = [&length(head.len())?.to_le_bytes()[..], &head, &body].concat();
        if raw.len() > MOST_BYTES {
            return Err(Damaged);
        }
        let packed = pack(&raw, level).map_err(|_| Damaged)?;
        let mut bytes = vec![VERSION];
        bytes.extend(length(self.edges())?.to_le_bytes());
        bytes.extend(length(raw.len())?.to_le_bytes());
        bytes.extend(packed);
        Ok(bytes)
    }

    /// The number of its edges, and the bytes that reading it takes.
    ///
    /// # Errors
    /// These are no such bytes.
    pub fn size(bytes: &[u8]) -> Result<(usize, usize), Damaged> {
        let (version, rest) = bytes.split_first().ok_or(Damaged)?;
        let mut rest = rest;
        let (edges, raw) = (u32_of(&mut rest)?, u32_of(&mut rest)?);
        // An edge is a byte for each of its four lists at least.
        if *version != VERSION || raw > MOST_BYTES || edges > raw / 4 {
            return Err(Damaged);
        }
        Ok((edges, raw))
    }

    /// The inverse of [`Self::encode`].
    ///
    /// # Errors
    /// These are no such bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Damaged> {
        let (mut joined, kept) = Kept::open(bytes)?;
        joined.edges.reserve(kept.left);
        for edge in kept {
            let (key, parts) = edge?;
            joined.edges.push(key, parts);
        }
        Ok(joined)
    }

    /// Adds what was encoded of a window that follows on this one, without room for all its edges
    /// beside those that are here; `room` is asked before there are so many edges.
    ///
    /// # Errors
    /// These are no such bytes, or there is no room; then this is of no use any more.
    pub fn add_encoded<E: From<Damaged>>(
        &mut self,
        bytes: &[u8],
        room: impl FnMut(usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let (later, kept) = Kept::open(bytes)?;
        self.add_edges(later, kept.map(|edge| Ok(edge?)), room)
    }
}

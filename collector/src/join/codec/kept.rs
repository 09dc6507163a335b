//! The bytes of what was joined, as they are read: what many edges share, then edge by edge.

use std::net::{IpAddr, Ipv6Addr};

use serde::{Deserialize, Serialize};
use wire::Endpoint;

use super::super::input::HostId;
use super::super::joined::Joined;
use super::super::parts::Parts;
use super::super::rows::NodeKey;
use super::super::side::{EdgeKey, Side};
use super::numbers::{self, Damaged, Row, Taken, nth};
use super::process::{Process, process_of};
use crate::digest::unhex;
use crate::pack::unpack;
use crate::topology::{Attempts, Reason, Via};

/// Version, edges, bytes.
const HEAD: usize = 9;
/// Edges whose numbers are together.
pub(super) const CHUNK: usize = 1024;

/// What many edges share.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Head {
    pub(super) hosts: Vec<String>,
    /// Number of the host, service, process.
    pub(super) nodes: Vec<(u64, String, Option<Process>)>,
    /// Numbers of hosts.
    pub(super) reported: Vec<u64>,
    pub(super) copies: Vec<u64>,
    pub(super) ambiguous: (u64, u64),
    pub(super) addresses: Vec<IpAddr>,
    pub(super) networks: Vec<(IpAddr, u8)>,
    pub(super) endpoints: Vec<(Ipv6Addr, u16)>,
    pub(super) vias: Vec<Via>,
    pub(super) reasons: Vec<Reason>,
    pub(super) attempts: Vec<Attempts>,
    /// Times are from then on, Unix milliseconds.
    pub(super) base_ms: i64,
}

/// Encoded edges, one by one, sorted by their keys.
pub(super) struct Kept {
    head: Head,
    raw: Vec<u8>,
    /// Where the next chunk begins.
    at: usize,
    /// Edges that are still to come.
    pub(super) left: usize,
    /// Those of the chunk at hand.
    chunk: std::vec::IntoIter<(EdgeKey, Parts)>,
    before: [u64; 3],
    last: Option<EdgeKey>,
}

impl Kept {
    /// What is not of edges, and these.
    pub(super) fn open(bytes: &[u8]) -> Result<(Joined, Self), Damaged> {
        let (left, raw) = Joined::size(bytes)?;
        let raw = unpack(&bytes[HEAD..], raw).map_err(|_| Damaged)?;
        let mut rest = &raw[..];
        let length = u32_of(&mut rest)?;
        let (head, rest) = rest.split_at_checked(length).ok_or(Damaged)?;
        let head: Head = serde_json::from_slice(head).map_err(|_| Damaged)?;
        let (joined, at) = (head.joined()?, raw.len() - rest.len());
        let kept = Self {
            head,
            at,
            raw,
            left,
            chunk: Vec::new().into_iter(),
            before: [0; 3],
            last: None,
        };
        Ok((joined, kept))
    }

    fn next_chunk(&mut self) -> Result<Vec<(EdgeKey, Parts)>, Damaged> {
        let rows = self.left.min(CHUNK);
        let mut rest = &self.raw[self.at..];
        let table = numbers::table(&mut rest, rows)?;
        let (mut row, mut edges) = (Row::default(), Vec::with_capacity(rows));
        for at in 0..rows {
            table.row(at, &mut row);
            let base_ms = self.head.base_ms;
            let Taken { key, mut parts } = numbers::take(&row, &mut self.before, base_ms)?;
            let key = self.head.key(key)?;
            self.head.lists(&mut rest, &mut parts)?;
            if self.last.is_some_and(|last| last >= key) {
                return Err(Damaged);
            }
            self.last = Some(key);
            edges.push((key, parts));
        }
        self.at = self.raw.len() - rest.len();
        Ok(edges)
    }
}

impl Iterator for Kept {
    type Item = Result<(EdgeKey, Parts), Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.chunk.as_slice().is_empty() && self.left > 0 {
            match self.next_chunk() {
                Ok(edges) => self.chunk = edges.into_iter(),
                Err(damaged) => {
                    self.left = 0;
                    return Some(Err(damaged));
                }
            }
        }
        let edge = self.chunk.next()?;
        self.left -= 1;
        Some(Ok(edge))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl Head {
    /// What is not of edges.
    fn joined(&self) -> Result<Joined, Damaged> {
        let id = |text: &String| unhex::<16>(text).map(HostId).ok_or(Damaged);
        let hosts: Vec<HostId> = self.hosts.iter().map(id).collect::<Result<_, _>>()?;
        let host = |number: &u64| nth(&hosts, *number).copied();
        let node = |(number, service, _): &(u64, String, _)| {
            let host = host(number)?;
            let service = service.clone();
            Ok(NodeKey { host, service })
        };
        let nodes: Vec<NodeKey> = self
            .nodes
            .iter()
            .map(node)
            .collect::<Result<_, Damaged>>()?;
        if !nodes.is_sorted_by(|a, b| a < b) {
            return Err(Damaged);
        }
        let processes = self.nodes.iter().map(|(_, _, process)| process.as_ref());
        Ok(Joined {
            nodes,
            processes: processes.map(|process| process.map(process_of)).collect(),
            reported: self.reported.iter().map(host).collect::<Result<_, _>>()?,
            copies: self.copies.iter().map(host).collect::<Result<_, _>>()?,
            ambiguous: self.ambiguous,
            ..Joined::default()
        })
    }

    fn side(&self, number: u64) -> Result<Side, Damaged> {
        let at = usize::try_from(number).map_err(|_| Damaged)?;
        let Some(at) = at.checked_sub(self.nodes.len()) else {
            return u32::try_from(number)
                .map(Side::Process)
                .map_err(|_| Damaged);
        };
        if let Some(ip) = self.addresses.get(at) {
            return Ok(Side::Address(*ip));
        }
        let network = self.networks.get(at - self.addresses.len());
        let (ip, bits) = network.ok_or(Damaged)?;
        Ok(Side::Network(*ip, *bits))
    }

    fn key(&self, [client, server, endpoint]: [u64; 3]) -> Result<EdgeKey, Damaged> {
        let (addr, port) = *nth(&self.endpoints, endpoint)?;
        let addr = addr.octets();
        Ok(EdgeKey {
            client: self.side(client)?,
            server: self.side(server)?,
            endpoint: Endpoint { addr, port },
        })
    }

    fn lists(&self, rest: &mut &[u8], parts: &mut Parts) -> Result<(), Damaged> {
        let list = |rest: &mut &[u8]| -> Result<Vec<u64>, Damaged> {
            let length = usize::try_from(numbers::number(rest)?).map_err(|_| Damaged)?;
            if length > rest.len() {
                return Err(Damaged);
            }
            (0..length).map(|_| numbers::number(rest)).collect()
        };
        for via in list(rest)? {
            parts.via.push(nth(&self.vias, via)?.clone());
        }
        for pair in list(rest)?.chunks(2) {
            let [reason, left] = pair else {
                return Err(Damaged);
            };
            parts.reasons.push((*nth(&self.reasons, *reason)?, *left));
        }
        for node in list(rest)? {
            nth(&self.nodes, node)?;
            parts
                .candidates
                .insert(u32::try_from(node).map_err(|_| Damaged)?);
        }
        for attempts in list(rest)? {
            parts.attempts = Some(Box::new(nth(&self.attempts, attempts)?.clone()));
        }
        Ok(())
    }
}

pub(super) fn u32_of(rest: &mut &[u8]) -> Result<usize, Damaged> {
    let (first, tail) = rest.split_first_chunk().ok_or(Damaged)?;
    *rest = tail;
    usize::try_from(u32::from_le_bytes(*first)).map_err(|_| Damaged)
}

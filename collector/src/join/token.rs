//! Token evidence: which two ends of which two hosts are one connection.
//!
//! A token has one writer and one reader: the client wrote and the server read, or the server
//! answered and the client read. Whatever is seen by more than one writer or more than one reader
//! is ambiguous (a reused token, a copied packet, two agents on one namespace, a forger) and is
//! counted, never joined. A token seen by one end only is a half: it waits for the other.

use std::collections::BTreeSet;

use wire::{Part, Role};

use super::input::{Input, Presence, Sighting};
use super::seen::{End, Ends, EndsSeen, Places, Seen, is_new, report, single};

/// A connection whose two ends are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    /// Flow and addresses of the client's end.
    pub(super) client: (usize, End),
    /// Flow and addresses of the server's end.
    pub(super) server: (usize, End),
    /// The coarser sampling level of its two ends.
    pub(super) level: u8,
    /// The token belongs to the part sampled at `level`, and so it stands for `2^level`
    /// connections. Else an end kept it for another reason, and it stands for itself.
    pub(super) sampled: bool,
    /// Begin and end of all reports of it.
    pub(super) seen_ms: (i64, i64),
    /// When it began by the clock of the client, and by that of the server; Unix microseconds.
    pub(super) start_us: (i64, i64),
    /// What the client's end and the server's have to do with the window.
    pub(super) presence: [Presence; 2],
    /// Whether these are only when an agent found it open.
    pub(super) adopted: (bool, bool),
    /// Whether each side saw it begin in the window.
    pub(super) new: [bool; 2],
    /// Whether each side says that it is open when the window ends.
    pub(super) open: [bool; 2],
}

/// What the sightings amount to.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Pairing {
    /// Joined connections, each once.
    pub(super) connections: Vec<Connection>,
    /// Tokens that only one end has reported.
    pub(super) halves: Vec<Half>,
    /// Tokens, and connections with contradicting tokens, that were not joined.
    pub(super) ambiguous: u64,
    /// The flows of these.
    pub(super) ambiguous_flows: BTreeSet<usize>,
}

/// What one end has reported and no other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Half {
    pub(super) flow: u32,
    pub(super) end: End,
    /// The token or the fingerprint.
    pub(super) name: u64,
    pub(super) part: Part,
    pub(super) level: u8,
    /// By the clock of its host, Unix microseconds.
    pub(super) start_us: i64,
    pub(super) presence: Presence,
    /// That is only when it was found open.
    pub(super) adopted: bool,
}

impl Half {
    pub(super) fn new(name: u64, part: Part, (end, seen): (End, Seen)) -> Self {
        Self {
            flow: u32::try_from(seen.flow).expect("no more flows than rows are read"),
            end,
            name,
            part,
            level: seen.level,
            start_us: seen.start_us,
            presence: seen.presence,
            adopted: seen.adopted,
        }
    }
}

#[derive(Default)]
struct Token {
    wrote: EndsSeen,
    read: EndsSeen,
}

/// Starts this close are of one connection: clocks of the kernel and of the day drift apart, and
/// the two tokens of a connection may have been converted at different moments. A port is used
/// again after a second at the earliest (`tcp_tw_reuse`).
const SAME_START_US: u64 = 500_000;

/// A joined token.
#[derive(Clone)]
struct Joined {
    token: u64,
    /// The server wrote it.
    answer: bool,
    connection: Connection,
}

/// Reports of one token are together.
pub(super) fn sort(sightings: &mut [Sighting]) {
    sightings.sort_unstable_by_key(|sighting| sighting.token);
}

/// Pairs the sightings, which are sorted by [`sort`].
pub(super) fn pair(input: &Input, places: &Places) -> Pairing {
    let mut pairing = Pairing::default();
    let reports = || input.sightings.chunk_by(|a, b| a.token == b.token);
    let most = reports().filter(|of_one| of_one.len() > 1).count();
    let mut joined: Vec<Joined> = Vec::with_capacity(most);
    for of_one in reports() {
        let mut ends = Token::default();
        for sighting in of_one {
            let ends = match sighting.part {
                Part::Wrote => &mut ends.wrote,
                Part::Read => &mut ends.read,
                Part::Sequence => continue,
            };
            report(input, places, ends, sighting);
        }
        let token = of_one[0].token;
        match (single(&ends.wrote), single(&ends.read)) {
            (Ends::One(end), Ends::None) => {
                pairing.halves.push(Half::new(token, Part::Wrote, end));
            }
            (Ends::None, Ends::One(end)) => {
                pairing.halves.push(Half::new(token, Part::Read, end));
            }
            (Ends::One(writer), Ends::One(reader)) => match join(input, token, writer, reader) {
                Some(one) => joined.push(one),
                None => pairing.add_ambiguous(is_new(of_one), [writer.1.flow, reader.1.flow]),
            },
            (Ends::None, Ends::None) => {}
            _ => {
                let all = ends.wrote.values().chain(ends.read.values());
                pairing.add_ambiguous(is_new(of_one), all.map(|seen| seen.flow));
            }
        }
    }
    joined.sort_unstable_by_key(|one| (one.connection.client.1, one.token));
    pairing.connections.reserve_exact(joined.len());
    for of_client in joined.chunk_by(|a, b| a.connection.client.1 == b.connection.client.1) {
        pairing.merge_directions(of_client.to_vec());
    }
    pairing
}

impl Pairing {
    /// Counts one that was not joined, of these flows, if it is this window's.
    pub(super) fn add_ambiguous(&mut self, new: bool, flows: impl IntoIterator<Item = usize>) {
        self.ambiguous += u64::from(new);
        self.ambiguous_flows.extend(flows);
    }

    /// A connection may carry a token in each direction; it is one connection all the same.
    fn merge_directions(&mut self, mut joined: Vec<Joined>) {
        joined.sort_by_key(|one| one.connection.start_us);
        let (answers, own): (Vec<_>, Vec<_>) = joined.into_iter().partition(|one| one.answer);
        let mut own = own.into_iter().peekable();
        for answer in answers {
            // Both are sorted: what begins too early for this answer does so for all that follow.
            let early = |one: &Joined| one.start_us() < answer.start_us() && !same(one, &answer);
            while let Some(earlier) = own.next_if(early) {
                self.connections.push(earlier.connection);
            }
            match own.next_if(|one| same(one, &answer)) {
                None => self.connections.push(answer.connection),
                Some(one) if one.connection.server.1 == answer.connection.server.1 => {
                    self.connections
                        .push(one.connection.with(&answer.connection));
                }
                // Its two tokens lead to two servers.
                Some(one) => {
                    let (a, b) = (one.connection, answer.connection);
                    let flows = [a.client.0, a.server.0, b.client.0, b.server.0];
                    self.add_ambiguous(a.is_new(), flows);
                }
            }
        }
        self.connections.extend(own.map(|one| one.connection));
    }
}

impl Joined {
    fn start_us(&self) -> i64 {
        self.connection.start_us.0
    }
}

fn same(a: &Joined, b: &Joined) -> bool {
    same_start(a.start_us(), b.start_us())
}

/// Whether two reports of one end, by one clock, are of one connection.
pub(super) fn same_start(a_us: i64, b_us: i64) -> bool {
    a_us.abs_diff(b_us) <= SAME_START_US
}

/// The connection of a writer and a reader; `None` when both claim the same role.
fn join(input: &Input, token: u64, writer: (End, Seen), reader: (End, Seen)) -> Option<Joined> {
    let role = |seen: &Seen| input.flows[seen.flow].role;
    let (client, server) = match (role(&writer.1), role(&reader.1)) {
        (Role::Client, Role::Server) => (writer, reader),
        (Role::Server, Role::Client) => (reader, writer),
        (Role::Client, Role::Client) | (Role::Server, Role::Server) => return None,
    };
    Some(Joined {
        token,
        answer: role(&writer.1) == Role::Server,
        connection: Connection::new(token, client, server),
    })
}

impl Connection {
    /// Of the two ends of a token.
    pub(super) fn new(token: u64, client: (End, Seen), server: (End, Seen)) -> Self {
        let level = client.1.level.max(server.1.level);
        Self {
            client: (client.1.flow, client.0),
            server: (server.1.flow, server.0),
            level,
            sampled: wire::sample::keep(token, level),
            seen_ms: (
                client.1.first_ms.min(server.1.first_ms),
                client.1.last_ms.max(server.1.last_ms),
            ),
            start_us: (client.1.start_us, server.1.start_us),
            presence: [client.1.presence, server.1.presence],
            adopted: (client.1.adopted, server.1.adopted),
            new: [client.1.new, server.1.new],
            open: [client.1.open, server.1.open],
        }
    }

    /// The flow of a side: 0 its client's, 1 its server's.
    pub(super) fn flow(&self, side: usize) -> usize {
        [self.client.0, self.server.0][side]
    }

    /// Whether its client, which counts it, told of it in the window.
    pub(super) fn is_new(&self) -> bool {
        self.presence[0] == Presence::Within
    }

    /// What both of its tokens say.
    fn with(mut self, other: &Self) -> Self {
        // Either token alone would have been enough: the one that stands for fewer is the surer.
        let rank = |connection: &Self| (!connection.sampled, connection.level);
        if rank(other) < rank(&self) {
            (self.level, self.sampled) = (other.level, other.sampled);
        }
        self.seen_ms.0 = self.seen_ms.0.min(other.seen_ms.0);
        self.seen_ms.1 = self.seen_ms.1.max(other.seen_ms.1);
        for (mine, other) in self.presence.iter_mut().zip(other.presence) {
            *mine = other.min(*mine);
        }
        for (mine, other) in self.new.iter_mut().zip(other.new) {
            *mine |= other;
        }
        for (mine, other) in self.open.iter_mut().zip(other.open) {
            *mine &= other;
        }
        self
    }
}

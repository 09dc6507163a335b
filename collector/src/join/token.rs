//! Token evidence: which two ends of which two hosts are one connection.
//!
//! A token has one writer and one reader: the client wrote and the server read, or the server
//! answered and the client read. Whatever is seen by more than one writer or more than one reader
//! is ambiguous (a reused token, a copied packet, two agents on one namespace, a forger) and is
//! counted, never joined. A token seen by one end only is a half: it waits for the other.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Endpoint, Part, Role};

use super::input::{Flow, Input, Presence, Sighting};

/// One end of a connection: flows with the same addresses, and the port that they do not hold.
///
/// The agent run is not part of it: after a restart the same connection is the same end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct End {
    /// Number among the addresses of [`Places`].
    place: u32,
    pub(super) port: u16,
}

/// The distinct addresses of flows, so that an end is a few bytes.
#[derive(Debug)]
pub(super) struct Places {
    of_flow: Vec<u32>,
}

impl Places {
    pub(super) fn of(input: &Input) -> Self {
        let key = |at: &u32| {
            let flow = &input.flows[*at as usize];
            (flow.host, flow.netns, flow.role, flow.local, flow.remote)
        };
        let mut order: Vec<u32> = (0..).take(input.flows.len()).collect();
        order.sort_unstable_by_key(key);
        let mut of_flow = vec![0; order.len()];
        let mut place = 0;
        for pair in order.windows(2) {
            place += u32::from(key(&pair[0]) != key(&pair[1]));
            of_flow[pair[1] as usize] = place;
        }
        Self { of_flow }
    }

    fn end(&self, sighting: &Sighting) -> End {
        End {
            place: self.of_flow[sighting.flow],
            port: sighting.port,
        }
    }
}

impl End {
    /// Local and remote endpoint of this end of a connection of the flow.
    pub(super) fn addresses(self, flow: &Flow) -> (Endpoint, Endpoint) {
        let (mut local, mut remote) = (flow.local, flow.remote);
        match flow.role {
            Role::Client => local.port = self.port,
            Role::Server => remote.port = self.port,
        }
        (local, remote)
    }
}

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

/// All reports of one token by one end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) flow: usize,
    level: u8,
    pub(super) start_us: i64,
    /// Nobody saw how it began: it is no later than that.
    pub(super) adopted: bool,
    first_ms: i64,
    last_ms: i64,
    presence: Presence,
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

/// All reports of one kind of one token, by end.
pub(super) type EndsSeen = BTreeMap<End, Seen>;

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

/// Adds a sighting to those of the same token.
pub(super) fn report(input: &Input, places: &Places, ends: &mut EndsSeen, sighting: &Sighting) {
    let new = seen(sighting);
    ends.entry(places.end(sighting))
        .and_modify(|old| *old = merge(input, *old, new))
        .or_insert(new);
}

fn seen(sighting: &Sighting) -> Seen {
    Seen {
        flow: sighting.flow,
        level: sighting.sample_level,
        start_us: sighting.start_us,
        adopted: sighting.adopted,
        first_ms: sighting.first_ms,
        last_ms: sighting.last_ms,
        presence: sighting.presence,
    }
}

/// Whether the first report of a token is in the window: of adjacent ones in exactly one.
pub(super) fn is_new(of_one: &[Sighting]) -> bool {
    let first = of_one.iter().min_by_key(|one| (one.last_ms, one.presence));
    first.is_some_and(|one| one.presence == Presence::Within)
}

/// Joins two reports of the same token by the same end, whichever came first.
fn merge(input: &Input, a: Seen, b: Seen) -> Seen {
    // The process that had the connection first is the one that opened or accepted it; among
    // equals the flows' own values decide, not their order.
    let rank = |seen: &Seen| {
        let flow = &input.flows[seen.flow];
        let process = flow.process.map(|at| &input.processes[at].row);
        let identity = process.map(|p| (&p.service, &p.exe, &p.comm, p.process_id));
        (
            seen.presence,
            seen.first_ms,
            flow.first_ms,
            flow.last_ms,
            identity,
        )
    };
    let first = if rank(&b) < rank(&a) { b } else { a };
    Seen {
        flow: first.flow,
        level: a.level.min(b.level),
        start_us: a.start_us.min(b.start_us),
        adopted: a.adopted && b.adopted,
        first_ms: a.first_ms.min(b.first_ms),
        last_ms: a.last_ms.max(b.last_ms),
        presence: first.presence,
    }
}

/// How many ends there are.
pub(super) enum Ends {
    None,
    One((End, Seen)),
    Many,
}

/// The only end, if there is one.
pub(super) fn single(ends: &EndsSeen) -> Ends {
    let mut all = ends.iter();
    match (all.next(), all.next()) {
        (None, _) => Ends::None,
        (Some((end, seen)), None) => Ends::One((*end, *seen)),
        (Some(_), Some(_)) => Ends::Many,
    }
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
        self
    }
}

//! What ends reported and nobody answered: evidence against a join by anything weaker.
//!
//! A connection end that was told, by a token that was read or by its sequence numbers, would have
//! been told by its other end as well, if that one's host tells such things, was there when the
//! connection began and keeps that part of them. So it is not a connection with such a host. What
//! conntrack, addresses and left-over counts may still join of two rows is what is left when these
//! are taken away: [`Halves::room`] is the one place that decides it.

use wire::{Part, Role, sample};

use super::reporters::{Reporter, Reporters, SAME_TIME_US, side};
use super::rows::Rows;
use super::seen::End;
use super::token::{Connection, Half, Pairing, same_start};

/// Most reports of one row that are looked at; those of one with more stand for the others.
const MOST_REPORTS: usize = 4096;
/// Of so many connections, one may have the same port and time by chance.
const CHANCE: u64 = 16;
/// So many samples that have no counterpart speak for all, although others tell nothing.
const ENOUGH: u64 = 4;
/// Of so many tokens that arrive, one may be lost together with its answer.
const LOSS: u64 = 20;
/// A token or fingerprint that only one side told.
#[derive(Clone, Copy, Debug)]
struct Report {
    row: u32,
    port: u16,
    part: Part,
    level: u8,
    start_us: i64,
    name: u64,
}

/// A connection end that only one side told: its token, its fingerprint, or both.
#[derive(Clone, Copy, Debug)]
struct ReportedEnd {
    port: u16,
    start_us: i64,
    wrote: Option<u64>,
    read: Option<u64>,
    /// With its level.
    sequence: Option<(u64, u8)>,
}

/// All of them.
pub(super) struct Halves {
    /// By row, port and start.
    told: Vec<Report>,
    reporters: Reporters,
}

/// What is known of two rows that may have connections in common.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// Tokens or sequence numbers join them.
    pub(super) joined: bool,
    /// So many of them: if there are any, they arrive.
    pub(super) tokens: u64,
    /// Sequence numbers do: no box between them writes others.
    pub(super) sequences: bool,
    /// The client's other end, and the server's, can be nobody but hosts that tell.
    pub(super) alone: [bool; 2],
}

/// Connections of a row without evidence of their own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsure {
    /// All of them.
    pub(super) connections: u64,
    /// Those that cannot have been with anybody but who they are linked with.
    pub(super) least: u64,
}

impl Unsure {
    /// Those that nobody has.
    pub(super) fn free(self) -> u64 {
        self.connections.saturating_sub(self.least)
    }

    /// The same, as a counterpart sees it that has `own` of the least.
    pub(super) fn without(self, own: u64) -> Self {
        Self {
            least: self.least.saturating_sub(own),
            ..self
        }
    }
}

/// How many connections of a row are not with another one.
#[derive(Clone, Copy, Debug, Default)]
struct Against {
    /// As samples stand for it.
    likely: u64,
    /// Each known.
    certain: u64,
}

/// How many connections two rows may have in common that no evidence joined.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// At most so many, as far as samples and boxes that may rewrite let one judge.
    pub(super) most: u64,
    /// At most so many whatever they hide, with the least that they are known to have.
    pub(super) at_most: u64,
    /// At least so many: both ends told them with the same port and about the same time.
    pub(super) same: u64,
}

impl ReportedEnd {
    fn of(reports: &[Report]) -> Self {
        let find = |part| reports.iter().find(|one| one.part == part);
        Self {
            port: reports[0].port,
            start_us: reports[0].start_us,
            wrote: find(Part::Wrote).map(|one| one.name),
            read: find(Part::Read).map(|one| one.name),
            sequence: find(Part::Sequence).map(|one| (one.name, one.level)),
        }
    }

    /// The same by tokens alone, of one that began while both hosts counted.
    fn excludes_by_token(&self, at: usize, other: &Reporter, passes: bool) -> bool {
        let tokens = other.token.unwrap_or(0);
        if self.read.is_some_and(|token| sample::keep(token, tokens)) {
            return true;
        }
        let arrives = self.wrote.is_some_and(|token| sample::keep(token, tokens));
        // Clients write on every connection; servers answer to some.
        let client = at == side(Role::Server) && other.writes[side(Role::Client)];
        let came_without = client && self.wrote.is_none() && self.read.is_none();
        passes && (arrives || came_without)
    }

    /// Whether a host would have told it, had it been the other end. `passes` where tokens are known
    /// to arrive between the two.
    fn excludes(&self, own: &Reporter, at: usize, other: &Reporter, passes: bool) -> bool {
        if self.start_us.div_euclid(1000) < other.since_ms {
            return false;
        }
        if self.excludes_by_token(at, other, passes) {
            return true;
        }
        let tokens = other.token.unwrap_or(0);
        // A host that read the token tells that instead of the fingerprint; where not all tokens
        // are told, neither may be.
        let unread = match self.wrote {
            Some(token) => sample::keep(token, tokens),
            None => !own.writes[at] || own.token.unwrap_or(0) == 0,
        };
        let level = other.sequence_level(1 - at);
        self.sequence
            .is_some_and(|(name, _)| unread && sample::keep(name, level))
    }
}

impl Halves {
    /// Of what pairing left over, without ends that are joined after all: by a fingerprint where
    /// the token did not arrive, or by a token beside the fingerprint.
    pub(super) fn of(
        rows: &mut Rows,
        reporters: Reporters,
        tokens: Pairing,
        sequences: Pairing,
    ) -> Self {
        let joined = known(tokens.connections.iter().chain(&sequences.connections));
        let all = tokens.halves.iter().chain(&sequences.halves);
        // What one end found open, the other end may have told in another way long ago.
        let adopted = all.clone().filter(|half| half.adopted);
        for half in adopted {
            let row = rows.of_flow(half.flow as usize);
            rows.all[row].sequence_halves += 1;
        }
        let open = all.filter(|half| !half.adopted && !is_known(&joined, half));
        let mut told: Vec<Report> = open.map(|half| one(rows, half)).collect();
        drop(joined);
        told.sort_unstable_by_key(|one| (one.row, one.port, one.start_us, one.name));
        told.shrink_to_fit();
        for reports in told.chunk_by(same_end) {
            let end = ReportedEnd::of(reports);
            let row = &mut rows.all[reports[0].row as usize];
            row.half_ends += 1;
            row.halves += u64::from(end.wrote.is_some() || end.read.is_some());
            row.sequence_halves += u64::from(end.sequence.is_some());
        }
        let ambiguous = tokens.ambiguous_flows.iter();
        for flow in ambiguous.chain(&sequences.ambiguous_flows) {
            rows.set_ambiguous(*flow);
        }
        Self { told, reporters }
    }

    /// What was told of a row, and the part of it that is looked at.
    fn of_row(&self, row: usize) -> (&[Report], &[Report]) {
        let first = self.told.partition_point(|one| (one.row as usize) < row);
        let last = self.told.partition_point(|one| one.row as usize <= row);
        let all = &self.told[first..last];
        (all, &all[..all.len().min(MOST_REPORTS)])
    }

    /// What a client's and a server's row may have in common beyond what evidence joined; what is
    /// `unsure` of each is without the least of this pair.
    pub(super) fn room(
        &self,
        rows: &Rows,
        (client, server): (usize, usize),
        known: Known,
        unsure: [Unsure; 2],
    ) -> Room {
        if unsure[0].free().min(unsure[1].free()) == 0 {
            return Room::default();
        }
        let same = self.same_ports(client, server);
        let against = [(client, server), (server, client)].map(|(row, other)| {
            let Against { likely, certain } = self.against(rows, row, other, (known, same));
            let Unsure { connections, least } = unsure[usize::from(row == server)];
            let rest = rows.all[row].rest;
            [
                rest.saturating_sub(likely), // These may be among what others have for certain.
                connections.saturating_sub(certain.max(least)),
            ]
        });
        let [most, at_most] = [0, 1].map(|at| against[0][at].min(against[1][at]));
        Room {
            most,
            at_most: at_most.max(most),
            same: same.min(most),
        }
    }

    /// Whether the host of a row tells tokens or fingerprints at all.
    pub(super) fn is_reporter(&self, rows: &Rows, row: usize) -> bool {
        self.reporters.0.contains_key(&rows.all[row].key.host)
    }

    /// Connections of a row that cannot be with the host of another row, which told so many with the
    /// same ports.
    fn against(
        &self,
        rows: &Rows,
        row: usize,
        other: usize,
        (known, same): (Known, u64),
    ) -> Against {
        let [own, far] = [row, other].map(|row| &rows.all[row].key);
        let reporters = &self.reporters.0;
        let (Some(mine), Some(theirs)) = (reporters.get(&own.host), reporters.get(&far.host))
        else {
            return Against::default();
        };
        let ((all, looked_at), at) = (self.of_row(row), side(own.role));
        let excludes = |one: &ReportedEnd, passes| one.excludes(mine, at, theirs, passes);
        let (mut certain, mut lost) = (0_u64, 0_u64);
        for one in ends(looked_at) {
            certain += u64::from(excludes(&one, false));
            lost += u64::from(excludes(&one, true));
        }
        // Few of those that arrive, networks lose.
        let passes = lost.saturating_sub(certain).saturating_mul(LOSS) > known.tokens;
        let passes = passes && known.tokens > 0;
        let excluded = ends(looked_at).filter(|one| excludes(one, passes));
        let (mut told, mut weighted, mut by_token) = (0_u64, 0_u64, 0_u64);
        for one in excluded {
            told += 1;
            by_token += u64::from(one.excludes_by_token(at, theirs, passes));
            if let Some((name, level)) = one.sequence
                && sample::keep(name, level)
            {
                weighted = weighted.saturating_add(1 << level.min(40));
            }
        }
        // A box may have written other sequence numbers, where none of these rows agree.
        let certain = if known.sequences { told } else { by_token };
        let certain = certain.saturating_sub(same);
        if same > 0 {
            let likely = told.saturating_sub(same);
            return Against { likely, certain };
        }
        let part = mine.sequence_level(at).max(theirs.sequence_level(1 - at));
        let enough = if known.alone[at] { 1 } else { ENOUGH };
        if told >= enough && !known.joined && part > 0 {
            // Of a sample none was with that host, so the others are not either.
            let likely = u64::MAX;
            return Against { likely, certain };
        }
        let estimate = u128::from(told.max(weighted));
        let scaled = estimate * all.len() as u128 / looked_at.len().max(1) as u128;
        let likely = u64::try_from(scaled).unwrap_or(u64::MAX);
        Against { likely, certain }
    }

    /// Connections that both rows told with the same port and about the same time: no address was
    /// rewritten then, or the gateway kept ports, and what does not fit was rewritten as well.
    /// Among many, one may be the same by chance.
    fn same_ports(&self, client: usize, server: usize) -> u64 {
        let [mine, theirs] = [client, server].map(|row| self.of_row(row).1);
        let (mut found, mut mine_told, mut other) = (0_u64, 0_u64, ends(theirs).peekable());
        let theirs_told = ends(theirs).count() as u64;
        for one in ends(mine) {
            mine_told += 1;
            let from = (one.port, one.start_us.saturating_sub(SAME_TIME_US));
            while other
                .next_if(|other| (other.port, other.start_us) < from)
                .is_some()
            {}
            let upto = (one.port, one.start_us.saturating_add(SAME_TIME_US));
            let same = other.next_if(|other| (other.port, other.start_us) <= upto);
            found += u64::from(same.is_some());
        }
        let least = mine_told.min(theirs_told);
        if found * CHANCE >= least { found } else { 0 }
    }
}

/// The ends of connections, sorted.
fn known<'a>(connections: impl Iterator<Item = &'a Connection>) -> Vec<(End, i64)> {
    let ends = connections.flat_map(|one| {
        [
            (one.client.1, one.start_us.0),
            (one.server.1, one.start_us.1),
        ]
    });
    let mut list: Vec<(End, i64)> = ends.collect();
    list.sort_unstable();
    list
}

fn is_known(joined: &[(End, i64)], half: &Half) -> bool {
    let at = joined.partition_point(|one| *one < (half.end, half.start_us));
    let near = [at.checked_sub(1), Some(at)];
    let mut near = near.into_iter().flatten().filter_map(|at| joined.get(at));
    near.any(|(end, start_us)| *end == half.end && same_start(*start_us, half.start_us))
}

fn one(rows: &Rows, half: &Half) -> Report {
    Report {
        row: u32::try_from(rows.of_flow(half.flow as usize)).expect("no more rows than flows"),
        port: half.end.port,
        part: half.part,
        level: half.level,
        start_us: half.start_us,
        name: half.name,
    }
}

fn same_end(a: &Report, b: &Report) -> bool {
    (a.row, a.port) == (b.row, b.port) && same_start(a.start_us, b.start_us)
}

fn ends(reports: &[Report]) -> impl Iterator<Item = ReportedEnd> {
    reports.chunk_by(same_end).map(ReportedEnd::of)
}

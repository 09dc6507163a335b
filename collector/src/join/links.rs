//! Links: which rows belong together, by what evidence, and with how many connections.

use std::collections::{BTreeMap, BTreeSet};

use wire::Endpoint;

use super::cost;
use super::halves::{Known, Unsure};
use super::input::{Input, Presence};
use super::present::SIDES;
use super::rows::Rows;
use super::token::Connection;
use crate::meter::{Exceeded, Meter};
use crate::topology::{Seer, Via, ViaKind};

/// Highest sampling level that is believed; a 64-bit token has no more bits to sample by.
const MAX_LEVEL: u8 = 40;
/// Most addresses kept as `via` per link: behind one service there may be many gateways.
pub(super) const MAX_VIA: usize = 64;
/// So many standard deviations either way hold 95 in 100 true numbers.
const USUAL: f64 = 1.96;
/// So many all but one in 30,000.
const UTMOST: f64 = 4.0;

/// Connections joined by one kind of evidence, some of which stand for others.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Joined {
    /// Each once.
    pub(super) number: u64,
    /// What those in the sampled part stand for.
    weighted: u64,
    /// The coarsest level at which they were sampled.
    level: u8,
    /// Those of `number` that one side told of before the window.
    open: u64,
}

impl Joined {
    fn add(&mut self, connection: &Connection) {
        self.number += 1;
        if connection.presence.contains(&Presence::Open) {
            // What lives for long is told whatever the sampling: it stands for itself.
            self.open += 1;
            return;
        }
        let level = connection.level.min(MAX_LEVEL);
        self.level = self.level.max(level);
        if connection.sampled {
            self.weighted = self.weighted.saturating_add(1 << level);
        }
    }

    /// Exact when nothing was sampled.
    pub(super) fn estimate(&self) -> u64 {
        self.number.max(self.weighted.saturating_add(self.open))
    }

    /// Least and most connections that as many samples may stand for: the score interval of a
    /// Poisson variable.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an interval needs no more than 53 bits, and is not negative"
    )]
    fn range(&self, deviations: f64) -> (u64, u64) {
        if self.level == 0 {
            return (self.number, self.number);
        }
        let samples = (self.weighted >> self.level) as f64;
        let middle = samples + deviations * deviations / 2.0;
        let half = deviations * (samples + deviations * deviations / 4.0).sqrt();
        let each = (1_u64 << self.level) as f64;
        let (low, high) = ((middle - half) * each, (middle + half) * each);
        let range = (low.floor() as u64, high.ceil() as u64);
        (
            self.number.max(range.0.saturating_add(self.open)),
            self.number.max(range.1.saturating_add(self.open)),
        )
    }
}

/// What joins a client's row to a server's row.
#[derive(Clone, Debug, Default)]
pub(super) struct Link {
    /// By tokens, of those that both sides tell of in the window.
    pub(super) tokens: Joined,
    /// By sequence numbers and not by tokens, the same.
    pub(super) sequences: Joined,
    /// Those that only the client's side tells of in the window, and only the server's: it begins or
    /// ends between the ends of their intervals.
    pub(super) only: [Joined; 2],
    /// The same by kind of evidence: tokens, sequence numbers.
    pub(super) only_by: [[u64; 2]; 2],
    /// Those that were open when the window began, as the client tells and as the server tells.
    pub(super) open: [u64; 2],
    /// Those that are open when it ends, the same.
    pub(super) still_open: [u64; 2],
    /// Those that were not seen to begin in the window, by kind of evidence, as the client tells and,
    /// where it does not, as the server tells.
    pub(super) found_by: [[u64; 2]; 2],
    /// Connections that both of them stand for, with those that both rows have left over.
    pub(super) told: u64,
    /// The part of these that each are known.
    pub(super) sure: u64,
    /// The part of these that has no evidence of its own, nor samples that stand for it.
    pub(super) extra: u64,
    /// Connections that a gateway translated from one side's addresses to the other's.
    pub(super) conntrack: u64,
    /// Connections joined because both sides name the same addresses.
    pub(super) addresses: u64,
    /// The part of these two that cannot have been with anybody else.
    pub(super) least: u64,
    /// Least and most connections, where their number is an estimate.
    pub(super) range: Option<(u64, u64)>,
    pub(super) via: BTreeSet<Via>,
    /// Begin and end of all reports of its tokens and sequence numbers.
    pub(super) seen_ms: Option<(i64, i64)>,
}

impl Link {
    /// Adds a connection that was joined by tokens (0) or by sequence numbers (1).
    fn add(&mut self, connection: &Connection, by: usize) {
        let here = connection.presence.map(|one| one != Presence::Outside);
        if here == [true, true] {
            [&mut self.tokens, &mut self.sequences][by].add(connection);
        } else {
            let side = usize::from(here[1]);
            self.only[side].add(connection);
            self.only_by[by][side] += 1;
        }
        let counts = usize::from(!here[0]);
        self.found_by[by][counts] += u64::from(!connection.new[counts]);
        for side in SIDES {
            self.open[side] += u64::from(connection.presence[side] == Presence::Open);
            self.still_open[side] += u64::from(here[side] && connection.open[side]);
        }
    }

    /// True when not everything was kept that it rests on.
    pub(super) fn sampled(&self) -> bool {
        let all = [&self.tokens, &self.sequences]
            .into_iter()
            .chain(&self.only);
        all.map(|joined| joined.level).max() > Some(0)
    }

    /// Connections that tokens and sequence numbers joined, each once.
    pub(super) fn number(&self) -> u64 {
        self.tokens.number + self.sequences.number
    }

    /// What joins its rows.
    pub(super) fn known(&self, alone: [bool; 2]) -> Known {
        Known {
            joined: self.number() > 0,
            tokens: self.tokens.number,
            sequences: self.sequences.number > 0,
            alone,
        }
    }

    /// What these stand for.
    pub(super) fn estimate(&self) -> u64 {
        let sequences = self.sequences.estimate();
        self.tokens.estimate().saturating_add(sequences)
    }

    /// Least and most that they stand for, with a confidence of 95 %.
    pub(super) fn sampled_range(&self) -> (u64, u64) {
        self.both(USUAL)
    }

    /// The most that they may stand for at all.
    pub(super) fn most(&self) -> u64 {
        self.both(UTMOST).1
    }

    fn both(&self, deviations: f64) -> (u64, u64) {
        let [a, b] = [self.tokens, self.sequences].map(|joined| joined.range(deviations));
        (a.0.saturating_add(b.0), a.1.saturating_add(b.1))
    }

    /// Connections that are certain.
    pub(super) fn certain(&self) -> u64 {
        self.sure.saturating_add(self.least)
    }

    /// Share of the row of a side.
    pub(super) fn share(&self, side: usize) -> u64 {
        self.weight().saturating_add(self.only[side].estimate())
    }

    /// Connections that both sides have in common.
    pub(super) fn weight(&self) -> u64 {
        self.told
            .saturating_add(self.conntrack)
            .saturating_add(self.addresses)
    }

    /// Adds addresses on the way, as many as there is room for; the number that was added.
    pub(super) fn add_via(&mut self, vias: impl IntoIterator<Item = Via>) -> usize {
        let before = self.via.len();
        for via in vias {
            if self.via.len() < MAX_VIA {
                self.via.insert(via);
            }
        }
        self.via.len() - before
    }
}

/// Links by client row and server row.
pub(super) struct Links {
    pub(super) all: BTreeMap<(usize, usize), Link>,
    meter: Meter,
    exceeded: Option<Exceeded>,
}

impl Links {
    /// None yet, and so much memory for them.
    pub(super) fn new(meter: Meter) -> Self {
        Self {
            all: BTreeMap::new(),
            meter,
            exceeded: None,
        }
    }

    /// The link of a pair, with more addresses on its way; nothing once there is no memory.
    pub(super) fn entry(
        &mut self,
        pair: (usize, usize),
        via: impl IntoIterator<Item = Via>,
    ) -> Option<&mut Link> {
        if self.exceeded.is_some() {
            return None;
        }
        let mut bytes = 0;
        let link = self.all.entry(pair).or_insert_with(|| {
            bytes = cost::LINK;
            Link::default()
        });
        bytes += link.add_via(via) * cost::VIA;
        self.exceeded = self.meter.bytes(bytes).err();
        Some(link)
    }

    /// Takes memory for something beside links; false once there is none.
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        if self.exceeded.is_none() {
            self.exceeded = self.meter.bytes(bytes).err();
        }
        self.exceeded.is_none()
    }

    /// What joins these rows.
    pub(super) fn known(&self, pair: (usize, usize), alone: [bool; 2]) -> Known {
        let none = Known {
            alone,
            ..Known::default()
        };
        self.all.get(&pair).map_or(none, |link| link.known(alone))
    }

    /// What is not sure of each row.
    pub(super) fn unsure(&self, rows: &Rows) -> Vec<Unsure> {
        let mut all: Vec<Unsure> = rows
            .all
            .iter()
            .map(|row| Unsure {
                connections: row.counted().unwrap_or(0),
                least: 0,
            })
            .collect();
        for (pair, link) in &self.all {
            for row in [pair.0, pair.1] {
                let one = &mut all[row];
                one.connections = one.connections.saturating_sub(link.sure);
                one.least = one.least.saturating_add(link.least);
            }
        }
        all
    }

    /// Of each row, whether it may have had connections beyond those that are sure: some are left, or
    /// its agent came late and has not counted all.
    pub(super) fn open(&self, rows: &Rows) -> Vec<bool> {
        let unsure = self.unsure(rows);
        let each = rows.all.iter().zip(unsure);
        each.map(|(row, unsure)| row.rest > 0 || row.late || unsure.free() > 0)
            .collect()
    }

    /// The least of a pair that has no evidence of its own.
    pub(super) fn least(&self, pair: (usize, usize)) -> u64 {
        self.all.get(&pair).map_or(0, |link| link.least)
    }

    /// What is left of the memory.
    ///
    /// # Errors
    /// There was not enough.
    pub(super) fn check(&self) -> Result<Meter, Exceeded> {
        self.exceeded.map_or(Ok(self.meter), Err)
    }

    /// Adds what was joined by tokens.
    pub(super) fn add_tokens(&mut self, input: &Input, rows: &Rows, connections: &[Connection]) {
        for connection in connections {
            if let Some(link) = self.link(input, rows, connection) {
                link.add(connection, 0);
            }
        }
    }

    /// Adds what was joined by sequence numbers and not by tokens.
    pub(super) fn add_sequences(&mut self, input: &Input, rows: &Rows, connections: &[Connection]) {
        for connection in connections {
            if let Some(link) = self.link(input, rows, connection) {
                link.add(connection, 1);
            }
        }
    }

    /// Takes from the rows what only their side tells of.
    pub(super) fn set_apart(&self, rows: &mut Rows) {
        for (pair, link) in &self.all {
            for (row, only) in [pair.0, pair.1].into_iter().zip(&link.only) {
                rows.set_apart(row, only.estimate());
            }
        }
    }

    fn link(&mut self, input: &Input, rows: &Rows, connection: &Connection) -> Option<&mut Link> {
        let ends = [connection.client, connection.server];
        let [client, server] = ends.map(|(flow, end)| end.addresses(&input.flows[flow]));
        let pair = (rows.of_flow(ends[0].0), rows.of_flow(ends[1].0));
        let link = self.entry(pair, via(client, server))?;
        let seen = link.seen_ms.get_or_insert(connection.seen_ms);
        seen.0 = seen.0.min(connection.seen_ms.0);
        seen.1 = seen.1.max(connection.seen_ms.1);
        Some(link)
    }
}

/// The addresses that one side saw where the other side has another one; of each its local and its
/// remote endpoint.
pub(super) fn via(
    client: (Endpoint, Endpoint),
    server: (Endpoint, Endpoint),
) -> impl Iterator<Item = Via> {
    let vip = (client.1 != server.0).then(|| Via {
        seen_by: Seer::Client,
        kind: ViaKind::Vip,
        address: client.1.to_string(),
    });
    let nat = (server.1.ip() != client.0.ip()).then(|| Via {
        seen_by: Seer::Server,
        kind: ViaKind::Nat,
        address: server.1.ip().to_string(),
    });
    vip.into_iter().chain(nat)
}

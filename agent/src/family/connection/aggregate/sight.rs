//! Which tokens and fingerprints of a connection are told: sampled alike by both ends, and always
//! where something was unusual.

use wire::{Kept, Life, Part, SightingRow, sample};

use super::{Connections, EdgeKey, Open, Told};
use crate::clock::Now;
use crate::family::connection::event::{Connection, ReportReason};
use bpf::abi;

/// Sightings of each edge that are kept in every interval whatever the sampling.
pub(super) const FIRST_PER_EDGE: u32 = 4;
/// A client cannot know whether its token arrived. So it tells the fingerprints of some of its
/// connections as well: one in two to the power of this, the same ones that a server keeps which saw
/// no token, and the first of each edge in each interval.
const SPARE_LEVELS: u8 = 4;
/// A token on its way to become a sighting.
#[derive(Clone, Copy)]
struct Token {
    token: u64,
    part: Part,
    answer: bool,
    /// Only every so many are wanted, as each has another to stand for it.
    spare: bool,
    told: Told,
}

impl Token {
    fn new(token: u64, part: Part, answer: bool, told: Told) -> Self {
        Self {
            token,
            part,
            answer,
            spare: false,
            told,
        }
    }
}

impl Connections {
    /// Keeps a sighting of each token of the connection, if sampling or `always` says so: once, and
    /// where it was still open then, once more when it ends. Its
    /// process is that of the edge: one that changes its name must not come apart from its edge.
    pub(super) fn sight(
        &mut self,
        event: &Connection,
        mut open: Open,
        always: Option<Kept>,
        now: Now,
    ) -> Open {
        if !self.sending.sightings {
            return open;
        }
        if let Some(token) = event.token_sent {
            let answer = event.has(abi::WB_FLAG_ANSWER_SENT);
            let row = Token::new(token, Part::Wrote, answer, open.sent);
            open.sent = self.keep(event, row, open.edge, always, now);
        }
        if let Some(token) = event.token_received {
            let answer = event.has(abi::WB_FLAG_ANSWER_RECEIVED);
            let row = Token::new(token, Part::Read, answer, open.received);
            open.received = self.keep(event, row, open.edge, always, now);
        }
        // One that has read the other's token is joined by it.
        if let (Some(name), None) = (event.fingerprint, event.token_received) {
            let row = Token {
                spare: event.token_sent.is_some(),
                ..Token::new(name, Part::Sequence, false, open.fingerprint)
            };
            open.fingerprint = self.keep(event, row, open.edge, always, now);
        }
        open
    }

    fn keep(
        &mut self,
        event: &Connection,
        row: Token,
        edge: EdgeKey,
        always: Option<Kept>,
        now: Now,
    ) -> Told {
        let ended = event.reason != ReportReason::Live;
        let adopted = event.has(abi::WB_FLAG_ADOPTED);
        // They are long-lived, whatever this run has seen of them.
        let always = if adopted { Some(Kept::Adopted) } else { always };
        let (kept, level) = match row.told {
            Told::Over => return Told::Over,
            Told::Open { .. } if !ended => return row.told,
            Told::Open { kept, level } => (kept, level),
            Told::No | Told::Unsampled => {
                let Some(kept) = self.reason_to_keep(&row, edge, always) else {
                    // Looked at again when it closes, but counted once.
                    if row.told == Told::No && !row.spare {
                        self.losses.sightings_unsampled += 1;
                    }
                    return Told::Unsampled;
                };
                let kept = if adopted { Kept::Adopted } else { kept };
                (kept, self.level + if row.spare { SPARE_LEVELS } else { 0 })
            }
        };
        // Ends of those told before do not take the room of new ones, nor the other way round.
        let again = matches!(row.told, Told::Open { .. });
        let told = if again {
            &mut self.told.1
        } else {
            &mut self.told.0
        };
        if *told >= self.bounds.sightings {
            self.losses.sightings_dropped += 1;
            return Told::Over;
        }
        *told += 1;
        self.sightings.push(SightingRow {
            token: row.token,
            part: row.part,
            answer: row.answer,
            role: event.role,
            kept,
            life: if ended { Life::Ended } else { Life::Open },
            sample_level: level,
            process_id: edge.process_id,
            local: event.local,
            remote: event.remote,
            netns: event.netns,
            start_us: now.unix_us(event.start_ns),
        });
        if ended {
            Told::Over
        } else {
            Told::Open { kept, level }
        }
    }

    /// Why a token is told; `None` when it is not.
    fn reason_to_keep(&mut self, row: &Token, edge: EdgeKey, always: Option<Kept>) -> Option<Kept> {
        let new = row.told == Told::No;
        let edge = self.edges.get_mut(&edge);
        if row.spare {
            let first = edge.is_some_and(|edge| !std::mem::replace(&mut edge.spare_kept, true));
            if sample::keep(row.token, self.level + SPARE_LEVELS) {
                return Some(Kept::Sampled);
            }
            return (new && first).then_some(Kept::First);
        }
        self.tokens += u64::from(new);
        let first = new
            && edge.is_some_and(|edge| {
                edge.first_kept += 1;
                edge.first_kept <= FIRST_PER_EDGE
            });
        if sample::keep(row.token, self.level) {
            Some(Kept::Sampled)
        } else {
            always.or(first.then_some(Kept::First))
        }
    }
}

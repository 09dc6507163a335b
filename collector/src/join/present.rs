//! Which connections belong to the window, each side by the intervals of its own agent.
//!
//! A side counts a connection in the window in which it told of it, and as open in all later ones
//! until it ended: its counters do the same, so that neither is left over where a window ends within
//! an interval, and windows that follow one another add up. A side's counters also bound how many
//! can have been open: an end that was lost leaves no connection behind.

use std::cmp::Reverse;

use super::input::{Input, Presence};
use super::token::{Connection, Half, Pairing};

/// The two sides of a connection: its client's and its server's.
pub(super) const SIDES: [usize; 2] = [0, 1];

/// Takes out what does not belong to the window; of what stays, each side's presence is
/// [`Presence::Within`], [`Presence::Open`] or, where only the other side counts it,
/// [`Presence::Outside`].
pub(super) fn settle(input: &Input, tokens: &mut Pairing, sequences: &mut Pairing) {
    let mut room = Room(input.flows.iter().map(|flow| flow.open_before).collect());
    let mut both = [tokens, sequences];
    for pairing in &mut both {
        let earlier = |one: &&mut Connection| {
            let mut sides = one.presence.iter();
            sides.any(|side| matches!(side, Presence::Open | Presence::Perhaps))
        };
        let all = pairing.connections.iter_mut();
        let mut earlier: Vec<&mut Connection> = all.filter(earlier).collect();
        // Where ends were lost there are too many: those that neither side says to be over, and the
        // latest ones, are the likeliest to be open.
        earlier.sort_by_key(|one| {
            let over = one.presence.contains(&Presence::Outside);
            (over, Reverse(one.start_us), one.client.1, one.server.1)
        });
        for connection in &mut earlier {
            room.take_known(connection);
        }
        for connection in earlier {
            room.guess(connection);
        }
    }
    for pairing in both {
        let outside = [Presence::Outside; 2];
        pairing.connections.retain(|one| one.presence != outside);
        // A connection may have left a token and sequence numbers.
        Room(room.0.clone()).take_halves(&mut pairing.halves);
    }
}

/// Connections of each flow that were open when the window began and are not accounted for.
struct Room(Vec<u64>);

impl Room {
    fn take(&mut self, flow: usize) -> bool {
        let left = self.0[flow].checked_sub(1);
        self.0[flow] = left.unwrap_or(0);
        left.is_some()
    }

    /// Of each side by itself, what it said to be open.
    fn take_known(&mut self, connection: &mut Connection) {
        for side in SIDES {
            if connection.presence[side] == Presence::Open && !self.take(connection.flow(side)) {
                connection.presence[side] = Presence::Outside;
            }
        }
    }

    /// It was open if no side contradicts it.
    fn guess(&mut self, connection: &mut Connection) {
        let possible = SIDES.iter().all(|side| match connection.presence[*side] {
            Presence::Within | Presence::Open => true,
            Presence::Perhaps => self.0[connection.flow(*side)] > 0,
            Presence::Outside => false,
        });
        for side in SIDES {
            if connection.presence[side] == Presence::Perhaps {
                let open = possible && self.take(connection.flow(side));
                connection.presence[side] = if open {
                    Presence::Open
                } else {
                    Presence::Outside
                };
            }
        }
    }

    fn take_halves(&mut self, halves: &mut Vec<Half>) {
        for wanted in [Presence::Open, Presence::Perhaps] {
            for half in halves.iter_mut().filter(|half| half.presence == wanted) {
                half.presence = if self.take(half.flow as usize) {
                    Presence::Within
                } else {
                    Presence::Outside
                };
            }
        }
        halves.retain(|half| half.presence == Presence::Within);
    }
}

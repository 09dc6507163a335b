//! Handshakes that came from elsewhere: what leaves again under the same number is forwarded. Pure.

use std::collections::HashSet;

use crate::frame::{ACK, Segment};

/// How long a packet may be on its way through this host.
const TURN_NS: u64 = 2_000_000_000;
/// Numbers kept per turn.
const MAX: usize = 65_536;

/// What no forwarding host changes of a SYN or SYN-ACK: whether it is an answer, its sequence number
/// and what it acknowledges. The sequence number alone is not enough: among the answers of four
/// busy seconds it happens that one has the number of a SYN of this host.
pub(super) type Handshake = (bool, u32, u32);

/// Of a segment with SYN.
pub(super) const fn handshake(segment: &Segment) -> Handshake {
    (segment.has(ACK), segment.sequence, segment.acknowledged)
}

/// SYN and SYN-ACK that arrived in this turn and in the one before, by network namespace.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    now: HashSet<(u16, Handshake)>,
    before: HashSet<(u16, Handshake)>,
    turned_ns: u64,
    dropped: u64,
}

impl Arrivals {
    /// One arrived in a namespace.
    pub(crate) fn note(&mut self, space: u16, handshake: Handshake, now_ns: u64) {
        if now_ns.saturating_sub(self.turned_ns) >= TURN_NS {
            self.turned_ns = now_ns;
            self.before.clear();
            std::mem::swap(&mut self.before, &mut self.now);
        }
        if self.now.len() < MAX {
            self.now.insert((space, handshake));
        } else {
            self.dropped += 1;
        }
    }

    /// Whether the same one arrived a short while ago.
    pub(crate) fn has(&self, space: u16, handshake: Handshake) -> bool {
        let key = (space, handshake);
        self.now.contains(&key) || self.before.contains(&key)
    }

    /// Those that found no room.
    pub(crate) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn syn(sequence: u32) -> Handshake {
        (false, sequence, 0)
    }

    #[test]
    fn arrivals_are_remembered_for_two_turns_and_no_longer() {
        let mut arrivals = Arrivals::default();
        arrivals.note(0, syn(7), TURN_NS);
        assert!(arrivals.has(0, syn(7)) && !arrivals.has(1, syn(7)) && !arrivals.has(0, syn(8)));
        arrivals.note(0, syn(8), 2 * TURN_NS);
        assert!(arrivals.has(0, syn(7)));
        arrivals.note(0, syn(9), 3 * TURN_NS);
        assert!(!arrivals.has(0, syn(7)) && arrivals.has(0, syn(8)));
    }

    #[test]
    fn an_answer_with_the_number_of_a_syn_is_not_that_syn() {
        let mut arrivals = Arrivals::default();
        arrivals.note(0, (true, 7, 70), TURN_NS);
        assert!(!arrivals.has(0, syn(7)) && !arrivals.has(0, (true, 7, 71)));
        assert!(arrivals.has(0, (true, 7, 70)));
    }

    #[test]
    fn a_flood_is_bounded_and_counted() {
        let mut arrivals = Arrivals::default();
        for sequence in 0..70_000 {
            arrivals.note(0, syn(sequence), 1);
        }
        assert_eq!(arrivals.dropped(), 70_000 - 65_536);
    }
}

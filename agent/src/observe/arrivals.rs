//! Handshakes that came from elsewhere: what leaves again under the same number is forwarded. Pure.

use std::collections::HashSet;

/// How long a packet may be on its way through this host.
const TURN_NS: u64 = 2_000_000_000;
/// Numbers kept per turn.
const MAX: usize = 65_536;

/// Sequence numbers of SYN and SYN-ACK that arrived in this turn and in the one before.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    now: HashSet<(u16, u32)>,
    before: HashSet<(u16, u32)>,
    turned_ns: u64,
    dropped: u64,
}

impl Arrivals {
    /// One arrived in a namespace.
    pub(crate) fn note(&mut self, space: u16, sequence: u32, now_ns: u64) {
        if now_ns.saturating_sub(self.turned_ns) >= TURN_NS {
            self.turned_ns = now_ns;
            self.before.clear();
            std::mem::swap(&mut self.before, &mut self.now);
        }
        if self.now.len() < MAX {
            self.now.insert((space, sequence));
        } else {
            self.dropped += 1;
        }
    }

    /// Whether one with this number arrived a short while ago.
    pub(crate) fn has(&self, space: u16, sequence: u32) -> bool {
        let key = (space, sequence);
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

    #[test]
    fn arrivals_are_remembered_for_two_turns_and_no_longer() {
        let mut arrivals = Arrivals::default();
        arrivals.note(0, 7, TURN_NS);
        assert!(arrivals.has(0, 7) && !arrivals.has(1, 7) && !arrivals.has(0, 8));
        arrivals.note(0, 8, 2 * TURN_NS);
        assert!(arrivals.has(0, 7));
        arrivals.note(0, 9, 3 * TURN_NS);
        assert!(!arrivals.has(0, 7) && arrivals.has(0, 8));
    }

    #[test]
    fn a_flood_is_bounded_and_counted() {
        let mut arrivals = Arrivals::default();
        for sequence in 0..70_000 {
            arrivals.note(0, sequence, 1);
        }
        assert_eq!(arrivals.dropped(), 70_000 - 65_536);
    }
}

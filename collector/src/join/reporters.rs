//! What hosts tell of their connections at all.

use std::collections::BTreeMap;

use wire::{Part, Role};

use super::input::{HostId, Input};

/// Both ends of a connection that nothing else joins begin this close, by clocks that are kept.
pub(super) const SAME_TIME_US: i64 = 5_000_000;
/// Agents tell one in `2^4` fingerprints of the connections for which they wrote a token.
const SPARE_LEVELS: u8 = 4;

/// What a host tells of its connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reporter {
    /// Since when it counts, by its own clock; Unix milliseconds.
    pub(super) since_ms: i64,
    /// Coarsest level of the tokens that it told; `None` when it told none.
    pub(super) token: Option<u8>,
    /// Coarsest level of the fingerprints that it told, as a client and as a server.
    pub(super) sequence: [Option<u8>; 2],
    /// It wrote tokens, as a client and as a server.
    pub(super) writes: [bool; 2],
}

/// Hosts that tell tokens or fingerprints at all.
pub(super) struct Reporters(pub(super) BTreeMap<HostId, Reporter>);

/// 0 for a client, 1 for a server.
pub(super) const fn side(role: Role) -> usize {
    match role {
        Role::Client => 0,
        Role::Server => 1,
    }
}

impl Reporters {
    pub(super) fn of(input: &Input) -> Self {
        let mut all: BTreeMap<HostId, Reporter> = BTreeMap::new();
        for sighting in &input.sightings {
            let flow = &input.flows[sighting.flow];
            let one = all.entry(flow.host).or_insert(Reporter {
                since_ms: i64::MAX,
                token: None,
                sequence: [None; 2],
                writes: [false; 2],
            });
            let level = match sighting.part {
                Part::Sequence => &mut one.sequence[side(flow.role)],
                Part::Wrote | Part::Read => &mut one.token,
            };
            *level = (*level).max(Some(sighting.sample_level));
            one.writes[side(flow.role)] |= sighting.part == Part::Wrote;
        }
        for flow in &input.flows {
            if let Some(one) = all.get_mut(&flow.host) {
                one.since_ms = one.since_ms.min(flow.first_ms);
            }
        }
        // By the clock of its other end, what began before it may seem to have begun after.
        for one in all.values_mut() {
            one.since_ms = one.since_ms.saturating_add(SAME_TIME_US / 1000);
        }
        Self(all)
    }
}

impl Reporter {
    /// One in two to the power of this of the fingerprints that it knows are told.
    pub(super) fn sequence_level(&self, side: usize) -> u8 {
        let spare = self.token.unwrap_or(0).saturating_add(SPARE_LEVELS);
        self.sequence[side].unwrap_or(spare)
    }
}

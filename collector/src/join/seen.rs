//! What was reported of the ends of connections, each once.

use std::collections::BTreeMap;

use wire::{Endpoint, Role};

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

/// All reports of one token by one end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) flow: usize,
    pub(super) level: u8,
    pub(super) start_us: i64,
    /// Nobody saw how it began: it is no later than that.
    pub(super) adopted: bool,
    pub(super) first_ms: i64,
    pub(super) last_ms: i64,
    pub(super) presence: Presence,
    /// It was seen to begin in the window.
    pub(super) new: bool,
    /// It is open when the window ends.
    pub(super) open: bool,
}

/// All reports of one kind of one token, by end.
pub(super) type EndsSeen = BTreeMap<End, Seen>;

/// Adds a sighting to those of the same token.
pub(super) fn report(input: &Input, places: &Places, ends: &mut EndsSeen, sighting: &Sighting) {
    let new = seen(input, sighting);
    ends.entry(places.end(sighting))
        .and_modify(|old| *old = merge(input, *old, new))
        .or_insert(new);
}

fn seen(input: &Input, sighting: &Sighting) -> Seen {
    Seen {
        flow: sighting.flow,
        level: sighting.sample_level,
        start_us: sighting.start_us,
        adopted: sighting.adopted,
        first_ms: sighting.first_ms,
        last_ms: sighting.last_ms,
        presence: sighting.presence,
        new: sighting.presence == Presence::Within && !sighting.adopted,
        // What a run of the agent left open is not open by the next one, but for what that tells.
        open: sighting.open && !input.flows[sighting.flow].run.ended,
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
    let (first, other) = if rank(&b) < rank(&a) { (b, a) } else { (a, b) };
    // What a later run of the agent tells behind the window is no news of the window.
    let behind = other.presence == Presence::Outside && first.presence != Presence::Outside;
    Seen {
        flow: first.flow,
        level: a.level.min(b.level),
        start_us: a.start_us.min(b.start_us),
        adopted: a.adopted && b.adopted,
        first_ms: a.first_ms.min(b.first_ms),
        last_ms: if behind {
            first.last_ms
        } else {
            a.last_ms.max(b.last_ms)
        },
        presence: first.presence,
        new: a.new || b.new,
        open: if behind { first.open } else { a.open && b.open },
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

//! What a topology is made from: values, in any order.

use std::collections::BTreeSet;

use wire::{Endpoint, Part, ProcessRow, Role};

use super::runs::Run;
use crate::packed::Packed;

/// A host's stable id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostId(pub [u8; 16]);

/// Everything a topology is made from.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// Host names, where known.
    pub hosts: Vec<(HostId, String)>,
    /// Runs of agents that are hosts of their own, because several machines use one host id.
    pub copies: BTreeSet<HostId>,
    /// Hosts that reported in the window, whatever it was.
    pub reported: BTreeSet<HostId>,
    /// Process identities.
    pub processes: Vec<Process>,
    /// Flows with what they counted in the window.
    pub flows: Vec<Flow>,
    /// Sightings told in the window or of what may be open since before, and all others of the same
    /// tokens.
    pub sightings: Vec<Sighting>,
    /// What gateways translated.
    pub nats: Vec<Nat>,
    /// Data up to then may be missing, for they made room; Unix milliseconds.
    pub evicted_before_ms: Option<i64>,
}

/// A process identity and when it was last reported.
#[derive(Clone, Debug)]
pub struct Process {
    /// The identity.
    pub row: ProcessRow,
    /// Unix milliseconds.
    pub last_ms: i64,
}

/// The connections of one process identity with one remote service, in one direction.
#[derive(Clone, Debug)]
pub struct Flow {
    /// Reporting host.
    pub host: HostId,
    /// Index into [`Input::processes`]; `None` while its row has not arrived.
    pub process: Option<usize>,
    /// Role of that process.
    pub role: Role,
    /// Network namespace inode number.
    pub netns: u32,
    /// Local address; port 0 for a client.
    pub local: Endpoint,
    /// Remote address; port 0 for a server.
    pub remote: Endpoint,
    /// What was counted in the window; `None` when only sightings are known.
    pub counters: Option<Packed>,
    /// Connections open at the begin of the window.
    pub open_before: u64,
    /// The run of the agent that counted.
    pub run: Run,
    /// Unix milliseconds from which it is known.
    pub first_ms: i64,
    /// Unix milliseconds up to which it was active.
    pub last_ms: i64,
}

/// One end of one connection that carried a waybill.
#[derive(Clone, Debug)]
pub struct Sighting {
    /// Index into [`Input::flows`].
    pub flow: usize,
    /// The waybill's token.
    pub token: u64,
    /// What this end did with it.
    pub part: Part,
    /// One in `2^n` tokens was kept.
    pub sample_level: u8,
    /// The port that the flow does not hold: a client's local, a server's remote one.
    pub port: u16,
    /// Unix microseconds of the first segment.
    pub start_us: i64,
    /// It was open before the run of the agent, and `start_us` is when it was found.
    pub adopted: bool,
    /// Begin of the interval that told of it, Unix milliseconds.
    pub first_ms: i64,
    /// End of that interval.
    pub last_ms: i64,
    /// What it has to do with the window.
    pub presence: Presence,
    /// Its agent says that it is open when the window ends.
    pub open: bool,
}

/// What one end of a connection has to do with the window, by the intervals of its own agent: the
/// same ones as those of its counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// It was told in the window.
    Within,
    /// It was told before, and had not ended when the window began.
    Open,
    /// It was told before by an agent that does not tell ends.
    Perhaps,
    /// It was told behind the window, or had ended before.
    Outside,
}

impl Presence {
    /// Of a connection that was told in an interval with this end, in the window after `from_ms` and
    /// up to `to_ms`. `ended_ms` is the end of the interval in which it ended, [`i64::MAX`] while it
    /// is open, and not there where the agent does not tell.
    #[must_use]
    pub fn of(told_ms: i64, ended_ms: Option<i64>, (from_ms, to_ms): (i64, i64)) -> Self {
        match ended_ms {
            _ if told_ms > to_ms => Self::Outside,
            _ if told_ms > from_ms => Self::Within,
            None => Self::Perhaps,
            Some(ended_ms) if ended_ms > from_ms => Self::Open,
            Some(_) => Self::Outside,
        }
    }
}

/// Connections that a gateway translated, all with the same addresses before and after.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Nat {
    /// The gateway.
    pub host: HostId,
    /// Its network namespace, by inode number.
    pub netns: u32,
    /// Who dialled, as the gateway saw it arrive; IPv6, or IPv4 mapped.
    pub client: [u8; 16],
    /// What was dialled.
    pub dialled: Endpoint,
    /// The address with which it left the gateway.
    pub source: [u8; 16],
    /// Where it went.
    pub server: Endpoint,
    /// Connections of the window.
    pub opened: u64,
    /// Connections before the window, some of which may still be open.
    pub before: u64,
}

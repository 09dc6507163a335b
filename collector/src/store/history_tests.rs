//! Histories that know the truth, as agents tell them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{Strategy, any, prop};
use tempfile::TempDir;
use wire::{Batch, BatchHeader, EdgeRow, HostRow, Kept, Life, Part, ProcessRow, Role, SightingRow};

use super::{NOW, Opened, endpoint, opened, store};

/// No connection begins later; milliseconds.
pub(crate) const LAST_BEGIN: u64 = 100_000;
/// All intervals of which anything is told have ended then.
pub(crate) const END: i64 = 400_000;
pub(crate) const VIP: &str = "10.1.0.100:80";
pub(crate) const GATEWAY: &str = "10.2.0.1:0";
/// Services of clients, two on each host, and servers, each on its own.
pub(crate) const CLIENTS: usize = 4;
pub(crate) const SERVERS: usize = 2;

/// From a service of a client through a gateway, which hides it, to a server, which is one of those
/// behind one address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    pub(crate) client: usize,
    pub(crate) server: usize,
    pub(crate) begin: u64,
    /// Not before [`END`] for what stays open.
    pub(crate) end: u64,
}

/// When the agent of a host ends its intervals, and when it is started again.
#[derive(Clone, Debug)]
pub(crate) struct Agent {
    pub(crate) interval: u64,
    pub(crate) phase: u64,
    pub(crate) restarts: Vec<u64>,
    /// It says which connections ended.
    pub(crate) tells_ends: bool,
    /// Its rows say what their interval added.
    pub(crate) adds: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) talks: Vec<Talk>,
    pub(crate) agents: Vec<Agent>,
}

impl Agent {
    /// Begin and end of each interval, by run.
    pub(crate) fn runs(&self) -> Vec<Vec<(u64, u64)>> {
        let mut runs = Vec::new();
        let mut begin = 0;
        let stops = self.restarts.iter().copied().chain([END.unsigned_abs()]);
        for stop in stops.filter(|stop| *stop > 0) {
            let mut run = Vec::new();
            let ends = (0..).map(|n| self.phase + n * self.interval);
            let started = begin;
            for end in ends.skip_while(|end| *end <= started) {
                run.push((begin, end.min(stop)));
                begin = end.min(stop);
                if end >= stop {
                    break;
                }
            }
            runs.push(run);
        }
        runs
    }
}

/// The host of a service, and its process there.
pub(crate) fn place(role: Role, number: usize) -> (u8, u32) {
    let number = u8::try_from(number).unwrap();
    match role {
        Role::Client => (number / 2, u32::from(number % 2) + 1),
        Role::Server => (10 + number, 1),
    }
}

pub(crate) fn ports(role: Role, number: usize, port: u16) -> (wire::Endpoint, wire::Endpoint) {
    let (host, _) = place(role, number);
    match role {
        Role::Client => (endpoint(&format!("10.1.0.{host}:{port}")), endpoint(VIP)),
        Role::Server => {
            let remote = wire::Endpoint {
                port,
                ..endpoint(GATEWAY)
            };
            (endpoint(&format!("10.2.0.{host}:8080")), remote)
        }
    }
}

/// What a run of an agent counted so far, by role and service.
pub(crate) type Counted = BTreeMap<(Role, usize), EdgeRow>;

/// The interval that ends, its run's begin and its host.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    pub(crate) host: u8,
    pub(crate) started: u64,
    pub(crate) begin: u64,
    pub(crate) end: u64,
}

impl History {
    /// What the agent of a host tells of, interval by interval.
    pub(crate) fn batches(&self, host: u8, agent: &Agent) -> Vec<Batch> {
        let mut batches = Vec::new();
        for (boot, run) in (0..).zip(agent.runs()) {
            let started = run.first().map_or(0, |(begin, _)| *begin);
            let mut counted = Counted::new();
            for (sequence, (begin, end)) in (1..).zip(run) {
                let span = Span {
                    host,
                    started,
                    begin,
                    end,
                };
                let (edges, sightings) = self.told(agent, span, &mut counted);
                let process = |process_id| ProcessRow {
                    process_id,
                    service: format!("service-{process_id}"),
                    ..ProcessRow::default()
                };
                batches.push(Batch {
                    header: BatchHeader {
                        host: [host; 16],
                        boot: [boot; 16],
                        sequence,
                        start_ms: begin,
                        end_ms: end,
                    },
                    hosts: vec![HostRow {
                        hostname: format!("host-{host}"),
                        ..HostRow::default()
                    }],
                    edges,
                    sightings,
                    processes: [1, 2].map(process).to_vec(),
                    ..Batch::default()
                });
            }
        }
        batches
    }

    /// The edges that changed in an interval, and what is told of connections.
    pub(crate) fn told(
        &self,
        agent: &Agent,
        span: Span,
        counted: &mut Counted,
    ) -> (Vec<EdgeRow>, Vec<SightingRow>) {
        let (mut changed, mut sightings) = (BTreeSet::new(), Vec::new());
        let mut added = Counted::new();
        for (at, talk) in self.talks.iter().enumerate() {
            for (role, number) in [(Role::Client, talk.client), (Role::Server, talk.server)] {
                let (host, process_id) = place(role, number);
                let new = (span.begin..span.end).contains(&talk.begin);
                let over = (span.begin..span.end).contains(&talk.end);
                // One that is older than this run is nobody's any more.
                if host != span.host || talk.begin < span.started || !(new || over) {
                    continue;
                }
                for counted in [&mut *counted, &mut added] {
                    let row = counted.entry((role, number)).or_insert_with(|| {
                        let (local, remote) = ports(role, number, 0);
                        EdgeRow::new((process_id, role, local, remote), 1, span.begin)
                    });
                    row.opened += u64::from(new);
                    row.closed += u64::from(over);
                    row.bytes_sent += 100 * (u64::from(new) + u64::from(over));
                }
                changed.insert((role, number));
                if new || agent.tells_ends {
                    sightings.push(sighted(at, talk, role, (agent.tells_ends, over)));
                }
            }
        }
        let edges = changed.iter().map(|key| match agent.adds {
            false => counted[key].clone(),
            true => EdgeRow {
                since_ms: counted[key].since_ms,
                total: false,
                ..added[key].clone()
            },
        });
        (edges.collect(), sightings)
    }

    /// The batches of each host, one after the other.
    pub(crate) fn all_batches(&self) -> Vec<Opened> {
        let hosts = (0..CLIENTS).map(|n| place(Role::Client, n).0);
        let mut hosts: Vec<u8> = hosts
            .chain((0..SERVERS).map(|n| place(Role::Server, n).0))
            .collect();
        hosts.dedup();
        let batches = hosts.iter().zip(&self.agents);
        batches
            .flat_map(|(host, agent)| self.batches(*host, agent))
            .map(opened)
            .collect()
    }

    pub(crate) fn stored(&self) -> TempDir {
        let dir = TempDir::new().unwrap();
        let mut store = store(&dir);
        let batches = self.all_batches();
        for outcome in store.put(&batches.iter().collect::<Vec<_>>(), NOW) {
            outcome.unwrap();
        }
        dir
    }
}

/// One end of a talk.
pub(crate) fn sighted(
    at: usize,
    talk: &Talk,
    role: Role,
    (tells_ends, over): (bool, bool),
) -> SightingRow {
    let number = match role {
        Role::Client => talk.client,
        Role::Server => talk.server,
    };
    let port = u16::try_from(20_000 + at).unwrap();
    let (local, remote) = ports(role, number, port);
    SightingRow {
        token: at as u64 + 1,
        part: match role {
            Role::Client => Part::Wrote,
            Role::Server => Part::Read,
        },
        answer: false,
        role,
        kept: Kept::Sampled,
        life: match (tells_ends, over) {
            (false, _) => Life::Unknown,
            (true, false) => Life::Open,
            (true, true) => Life::Ended,
        },
        sample_level: 0,
        process_id: place(role, number).1,
        local,
        remote,
        netns: 1,
        start_us: talk.begin * 1000,
    }
}

pub(crate) fn agent(tells_ends: bool) -> impl Strategy<Value = Agent> {
    let interval = prop::sample::select(vec![1_000, 7_000, 10_000, 60_000]);
    (interval, 1_u64..60_000, any::<bool>()).prop_map(move |(interval, phase, adds)| Agent {
        interval,
        phase: phase % interval + 1,
        restarts: Vec::new(),
        tells_ends,
        adds,
    })
}

pub(crate) fn talk() -> impl Strategy<Value = Talk> {
    // Most end at once, some much later, and some stay.
    let lives = prop::sample::select(vec![1_u64, 300, 900, 5_000, 50_000, 1_000_000]);
    (0..CLIENTS, 0..SERVERS, 0..LAST_BEGIN, lives).prop_map(|(client, server, begin, lives)| Talk {
        client,
        server,
        begin,
        end: begin + lives,
    })
}

pub(crate) fn history(tells_ends: bool) -> impl Strategy<Value = History> {
    let talks = prop::collection::vec(talk(), 1..40);
    let agents = prop::collection::vec(agent(tells_ends), CLIENTS / 2 + SERVERS);
    (talks, agents).prop_map(|(talks, agents)| History { talks, agents })
}

/// A history, and where the whole of it is cut.
pub(crate) fn cut(tells_ends: bool) -> impl Strategy<Value = (History, Vec<i64>)> {
    let cuts = prop::collection::vec(1..END, 0..12).prop_map(|mut cuts| {
        cuts.extend([0, END]);
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    });
    (history(tells_ends), cuts)
}

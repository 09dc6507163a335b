//! Windows against histories that know the truth: what is in each, and that they add up.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::{
    ProptestConfig, Strategy, any, prop, prop_assert, prop_assert_eq, proptest,
};
use tempfile::TempDir;
use wire::{Batch, BatchHeader, EdgeRow, HostRow, Kept, Life, Part, ProcessRow, Role, SightingRow};

use super::{NOW, endpoint, opened, path, rows, store};
use crate::join;
use crate::store::{Reader, Window};
use crate::topology::{Edge, Topology};

/// No connection begins later; milliseconds.
const LAST_BEGIN: u64 = 100_000;
/// All intervals of which anything is told have ended then.
const END: i64 = 400_000;
const VIP: &str = "10.1.0.100:80";
const GATEWAY: &str = "10.2.0.1:0";
/// Services of clients, two on each host, and servers, each on its own.
const CLIENTS: usize = 4;
const SERVERS: usize = 2;

/// From a service of a client through a gateway, which hides it, to a server, which is one of those
/// behind one address.
#[derive(Clone, Copy, Debug)]
struct Talk {
    client: usize,
    server: usize,
    begin: u64,
    /// Not before [`END`] for what stays open.
    end: u64,
}

/// When the agent of a host ends its intervals, and when it is started again.
#[derive(Clone, Debug)]
struct Agent {
    interval: u64,
    phase: u64,
    restarts: Vec<u64>,
    /// It says which connections ended.
    tells_ends: bool,
    /// Its rows say what their interval added.
    adds: bool,
}

#[derive(Clone, Debug)]
struct History {
    talks: Vec<Talk>,
    agents: Vec<Agent>,
}

impl Agent {
    /// Begin and end of each interval, by run.
    fn runs(&self) -> Vec<Vec<(u64, u64)>> {
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
fn place(role: Role, number: usize) -> (u8, u32) {
    let number = u8::try_from(number).unwrap();
    match role {
        Role::Client => (number / 2, u32::from(number % 2) + 1),
        Role::Server => (10 + number, 1),
    }
}

fn ports(role: Role, number: usize, port: u16) -> (wire::Endpoint, wire::Endpoint) {
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
type Counted = BTreeMap<(Role, usize), EdgeRow>;

/// The interval that ends, its run's begin and its host.
#[derive(Clone, Copy)]
struct Span {
    host: u8,
    started: u64,
    begin: u64,
    end: u64,
}

impl History {
    /// What the agent of a host tells of, interval by interval.
    fn batches(&self, host: u8, agent: &Agent) -> Vec<Batch> {
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
    fn told(
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

    fn stored(&self) -> TempDir {
        let dir = TempDir::new().unwrap();
        let mut store = store(&dir);
        let hosts = (0..CLIENTS).map(|n| place(Role::Client, n).0);
        let mut hosts: Vec<u8> = hosts
            .chain((0..SERVERS).map(|n| place(Role::Server, n).0))
            .collect();
        hosts.dedup();
        let batches = hosts.iter().zip(&self.agents);
        let batches: Vec<_> = batches
            .flat_map(|(host, agent)| self.batches(*host, agent))
            .map(opened)
            .collect();
        for outcome in store.put(&batches.iter().collect::<Vec<_>>(), NOW) {
            outcome.unwrap();
        }
        dir
    }
}

/// One end of a talk.
fn sighted(at: usize, talk: &Talk, role: Role, (tells_ends, over): (bool, bool)) -> SightingRow {
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

fn topology(dir: &TempDir, (from_ms, to_ms): (i64, i64)) -> Topology {
    let window = Window { from_ms, to_ms };
    let input = Reader::open(&path(dir))
        .unwrap()
        .window(window, &mut rows(100_000))
        .unwrap();
    join::topology(&input, from_ms, to_ms)
}

/// Ids of the ends of a talk.
fn ends(talk: &Talk) -> (String, String) {
    let (host, process) = place(Role::Client, talk.client);
    let (server, _) = place(Role::Server, talk.server);
    (
        format!("host-{host}/service-{process}"),
        format!("host-{server}/service-1"),
    )
}

/// What windows are added up by: what each side opened, and what is new by the edge's own count.
type Sums = BTreeMap<(String, String), [u64; 3]>;

fn add(sums: &mut Sums, edge: &Edge) {
    let sides = [&edge.client_counters, &edge.server_counters];
    let [client, server] = sides.map(|side| side.as_ref().map_or(0, |side| side.opened));
    let new = edge.connections - edge.open_before;
    let sum = sums
        .entry((edge.client.clone(), edge.server.clone()))
        .or_default();
    for (sum, n) in sum.iter_mut().zip([client, server, new]) {
        *sum += n;
    }
}

fn agent(tells_ends: bool) -> impl Strategy<Value = Agent> {
    let interval = prop::sample::select(vec![1_000, 7_000, 10_000, 60_000]);
    (interval, 1_u64..60_000, any::<bool>()).prop_map(move |(interval, phase, adds)| Agent {
        interval,
        phase: phase % interval + 1,
        restarts: Vec::new(),
        tells_ends,
        adds,
    })
}

fn talk() -> impl Strategy<Value = Talk> {
    // Most end at once, some much later, and some stay.
    let lives = prop::sample::select(vec![1_u64, 300, 900, 5_000, 50_000, 1_000_000]);
    (0..CLIENTS, 0..SERVERS, 0..LAST_BEGIN, lives).prop_map(|(client, server, begin, lives)| Talk {
        client,
        server,
        begin,
        end: begin + lives,
    })
}

fn history(tells_ends: bool) -> impl Strategy<Value = History> {
    let talks = prop::collection::vec(talk(), 1..40);
    let agents = prop::collection::vec(agent(tells_ends), CLIENTS / 2 + SERVERS);
    (talks, agents).prop_map(|(talks, agents)| History { talks, agents })
}

/// A history, and where the whole of it is cut.
fn cut(tells_ends: bool) -> impl Strategy<Value = (History, Vec<i64>)> {
    let cuts = prop::collection::vec(1..END, 0..12).prop_map(|mut cuts| {
        cuts.extend([0, END]);
        cuts.sort_unstable();
        cuts.dedup();
        cuts
    });
    (history(tells_ends), cuts)
}

proptest! {
    // Each case writes a database.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn windows_that_follow_one_another_add_up(
        (mut history, cuts) in cut(true),
        restarts in prop::collection::vec(prop::collection::vec(1..LAST_BEGIN, 0..3), 4),
    ) {
        for (agent, mut restarts) in history.agents.iter_mut().zip(restarts) {
            restarts.sort_unstable();
            restarts.dedup();
            agent.restarts = restarts;
        }
        let dir = history.stored();
        let mut truth = Sums::new();
        for talk in &history.talks {
            for sum in truth.entry(ends(talk)).or_default() {
                *sum += 1;
            }
        }
        let mut sums = Sums::new();
        for window in cuts.windows(2) {
            let topology = topology(&dir, (window[0], window[1]));
            prop_assert!(topology.unjoined.is_empty(), "{:?}: {:#?}", window, topology.unjoined);
            topology.edges.iter().for_each(|edge| add(&mut sums, edge));
        }
        sums.retain(|_, sum| *sum != [0; 3]);
        prop_assert_eq!(&sums, &truth);
        let mut whole = Sums::new();
        topology(&dir, (0, END)).edges.iter().for_each(|edge| add(&mut whole, edge));
        prop_assert_eq!(whole, truth);
    }

    #[test]
    fn a_window_shows_what_lived_in_it_and_nothing_else(
        (history, cuts) in cut(true), wide in any::<bool>(),
    ) {
        let dir = history.stored();
        let intervals: u64 = history.agents.iter().map(|agent| agent.interval).max().unwrap();
        let slack = i64::try_from(intervals).unwrap();
        for window in cuts.windows(2) {
            let to = if wide { window[1] } else { window[0] + 1 };
            let shown = topology(&dir, (window[0], to));
            let shown: Vec<_> = shown.edges.iter().map(|e| (e.client.clone(), e.server.clone())).collect();
            let lived = |from: i64, to: i64| {
                let talks = history.talks.iter().filter(move |talk| {
                    i64::try_from(talk.begin).unwrap() < to && i64::try_from(talk.end).unwrap() > from
                });
                talks.map(ends).collect::<Vec<_>>()
            };
            // By the intervals of the agents, which are the least that a window can show.
            for edge in &shown {
                let some = lived(window[0] - slack, to + slack);
                prop_assert!(some.contains(edge), "{edge:?} in {}..{to}", window[0]);
            }
            // What lives through the whole of it is there.
            let throughout = history.talks.iter().filter(|talk| {
                i64::try_from(talk.begin).unwrap() + slack < window[0]
                    && i64::try_from(talk.end).unwrap() > to
            });
            for edge in throughout.map(ends) {
                prop_assert!(shown.contains(&edge), "{edge:?} not in {}..{to}", window[0]);
            }
        }
    }

    #[test]
    fn without_ends_nothing_is_shown_of_a_service_that_has_nothing_open(
        (history, cuts) in cut(false),
    ) {
        let dir = history.stored();
        let interval = history.agents.iter().map(|agent| agent.interval).max().unwrap();
        for from in cuts {
            let now = from.unsigned_abs();
            let quiet = |talk: &Talk| talk.end + interval < now || talk.begin > now + interval;
            for edge in topology(&dir, (from, from + 1)).edges {
                let of_client = |talk: &&Talk| ends(talk).0 == edge.client;
                let silent = history.talks.iter().filter(of_client).all(quiet);
                prop_assert!(!silent, "{} at {from}", edge.client);
            }
        }
    }
}

/// A pool stays open; connections of another service of its host, to the same server, came after it
/// and are over: a window in which only the pool lives shows the pool, with all of the bytes.
#[test]
fn a_quiet_window_shows_the_pool_alone() {
    for tells_ends in [true, false] {
        let talk = |client, begin, end| Talk {
            client,
            server: 0,
            begin,
            end,
        };
        let mut talks = vec![talk(0, 500, 1_000_000)];
        talks.extend((0..20).map(|n| talk(1, 11_000 + n * 200, 11_100 + n * 200)));
        let agent = Agent {
            interval: 10_000,
            phase: 10_000,
            restarts: Vec::new(),
            tells_ends,
            adds: false,
        };
        let history = History {
            talks,
            agents: vec![agent; 4],
        };
        let dir = history.stored();
        let topology = topology(&dir, (30_000, 60_000));
        let edges: Vec<_> = topology
            .edges
            .iter()
            .map(|e| (e.client.as_str(), e.connections, e.open_before))
            .collect();
        assert_eq!(edges, [("host-0/service-1", 1, 1)]);
        assert!(topology.unjoined.is_empty());
        assert!(
            !topology.edges[0]
                .server_counters
                .as_ref()
                .unwrap()
                .apportioned
        );
    }
}

/// Two services hold a connection each to one of two servers behind one address, and both had short
/// ones to the other server after that: only ends tell which are open.
#[test]
fn pools_that_cross_are_told_apart_by_ends() {
    let talk = |client, server, begin, end| Talk {
        client,
        server,
        begin,
        end,
    };
    let talks = vec![
        talk(0, 0, 500, 1_000_000),
        talk(1, 1, 600, 1_000_000),
        talk(0, 1, 12_000, 12_010),
        talk(1, 0, 13_000, 13_010),
    ];
    let agent = Agent {
        interval: 10_000,
        phase: 10_000,
        restarts: Vec::new(),
        tells_ends: true,
        adds: false,
    };
    let history = History {
        talks,
        agents: vec![agent; 4],
    };
    let topology = topology(&history.stored(), (30_000, 40_000));
    let edges: Vec<_> = topology
        .edges
        .iter()
        .map(|e| (e.client.as_str(), e.server.as_str(), e.connections))
        .collect();
    assert_eq!(
        edges,
        [
            ("host-0/service-1", "host-10/service-1", 1),
            ("host-0/service-2", "host-11/service-1", 1),
        ]
    );
}

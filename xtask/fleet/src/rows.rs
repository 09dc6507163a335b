//! A batch of all families in the proportion of an interval.

use std::collections::BTreeSet;

use wire::{
    Batch, BatchHeader, EdgeRow, EventKind, EventRow, HostRow, Kept, Life, NatRow, Part,
    ProcessRow, Role, SightingRow, sample,
};

use super::edges::{Edge, INTERVAL_MS, edge};
use super::names::Names;
use super::random::{Random, count, float};
use super::topology::{Host, endpoint};

/// Rows of each family in one batch.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mix {
    /// Of edges that changed.
    pub edges: usize,
    /// Of kept connections.
    pub sightings: usize,
    /// Of processes that are told of again.
    pub processes: usize,
    /// Of the host itself.
    pub hosts: usize,
    /// Of abnormal connections.
    pub events: usize,
    /// Of translations.
    pub nats: usize,
}

impl Mix {
    /// An interval of a busy host: every changed edge, about one kept sighting per edge, some
    /// refreshed processes and abnormal connections, a few translations of its container bridge,
    /// and the host itself.
    #[must_use]
    pub fn interval(rows: usize) -> Self {
        let (sightings, processes, events) = (rows * 43 / 100, rows * 4 / 100, rows * 4 / 100);
        let nats = rows / 100;
        let edges = rows - sightings - processes - events - nats - 1;
        Self {
            edges,
            sightings,
            processes,
            hosts: 1,
            events,
            nats,
        }
    }
}

/// The same interval of one host in both semantics of a row.
#[derive(Debug)]
pub struct Interval {
    /// Rows of series say what the interval added.
    pub added: Batch,
    /// Rows of series are totals.
    pub totals: Batch,
}

/// The interval of one host; the same seed gives the same rows.
#[must_use]
pub fn interval(seed: u64, names: &Names, mix: Mix) -> Interval {
    let rows = [
        mix.edges,
        mix.processes,
        mix.sightings,
        mix.events,
        mix.nats,
    ];
    let rows = rows.into_iter().max().unwrap_or(0);
    let mut busy = Busy::new(
        seed,
        names,
        rows,
        mix.edges.max(mix.sightings).max(mix.events),
    );
    let mut added = Vec::new();
    for (process, edge) in &mut busy.edges {
        let process = &busy.host.processes[*process];
        added.extend(edge.interval(&mut busy.random, process, true));
    }
    added.truncate(mix.edges);
    busy.close(mix, added)
}

/// A host in the middle of its work.
#[derive(Debug)]
pub(crate) struct Busy {
    pub(crate) random: Random,
    pub(crate) host: Host,
    id: ([u8; 16], [u8; 16]),
    /// Each with its process.
    pub(crate) edges: Vec<(usize, Edge)>,
}

impl Busy {
    /// A host with that many edges and peers for as many other rows.
    pub(crate) fn new(seed: u64, names: &Names, rows: usize, wanted: usize) -> Self {
        let mut random = Random::new(seed);
        let host = Host::any(&mut random, names, rows);
        let id = (random.id(), random.id());
        let edges = edges(&mut random, &host, wanted);
        Self {
            random,
            host,
            id,
            edges,
        }
    }

    /// The interval that ends now, with these rows of edges.
    pub(crate) fn close(&mut self, mix: Mix, added: Vec<EdgeRow>) -> Interval {
        let (random, host) = (&mut self.random, &self.host);
        let totals: Vec<_> = self
            .edges
            .iter()
            .map(|(_, edge)| edge.row.clone())
            .collect();
        let start_ms = host.now_ms - INTERVAL_MS;
        let mut batch = Batch {
            header: BatchHeader {
                host: self.id.0,
                boot: self.id.1,
                sequence: (host.now_ms - host.agent_started_ms) / INTERVAL_MS + 1,
                start_ms,
                end_ms: host.now_ms,
            },
            ..Batch::default()
        };
        let level = sample::level_for(4 * mix.sightings as u64, mix.sightings as u64 + 1);
        batch.sightings = (0..mix.sightings)
            .map(|_| sighting(random, host, &totals, level))
            .collect();
        batch.events = (0..mix.events)
            .map(|_| event(random, host, &totals))
            .collect();
        batch.processes = processes(random, host, mix.processes);
        batch.hosts = (0..mix.hosts)
            .map(|_| host_row(random, host, &totals))
            .collect();
        batch.nats = nats(random, host, mix.nats);
        let mut of_interval = batch.clone();
        for row in &mut of_interval.nats {
            row.total = false;
            row.opened = 1 + random.poisson(1.5);
        }
        let key = |row: &EdgeRow| (row.process_id, row.role, row.local, row.remote);
        let changed: BTreeSet<_> = added.iter().map(key).collect();
        let totals = totals.into_iter().filter(|row| changed.contains(&key(row)));
        batch.edges = totals.collect();
        of_interval.edges = added;
        Interval {
            added: of_interval,
            totals: batch,
        }
    }
}

/// That many edges, each pair of ends once.
fn edges(random: &mut Random, host: &Host, wanted: usize) -> Vec<(usize, Edge)> {
    let mut keys = BTreeSet::new();
    let mut edges = Vec::new();
    let mut tries = 0;
    while edges.len() < wanted {
        tries += 1;
        assert!(
            tries < 1000 * wanted,
            "the host has too few peers for {wanted} edges"
        );
        // A few processes have most of the edges.
        let skewed = random.unit().powi(2) * float(host.processes.len() as u64);
        let process = usize::try_from(count(skewed.floor())).expect("an index");
        let edge = edge(random, host, &host.processes[process]);
        let row = &edge.row;
        if keys.insert((row.process_id, row.role, row.local, row.remote)) {
            edges.push((process, edge));
        }
    }
    edges
}

fn ephemeral(random: &mut Random, even: bool) -> u16 {
    let port = random.between(32_768, 60_998);
    u16::try_from(if even { port & !1 } else { port }).expect("a port")
}

/// A connection of that edge with both ports.
fn ports(random: &mut Random, edge: &EdgeRow) -> (wire::Endpoint, wire::Endpoint) {
    let (mut local, mut remote) = (edge.local, edge.remote);
    match edge.role {
        Role::Client => local.port = ephemeral(random, true),
        Role::Server => remote.port = ephemeral(random, false),
    }
    (local, remote)
}

fn sighting(random: &mut Random, host: &Host, edges: &[EdgeRow], level: u8) -> SightingRow {
    // The busier an edge, the more of its connections are seen.
    let (first, second) = (random.pick(edges), random.pick(edges));
    let edge = if first.opened > second.opened {
        first
    } else {
        second
    };
    let (local, remote) = ports(random, edge);
    let kept = match random.below(20) {
        0..=11 => Kept::Sampled,
        12..=16 => Kept::First,
        17 | 18 => Kept::LongLived,
        _ => Kept::Abnormal,
    };
    let mut token = random.bits();
    if kept == Kept::Sampled {
        token = token >> level << level;
    }
    let wrote = (edge.role == Role::Client) != random.chance(0.03);
    let age_us = if kept == Kept::LongLived {
        count(random.around(6e7, 1.0))
    } else {
        random.below(10_000_000)
    };
    SightingRow {
        token,
        part: if wrote { Part::Wrote } else { Part::Read },
        answer: wrote != (edge.role == Role::Client),
        role: edge.role,
        kept,
        // Most connections begin and end in one interval.
        life: if kept == Kept::LongLived {
            Life::Open
        } else {
            Life::Ended
        },
        sample_level: level,
        process_id: edge.process_id,
        local,
        remote,
        netns: edge.netns,
        start_us: host.now_ms * 1000 - age_us,
    }
}

fn event(random: &mut Random, host: &Host, edges: &[EdgeRow]) -> EventRow {
    let edge = random.pick(edges);
    let (local, remote) = ports(random, edge);
    let (kind, errno) = *random.pick(&[
        (EventKind::Failed, 110),
        (EventKind::Refused, 111),
        (EventKind::ResetLocal, 0),
        (EventKind::ResetRemote, 104),
        (EventKind::ResetRemote, 104),
        (EventKind::Retransmits, 0),
        (EventKind::TimedOut, 110),
    ]);
    let established = !matches!(kind, EventKind::Failed | EventKind::Refused);
    let share = random.unit() / float(edge.opened);
    let part = |bytes: u64| {
        if established {
            count(float(bytes) * share)
        } else {
            0
        }
    };
    EventRow {
        kind,
        time_us: host.now_ms * 1000 - random.below(10_000_000),
        role: edge.role,
        process_id: edge.process_id,
        local,
        remote,
        netns: edge.netns,
        token: if established { random.bits() } else { 0 },
        errno,
        duration_us: if kind == EventKind::Failed {
            127_000_000 + random.below(1_000_000)
        } else {
            count(random.around(80_000.0, 2.0))
        },
        bytes_sent: part(edge.bytes_sent),
        bytes_received: part(edge.bytes_received),
        retransmits: match kind {
            EventKind::Failed => 6,
            EventKind::Retransmits => random.between(3, 30),
            EventKind::TimedOut => 15,
            _ => random.poisson(0.2),
        },
    }
}

fn processes(random: &mut Random, host: &Host, wanted: usize) -> Vec<ProcessRow> {
    let mut rows: Vec<_> = host
        .processes
        .iter()
        .map(|process| process.row.clone())
        .collect();
    let mut id = rows.last().map_or(0, |row| row.process_id);
    while rows.len() < wanted {
        let mut row = random.pick(&rows).clone();
        id += 1;
        row.process_id = id;
        row.tgid = u32::try_from(random.between(300, 60_000)).expect("small");
        row.started_ms = host.now_ms - random.below(86_400_000);
        if !row.container.is_empty() {
            let bytes = [random.id(), random.id()].concat();
            row.container = notation::hex(&bytes);
            row.cgroup = format!("/system.slice/docker-{}.scope", row.container);
        }
        rows.push(row);
    }
    while rows.len() > wanted {
        let surplus = random.index(rows.len());
        rows.remove(surplus);
    }
    rows
}

/// What a gateway translates: a few VIPs with their servers, called by many clients from one of
/// the gateway's addresses.
fn nats(random: &mut Random, host: &Host, wanted: usize) -> Vec<NatRow> {
    let mut rows = Vec::new();
    let mut pairs = Vec::new();
    for _ in 0..wanted.div_ceil(40) {
        let service = random.pick(&host.processes);
        let (_, vip, _, site) = service.pair(random);
        let backends = random.between(1, 8);
        let servers: Vec<_> = (0..backends).map(|_| site.host(random)).collect();
        pairs.push((endpoint(vip.addr, service.port), servers));
    }
    while rows.len() < wanted {
        let (dialled, servers) = random.pick(&pairs);
        let (_, _, peer, site) = random.pick(&host.processes).pair(random);
        let since_ms = if random.chance(0.8) {
            host.agent_started_ms
        } else {
            host.now_ms - random.below(host.now_ms - host.agent_started_ms)
        };
        let client = if random.chance(0.3) {
            peer.addr
        } else {
            site.host(random)
        };
        rows.push(NatRow {
            total: true,
            netns: 4_026_531_840,
            client,
            dialled: *dialled,
            source: if random.chance(0.7) {
                host.processes[0].addr
            } else {
                client
            },
            server: endpoint(*random.pick(servers), dialled.port),
            since_ms,
            opened: count(random.around(200.0, 2.0)) + 1,
        });
    }
    rows
}

fn host_row(random: &mut Random, host: &Host, edges: &[EdgeRow]) -> HostRow {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let opened: u64 = edges.iter().map(|edge| edge.opened).sum();
    let counters = [
        (
            "batch_sealed_total",
            (host.now_ms - host.agent_started_ms) / 10_000,
        ),
        ("decode_records_total", opened * 3 + random.below(10_000)),
        ("decode_dropped_short_total", 0),
        ("kernel_dropped_ring_full_total", random.poisson(0.5)),
        ("kernel_options_read_total", opened / 3),
        ("kernel_options_written_total", opened / 2),
        ("option_bad_mac_total", 0),
        ("spool_dropped_full_total", 0),
        (
            "spool_stored_total",
            (host.now_ms - host.agent_started_ms) / 10_000,
        ),
        (
            "upload_attempts_total",
            (host.now_ms - host.agent_started_ms) / 9_990,
        ),
        ("upload_bytes_total", opened * 30),
        ("upload_dropped_refused_total", 0),
    ];
    HostRow {
        hostname: host.hostname.clone(),
        kernel: host.kernel.to_owned(),
        agent: String::from("0.1.0"),
        mode: String::from("sockops"),
        plan: vec![
            pair(
                "connection",
                "sockops: header-option helpers are there, cgroup2 is mountable",
            ),
            pair("records", "ring buffer"),
        ],
        facts: vec![
            pair("btf", "yes"),
            pair("cgroup", "hybrid"),
            pair("header_options", "yes"),
            pair("ring_buffer", "yes"),
            pair("selinux", "enforcing"),
        ],
        paths_off: Vec::new(),
        counters: counters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), *value))
            .collect(),
        started_ms: host.agent_started_ms,
    }
}

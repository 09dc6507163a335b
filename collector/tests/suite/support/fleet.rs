//! Simulated fleets that know the truth about themselves: gateways of every kind, boxes that strip
//! options and rewrite sequence numbers, address ranges that exist several times, clocks that are
//! wrong, lost batches, and agents of every mode side by side.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use collector::join::{HostId, Input};
use wire::{Endpoint, Role};

/// Client, server and the server's own endpoint, as an edge names them.
pub(crate) type Key = (String, String, String);

/// How many paths have a box on them that rewrites sequence numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rewriting {
    Nowhere,
    Somewhere,
    Everywhere,
}

/// What agents report, and what happened.
pub(crate) struct Fleet {
    pub(crate) input: Input,
    /// Connections of every edge.
    pub(crate) all: BTreeMap<Key, u64>,
    /// The edges both of whose ends are reported.
    pub(crate) visible: BTreeSet<Key>,
}

/// What the agent of a host does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Writes and reads options, and knows sequence numbers.
    Writes,
    /// Reads options and knows sequence numbers.
    Observes,
    /// Counts alone.
    Counts,
    /// There is none.
    Absent,
}

#[derive(Clone, Debug)]
struct Host {
    id: HostId,
    name: String,
    ip: IpAddr,
    mode: Mode,
    skew_us: i64,
    level: u8,
    loses: bool,
    /// Its only service runs in a container, behind the host's own address.
    contained: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rewrite {
    No,
    Client,
    Server,
    Both,
}

/// Everything between the hosts of two sites.
#[derive(Clone, Copy, Debug)]
struct Box {
    strips: bool,
    rewrites: Rewrite,
}

#[derive(Clone, Debug)]
struct Site {
    clients: Vec<Host>,
    servers: Vec<Host>,
    gateway: Host,
    public: IpAddr,
}

/// An address and an endpoint it dialled.
type Pair = (IpAddr, SocketAddr);

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn index(&mut self, n: usize) -> usize {
        usize::try_from(self.below(n as u64)).expect("an index")
    }

    pub(crate) fn per_cent(&mut self, n: u64) -> bool {
        self.below(100) < n
    }
}

struct Builder {
    random: Random,
    fleet: Fleet,
    flows: BTreeMap<(HostId, String, Role, Endpoint, Endpoint), usize>,
    nats: BTreeMap<(HostId, Pair, Pair), u64>,
    hosts: u8,
}

/// Makes the fleet of a seed.
pub(crate) fn fleet(seed: u64, rewriting: Rewriting) -> Fleet {
    let mut builder = Builder {
        random: Random(seed),
        fleet: Fleet {
            input: Input::default(),
            all: BTreeMap::new(),
            visible: BTreeSet::new(),
        },
        flows: BTreeMap::new(),
        nats: BTreeMap::new(),
        hosts: 0,
    };
    let sites = builder.sites();
    let mut boxes = BTreeMap::new();
    for pair in (0..sites.len()).flat_map(|a| (0..sites.len()).map(move |b| (a, b))) {
        boxes.insert(pair, builder.between(rewriting));
    }
    let services = builder.random.below(30) + 10;
    for _ in 0..services {
        builder.service(&sites, &boxes);
    }
    builder.finish(&sites)
}

impl Builder {
    fn sites(&mut self) -> Vec<Site> {
        let shared = self.random.per_cent(40);
        let count = 1 + self.random.below(3);
        let all = 0..u8::try_from(count).expect("few");
        all.map(|number| self.site(number, shared)).collect()
    }

    fn site(&mut self, number: u8, shared: bool) -> Site {
        let second = if shared { 0 } else { number };
        let (clients, servers) = (2 + self.random.below(4), 2 + self.random.below(3));
        let ip = |third, last| IpAddr::V4(Ipv4Addr::new(10, second, third, last));
        let mut list = |what: &str, third: u8, count: u64| -> Vec<Host> {
            let all = 0..u8::try_from(count).expect("few");
            all.map(|n| self.host(format!("{what}-{number}-{n}"), ip(third, n + 2)))
                .collect()
        };
        let (clients, servers) = (list("client", 1, clients), list("server", 2, servers));
        let mut gateway = self.host(format!("gateway-{number}"), ip(2, 1));
        if gateway.mode != Mode::Absent || self.random.per_cent(50) {
            gateway.mode = Mode::Counts;
        }
        Site {
            clients,
            servers,
            gateway,
            public: IpAddr::V4(Ipv4Addr::new(203, 0, 113, number + 1)),
        }
    }

    fn host(&mut self, name: String, ip: IpAddr) -> Host {
        self.hosts += 1;
        let random = &mut self.random;
        let skew_us = match random.below(100) {
            0..=2 => 7_200_000_000,
            3..=12 => i64::try_from(random.below(3_600_000_000)).expect("fits") - 1_800_000_000,
            _ => i64::try_from(random.below(4_000_000)).expect("fits") - 2_000_000,
        };
        Host {
            id: HostId([self.hosts; 16]),
            name,
            ip,
            mode: match random.below(20) {
                0..=7 => Mode::Writes,
                8..=13 => Mode::Observes,
                14..=16 => Mode::Counts,
                _ => Mode::Absent,
            },
            skew_us,
            level: [0, 0, 0, 2, 3][random.index(5)],
            loses: random.per_cent(20),
            contained: random.per_cent(25),
        }
    }

    fn between(&mut self, rewriting: Rewriting) -> Box {
        let some = [Rewrite::Client, Rewrite::Server, Rewrite::Both];
        let rewrites = match rewriting {
            Rewriting::Nowhere => Rewrite::No,
            Rewriting::Somewhere if self.random.per_cent(60) => Rewrite::No,
            Rewriting::Somewhere | Rewriting::Everywhere => some[self.random.index(3)],
        };
        Box {
            strips: self.random.per_cent(25),
            rewrites,
        }
    }

    /// Some connections of one service to another one, by way of what is between them.
    fn service(&mut self, sites: &[Site], boxes: &BTreeMap<(usize, usize), Box>) {
        let random = &mut self.random;
        let (from, to) = (random.index(sites.len()), random.index(sites.len()));
        let client = &sites[from].clients[random.index(sites[from].clients.len())];
        let name = if random.per_cent(30) { "cron" } else { "web" };
        let backends: Vec<&Host> = {
            let all = &sites[to].servers;
            let count = 1 + random.index(all.len());
            all.iter().take(count).collect()
        };
        let (port, kind) = (
            8000 + u16::try_from(random.below(3)).expect("few"),
            random.below(4),
        );
        let direct = from == to || sites[from].gateway.ip != sites[to].gateway.ip;
        let count = 1 + random.below(60);
        for _ in 0..count {
            let server = backends[self.random.index(backends.len())];
            let real = SocketAddr::new(server.ip, port);
            let vip = SocketAddr::new(sites[to].public, port);
            // Sites with the same addresses reach each other by public ones alone.
            let hops: Vec<(&Site, bool, bool)> = match (direct, kind) {
                (true, 0) => vec![],
                (true, 1) => vec![(&sites[to], true, false)],
                (true, 2) => vec![(&sites[to], false, true)],
                (true, _) => vec![(&sites[to], true, true)],
                (false, _) => vec![(&sites[from], true, false), (&sites[to], kind > 1, true)],
            };
            let dialled = if hops.iter().any(|hop| hop.2) {
                vip
            } else {
                real
            };
            self.connect(
                (client, name),
                server,
                (dialled, real),
                &hops,
                boxes[&(from, to)],
            );
        }
    }

    /// One connection, by way of gateways that rewrite its source or its destination.
    fn connect(
        &mut self,
        (client, service): (&Host, &str),
        server: &Host,
        (dialled, real): (SocketAddr, SocketAddr),
        hops: &[(&Site, bool, bool)],
        between: Box,
    ) {
        let bridge = IpAddr::V4(Ipv4Addr::new(172, 17, 0, 2));
        let own = if client.contained { bridge } else { client.ip };
        let listens = if server.contained { bridge } else { server.ip };
        let mut pair = (own, dialled);
        if client.contained {
            pair = self.translate(client, pair, (client.ip, dialled));
        }
        for (site, source, destination) in hops {
            let inside = *destination || site.gateway.ip.is_ipv4() && pair.1 == real;
            let source = match (source, inside) {
                (false, _) => pair.0,
                (true, true) => site.gateway.ip,
                (true, false) => site.public,
            };
            let destination = if *destination { real } else { pair.1 };
            pair = self.translate(&site.gateway, pair, (source, destination));
        }
        if server.contained {
            let inner = SocketAddr::new(listens, real.port());
            pair = self.translate(server, pair, (pair.0, inner));
        }
        let key = (
            format!("{}/{service}", client.name),
            format!("{}/server", server.name),
            pair.1.to_string(),
        );
        *self.fleet.all.entry(key.clone()).or_default() += 1;
        let near = self.count(client, service, Role::Client, own, dialled);
        let far = self.count(server, "server", Role::Server, pair.0, pair.1);
        if near.is_some() && far.is_some() {
            self.fleet.visible.insert(key);
        }
        self.sight((client, near), (server, far), between);
    }

    fn translate(&mut self, gateway: &Host, from: Pair, to: Pair) -> Pair {
        if gateway.mode != Mode::Absent && from != to {
            *self.nats.entry((gateway.id, from, to)).or_default() += 1;
        }
        to
    }
}

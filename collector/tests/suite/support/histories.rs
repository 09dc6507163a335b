//! Histories that know the truth about themselves: connections with a beginning and an end, agents
//! that come late, keep one in so many tokens or are missing, sites with equal addresses, gateways
//! in a row, and windows that show a part of all that.

mod report;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use collector::join::{HostId, Input};
use wire::{Endpoint, Role};

use super::fleet::{Key, Random};
use super::shapes::{Knobs, Shape, knobs};

/// Length of a history and of the intervals of agents, Unix microseconds.
const LENGTH_US: u64 = 120_000_000;
const INTERVAL_US: u64 = 10_000_000;
/// What agents keep of each edge in each interval whatever the sampling, and how much rarer
/// fingerprints beside tokens are.
const FIRST_PER_EDGE: u32 = 4;
const SPARE_LEVELS: u8 = 4;

/// What agents report of a window, and what happened in it.
pub(crate) struct History {
    pub(crate) input: Input,
    /// Unix milliseconds.
    pub(crate) window: (i64, i64),
    /// Connections of every edge.
    pub(crate) all: BTreeMap<Key, u64>,
    /// Those that both ends counted.
    pub(crate) counted: BTreeMap<Key, u64>,
    /// Those that both ends told by a token or a fingerprint, the same one.
    pub(crate) told: BTreeMap<Key, u64>,
    /// The services whose connections an edge has, also where their owner was not known.
    pub(crate) services: BTreeMap<Key, BTreeSet<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Writes,
    Observes,
    Counts,
    Absent,
}

#[derive(Clone, Debug)]
struct Host {
    id: HostId,
    name: String,
    ip: IpAddr,
    mode: Mode,
    since_us: u64,
    level: u8,
    skew_us: i64,
}

/// A gateway that changes the source, the destination, or both.
#[derive(Clone, Debug)]
struct Hop {
    host: Host,
    source: Option<IpAddr>,
    inside: Option<SocketAddr>,
}

type Pair = (IpAddr, SocketAddr);

/// An end of a connection, as its host sees it.
struct End<'a> {
    host: &'a Host,
    service: &'a str,
    role: Role,
    local: SocketAddr,
    remote: SocketAddr,
}

struct Builder {
    random: Random,
    knobs: Knobs,
    history: History,
    flows: BTreeMap<(HostId, String, Role, Endpoint, Endpoint), usize>,
    nats: BTreeMap<(HostId, Pair, Pair), (u64, u64)>,
    kept: BTreeMap<(usize, u64, bool), u32>,
    hosts: u8,
    ports: u64,
}

/// Makes the history of a seed.
pub(crate) fn history(seed: u64, shape: Shape) -> History {
    let mut random = Random(seed ^ (shape as u64) << 40);
    let knobs = knobs(shape, &mut random);
    let from_us = if knobs.part {
        random.below(LENGTH_US / 2)
    } else {
        0
    };
    let ms = |us: u64| i64::try_from(us / 1000).expect("fits");
    let mut builder = Builder {
        random,
        knobs,
        history: History {
            input: Input::default(),
            window: (ms(from_us) - i64::from(from_us == 0), ms(LENGTH_US)),
            all: BTreeMap::new(),
            counted: BTreeMap::new(),
            told: BTreeMap::new(),
            services: BTreeMap::new(),
        },
        flows: BTreeMap::new(),
        nats: BTreeMap::new(),
        kept: BTreeMap::new(),
        hosts: 0,
        ports: 0,
    };
    let sites = if builder.knobs.twins {
        2
    } else {
        1 + builder.random.below(2)
    };
    for site in 0..sites {
        builder.site(u8::try_from(site).expect("few"));
    }
    builder.finish()
}

impl Builder {
    /// All hosts of a site, and what they said to each other.
    fn site(&mut self, number: u8) {
        let second = if self.knobs.twins { 0 } else { number };
        let ip = |third, last| IpAddr::V4(Ipv4Addr::new(10, second, third, last));
        let sides = [1 + self.random.below(3), 1 + self.random.below(3)];
        // Of twins, one has agents at its clients and the other one at its servers.
        let missing = |role: u8| self.knobs.twins && role != number % 2;
        let missing = [missing(0), missing(1)];
        let mut list = |what: &str, role: u8| -> Vec<Host> {
            let all = 0..u8::try_from(sides[usize::from(role)]).expect("few");
            all.map(|n| {
                let name = format!("{what}-{number}-{n}");
                let mut host = self.host(name, ip(1 + role, n + 2));
                if missing[usize::from(role)] {
                    host.mode = Mode::Absent;
                }
                host
            })
            .collect()
        };
        let (clients, servers) = (list("client", 0), list("server", 1));
        let strangers = if self.knobs.absent > 0 {
            1 + self.random.below(2)
        } else {
            0
        };
        let mut others = Vec::new();
        for n in 0..u8::try_from(strangers).expect("few") {
            let mut host = self.host(format!("stranger-{number}-{n}"), ip(1, n + 100));
            host.mode = Mode::Absent;
            others.push(host);
        }
        for port in 0..1 + self.random.below(2) {
            let port = 8000 + u16::try_from(port).expect("few");
            let gateways = self.gateways(number, port, &ip);
            for client in clients.iter().chain(&others) {
                let services: &[&str] = if self.random.per_cent(40) {
                    &["web", "cron"]
                } else {
                    &["web"]
                };
                for service in services {
                    self.talk((client, service), &servers, port, &gateways);
                }
            }
        }
    }

    fn host(&mut self, name: String, ip: IpAddr) -> Host {
        self.hosts += 1;
        let random = &mut self.random;
        let mode = match random.below(100) {
            n if n < self.knobs.absent => Mode::Absent,
            _ if random.per_cent(self.knobs.observes / 5) => Mode::Counts,
            _ if random.per_cent(self.knobs.observes) => Mode::Observes,
            _ => Mode::Writes,
        };
        let host = Host {
            id: HostId([self.hosts; 16]),
            name: name.clone(),
            ip,
            mode,
            since_us: if random.per_cent(self.knobs.late) {
                random.below(LENGTH_US * 3 / 4)
            } else {
                0
            },
            level: self
                .knobs
                .level
                .min(u8::try_from(random.below(7)).expect("few")),
            skew_us: i64::try_from(random.below(2_000_000)).expect("fits") - 1_000_000,
        };
        self.history.input.hosts.push((host.id, name));
        host
    }

    /// The gateways before a service, from the client on; the last one knows the servers.
    fn gateways(&mut self, number: u8, port: u16, ip: &dyn Fn(u8, u8) -> IpAddr) -> Vec<Hop> {
        let mut hops = Vec::new();
        for at in 0..u8::try_from(self.knobs.hops).expect("few") {
            let host = self.host(format!("gateway-{number}-{at}-{port}"), ip(20 + at, 1));
            let inside = SocketAddr::new(ip(21 + at, 100), port + 100);
            hops.push(Hop {
                host: Host {
                    since_us: 0,
                    mode: if self.random.per_cent(80) {
                        Mode::Counts
                    } else {
                        Mode::Absent
                    },
                    ..host
                },
                source: self.random.per_cent(70).then(|| ip(20 + at, 1)),
                inside: Some(inside).filter(|_| self.random.per_cent(50)),
            });
        }
        hops
    }

    fn talk(&mut self, client: (&Host, &str), servers: &[Host], port: u16, hops: &[Hop]) {
        let unknown = self.random.per_cent(self.knobs.unknown);
        let count = 1 + self.random.below(self.knobs.most);
        for _ in 0..count {
            let server = &servers[self.random.index(servers.len())];
            let begin_us = self.random.below(LENGTH_US);
            let held = self.random.per_cent(self.knobs.held);
            let for_us = if held {
                LENGTH_US
            } else {
                self.random.below(3_000_000) + 1
            };
            let life = (begin_us, begin_us + for_us);
            let missed = self.random.per_cent(self.knobs.unowned);
            let owner = if unknown || missed {
                "(unknown)"
            } else {
                client.1
            };
            if hops.is_empty() && self.random.per_cent(self.knobs.crossed) {
                self.cross((client.0, owner), server, life);
            } else {
                self.connect((client, owner), server, port, hops, life);
            }
        }
    }

    /// No host gives the same port twice within a second.
    fn port(&mut self) -> u16 {
        self.ports += 1;
        u16::try_from(32_768 + self.ports * 7919 % 28_000).expect("a port")
    }

    fn connect(
        &mut self,
        ((client, service), owner): ((&Host, &str), &str),
        server: &Host,
        port: u16,
        hops: &[Hop],
        life: (u64, u64),
    ) {
        let real = SocketAddr::new(server.ip, port);
        // The first gateway is dialled by an address that all servers share.
        let vip = match (client.ip, hops.is_empty()) {
            (IpAddr::V4(ip), false) => {
                SocketAddr::from((Ipv4Addr::new(10, ip.octets()[1], 20, 100), port + 100))
            }
            _ => real,
        };
        let mut pair = (client.ip, vip);
        let near_port = self.port();
        let mut far_port = near_port;
        for (at, hop) in hops.iter().enumerate() {
            let last = at + 1 == hops.len();
            let to = (
                hop.source.unwrap_or(pair.0),
                if last {
                    real
                } else {
                    hop.inside.unwrap_or(pair.1)
                },
            );
            self.translate(&hop.host, pair, to, life);
            if hop.source.is_some() && !self.knobs.keeps_ports {
                far_port = self.port();
            }
            pair = to;
        }
        if self.is_outside(life) {
            return;
        }
        let key: Key = (
            format!("{}/{owner}", client.name),
            format!("{}/server", server.name),
            pair.1.to_string(),
        );
        *self.history.all.entry(key.clone()).or_default() += 1;
        let services = self.history.services.entry(key.clone()).or_default();
        services.insert(service.to_owned());
        let near = End {
            host: client,
            service: owner,
            role: Role::Client,
            local: SocketAddr::new(client.ip, near_port),
            remote: vip,
        };
        let far = End {
            host: server,
            service: "server",
            role: Role::Server,
            local: pair.1,
            remote: SocketAddr::new(pair.0, far_port),
        };
        let flows = [&near, &far].map(|end| self.count(end, life));
        if flows.iter().all(Option::is_some) {
            *self.history.counted.entry(key.clone()).or_default() += 1;
        }
        let ends = [(client, flows[0], near_port), (server, flows[1], far_port)];
        if self.sight(ends, life.0, false) {
            *self.history.told.entry(key).or_default() += 1;
        }
    }

    /// Both ends call `connect()`, and neither listens. It is no edge, for neither end is a server.
    fn cross(&mut self, (client, owner): (&Host, &str), server: &Host, life: (u64, u64)) {
        if self.is_outside(life) {
            return;
        }
        let ports = [self.port(), self.port()];
        let [near, far] = [(client, ports[0]), (server, ports[1])]
            .map(|(host, port)| SocketAddr::new(host.ip, port));
        let ends = [(client, owner, near, far), (server, "server", far, near)];
        let flows = ends.map(|(host, service, local, remote)| {
            let end = End {
                host,
                service,
                role: Role::Client,
                local,
                remote,
            };
            self.count(&end, life)
        });
        let ends = [(client, flows[0], ports[0]), (server, flows[1], ports[1])];
        self.sight(ends, life.0, true);
    }

    fn is_outside(&self, life: (u64, u64)) -> bool {
        let (from_us, upto_us) = self.window_us();
        life.1 <= from_us || life.0 > upto_us
    }

    fn window_us(&self) -> (u64, u64) {
        let us = |ms: i64| u64::try_from(ms.max(0)).expect("positive") * 1000;
        (us(self.history.window.0), us(self.history.window.1))
    }

    fn translate(&mut self, gateway: &Host, from: Pair, to: Pair, life: (u64, u64)) {
        let (from_us, upto_us) = self.window_us();
        if gateway.mode == Mode::Absent || from == to || life.0 > upto_us {
            return;
        }
        let sums = self.nats.entry((gateway.id, from, to)).or_default();
        if life.0 > from_us {
            sums.0 += 1;
        } else {
            sums.1 += 1;
        }
    }
}

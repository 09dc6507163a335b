//! The host: its processes, and whom each of them talks to.

use wire::{Endpoint, ProcessRow, Role};

use super::names::Names;
use super::random::{Random, float};

/// A host with its processes.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) hostname: String,
    pub(crate) kernel: &'static str,
    pub(crate) now_ms: u64,
    pub(crate) agent_started_ms: u64,
    pub(crate) processes: Vec<Process>,
}

/// A process identity and how its traffic looks.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) row: ProcessRow,
    pub(crate) netns: u32,
    pub(crate) addr: [u8; 16],
    pub(crate) port: u16,
    /// Subnets in which its peers live: the first octets, and the round trip to them in µs.
    pub(crate) peers: Vec<Site>,
    pub(crate) upstreams: Vec<u16>,
    pub(crate) style: Style,
}

/// A subnet with a typical round trip and loss.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    prefix: [u8; 16],
    hosts: u64,
    pub(crate) rtt_us: f64,
    pub(crate) loss: f64,
    pub(crate) mss: f64,
}

/// How the connections of a service look.
#[derive(Clone, Debug)]
pub(crate) struct Style {
    /// Connections per second of a typical edge.
    pub(crate) rate: f64,
    pub(crate) requests: f64,
    pub(crate) request_bytes: f64,
    pub(crate) response_bytes: f64,
    pub(crate) lifetime_s: f64,
    pub(crate) resets: f64,
    pub(crate) failures: f64,
    pub(crate) slow_reader: bool,
}

impl Style {
    fn any(random: &mut Random) -> Self {
        // Short calls, kept-alive calls, pools, bulk transfer, health checks.
        let (rate, requests, request, response, lifetime) = match random.below(10) {
            0..=3 => (0.5, 1.0, 700.0, 4_000.0, 0.05),
            4..=6 => (0.02, 40.0, 900.0, 9_000.0, 60.0),
            7 => (0.002, 4_000.0, 350.0, 1_500.0, 1_800.0),
            8 => (0.01, 3.0, 400.0, 900_000.0, 8.0),
            _ => (0.2, 1.0, 90.0, 160.0, 0.01),
        };
        Self {
            rate: random.around(rate, 0.8),
            requests: random.around(requests, 0.5).max(1.0),
            request_bytes: random.around(request, 0.7),
            response_bytes: random.around(response, 0.9),
            lifetime_s: random.around(lifetime, 0.5),
            resets: if random.chance(0.15) {
                random.unit() * 0.3
            } else {
                0.0005
            },
            failures: random.around(0.0008, 1.5).min(0.5),
            slow_reader: random.chance(0.1),
        }
    }
}

impl Site {
    fn any(random: &mut Random, names: &Names) -> Self {
        let mut prefix = [0; 16];
        if random.chance(0.08) {
            let (high, low) = (
                random.below(4).to_be_bytes(),
                random.below(64).to_be_bytes(),
            );
            prefix[..6].copy_from_slice(&[0xfd, 0x12, 0x6a, names.network, high[7], low[7]]);
        } else {
            prefix[10..].copy_from_slice(&[0xff, 0xff, 10, names.network, 0, 0]);
            prefix[14] = random.below(200).to_be_bytes()[7];
        }
        let far = *random.pick(&[180.0, 180.0, 400.0, 400.0, 900.0, 6_000.0, 38_000.0]);
        let loss = if random.chance(0.2) { 2e-3 } else { 2e-5 };
        Self {
            prefix,
            hosts: random.between(6, 254),
            rtt_us: random.around(far, 0.3),
            loss: random.around(loss, 0.8),
            mss: *random.pick(&[1_448.0, 1_448.0, 1_448.0, 1_398.0, 8_948.0]),
        }
    }

    /// One of the subnet's hosts.
    pub(crate) fn host(&self, random: &mut Random) -> [u8; 16] {
        let mut addr = self.prefix;
        let number = random.between(1, self.hosts);
        let last = number.to_be_bytes()[7];
        if addr[0] == 0xfd && addr[5].is_multiple_of(2) {
            // Half of the IPv6 networks number hosts by their network card (EUI-64), the others
            // by hand.
            let card = Random::new(number).bits().to_be_bytes();
            let vendor = [[0x52, 0x54, 0x00], [0xfa, 0x16, 0x3e]][usize::from(card[0] & 1)];
            addr[8..11].copy_from_slice(&vendor);
            addr[11..13].copy_from_slice(&[0xff, 0xfe]);
            addr[13..].copy_from_slice(&card[1..4]);
        } else {
            addr[15] = last;
        }
        addr
    }
}

impl Host {
    pub(crate) fn any(random: &mut Random, names: &Names, rows: usize) -> Self {
        let now_ms = 1_700_000_000_000 + random.below(90 * 86_400_000);
        let uptime_s = random.around(4.0 * 86_400.0, 1.2).min(200.0 * 86_400.0);
        // Who has more peers has them in more places.
        let places = random.between(4, 14) + rows as u64 / 500;
        let sites: Vec<_> = (0..places).map(|_| Site::any(random, names)).collect();
        let mut host = Self {
            hostname: format!("{}-{:04}", random.pick(names.sites), random.below(3000)),
            kernel: names.kernels[random.index(names.kernels.len())],
            now_ms,
            agent_started_ms: now_ms - super::random::count(uptime_s * 1000.0),
            processes: Vec::new(),
        };
        let own = sites[0].host(random);
        let count = 6 + rows / 25;
        let mut process_id = 0;
        for _ in 0..count {
            process_id += u32::try_from(random.between(1, 3)).expect("small");
            let process = host.process(random, names, process_id, own, &sites);
            host.processes.push(process);
        }
        host
    }

    fn process(
        &self,
        random: &mut Random,
        names: &Names,
        process_id: u32,
        own: [u8; 16],
        sites: &[Site],
    ) -> Process {
        let (exe, comm, unit, port) = *random.pick(names.programs);
        let service = *random.pick(names.services);
        let contained = unit.is_empty() || random.chance(0.2);
        let container: String = if contained {
            notation::hex(&[random.id(), random.id()].concat())
        } else {
            String::new()
        };
        let mut addr = own;
        let mut netns = 4_026_531_840;
        if contained {
            netns = 4_026_532_000 + u32::try_from(random.below(900)).expect("small");
            addr = [0; 16];
            let last = random.between(2, 60).to_be_bytes()[7];
            addr[10..].copy_from_slice(&[0xff, 0xff, 172, 17, 0, last]);
        }
        let tags = if random.chance(0.7) {
            vec![
                (
                    names.tag_keys[0].to_owned(),
                    (*random.pick(names.teams)).to_owned(),
                ),
                (names.tag_keys[1].to_owned(), String::from("prod")),
                (
                    names.tag_keys[2].to_owned(),
                    format!("{}", random.between(1, 3)),
                ),
            ]
        } else {
            Vec::new()
        };
        let age_ms = (random.unit() * float(self.now_ms - self.agent_started_ms)) + 10_000.0;
        let row = ProcessRow {
            process_id,
            tgid: u32::try_from(random.between(300, 60_000)).expect("small"),
            started_ms: self.now_ms - super::random::count(age_ms),
            comm: comm.to_owned(),
            exe: exe.to_owned(),
            cgroup: if contained {
                format!("/system.slice/docker-{container}.scope")
            } else {
                format!("/system.slice/{unit}")
            },
            container,
            unit: if contained {
                String::new()
            } else {
                unit.to_owned()
            },
            service: if random.chance(0.6) {
                service.to_owned()
            } else {
                comm.to_owned()
            },
            tags,
        };
        let upstreams = (0..random.between(1, 5)).map(|_| random.pick(names.programs).3);
        Process {
            row,
            netns,
            addr,
            port,
            upstreams: upstreams.collect::<Vec<_>>(),
            peers: (0..random.between(1, 5))
                .map(|_| random.pick(sites).clone())
                .collect(),
            style: Style::any(random),
        }
    }
}

impl Process {
    /// A peer of this process, and both ends as the edge names them.
    pub(crate) fn pair(&self, random: &mut Random) -> (Role, Endpoint, Endpoint, Site) {
        let site = random.pick(&self.peers).clone();
        let (mine, peer) = (self.addr, site.host(random));
        if random.chance(0.55) {
            let (local, remote) = (endpoint(mine, self.port), endpoint(peer, 0));
            (Role::Server, local, remote, site)
        } else {
            let port = *random.pick(&self.upstreams);
            (Role::Client, endpoint(mine, 0), endpoint(peer, port), site)
        }
    }
}

pub(crate) fn endpoint(addr: [u8; 16], port: u16) -> Endpoint {
    Endpoint { addr, port }
}

//! A simulated fleet: hosts whose agents count and sight exactly what happened.

mod host;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use wire::{
    Batch, Columns, EdgeRow, Endpoint, EventKind, EventRow, Kept, Life, Part, Role, SightingRow,
};

pub(crate) use host::{BEGIN_MS, RECEIVED, SENT};
use host::{Host, empty};
/// Length of a reporting interval.
const INTERVAL_MS: u64 = 10_000;

/// Which end writes a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carry {
    Client,
    Answer,
    Nothing,
    /// Nobody: both ends know the same sequence numbers.
    Sequence,
}

/// A way to connect.
#[derive(Clone, Debug)]
pub(crate) struct Talk<'a> {
    /// Host, service, address.
    pub(crate) client: (usize, &'a str, &'a str),
    /// Host, service, its own endpoint.
    pub(crate) server: (usize, &'a str, &'a str),
    /// What the client dials, where it is not the server's endpoint.
    pub(crate) vip: Option<&'a str>,
    /// Where the server sees it come from, where it is not the client's address.
    pub(crate) nat: Option<&'a str>,
    pub(crate) carry: Carry,
}

/// All hosts and the time.
pub(crate) struct World {
    hosts: Vec<Host>,
    pub(crate) now_ms: u64,
    connections: u64,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            hosts: Vec::new(),
            now_ms: BEGIN_MS,
            connections: 0,
        }
    }

    pub(crate) fn host(&mut self, name: &str) -> usize {
        let number = u8::try_from(self.hosts.len()).expect("few hosts");
        self.hosts.push(Host {
            id: [number + 1; 16],
            boot: [number + 101; 16],
            name: name.to_owned(),
            sequence: 0,
            started_ms: self.now_ms,
            closed_ms: self.now_ms,
            services: BTreeMap::new(),
            edges: BTreeMap::new(),
            reported: BTreeMap::new(),
            sightings: Vec::new(),
            held: Vec::new(),
            events: Vec::new(),
            nats: BTreeMap::new(),
            absent: Columns::NONE,
        });
        self.hosts.len() - 1
    }

    /// `n` connections, opened, used and closed.
    pub(crate) fn connect(&mut self, talk: &Talk<'_>, n: u64) {
        for _ in 0..n {
            self.connections += 1;
            self.connect_once(talk);
        }
    }

    fn connect_once(&mut self, talk: &Talk<'_>) {
        let port = u16::try_from(32_768 + self.connections % 28_000).expect("in range");
        let address = |text: &str, port| {
            let ip: IpAddr = text.parse().expect("address");
            Endpoint::from(SocketAddr::new(ip, port))
        };
        let endpoint = |text: &str| Endpoint::from(text.parse::<SocketAddr>().expect("endpoint"));
        let own = address(talk.client.2, port);
        let seen = talk.nat.map_or(own, |nat| address(nat, port));
        let real = endpoint(talk.server.2);
        let dialled = talk.vip.map_or(real, endpoint);
        let ends = [
            (talk.client.0, talk.client.1, Role::Client, own, dialled),
            (talk.server.0, talk.server.1, Role::Server, real, seen),
        ];
        let token = self.connections.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let now_ms = self.now_ms;
        for (host, service, role, local, remote) in ends {
            let host = &mut self.hosts[host];
            host.count(service, role, local, remote, now_ms);
            let part = |wrote| if wrote { Part::Wrote } else { Part::Read };
            let part = match talk.carry {
                Carry::Client => part(role == Role::Client),
                Carry::Answer => part(role == Role::Server),
                Carry::Sequence => Part::Sequence,
                Carry::Nothing => continue,
            };
            let process_id = host.services[service];
            host.sightings.push(SightingRow {
                token,
                part,
                answer: talk.carry == Carry::Answer,
                role,
                kept: Kept::Sampled,
                life: Life::Ended,
                sample_level: 0,
                process_id,
                local,
                remote,
                netns: 4_026_531_840,
                start_us: now_ms * 1000 + self.connections,
            });
        }
    }

    /// A connection that stays open.
    pub(crate) fn hold(&mut self, talk: &Talk<'_>) {
        self.connect(talk, 1);
        for (host, role) in ends(talk) {
            let host = &mut self.hosts[host];
            for row in host.edges.values_mut().filter(|row| row.role == role) {
                row.closed -= 1;
            }
            let told = host.sightings.iter_mut().rev();
            for row in told.filter(|row| row.role == role).take(1) {
                row.life = Life::Open;
                let name = match row.part {
                    Part::Sequence => row.token,
                    _ => self.connections,
                };
                host.held.push((name, row.clone()));
            }
        }
    }

    /// The connection that was held first ends.
    pub(crate) fn release(&mut self, talk: &Talk<'_>) {
        for (host, role) in ends(talk) {
            let host = &mut self.hosts[host];
            for row in host.edges.values_mut().filter(|row| row.role == role) {
                row.closed += 1;
            }
            if let Some(first) = host.held.iter().position(|(_, row)| row.role == role) {
                let (_, row) = host.held.remove(first);
                let life = Life::Ended;
                host.sightings.push(SightingRow { life, ..row });
            }
        }
    }

    /// Bytes on connections that are open, from client to server.
    pub(crate) fn traffic(&mut self, talk: &Talk<'_>, bytes: u64) {
        for host in [talk.client.0, talk.server.0] {
            for row in self.hosts[host]
                .edges
                .values_mut()
                .filter(|row| open(row) > 0)
            {
                match row.role {
                    Role::Client => row.bytes_sent += bytes,
                    Role::Server => row.bytes_received += bytes,
                }
            }
        }
    }

    /// Changes what both ends have counted.
    pub(crate) fn change(&mut self, talk: &Talk<'_>, change: impl Fn(&mut EdgeRow)) {
        let at = |text: &str| {
            let ip: IpAddr = text.parse().expect("address");
            Endpoint::from(SocketAddr::new(ip, 0))
        };
        let endpoint = |text: &str| Endpoint::from(text.parse::<SocketAddr>().expect("endpoint"));
        let real = endpoint(talk.server.2);
        let dialled = talk.vip.map_or(real, endpoint);
        let seen = at(talk.nat.unwrap_or(talk.client.2));
        let ends = [
            (
                talk.client.0,
                talk.client.1,
                Role::Client,
                at(talk.client.2),
                dialled,
            ),
            (talk.server.0, talk.server.1, Role::Server, real, seen),
        ];
        for (host, service, role, local, remote) in ends {
            let host = &mut self.hosts[host];
            let key = (host.services[service], role, local, remote);
            change(host.edges.get_mut(&key).expect("they have connected"));
        }
    }

    /// Closes one host's interval.
    pub(crate) fn close(&mut self, host: usize) -> Batch {
        let now_ms = self.now_ms;
        self.hosts[host].close(now_ms)
    }

    /// Lets an interval pass and closes it on every host.
    pub(crate) fn tick(&mut self) -> Vec<Batch> {
        self.now_ms += INTERVAL_MS;
        (0..self.hosts.len()).map(|host| self.close(host)).collect()
    }

    /// The agent of a host is started anew.
    pub(crate) fn restart(&mut self, host: usize) {
        let now_ms = self.now_ms;
        let host = &mut self.hosts[host];
        host.boot[1] += 1;
        host.sequence = 0;
        host.started_ms = now_ms;
        host.reported.clear();
        // Ids are given out anew, in another order.
        let ids: BTreeMap<String, u32> = host.services.keys().rev().cloned().zip(1..).collect();
        let of_old: BTreeMap<u32, u32> =
            host.services.iter().map(|(n, id)| (*id, ids[n])).collect();
        host.services = ids;
        let edges = std::mem::take(&mut host.edges);
        for ((process_id, role, local, remote), row) in edges {
            let id = of_old[&process_id];
            let adopted = EdgeRow {
                adopted: open(&row),
                absent: host.absent,
                ..empty(id, role, local, remote, now_ms)
            };
            if adopted.adopted > 0 {
                host.edges.insert((id, role, local, remote), adopted);
            }
        }
        for (name, row) in &mut host.held {
            (row.token, row.part, row.answer) = (*name, Part::Sequence, false);
            row.kept = Kept::Adopted;
            row.process_id = of_old[&row.process_id];
            row.start_us = now_ms * 1000;
        }
        host.sightings = host.held.iter().map(|(_, row)| row.clone()).collect();
    }

    /// An agent forgets its edges, as it does with idle ones when it needs the room.
    pub(crate) fn forget_edges(&mut self, host: usize) {
        self.hosts[host].edges.clear();
    }

    /// The sightings of the last interval are reported once more.
    pub(crate) fn repeat(&mut self, batch: &Batch) {
        let host = self
            .hosts
            .iter_mut()
            .find(|host| host.id == batch.header.host);
        host.expect("known")
            .sightings
            .extend(batch.sightings.iter().cloned());
    }

    /// A gateway translated `n` such connections.
    pub(crate) fn track(&mut self, gateway: usize, talk: &Talk<'_>, n: u64) {
        let address = |text: &str| {
            let ip: IpAddr = text.parse().expect("address");
            Endpoint::from(SocketAddr::new(ip, 0)).addr
        };
        let endpoint = |text: &str| Endpoint::from(text.parse::<SocketAddr>().expect("endpoint"));
        let key = (
            address(talk.client.2),
            endpoint(talk.vip.unwrap_or(talk.server.2)),
            address(talk.nat.unwrap_or(talk.client.2)),
            endpoint(talk.server.2),
        );
        *self.hosts[gateway].nats.entry(key).or_default() += n;
    }

    /// The kernel of a host does not count these.
    pub(crate) fn cannot_count(&mut self, host: usize, absent: Columns) {
        self.hosts[host].absent = absent;
    }

    /// Something abnormal happened.
    pub(crate) fn event(&mut self, host: usize, token: u64) {
        let any = Endpoint::from(SocketAddr::from(([10, 9, 9, 9], 9)));
        self.hosts[host].events.push(EventRow {
            kind: EventKind::ResetRemote,
            time_us: 1,
            role: Role::Client,
            process_id: 1,
            local: any,
            remote: any,
            netns: 1,
            token,
            errno: 104,
            duration_us: 7,
            bytes_sent: 1,
            bytes_received: 2,
            retransmits: 3,
        });
    }
}

/// Host and role of both ends.
fn ends(talk: &Talk<'_>) -> [(usize, Role); 2] {
    [(talk.client.0, Role::Client), (talk.server.0, Role::Server)]
}

/// Connections of a row that are open.
fn open(row: &EdgeRow) -> u64 {
    row.opened + row.adopted - row.closed
}

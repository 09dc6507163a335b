//! A small network that knows the truth about itself.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use wire::{Endpoint, Part, ProcessRow, Role};

use super::super::{Flow, HostId, Input, Nat, Presence, Process, Run, Sighting, topology};
use crate::packed::Packed;
use crate::topology::Topology;

pub(super) const GATEWAY: &str = "10.2.0.1";
pub(super) const VIP: &str = "10.1.0.100:80";

/// How a connection gets to its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Path {
    Direct,
    Snat,
    Dnat,
    FullNat,
}

/// Who wrote the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carry {
    Client,
    Answer,
    Both,
    Nothing,
    /// Nobody: both ends know the same sequence numbers.
    Sequence,
    /// Nobody, and a box between them wrote other sequence numbers.
    Rewritten,
    /// The client, and both ends know the same sequence numbers.
    ClientAndSequence,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Talk {
    pub(super) client: usize,
    pub(super) server: usize,
    pub(super) path: Path,
    pub(super) carry: Carry,
}

pub(super) fn endpoint(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().expect("address").into()
}

pub(super) fn client_ip(client: usize) -> IpAddr {
    format!("10.1.0.{}", client + 1).parse().expect("address")
}

pub(super) fn server_endpoint(server: usize) -> String {
    format!("10.2.0.{}:8080", server + 2)
}

/// Builds the input that agents on all clients and servers would report.
#[derive(Clone, Default)]
pub(super) struct Model {
    pub(super) input: Input,
    pub(super) flows: BTreeMap<(usize, Role, Endpoint), usize>,
    next: u64,
}

impl Model {
    pub(super) fn of(talks: &[Talk]) -> Self {
        let mut model = Self::default();
        for talk in talks {
            model.talk(*talk, 0);
        }
        model
    }

    fn flow(&mut self, number: usize, role: Role, local: Endpoint, remote: Endpoint) -> usize {
        let other = match role {
            Role::Client => remote,
            Role::Server => Endpoint { port: 0, ..remote },
        };
        let name = match role {
            Role::Client => "client",
            Role::Server => "server",
        };
        let at = *self.flows.entry((number, role, other)).or_insert_with(|| {
            let host = HostId([u8::try_from(number).expect("few") + 100 * role as u8; 16]);
            self.input.hosts.push((host, format!("{name}-{number}")));
            self.input.processes.push(Process {
                row: ProcessRow {
                    service: name.to_owned(),
                    ..ProcessRow::default()
                },
                last_ms: 5,
            });
            self.input.flows.push(Flow {
                host,
                process: Some(self.input.processes.len() - 1),
                role,
                netns: 1,
                local,
                remote: other,
                counters: Some(Packed::default()),
                open_before: 0,
                run: Run::default(),
                first_ms: -10_000,
                last_ms: 10,
            });
            self.input.flows.len() - 1
        });
        self.input.hosts.sort();
        self.input.hosts.dedup();
        let counters = self.input.flows[at].counters.as_mut().expect("set");
        counters.change(|all| {
            all.plain[crate::counters::OPENED] += 1;
            all.plain[6] += 1000 + self.next;
        });
        at
    }

    pub(super) fn talk(&mut self, talk: Talk, level: u8) {
        self.next += 1;
        let port = u16::try_from(30_000 + self.next % 30_000).expect("in range");
        let local = Endpoint::from(SocketAddr::new(client_ip(talk.client), 0));
        let real = endpoint(&server_endpoint(talk.server));
        let (dialled, from) = match talk.path {
            Path::Direct => (real, local),
            Path::Snat => (real, endpoint(&format!("{GATEWAY}:0"))),
            Path::Dnat => (endpoint(VIP), local),
            Path::FullNat => (endpoint(VIP), endpoint(&format!("{GATEWAY}:0"))),
        };
        let client = self.flow(talk.client, Role::Client, local, dialled);
        let server = self.flow(talk.server, Role::Server, real, from);
        // Tokens that are kept at every level up to 8.
        let token = self.next.wrapping_mul(0x9e37_79b9_7f4a_7c15) << 8;
        let mut sight = |flow, token, part| {
            self.input.sightings.push(Sighting {
                flow,
                token,
                part,
                sample_level: level,
                adopted: false,
                port,
                start_us: i64::try_from(self.next).expect("small"),
                first_ms: -10_000,
                last_ms: 10,
                presence: Presence::Within,
                open: false,
            });
        };
        if matches!(
            talk.carry,
            Carry::Client | Carry::Both | Carry::ClientAndSequence
        ) {
            sight(client, token, Part::Wrote);
            sight(server, token, Part::Read);
        }
        if matches!(talk.carry, Carry::Answer | Carry::Both) {
            sight(server, !token & !0xff, Part::Wrote);
            sight(client, !token & !0xff, Part::Read);
        }
        let fingerprint = token.rotate_left(32) & !0xff;
        if matches!(talk.carry, Carry::Sequence | Carry::ClientAndSequence) {
            sight(client, fingerprint, Part::Sequence);
            sight(server, fingerprint, Part::Sequence);
        }
        if talk.carry == Carry::Rewritten {
            sight(client, fingerprint, Part::Sequence);
            sight(server, fingerprint ^ 0x100, Part::Sequence);
        }
    }

    /// What the gateway's conntrack would say of all that was said so far.
    pub(super) fn track(&mut self, talk: Talk, opened: u64) {
        let local = Endpoint::from(SocketAddr::new(client_ip(talk.client), 0));
        let (real, gateway) = (
            endpoint(&server_endpoint(talk.server)),
            endpoint(&format!("{GATEWAY}:0")),
        );
        let (dialled, source) = match talk.path {
            Path::Direct => (real, local),
            Path::Snat => (real, gateway),
            Path::Dnat => (endpoint(VIP), local),
            Path::FullNat => (endpoint(VIP), gateway),
        };
        self.input.nats.push(Nat {
            host: HostId([250; 16]),
            netns: 1,
            client: local.addr,
            dialled,
            source: source.addr,
            server: real,
            opened,
            before: 0,
        });
    }

    pub(super) fn join(&self) -> Topology {
        topology(&self.input, 0, 10)
    }
}

//! A site of any size: services on hosts, each of which calls others, as their agents tell it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result, bail};
use collector::accept::BatchKey;
use wire::{
    Batch, BatchHeader, CONTENT_TYPE, EdgeRow, Endpoint, HostRow, Kept, Life, Part, ProcessRow,
    Role, SightingRow,
};

use crate::server::{Server, token};

/// Length of an interval here.
pub(crate) const MINUTE_MS: u64 = 60_000;
/// Most services that one calls.
pub(crate) const CALLS: u32 = 4;
/// Connections on each edge in an interval: each is sighted, or the others would be joined by guesses.
const CONNECTIONS: u64 = 1;
/// One edge in so many breaks now and then.
const BROKEN: u32 = 100;
/// Agents that are told at once.
const THREADS: usize = 8;
/// What all sockets are in.
const NETNS: u32 = 4_026_531_840;

/// Who calls whom.
struct Edge {
    client: u32,
    server: u32,
    is_broken: bool,
}

/// The site, and the time of its agents.
pub(crate) struct Site {
    /// Services on each host.
    per_host: u32,
    services: u32,
    edges: Vec<Edge>,
    hosts: u32,
    begin_ms: u64,
    now_ms: u64,
    interval: u64,
    connections: u64,
    batches: Vec<Batch>,
}

impl Site {
    /// `nodes` services on hosts, and `edges` between them.
    pub(crate) fn new(nodes: u32, edges: u32) -> Self {
        let is_small = nodes < 100;
        let per_host = if is_small { 1 } else { 10 };
        // Of a large one each service runs on twenty hosts.
        let services = if is_small { nodes } else { nodes / 20 };
        let reach = (services - 1) / CALLS;
        let edge = |number: u32| {
            let (client, call) = (number % nodes, number / nodes);
            // Each call leads to another service, so that no two are the same edge.
            let stride = reach.max(1);
            let offset = 1 + call * stride + scattered(number) % stride;
            let service = (client % services + offset) % services;
            let replicas = nodes / services;
            let server = service + services * (scattered(number + 7) % replicas);
            Edge {
                client,
                server,
                is_broken: number % BROKEN == BROKEN - 1,
            }
        };
        Self {
            per_host,
            services,
            edges: (0..edges).map(edge).collect(),
            hosts: nodes.div_ceil(per_host),
            begin_ms: 0,
            now_ms: 0,
            interval: 0,
            connections: 0,
            batches: Vec::new(),
        }
    }

    /// A minute of traffic that ends then.
    pub(crate) fn minute(&mut self, end_ms: u64) {
        if self.begin_ms == 0 {
            self.begin_ms = end_ms - MINUTE_MS;
        }
        self.now_ms = end_ms;
        self.interval += 1;
        self.batches = (0..self.hosts).map(|host| self.empty(host)).collect();
        for at in 0..self.edges.len() {
            self.talk(at);
        }
    }

    fn talk(&mut self, at: usize) {
        let Edge {
            client,
            server,
            is_broken,
        } = self.edges[at];
        self.connections += 1;
        let port = 32_768 + u16::try_from(self.connections % 28_000).unwrap_or(0);
        let real = SocketAddr::from((self.address(server), 8000 + self.slot(server)));
        let own = SocketAddr::from((self.address(client), port));
        let token = self.connections.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let start_us = (self.now_ms - MINUTE_MS / 2) * 1000 + self.connections;
        for (node, role, part, local, remote) in [
            (client, Role::Client, Part::Wrote, own, real),
            (server, Role::Server, Part::Read, real, own),
        ] {
            let process_id = u32::from(self.slot(node)) + 1;
            let without_port = |of: SocketAddr| Endpoint::from(SocketAddr::new(of.ip(), 0));
            let ends = match role {
                Role::Client => (without_port(local), Endpoint::from(remote)),
                Role::Server => (Endpoint::from(local), without_port(remote)),
            };
            let mut row = EdgeRow::new((process_id, role, ends.0, ends.1), NETNS, self.begin_ms);
            let all = CONNECTIONS * self.interval;
            (row.opened, row.closed) = (all, all);
            (row.bytes_sent, row.bytes_received) = (500 * all, 20_000 * all);
            (row.segments_sent, row.segments_received) = (10 * all, 10 * all);
            for round in 0..all {
                row.rtt.record(200 + 37 * (round % 9));
            }
            if is_broken {
                match role {
                    Role::Client => row.reset_remote = self.interval,
                    Role::Server => row.reset_local = self.interval,
                }
            }
            let host = usize::try_from(node / self.per_host).unwrap_or(0);
            self.batches[host].edges.push(row);
            self.batches[host].sightings.push(SightingRow {
                token,
                part,
                answer: false,
                role,
                kept: Kept::Sampled,
                life: Life::Ended,
                sample_level: 0,
                process_id,
                local: local.into(),
                remote: remote.into(),
                netns: NETNS,
                start_us,
            });
        }
    }

    /// What an agent says beside its connections.
    fn empty(&self, host: u32) -> Batch {
        let name = |node: u32| format!("svc-{:03}", node % self.services);
        let nodes = host * self.per_host..(host + 1) * self.per_host;
        let process = |node: u32| ProcessRow {
            process_id: u32::from(self.slot(node)) + 1,
            tgid: 1000 + u32::from(self.slot(node)),
            started_ms: self.begin_ms,
            comm: name(node),
            exe: format!("/usr/bin/{}", name(node)),
            service: name(node),
            tags: vec![(String::from("namespace"), format!("team-{}", node % 12))],
            ..ProcessRow::default()
        };
        let mut id = [0; 16];
        id[..4].copy_from_slice(&(host + 1).to_be_bytes());
        Batch {
            header: BatchHeader {
                host: id,
                boot: id,
                sequence: self.interval,
                start_ms: self.now_ms - MINUTE_MS,
                end_ms: self.now_ms,
            },
            processes: nodes.map(process).collect(),
            hosts: vec![HostRow {
                hostname: format!("host-{host:03}"),
                kernel: String::from("6.1.0-28-amd64"),
                agent: String::from("0.1.0"),
                mode: String::from("sockops"),
                started_ms: self.begin_ms,
                ..HostRow::default()
            }],
            ..Batch::default()
        }
    }

    fn slot(&self, node: u32) -> u16 {
        u16::try_from(node % self.per_host).unwrap_or(0)
    }

    fn address(&self, node: u32) -> Ipv4Addr {
        let host = node / self.per_host;
        let part = |number: u32| u8::try_from(number).unwrap_or(0);
        Ipv4Addr::new(
            10,
            part(64 + host / 62_500),
            part(host / 250 % 250),
            part(host % 250 + 1),
        )
    }

    /// Sends what every agent has of the minute.
    pub(crate) fn send(&self, server: &Server) -> Result<()> {
        let part = self.batches.len().div_ceil(THREADS);
        let numbered: Vec<_> = (0_u32..).zip(&self.batches).collect();
        std::thread::scope(|scope| {
            let threads: Vec<_> = numbered
                .chunks(part)
                .map(|some| scope.spawn(|| post(server, some)))
                .collect();
            for thread in threads {
                match thread.join() {
                    Ok(sent) => sent?,
                    Err(_) => bail!("a thread of agents ended"),
                }
            }
            Ok(())
        })
    }
}

fn post(server: &Server, some: &[(u32, &Batch)]) -> Result<()> {
    let client = server.client()?;
    for (agent, batch) in some {
        let mut answer = client
            .post(format!("https://{}/api/v1/batches", server.at))
            .header("Content-Type", CONTENT_TYPE)
            .header("Idempotency-Key", BatchKey::from(&batch.header).to_string())
            .header("Authorization", format!("Bearer {}", token(*agent)))
            .send(&wire::encode(batch))
            .context("a batch had no answer")?;
        let said = answer.body_mut().read_to_string()?;
        if answer.status().as_u16() != 200 {
            bail!("a batch was answered with {}: {said}", answer.status());
        }
    }
    Ok(())
}

/// A number that looks like chance and is always the same (splitmix).
fn scattered(number: u32) -> u32 {
    let mut n = u64::from(number).wrapping_add(0x9e37_79b9_7f4a_7c15);
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    u32::try_from((n ^ (n >> 31)) & 0xffff_ffff).unwrap_or(0)
}

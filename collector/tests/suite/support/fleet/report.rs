//! What the agents of a fleet tell of a connection.

use std::net::{IpAddr, SocketAddr};

use collector::counters::OPENED;
use collector::join::{Flow, Nat, Presence, Process, Run, Sighting};
use collector::packed::Packed;
use wire::{Endpoint, Part, ProcessRow, Role, fingerprint, sample};

use super::{Box, Builder, Fleet, Host, Mode, Rewrite, Site};

impl Builder {
    /// The flow of one end, where its host reports; `other` is its local address for a client,
    /// else the remote one.
    pub(crate) fn count(
        &mut self,
        host: &Host,
        service: &str,
        role: Role,
        other: IpAddr,
        endpoint: SocketAddr,
    ) -> Option<usize> {
        if host.mode == Mode::Absent {
            return None;
        }
        let (other, endpoint) = (
            Endpoint::from(SocketAddr::new(other, 0)),
            Endpoint::from(endpoint),
        );
        let (local, remote) = match role {
            Role::Client => (other, endpoint),
            Role::Server => (endpoint, other),
        };
        let input = &mut self.fleet.input;
        let key = (host.id, service.to_owned(), role, local, remote);
        let at = *self.flows.entry(key).or_insert_with(|| {
            input.processes.push(Process {
                row: ProcessRow {
                    service: service.to_owned(),
                    ..ProcessRow::default()
                },
                last_ms: 5,
            });
            input.flows.push(Flow {
                host: host.id,
                process: Some(input.processes.len() - 1),
                role,
                netns: 1 + u32::from(host.contained),
                local,
                remote,
                counters: Some(Packed::default()),
                open_before: 0,
                run: Run::default(),
                first_ms: 0,
                last_ms: 10,
            });
            input.flows.len() - 1
        });
        let counters = input.flows[at].counters.as_mut().expect("set");
        counters.change(|all| all.plain[OPENED] += 1);
        Some(at)
    }

    /// What both ends know of the connection beside its addresses.
    pub(crate) fn sight(
        &mut self,
        client: (&Host, Option<usize>),
        server: (&Host, Option<usize>),
        path: Box,
    ) {
        let random = &mut self.random;
        let start_us = 10_000_000_000 + i64::try_from(random.below(3_600_000_000)).expect("fits");
        let port = u16::try_from(32_768 + random.below(28_000)).expect("a port");
        let (token, answer) = (random.next(), random.next());
        let answers = server.0.mode == Mode::Writes && random.per_cent(20);
        let numbers = [random.next(), random.next()].map(|n| u32::try_from(n >> 32).expect("fits"));
        let mut seen = [[numbers[0], numbers[1]]; 2];
        // The client sees what the box made of the server's number, and the other way round.
        if matches!(path.rewrites, Rewrite::Client | Rewrite::Both) {
            seen[1][0] =
                numbers[0].wrapping_add(u32::try_from(random.below(1 << 31)).expect("fits") | 1);
        }
        if matches!(path.rewrites, Rewrite::Server | Rewrite::Both) {
            seen[0][1] =
                numbers[1].wrapping_add(u32::try_from(random.below(1 << 31)).expect("fits") | 1);
        }
        let knows = |host: &Host| matches!(host.mode, Mode::Writes | Mode::Observes);
        let mut parts = [Vec::new(), Vec::new()];
        if client.0.mode == Mode::Writes {
            parts[0].push((token, Part::Wrote));
            if knows(server.0) && !path.strips {
                parts[1].push((token, Part::Read));
            }
        }
        if answers {
            parts[1].push((answer, Part::Wrote));
            if knows(client.0) && !path.strips {
                parts[0].push((answer, Part::Read));
            }
        }
        for (((host, flow), mut parts), [first, second]) in
            [client, server].into_iter().zip(parts).zip(seen)
        {
            let print = fingerprint(first, second);
            // Of connections with a token, a sample.
            if knows(host) && (parts.is_empty() || sample::keep(print, 3)) {
                let level = if parts.is_empty() { host.level } else { 3 };
                parts.push((print, Part::Sequence));
                self.report(host, flow, &parts, level, (port, start_us));
            } else {
                self.report(host, flow, &parts, host.level, (port, start_us));
            }
        }
    }

    pub(crate) fn report(
        &mut self,
        host: &Host,
        flow: Option<usize>,
        parts: &[(u64, Part)],
        sequence_level: u8,
        (port, start_us): (u16, i64),
    ) {
        let Some(flow) = flow else { return };
        for (token, part) in parts {
            let level = match part {
                Part::Sequence => sequence_level,
                Part::Wrote | Part::Read => host.level,
            };
            let lost = host.loses && self.random.per_cent(10);
            if sample::keep(*token, level) && !lost {
                self.fleet.input.sightings.push(Sighting {
                    flow,
                    token: *token,
                    part: *part,
                    sample_level: level,
                    adopted: false,
                    port,
                    start_us: start_us + host.skew_us,
                    first_ms: 0,
                    last_ms: 10,
                    presence: Presence::Within,
                    open: false,
                });
            }
        }
    }

    pub(crate) fn finish(mut self, sites: &[Site]) -> Fleet {
        let plain = |ip| Endpoint::from(SocketAddr::new(ip, 0)).addr;
        for ((host, from, to), opened) in std::mem::take(&mut self.nats) {
            if self.random.per_cent(5) {
                continue;
            }
            self.fleet.input.nats.push(Nat {
                host,
                netns: 1,
                client: plain(from.0),
                dialled: from.1.into(),
                source: plain(to.0),
                server: to.1.into(),
                opened,
                before: 0,
            });
        }
        for site in sites {
            let all = site.clients.iter().chain(&site.servers);
            let hosts = all.chain([&site.gateway]);
            let names = hosts.map(|host| (host.id, host.name.clone()));
            self.fleet.input.hosts.extend(names);
        }
        self.fleet
    }
}

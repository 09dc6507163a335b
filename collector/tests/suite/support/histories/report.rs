//! What the agents of a history tell of a flow.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use collector::counters::{ADOPTED, OPENED};
use collector::join::{Flow, Nat, Presence, Process, Run, Sighting};
use collector::packed::Packed;
use wire::{Columns, Endpoint, Part, ProcessRow, Role, fingerprint, sample};

use super::{
    Builder, End, FIRST_PER_EDGE, History, Host, INTERVAL_US, LENGTH_US, Mode, SPARE_LEVELS,
};

impl Builder {
    /// The flow of an end that counts the connection, if its agent knows the direction.
    pub(crate) fn count(&mut self, end: &End<'_>, life: (u64, u64)) -> Option<usize> {
        let (from_us, upto_us) = self.window_us();
        let host = end.host;
        let seen_us = life.0.max(host.since_us);
        if host.mode == Mode::Absent || seen_us >= life.1 || seen_us > upto_us {
            return None;
        }
        let adopted = host.since_us > life.0;
        let unknown = adopted && self.random.per_cent(self.knobs.directionless);
        let (mut local, mut remote) = (Endpoint::from(end.local), Endpoint::from(end.remote));
        let mut role = end.role;
        if unknown {
            // Its agent writes one of them, which says nothing.
            role = [Role::Client, Role::Server][self.random.index(2)];
        } else {
            match role {
                Role::Client => local.port = 0,
                Role::Server => remote.port = 0,
            }
        }
        let at = self.flow(end, (role, local, remote));
        let flow = &mut self.history.input.flows[at];
        let counters = flow.counters.as_mut().expect("set");
        if unknown {
            counters.set_absent(Columns::ROLE);
        }
        match (seen_us > from_us || from_us == 0, adopted) {
            (true, false) => counters.change(|all| all.plain[OPENED] += 1),
            (true, true) => counters.change(|all| all.plain[ADOPTED] += 1),
            (false, _) => flow.open_before += 1,
        }
        Some(at).filter(|_| !unknown)
    }

    pub(crate) fn flow(&mut self, end: &End<'_>, key: (Role, Endpoint, Endpoint)) -> usize {
        let (host, service) = (end.host, end.service);
        let (role, local, remote) = key;
        let input = &mut self.history.input;
        // Who is not late was there for long.
        let since_ms = match i64::try_from(host.since_us / 1000).expect("fits") {
            0 => -60_000,
            since_ms => since_ms,
        };
        let key = (host.id, service.to_owned(), role, local, remote);
        *self.flows.entry(key).or_insert_with(|| {
            let process = (service != "(unknown)").then(|| {
                input.processes.push(Process {
                    row: ProcessRow {
                        service: service.to_owned(),
                        ..ProcessRow::default()
                    },
                    last_ms: 5,
                });
                input.processes.len() - 1
            });
            input.flows.push(Flow {
                host: host.id,
                process,
                role,
                netns: 1,
                local,
                remote,
                counters: Some(Packed::default()),
                open_before: 0,
                run: Run::default(),
                first_ms: since_ms,
                last_ms: i64::try_from(LENGTH_US / 1000).expect("fits"),
            });
            input.flows.len() - 1
        })
    }

    /// What both ends tell of a connection; true where they tell the same.
    pub(crate) fn sight(
        &mut self,
        ends: [(&Host, Option<usize>, u16); 2],
        begin_us: u64,
        crossed: bool,
    ) -> bool {
        let (from_us, _) = self.window_us();
        let random = &mut self.random;
        let (token, answer) = (random.next(), random.next());
        let answers = ends[1].0.mode == Mode::Writes && random.per_cent(20);
        let low = |n: u64| u32::try_from(n >> 32).expect("fits");
        let (own, other) = (low(random.next()), low(random.next()));
        let rewritten = other.wrapping_add(u32::from(self.knobs.rewrites));
        // The client's number comes first, and of two clients each has its own there.
        let far = if crossed {
            fingerprint(rewritten, own)
        } else {
            fingerprint(own, rewritten)
        };
        let prints = [fingerprint(own, other), far];
        let knows: Vec<bool> = ends
            .iter()
            .map(|(host, flow, _)| {
                let tells = matches!(host.mode, Mode::Writes | Mode::Observes);
                tells && flow.is_some() && host.since_us <= begin_us
            })
            .collect();
        let wrote = [
            knows[0] && ends[0].0.mode == Mode::Writes,
            knows[1] && answers,
        ];
        let passes = !self.knobs.strips;
        let mut names: [BTreeSet<(u64, bool)>; 2] = Default::default();
        for (at, (host, flow, port)) in ends.into_iter().enumerate() {
            let Some(flow) = flow.filter(|_| knows[at]) else {
                continue;
            };
            let mine = [token, answer][at];
            let theirs = [answer, token][at];
            let read = wrote[1 - at] && passes;
            let mut parts = Vec::new();
            if wrote[at] {
                parts.push((mine, Part::Wrote, false));
            }
            if read {
                parts.push((theirs, Part::Read, false));
            } else {
                parts.push((prints[at], Part::Sequence, wrote[at]));
            }
            for (name, part, spare) in parts {
                let level = host.level + if spare { SPARE_LEVELS } else { 0 };
                let interval = begin_us / INTERVAL_US;
                let kept = self.kept.entry((flow, interval, spare)).or_default();
                *kept += 1;
                let first = *kept <= if spare { 1 } else { FIRST_PER_EDGE };
                if !first && !sample::keep(name, level) {
                    continue;
                }
                names[at].insert((name, part == Part::Sequence));
                let start_us = i64::try_from(begin_us).expect("fits") + host.skew_us;
                let first_ms = i64::try_from(interval * INTERVAL_US / 1000).expect("fits");
                self.history.input.sightings.push(Sighting {
                    flow,
                    token: name,
                    part,
                    sample_level: level,
                    port,
                    start_us,
                    adopted: false,
                    first_ms,
                    last_ms: first_ms + 10_000,
                    open: false,
                    presence: if begin_us > from_us || from_us == 0 {
                        Presence::Within
                    } else {
                        Presence::Open
                    },
                });
            }
        }
        names[0].intersection(&names[1]).next().is_some()
    }

    pub(crate) fn finish(mut self) -> History {
        let plain = |ip| Endpoint::from(SocketAddr::new(ip, 0)).addr;
        for ((host, from, to), (opened, before)) in std::mem::take(&mut self.nats) {
            self.history.input.nats.push(Nat {
                host,
                netns: 1,
                client: plain(from.0),
                dialled: from.1.into(),
                source: plain(to.0),
                server: to.1.into(),
                opened,
                before,
            });
        }
        self.history
    }
}

//! Which side called `connect()` where the agent of one side does not know: who listens, and who
//! dialled, as others have reported it. Where nobody has, or they contradict each other, the
//! direction stays unknown and its row joins with nothing.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Columns, Endpoint, Role};

use super::input::{Flow, HostId, Input};

/// What is known of endpoints by everything that was reported.
#[derive(Default)]
struct Known {
    /// Endpoints that took connections, by the address that the listener has itself.
    listening: BTreeSet<Endpoint>,
    /// The same by host and namespace.
    own: BTreeSet<(HostId, u32, Endpoint)>,
    /// Endpoints that were dialled, and by which address.
    dialled: BTreeSet<Endpoint>,
}

/// Settles the direction of flows as far as others tell it.
///
/// What an end of such a connection told goes with it, whatever side its agent took it for, and is
/// no evidence where the direction stays unknown.
pub(super) fn settle(input: &mut Input) {
    let unknown = Unknown::of(input);
    if unknown.ports.is_empty() {
        return;
    }
    let guessed = unknown.take_sightings(input);
    let known = Known::of(input, &guessed);
    for at in unknown.ports.keys() {
        let flow = &mut input.flows[*at];
        let Some(role) = known.role(flow) else {
            continue;
        };
        match role {
            Role::Client => flow.local.port = 0,
            Role::Server => flow.remote.port = 0,
        }
        flow.role = role;
        if let Some(counters) = &mut flow.counters {
            counters.set_absent(counters.absent().without(Columns::ROLE));
        }
    }
    let flows = &input.flows;
    input.sightings.retain_mut(|sighting| {
        let Some((local, remote)) = unknown.ports.get(&sighting.flow) else {
            return true;
        };
        let flow = &flows[sighting.flow];
        sighting.port = match flow.role {
            Role::Client => *local,
            Role::Server => *remote,
        };
        !is_unknown(flow)
    });
}

/// Connections of which nobody knows the direction.
struct Unknown {
    /// The ports of each, local and remote, by flow.
    ports: BTreeMap<usize, (u16, u16)>,
    /// The same by where they are.
    flows: BTreeMap<(HostId, u32, Endpoint, Endpoint), Vec<usize>>,
}

impl Unknown {
    fn of(input: &Input) -> Self {
        let mut unknown = Self {
            ports: BTreeMap::new(),
            flows: BTreeMap::new(),
        };
        let flows = input.flows.iter().enumerate();
        for (at, flow) in flows.filter(|(_, flow)| is_unknown(flow)) {
            let ends = (flow.host, flow.netns, flow.local, flow.remote);
            unknown.flows.entry(ends).or_default().push(at);
            let ports = (flow.local.port, flow.remote.port);
            unknown.ports.insert(at, ports);
        }
        unknown
    }

    /// Gives them what was told of their ends; the flows that had it by a guess.
    fn take_sightings(&self, input: &mut Input) -> BTreeSet<usize> {
        let mut guessed = BTreeSet::new();
        for sighting in &mut input.sightings {
            let flow = &input.flows[sighting.flow];
            let (mut local, mut remote) = (flow.local, flow.remote);
            match flow.role {
                Role::Client => local.port = sighting.port,
                Role::Server => remote.port = sighting.port,
            }
            let found = self.flows.get(&(flow.host, flow.netns, local, remote));
            let Some(found) = found else { continue };
            let same = |at: &&usize| input.flows[**at].process == flow.process;
            if let Some(at) = found.iter().find(same).or(found.first()) {
                guessed.insert(sighting.flow);
                sighting.flow = *at;
            }
        }
        guessed
    }
}

/// Whether nobody knows which side of its connection the flow is.
fn is_unknown(flow: &Flow) -> bool {
    let counters = flow.counters.as_ref();
    counters.is_some_and(|counters| counters.absent().has(Columns::ROLE))
}

impl Known {
    /// `guessed` are flows that are there only because an agent took a side.
    fn of(input: &Input, guessed: &BTreeSet<usize>) -> Self {
        let mut known = Self::default();
        let counted = |(at, flow): &(usize, &Flow)| {
            let guess = flow.counters.is_none() && guessed.contains(at);
            !guess && !is_unknown(flow)
        };
        for (_, flow) in input.flows.iter().enumerate().filter(counted) {
            match flow.role {
                Role::Client => {
                    known.dialled.insert(flow.remote);
                }
                Role::Server => {
                    known.listening.insert(flow.local);
                    known.own.insert((flow.host, flow.netns, flow.local));
                }
            }
        }
        for nat in &input.nats {
            known.dialled.insert(nat.dialled);
            known.listening.insert(nat.server);
        }
        known
    }

    fn role(&self, flow: &Flow) -> Option<Role> {
        // A host knows its own listeners best: private addresses may be many hosts'.
        let own = (flow.host, flow.netns, flow.local);
        let is_service =
            |end: &Endpoint| self.listening.contains(end) || self.dialled.contains(end);
        let sides = (
            self.own.contains(&own) || is_service(&flow.local),
            is_service(&flow.remote),
        );
        match sides {
            (true, false) => Some(Role::Server),
            (false, true) => Some(Role::Client),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use wire::{Columns, Endpoint, Part, Role};

    use super::super::{Flow, HostId, Input, Nat, Presence, Run, Sighting, topology};
    use super::settle;
    use crate::counters::Counters;
    use crate::packed::Packed;
    use crate::topology::{EvidenceKind, Reason};

    fn endpoint(text: &str) -> Endpoint {
        text.parse::<SocketAddr>().unwrap().into()
    }

    fn flow(host: u8, role: Option<Role>, local: &str, remote: &str) -> Flow {
        let mut counters = Counters::default();
        counters.plain[crate::counters::ADOPTED] = 1;
        if role.is_none() {
            counters.absent = Columns::ROLE;
        }
        Flow {
            host: HostId([host; 16]),
            process: None,
            role: role.unwrap_or(Role::Client),
            netns: 1,
            local: endpoint(local),
            remote: endpoint(remote),
            counters: Some(Packed::from(&counters)),
            open_before: 0,
            run: Run::default(),
            first_ms: 0,
            last_ms: 1,
        }
    }

    fn input(flows: Vec<Flow>) -> Input {
        Input {
            flows,
            ..Input::default()
        }
    }

    const A: &str = "10.0.0.1:40000";
    const B: &str = "10.0.0.2:50000";

    #[test]
    fn who_listens_and_who_dialled_elsewhere_decide() {
        let others = [
            (
                flow(2, Some(Role::Server), B, "10.0.0.9:0"),
                Some(Role::Client),
            ),
            (
                flow(3, Some(Role::Client), "10.0.0.9:0", B),
                Some(Role::Client),
            ),
            (
                flow(1, Some(Role::Server), A, "10.0.0.9:0"),
                Some(Role::Server),
            ),
            (
                flow(3, Some(Role::Client), "10.0.0.9:0", A),
                Some(Role::Server),
            ),
            (
                flow(3, Some(Role::Client), "10.0.0.9:0", "10.0.0.9:1"),
                None,
            ),
        ];
        for (other, role) in others {
            let mut input = input(vec![flow(1, None, A, B), other.clone()]);
            settle(&mut input);
            let settled = &input.flows[0];
            let unknown = settled
                .counters
                .as_ref()
                .unwrap()
                .absent()
                .has(Columns::ROLE);
            assert_eq!((!unknown).then_some(settled.role), role, "{other:?}");
            let ports = (settled.local.port, settled.remote.port);
            let kept = match role {
                None => (40_000, 50_000),
                Some(Role::Client) => (0, 50_000),
                Some(Role::Server) => (40_000, 0),
            };
            assert_eq!(ports, kept);
        }
    }

    #[test]
    fn a_gateway_tells_what_was_dialled_and_where_it_went() {
        for (dialled, server, role) in [
            (B, "10.0.0.9:9", Role::Client),
            ("10.0.0.9:9", A, Role::Server),
        ] {
            let mut input = input(vec![flow(1, None, A, B)]);
            input.nats.push(Nat {
                host: HostId([9; 16]),
                netns: 1,
                client: endpoint("10.0.0.8:0").addr,
                dialled: endpoint(dialled),
                source: endpoint("10.0.0.7:0").addr,
                server: endpoint(server),
                opened: 1,
                before: 0,
            });
            settle(&mut input);
            assert_eq!(input.flows[0].role, role);
            assert!(
                !input.flows[0]
                    .counters
                    .as_ref()
                    .unwrap()
                    .absent()
                    .has(Columns::ROLE)
            );
        }
    }

    #[test]
    fn both_ends_are_joined_once_one_of_them_is_known() {
        let known = flow(2, Some(Role::Server), B, "10.0.0.1:0");
        let document = topology(&input(vec![flow(1, None, A, B), known]), 0, 1);
        assert_eq!((document.edges.len(), document.unjoined.len()), (1, 0));
        assert_eq!(document.edges[0].server_endpoint, B);
        assert_eq!(document.edges[0].connections, 1);
    }

    /// What an end told of a token, under the side that its agent took it for.
    fn told(input: &mut Input, flow: Flow, part: Part, port: u16) {
        input.flows.push(Flow {
            counters: None,
            ..flow
        });
        input.sightings.push(Sighting {
            flow: input.flows.len() - 1,
            token: 77,
            part,
            sample_level: 0,
            port,
            start_us: 5,
            adopted: true,
            first_ms: 0,
            last_ms: 1,
            presence: Presence::Within,
            open: false,
        });
    }

    #[test]
    fn what_an_end_told_goes_with_its_connection_and_joins_nothing_while_that_is_unknown() {
        // Agents took the client for the server and the server for the client.
        let mut both = input(vec![flow(1, None, A, B), flow(2, None, B, A)]);
        let wrong = flow(1, Some(Role::Server), A, "10.0.0.2:0");
        told(&mut both, wrong, Part::Wrote, 50_000);
        let wrong = flow(2, Some(Role::Client), "10.0.0.2:0", A);
        told(&mut both, wrong, Part::Read, 50_000);
        let document = topology(&both, 0, 1);
        assert!(document.edges.is_empty(), "{:?}", document.edges);
        let counts = document.unjoined.iter().map(|edge| edge.connections);
        assert_eq!(counts.collect::<Vec<_>>(), [1, 1], "each end once");
        // Somebody dialled one of them.
        both.flows
            .push(flow(3, Some(Role::Client), "10.0.0.9:0", B));
        let document = topology(&both, 0, 1);
        assert_eq!(document.edges.len(), 1);
        let edge = &document.edges[0];
        assert_eq!((edge.server_endpoint.as_str(), edge.connections), (B, 1));
        assert_eq!(edge.evidence[0].kind, EvidenceKind::Token);
        assert_eq!(edge.evidence[0].connections, 1);
    }

    #[test]
    fn what_nobody_knows_is_said_and_not_guessed() {
        let both = vec![flow(1, None, A, B), flow(2, None, B, A)];
        let document = topology(&input(both), 0, 1);
        assert!(document.edges.is_empty());
        assert_eq!(document.unjoined.len(), 2);
        let reasons = document.unjoined.iter().map(|edge| edge.reason);
        assert!(
            reasons
                .into_iter()
                .all(|reason| reason == Some(Reason::DirectionUnknown))
        );
    }
}

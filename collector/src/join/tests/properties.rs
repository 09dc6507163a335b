//! What holds for any network.

use std::collections::BTreeMap;

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};
use wire::{Part, Role};

use super::super::codec::Packing;
use super::super::sum::Sum;
use super::super::{Flow, HostId, Input, Nat, Presence, Run, Sighting, joined, topology};
use super::model::{Carry, Model, Path, Talk, endpoint, server_endpoint};
use crate::counters::Counters;
use crate::meter::Meter;
use crate::packed::Packed;
use crate::topology::{Edge, EvidenceKind, Topology};

/// Edge counts by client, server and endpoint.
fn counts(edges: &[Edge]) -> BTreeMap<(String, String, String), u64> {
    edges
        .iter()
        .map(|edge| {
            let key = (
                edge.client.clone(),
                edge.server.clone(),
                edge.server_endpoint.clone(),
            );
            (key, edge.connections)
        })
        .collect()
}

fn truth(talks: &[Talk]) -> BTreeMap<(String, String, String), u64> {
    let mut truth = BTreeMap::new();
    for talk in talks {
        let client = format!("client-{}/client", talk.client);
        let server = format!("server-{}/server", talk.server);
        *truth
            .entry((client, server, server_endpoint(talk.server)))
            .or_default() += 1;
    }
    truth
}

fn path() -> impl Strategy<Value = Path> {
    prop::sample::select(vec![Path::Direct, Path::Snat, Path::Dnat, Path::FullNat])
}

fn talks(carries: Vec<Carry>) -> impl Strategy<Value = Vec<Talk>> {
    let talk = (
        0_usize..4,
        0_usize..4,
        path(),
        prop::sample::select(carries),
    );
    let talk = talk.prop_map(|(client, server, path, carry)| Talk {
        client,
        server,
        path,
        carry,
    });
    prop::collection::vec(talk, 0..60)
}

fn presence() -> impl Strategy<Value = Presence> {
    prop::sample::select(vec![
        Presence::Within,
        Presence::Open,
        Presence::Perhaps,
        Presence::Outside,
    ])
}

/// The input in another order, with some sightings repeated.
fn shuffled(input: &Input, seed: u64) -> Input {
    let mut flow_order: Vec<usize> = (0..input.flows.len()).collect();
    flow_order.sort_by_key(|at| (*at as u64 + 1).wrapping_mul(seed | 1).rotate_left(17));
    let mut place = vec![0; flow_order.len()];
    for (new, old) in flow_order.iter().enumerate() {
        place[*old] = new;
    }
    let mut sightings: Vec<Sighting> = input
        .sightings
        .iter()
        .map(|s| Sighting {
            flow: place[s.flow],
            ..s.clone()
        })
        .collect();
    let again = sightings
        .iter()
        .filter(|s| s.token & 3 == seed & 3)
        .cloned()
        .collect::<Vec<_>>();
    sightings.extend(again);
    sightings.sort_by_key(|s| (s.token ^ s.flow as u64).wrapping_mul(seed | 1));
    Input {
        hosts: input.hosts.clone(),
        evicted_before_ms: None,
        copies: input.copies.clone(),
        reported: input.reported.clone(),
        processes: input.processes.clone(),
        flows: flow_order
            .iter()
            .map(|at| input.flows[*at].clone())
            .collect(),
        sightings,
        nats: {
            let mut nats = input.nats.clone();
            nats.sort_by_key(|nat| (nat.opened ^ seed).wrapping_mul(seed | 1));
            nats
        },
    }
}

fn joined_edges(input: Input) -> Sum {
    let joined = joined(input, i64::MIN, Meter::unlimited());
    joined.unwrap().edges
}

fn opened(topology: &Topology, side: fn(&Edge) -> Option<u64>) -> u64 {
    topology
        .edges
        .iter()
        .chain(&topology.unjoined)
        .filter_map(side)
        .sum()
}

proptest! {
    #[test]
    fn where_every_connection_carries_a_token_the_edges_are_the_truth(
        talks in talks(vec![
            Carry::Client, Carry::Answer, Carry::Both, Carry::ClientAndSequence,
        ]),
    ) {
        let joined = Model::of(&talks).join();
        prop_assert_eq!(counts(&joined.edges), truth(&talks));
        prop_assert!(joined.unjoined.is_empty());
        prop_assert_eq!(joined.ambiguous_tokens, 0);
        prop_assert!(joined.edges.iter().all(|edge| edge.confidence >= 0.99));
    }

    #[test]
    fn order_and_repetition_change_nothing(
        talks in talks(vec![
            Carry::Client, Carry::Answer, Carry::Both, Carry::Nothing, Carry::Sequence,
            Carry::Rewritten, Carry::ClientAndSequence,
        ]),
        tracked in 0..60_usize,
        seed: u64,
    ) {
        let mut model = Model::of(&talks);
        for talk in talks.iter().take(tracked) {
            model.track(*talk, 1);
        }
        let again = topology(&shuffled(&model.input, seed), 0, 10);
        prop_assert_eq!(model.join(), again);
    }

    #[test]
    fn counters_are_divided_without_a_remainder(
        talks in talks(vec![
            Carry::Client, Carry::Answer, Carry::Nothing, Carry::Sequence, Carry::Rewritten,
        ]),
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        tracked in 0..60_usize,
    ) {
        let mut model = Model::of(&talks);
        for talk in talks.iter().take(tracked) {
            model.track(*talk, 1);
        }
        for index in lost {
            if !model.input.sightings.is_empty() {
                let at = index.index(model.input.sightings.len());
                model.input.sightings.swap_remove(at);
            }
        }
        let joined = model.join();
        let total = talks.len() as u64;
        prop_assert_eq!(opened(&joined, |e| Some(e.client_counters.as_ref()?.opened)), total);
        prop_assert_eq!(opened(&joined, |e| Some(e.server_counters.as_ref()?.opened)), total);
        let sent: u64 = model.input.flows.iter().map(|f| f.counters.as_ref().unwrap().plain(6)).sum();
        let shown = opened(&joined, |e| e.client_counters.as_ref()?.bytes_sent)
            + opened(&joined, |e| e.server_counters.as_ref()?.bytes_sent);
        prop_assert_eq!(shown, sent);
    }

    #[test]
    fn token_edges_are_never_invented(
        talks in talks(vec![
            Carry::Client, Carry::Answer, Carry::Nothing, Carry::Sequence, Carry::Rewritten,
        ]),
        lost in prop::collection::vec(any::<prop::sample::Index>(), 0..40),
    ) {
        let mut model = Model::of(&talks);
        for index in lost {
            if !model.input.sightings.is_empty() {
                let at = index.index(model.input.sightings.len());
                model.input.sightings.swap_remove(at);
            }
        }
        let truth = truth(&talks);
        for edge in model.join().edges {
            let key = (edge.client.clone(), edge.server.clone(), edge.server_endpoint.clone());
            prop_assert!(truth.contains_key(&key), "{key:?}");
        }
    }

    #[test]
    fn a_copied_token_is_counted_and_never_joined(copies in 1_usize..4, wrote: bool, path in path()) {
        let talk = Talk { client: 0, server: 0, path, carry: Carry::Client };
        let mut model = Model::of(&[talk]);
        let part = if wrote { Part::Wrote } else { Part::Read };
        let original = model.input.sightings.iter().find(|s| s.part == part).unwrap().clone();
        for copy in 1..=copies {
            let mut flow = model.input.flows[original.flow].clone();
            flow.host = HostId([200 + u8::try_from(copy).unwrap(); 16]);
            model.input.flows.push(flow);
            let flow = model.input.flows.len() - 1;
            model.input.sightings.push(Sighting { flow, ..original.clone() });
        }
        let joined = model.join();
        prop_assert_eq!(joined.ambiguous_tokens, 1);
        let by_token = |e: &Edge| e.evidence.iter().any(|e| e.kind == EvidenceKind::Token);
        prop_assert!(!joined.edges.iter().any(by_token));
    }

    #[test]
    fn any_input_is_joined_without_panic(
        rows in prop::collection::vec(
            (0_u8..3, any::<bool>(), 0_u32..2, 0_u8..3, 0_u8..3, any::<u64>()), 1..12),
        sights in prop::collection::vec(
            (
                any::<prop::sample::Index>(), 0_u64..8, 0_u8..3, any::<u8>(), 0_u16..3, presence(),
            ), 0..60),
        nats in prop::collection::vec(
            (0_u8..3, 0_u8..3, 0_u8..3, 0_u8..3, 0_u8..3, any::<u64>(), any::<u64>()), 0..20),
    ) {
        let mut input = Input::default();
        for (host, server, netns, a, b, n) in rows {
            let mut counters = Counters::default();
            counters.plain = [n; crate::counters::COUNTERS];
            counters.rtt.buckets[3] = n;
            input.flows.push(Flow {
                host: HostId([host; 16]),
                process: None,
                role: if server { Role::Server } else { Role::Client },
                netns,
                local: endpoint(&format!("127.0.0.{a}:80")),
                remote: endpoint(&format!("127.0.0.{b}:80")),
                counters: Some(Packed::from(&counters)),
                open_before: n,
                run: Run::default(),
                first_ms: i64::MIN,
                last_ms: i64::MAX,
            });
        }
        for (host, a, b, c, d, opened, before) in nats {
            input.nats.push(Nat {
                host: HostId([host; 16]),
                netns: u32::from(a),
                client: endpoint(&format!("127.0.0.{a}:0")).addr,
                dialled: endpoint(&format!("127.0.0.{b}:80")),
                source: endpoint(&format!("127.0.0.{c}:0")).addr,
                server: endpoint(&format!("127.0.0.{d}:80")),
                opened,
                before,
            });
        }
        for (flow, token, part, level, port, presence) in sights {
            input.sightings.push(Sighting {
                flow: flow.index(input.flows.len()),
                token,
                part: [Part::Wrote, Part::Read, Part::Sequence][usize::from(part)],
                sample_level: level,
                adopted: false,
                port,
                start_us: i64::from(port),
                first_ms: i64::MIN,
                last_ms: i64::MAX,
                presence,
                open: false,
            });
        }
        let joined = topology(&input, i64::MIN, i64::MAX);
        let ids: std::collections::BTreeSet<_> = joined.nodes.iter().map(|n| &n.id).collect();
        prop_assert_eq!(ids.len(), joined.nodes.len());
        prop_assert!(joined.unjoined.iter().all(|edge| edge.reason.is_some()));
        for edge in joined.edges.iter().chain(&joined.unjoined) {
            prop_assert!(ids.contains(&edge.client) && ids.contains(&edge.server));
            prop_assert!((0.0..=1.0).contains(&edge.confidence));
        }
        let edges = joined_edges(input);
        let mut packing = Packing::new(edges.len());
        for (key, parts) in edges.iter() {
            packing.add([0, 0], key.endpoint, parts);
        }
        let lines = packing.end();
        for (at, (_, parts)) in edges.iter().enumerate() {
            prop_assert_eq!(&lines.parts(at), &parts, "packed and read again");
        }
    }
}

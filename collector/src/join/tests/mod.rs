//! The join against a small model of a network that knows the truth.

mod attempts;
mod bounds;
mod evidence;
mod model;
mod properties;
mod window;

use wire::Role;

use super::{Flow, HostId, Input, Run, topology};
use crate::counters::Counters;
use crate::packed::Packed;
use crate::topology::{EvidenceKind, Seer};
use model::{Carry, GATEWAY, Model, Path, Talk, VIP, endpoint};

#[test]
fn one_vip_before_two_backends_is_divided_by_tokens() {
    let talk = |server, n| {
        let talk = Talk {
            client: 0,
            server,
            path: Path::FullNat,
            carry: Carry::Client,
        };
        vec![talk; n]
    };
    let joined = Model::of(&[talk(0, 60), talk(1, 40)].concat()).join();
    assert_eq!(joined.edges.len(), 2);
    for (edge, n) in joined.edges.iter().zip([60, 40]) {
        let (client, server) = (edge.client_counters.as_ref(), edge.server_counters.as_ref());
        assert_eq!(edge.connections, n);
        assert!(client.unwrap().apportioned && !server.unwrap().apportioned);
        assert_eq!((client.unwrap().opened, server.unwrap().opened), (n, n));
        let via: Vec<_> = edge.via.iter().map(|via| via.address.as_str()).collect();
        assert_eq!(via, [VIP, GATEWAY]);
    }
}

#[test]
fn a_direct_connection_has_no_via() {
    let talk = Talk {
        client: 1,
        server: 1,
        path: Path::Direct,
        carry: Carry::Client,
    };
    let joined = Model::of(&[talk]).join();
    assert!(joined.edges[0].via.is_empty());
}

#[test]
fn a_backend_without_agent_keeps_its_part_at_the_vip() {
    let talks = [Talk {
        client: 0,
        server: 0,
        path: Path::Dnat,
        carry: Carry::Client,
    }; 10];
    let mut model = Model::of(&talks);
    // Four more went to a backend that does not report: the client wrote, nobody read.
    for _ in 0..4 {
        let before = model.input.flows.len();
        model.talk(
            Talk {
                server: 3,
                ..talks[0]
            },
            0,
        );
        model.input.flows.truncate(before.max(2));
        model.input.sightings.retain(|s| s.flow < 2);
        model.flows.retain(|_, at| *at < 2);
    }
    let joined = model.join();
    assert_eq!(joined.edges.len(), 1);
    assert_eq!(joined.edges[0].connections, 10);
    assert_eq!(joined.unjoined.len(), 1);
    assert_eq!(joined.unjoined[0].server, "10.1.0.100");
    assert_eq!(joined.unjoined[0].server_endpoint, VIP);
    assert_eq!(joined.unjoined[0].connections, 4);
    assert_eq!(
        joined.unjoined[0].client_counters.as_ref().unwrap().opened,
        4
    );
    assert!(joined.unjoined[0].evidence.is_empty());
}

#[test]
fn connections_older_than_the_agents_go_with_those_that_carry_tokens() {
    let talk = Talk {
        client: 0,
        server: 0,
        path: Path::FullNat,
        carry: Carry::Client,
    };
    let mut talks = vec![talk; 5];
    talks.extend(
        [Talk {
            carry: Carry::Nothing,
            ..talk
        }; 3],
    );
    let joined = Model::of(&talks).join();
    assert_eq!(joined.edges.len(), 1);
    assert!(joined.unjoined.is_empty());
    let edge = &joined.edges[0];
    assert_eq!(edge.connections, 8);
    assert_eq!(edge.evidence[0].connections, 5);
    assert!(!edge.client_counters.as_ref().unwrap().apportioned);
    assert!(edge.confidence < 0.99, "{}", edge.confidence);
}

#[test]
fn sampled_tokens_stand_for_those_not_kept() {
    let talk = |server| Talk {
        client: 0,
        server,
        path: Path::FullNat,
        carry: Carry::Client,
    };
    let mut model = Model::default();
    for _ in 0..6 {
        model.talk(talk(0), 3);
    }
    for _ in 0..2 {
        model.talk(talk(1), 3);
    }
    // Only one in eight was kept.
    for flow in &mut model.input.flows {
        let counters = flow.counters.as_mut().unwrap();
        counters.change(|all| all.plain[crate::counters::OPENED] *= 8);
    }
    let joined = model.join();
    assert!(joined.unjoined.is_empty());
    let shown: Vec<_> = joined
        .edges
        .iter()
        .map(|e| (e.connections, e.sampled, e.evidence[0].connections))
        .collect();
    assert_eq!(shown, [(48, true, 6), (16, true, 2)]);
}

#[test]
fn two_ends_that_sample_differently_are_weighted_by_the_coarser_one() {
    let talk = Talk {
        client: 0,
        server: 0,
        path: Path::Snat,
        carry: Carry::Client,
    };
    let other = Talk { client: 1, ..talk };
    let mut model = Model::default();
    model.talk(talk, 0);
    model.talk(other, 0);
    for sighting in &mut model.input.sightings {
        // The server keeps one in four, client 0 all and client 1 one in sixteen.
        let host = model.input.flows[sighting.flow].host.0[0];
        sighting.sample_level = match host {
            0 => 0,
            1 => 4,
            _ => 2,
        };
    }
    for (at, n) in [(0, 4), (1, 20), (2, 16)] {
        let counters = model.input.flows[at].counters.as_mut().unwrap();
        counters.change(|all| all.plain[0] = n);
    }
    let joined = model.join();
    let server: Vec<_> = joined
        .edges
        .iter()
        .map(|e| {
            (
                e.client.as_str(),
                e.server_counters.as_ref().unwrap().opened,
            )
        })
        .collect();
    assert_eq!(server, [("client-0/client", 4), ("client-1/client", 16)]);
}

#[test]
fn a_loopback_edge_is_joined_within_its_namespace_only() {
    let flow = |host: u8, netns, role, opened| {
        let mut counters = Counters::default();
        counters.plain[0] = opened;
        let (any, port) = (endpoint("127.0.0.1:0"), endpoint("127.0.0.1:5432"));
        let (local, remote) = if role == Role::Client {
            (any, port)
        } else {
            (port, any)
        };
        Flow {
            host: HostId([host; 16]),
            process: None,
            role,
            netns,
            local,
            remote,
            counters: Some(Packed::from(&counters)),
            open_before: 0,
            run: Run::default(),
            first_ms: 0,
            last_ms: 1,
        }
    };
    let input = Input {
        flows: vec![
            flow(1, 1, Role::Client, 7),
            flow(1, 1, Role::Server, 7),
            flow(1, 2, Role::Client, 3),
            flow(2, 2, Role::Server, 3),
        ],
        ..Input::default()
    };
    let joined = topology(&input, 0, 1);
    assert_eq!(joined.edges.len(), 1);
    let edge = &joined.edges[0];
    assert_eq!(edge.connections, 7);
    assert_eq!(edge.evidence[0].kind, EvidenceKind::Address);
    let expected = super::confidence::with_unknown_owners(0.9, 2);
    assert!((edge.confidence - expected).abs() < 1e-9);
    assert_eq!(joined.unjoined.len(), 2);
}

#[test]
fn the_same_private_addresses_at_two_sites_are_not_joined() {
    let talk = Talk {
        client: 0,
        server: 0,
        path: Path::Direct,
        carry: Carry::Nothing,
    };
    let mut model = Model::of(&[talk]);
    assert_eq!(
        model.join().edges[0].evidence[0].kind,
        EvidenceKind::Address
    );
    let twin = Flow {
        host: HostId([77; 16]),
        ..model.input.flows[1].clone()
    };
    model.input.flows.push(twin);
    let joined = model.join();
    assert!(joined.edges.is_empty());
    assert_eq!(joined.unjoined.len(), 3);
}

#[test]
fn refused_attempts_lead_to_an_address_and_are_not_connections() {
    let talk = Talk {
        client: 0,
        server: 0,
        path: Path::Direct,
        carry: Carry::Nothing,
    };
    let mut model = Model::of(&[talk]);
    model.input.flows.truncate(1);
    let mut counters = Counters::default();
    (counters.plain[2], counters.plain[3], counters.plain[8]) = (4, 4, 4);
    model.input.flows[0].counters = Some(Packed::from(&counters));
    let joined = model.join();
    assert_eq!(joined.unjoined.len(), 1);
    let edge = &joined.unjoined[0];
    assert_eq!(
        (
            edge.connections,
            edge.client_counters.as_ref().unwrap().refused
        ),
        (0, 4)
    );
    assert!(edge.server_counters.is_none());
}

#[test]
fn a_port_used_again_is_another_connection() {
    let talk = Talk {
        client: 0,
        server: 0,
        path: Path::FullNat,
        carry: Carry::Client,
    };
    let mut model = Model::of(&[talk; 3]);
    for sighting in &mut model.input.sightings {
        sighting.port = 30_000;
    }
    assert_eq!(model.join().edges[0].evidence[0].connections, 3);
}

#[test]
fn two_tokens_of_one_connection_are_one_connection_although_clocks_drift() {
    let talk = Talk {
        client: 0,
        server: 0,
        path: Path::FullNat,
        carry: Carry::Both,
    };
    let mut model = Model::of(&[talk; 2]);
    for (at, sighting) in model.input.sightings.iter_mut().enumerate() {
        // The same port twice, a second apart, and a start that wobbles.
        sighting.port = 30_000;
        let second = i64::try_from(at / 4).unwrap() * 1_000_000;
        sighting.start_us = second + i64::try_from(at % 4).unwrap() * 1000;
    }
    assert_eq!(model.join().edges[0].evidence[0].connections, 2);
}

#[test]
fn two_tokens_of_one_connection_that_lead_to_two_servers_are_ambiguous() {
    let talk = Talk {
        client: 0,
        server: 0,
        path: Path::FullNat,
        carry: Carry::Client,
    };
    let mut model = Model::of(&[
        talk,
        Talk {
            server: 1,
            carry: Carry::Answer,
            ..talk
        },
    ]);
    for sighting in &mut model.input.sightings {
        (sighting.port, sighting.start_us) = (30_000, 5);
    }
    let joined = model.join();
    assert_eq!(joined.ambiguous_tokens, 1);
    assert!(joined.edges.is_empty());
}

#[test]
fn connections_counted_without_addresses_are_joined_with_nothing() {
    let talk = Talk {
        client: 0,
        server: 0,
        path: Path::Direct,
        carry: Carry::Nothing,
    };
    let mut model = Model::of(&[talk]);
    for flow in &mut model.input.flows {
        (flow.local, flow.remote) = (endpoint("[::]:0"), endpoint("[::]:0"));
    }
    let joined = model.join();
    assert!(joined.edges.is_empty());
    assert_eq!(joined.unjoined.len(), 2);
}

#[test]
fn hosts_of_one_name_are_told_apart() {
    let talks = [0, 1].map(|client| Talk {
        client,
        server: 0,
        path: Path::Snat,
        carry: Carry::Client,
    });
    let mut model = Model::of(&talks);
    for (_, name) in &mut model.input.hosts {
        *name = String::from("localhost");
    }
    let joined = model.join();
    let clients: Vec<_> = joined.edges.iter().map(|e| e.client.as_str()).collect();
    assert_eq!(
        clients,
        ["localhost#00000000/client", "localhost#01010101/client"]
    );
}

#[test]
fn a_process_whose_identity_is_late_is_a_node_all_the_same() {
    let talk = Talk {
        client: 0,
        server: 0,
        path: Path::Snat,
        carry: Carry::Client,
    };
    let mut model = Model::of(&[talk]);
    let known = model.join().edges[0].confidence;
    model.input.flows[0].process = None;
    model.input.hosts.clear();
    let joined = model.join();
    let edge = &joined.edges[0];
    assert_eq!(edge.client, format!("{}/(unknown)", "0".repeat(32)));
    // It says so, is counted, and is the less sure for it.
    assert_eq!(edge.unknown_owners, [Seer::Client]);
    let expected = super::confidence::with_unknown_owners(known, 1);
    assert!((edge.confidence - expected).abs() < 1e-9 && expected < 0.9);
    let counted = joined.unknown_owners;
    assert_eq!((counted.edges, counted.connections), (1, edge.connections));
    model.input.flows[1].process = None;
    let neither = model.join();
    let sides = &neither.edges[0].unknown_owners;
    assert_eq!(*sides, [Seer::Client, Seer::Server]);
    assert!(neither.edges[0].confidence < edge.confidence);
}

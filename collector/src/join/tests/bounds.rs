//! How many connections an edge may claim, and what forbids it.

use wire::Role;

use super::evidence::nat;
use super::model::{Carry, GATEWAY, Model, Path, Talk, VIP};
use crate::topology::{Edge, EvidenceKind, Interval, Reason, Topology};

fn talk(client: usize, server: usize, path: Path, carry: Carry) -> Talk {
    Talk {
        client,
        server,
        path,
        carry,
    }
}

/// What the flow of an end counted.
fn count(model: &mut Model, at: usize, opened: u64) {
    let flow = &mut model.input.flows[at];
    let counters = flow.counters.as_mut().unwrap();
    counters.change(|all| all.plain[0] = opened);
}

/// Connections of an end, joined and not.
fn sum(joined: &Topology, of: fn(&Edge) -> &str, node: &str) -> u64 {
    let all = joined.edges.iter().chain(&joined.unjoined);
    let own = all.filter(|edge| of(edge) == node);
    own.map(|edge| edge.connections).sum()
}

fn open_ends(joined: &Topology) -> Vec<(&str, &str, u64, Option<Reason>)> {
    let list = joined.unjoined.iter();
    list.map(|e| {
        (
            e.client.as_str(),
            e.server.as_str(),
            e.connections,
            e.reason,
        )
    })
    .collect()
}

#[test]
fn a_sample_stands_for_no_more_than_the_client_counted_however_many_strangers_there_are() {
    for level in 0..8 {
        for strangers in [1, 10, 200, 5000] {
            for carry in [Carry::Client, Carry::Sequence] {
                let mut model = Model::default();
                model.talk(talk(0, 0, Path::Snat, carry), level);
                count(&mut model, 1, 1 + strangers);
                let joined = model.join();
                assert_eq!(joined.edges.len(), 1);
                assert_eq!(joined.edges[0].connections, 1, "{level} {strangers}");
                assert_eq!(joined.edges[0].interval, None);
                let open = (
                    GATEWAY,
                    "server-0/server",
                    strangers,
                    Some(Reason::CountsDiffer),
                );
                assert_eq!(open_ends(&joined), [open]);
                let server = joined.edges[0].server_counters.as_ref().unwrap();
                assert_eq!(server.opened, 1);
            }
        }
    }
}

#[test]
fn what_a_side_counted_beyond_its_counterpart_is_shown_and_not_taken_for_noise() {
    let mut model = Model::default();
    for _ in 0..50 {
        model.talk(talk(0, 0, Path::Snat, Carry::Client), 1);
    }
    count(&mut model, 0, 130);
    count(&mut model, 1, 100);
    let joined = model.join();
    assert_eq!(joined.edges[0].connections, 100);
    let open = (
        "client-0/client",
        "10.2.0.2",
        30,
        Some(Reason::CountsDiffer),
    );
    assert_eq!(open_ends(&joined), [open]);
}

#[test]
fn few_connections_that_few_samples_stand_for_add_up_to_those_few() {
    let mut model = Model::default();
    for server in [0, 0, 1] {
        model.talk(talk(0, server, Path::FullNat, Carry::Sequence), 4);
    }
    // Both backends have many others.
    count(&mut model, 1, 500);
    count(&mut model, 2, 500);
    let joined = model.join();
    let shown: Vec<_> = joined.edges.iter().map(|e| e.connections).collect();
    assert_eq!(shown, [2, 1]);
    assert!(joined.edges.iter().all(|e| e.interval.is_none()));
}

#[test]
fn estimates_of_one_client_add_up_to_what_it_counted_and_say_their_interval() {
    let mut model = Model::default();
    // One in sixteen was kept, by chance more at the first: 38 and 27 of 520 and 480.
    for (server, kept) in [(0, 38), (1, 27)] {
        for _ in 0..kept {
            model.talk(talk(0, server, Path::FullNat, Carry::Client), 4);
        }
    }
    count(&mut model, 0, 1000);
    // Strangers come to both of them through the same gateway.
    count(&mut model, 1, 3000);
    count(&mut model, 2, 3000);
    let joined = model.join();
    assert_eq!(sum(&joined, |e| &e.client, "client-0/client"), 1000);
    for (edge, truth) in joined.edges.iter().zip([520, 480]) {
        let Interval { low, high } = edge.interval.unwrap();
        assert!((low..=high).contains(&truth), "{low} {high}");
        assert!((low..=high).contains(&edge.connections) && high - low < 500);
    }
    for server in ["server-0/server", "server-1/server"] {
        assert_eq!(sum(&joined, |e| &e.server, server), 3000);
    }
}

#[test]
fn chance_in_samples_leaves_nothing_over_where_all_sides_agree() {
    let mut model = Model::default();
    // One in eight of 250 connections each, unevenly; no sample of client 1 at server 1 was kept.
    for (client, server, kept) in [(0, 0, 20), (0, 1, 44), (1, 0, 33)] {
        for _ in 0..kept {
            model.talk(talk(client, server, Path::FullNat, Carry::Client), 3);
        }
    }
    for (at, opened) in [(0, 500), (1, 510), (2, 240), (3, 250)] {
        count(&mut model, at, opened);
    }
    let joined = model.join();
    assert!(joined.unjoined.is_empty(), "{:?}", open_ends(&joined));
    let shown: Vec<_> = joined.edges.iter().map(|e| e.connections).collect();
    assert_eq!(shown, [260, 240, 250]);
}

/// A client that began to report late has one held connection that carries nothing; so has each of
/// two backends, and the gateway has translated to both.
fn held(backends: [u64; 2]) -> Model {
    let mut model = Model::default();
    for (server, held) in [0, 1].into_iter().zip(backends) {
        let carried = talk(0, server, Path::FullNat, Carry::Client);
        for _ in 0..3 {
            model.talk(carried, 0);
        }
        model.track(carried, 3 + held);
    }
    // Flow 0 is the client's, 1 and 2 the backends'.
    count(&mut model, 0, 7);
    count(&mut model, 1, 3 + backends[0]);
    count(&mut model, 2, 3 + backends[1]);
    model
}

#[test]
fn what_may_have_gone_to_either_backend_goes_to_neither() {
    let mut model = Model::default();
    for server in [0, 1] {
        let quiet = talk(0, server, Path::FullNat, Carry::Nothing);
        model.talk(quiet, 0);
        model.track(quiet, 1);
    }
    count(&mut model, 0, 1);
    let joined = model.join();
    assert!(joined.edges.is_empty(), "{:?}", joined.edges);
    let client = &joined
        .unjoined
        .iter()
        .find(|e| e.client == "client-0/client");
    let client = client.unwrap();
    assert_eq!(
        (client.connections, client.reason),
        (1, Some(Reason::OneOf))
    );
    assert_eq!(client.candidates, ["server-0/server", "server-1/server"]);
    for server in joined.unjoined.iter().filter(|e| e.client == GATEWAY) {
        assert_eq!(server.candidates, ["client-0/client"]);
    }
}

#[test]
fn a_held_connection_goes_where_there_is_room_for_it() {
    for (backends, expected) in [([1, 0], [4, 3]), ([0, 1], [3, 4])] {
        let joined = held(backends).join();
        let shown: Vec<_> = joined.edges.iter().map(|e| e.connections).collect();
        assert_eq!(shown, expected);
        assert!(joined.unjoined.is_empty(), "{:?}", open_ends(&joined));
    }
}

#[test]
fn two_sites_with_equal_addresses_are_not_joined_against_what_their_ends_told() {
    for path in [Path::Direct, Path::FullNat] {
        for level in [0, 4] {
            let mut model = Model::default();
            for _ in 0..40 {
                model.talk(talk(0, 0, path, Carry::Rewritten), level);
            }
            model.track(talk(0, 0, Path::FullNat, Carry::Nothing), 40);
            // The server is the other site's: no connection has the same port.
            for sighting in &mut model.input.sightings {
                sighting.port += u16::try_from(sighting.flow).unwrap() * 20_000;
            }
            let joined = model.join();
            assert!(
                joined.edges.is_empty(),
                "{path:?} {level}: {:?}",
                joined.edges
            );
            let all = [Some(Reason::SequenceOneEnd); 2];
            assert_eq!(
                joined.unjoined.iter().map(|e| e.reason).collect::<Vec<_>>(),
                all
            );
        }
    }
}

#[test]
fn a_box_that_rewrites_sequence_numbers_leaves_ports_that_join_both_ends() {
    for level in [0, 3] {
        let mut model = Model::default();
        for _ in 0..40 {
            model.talk(talk(0, 0, Path::Direct, Carry::Rewritten), level);
        }
        let joined = model.join();
        assert_eq!(joined.edges.len(), 1);
        let edge = &joined.edges[0];
        assert_eq!(edge.evidence[0].kind, EvidenceKind::Address);
        assert_eq!(edge.connections, 40);
    }
}

#[test]
fn what_only_one_end_told_before_the_other_ones_agent_came_forbids_nothing() {
    let mut model = Model::of(&[talk(0, 0, Path::Direct, Carry::Sequence)]);
    // The server's agent came later: it found the connection and knows no numbers of it.
    model.input.sightings.truncate(1);
    // It tells those of others.
    model.talk(talk(1, 0, Path::Snat, Carry::Sequence), 0);
    let came = |model: &mut Model, ms| {
        let flows = model.input.flows.iter_mut();
        flows
            .filter(|flow| flow.role == Role::Server)
            .for_each(|flow| flow.first_ms = ms);
    };
    // By its own clock it came after: the two differ.
    came(&mut model, -4000);
    let joined = model.join();
    let edge = joined.edges.iter().find(|e| e.client == "client-0/client");
    assert_eq!(edge.unwrap().evidence[0].kind, EvidenceKind::Address);
    // Had it been there, it would have told them.
    came(&mut model, -10_000);
    let joined = model.join();
    assert!(!joined.edges.iter().any(|e| e.client == "client-0/client"));
}

#[test]
fn a_token_that_did_not_arrive_is_no_half_where_sequence_numbers_joined_its_ends() {
    let mut model = Model::of(&[talk(0, 0, Path::Snat, Carry::ClientAndSequence)]);
    // The option was stripped.
    model.input.sightings.retain(|s| s.part != wire::Part::Read);
    count(&mut model, 0, 2);
    let joined = model.join();
    let open = ("client-0/client", "10.2.0.2", 1, Some(Reason::CountsDiffer));
    assert_eq!(open_ends(&joined), [open]);
}

#[test]
fn of_many_tokens_that_arrive_a_few_that_were_lost_are_no_strangers() {
    for (arrived, lost, joins) in [(40, 1, true), (40, 2, true), (40, 3, false), (10, 1, false)] {
        let mut model = Model::default();
        for _ in 0..arrived + lost {
            model.talk(talk(0, 0, Path::Snat, Carry::Client), 0);
        }
        // Neither these nor an answer got through.
        let mut left = lost;
        model.input.sightings.retain(|one| {
            let is_lost = one.part == wire::Part::Read && left > 0;
            left -= usize::from(is_lost);
            !is_lost
        });
        let joined = model.join();
        let (edge, all) = (&joined.edges[0], (arrived + lost) as u64);
        if joins {
            assert_eq!(edge.connections, all, "{lost} of {arrived}");
            assert!(joined.unjoined.is_empty());
        } else {
            assert_eq!(edge.connections, arrived as u64, "{lost} of {arrived}");
            assert_eq!(joined.unjoined.len(), 2);
        }
    }
}

/// Two gateways in a row before one server.
fn chain(model: &mut Model, opened: u64) {
    let hops = [
        ("10.1.0.1", VIP),
        ("10.9.0.1", "10.9.0.9:99"),
        (GATEWAY, "10.2.0.2:8080"),
    ];
    for (at, pair) in (240..).zip(hops.windows(2)) {
        model.input.nats.push(nat(at, pair[0], pair[1], opened));
    }
}

#[test]
fn a_client_two_gateways_away_that_reports_is_not_nobody() {
    let mut model = Model::of(&[talk(0, 0, Path::FullNat, Carry::Sequence); 2]);
    // The numbers of both ends differ, and so do the ports.
    for sighting in model.input.sightings.iter_mut().filter(|s| s.flow == 1) {
        sighting.token ^= 1 << 40;
        sighting.port += 20_000;
    }
    chain(&mut model, 2);
    let reasons: Vec<_> = model.join().unjoined.iter().map(|e| e.reason).collect();
    assert_eq!(reasons, [Some(Reason::SequenceOneEnd); 2]);
}

#[test]
fn what_a_gateway_translated_and_nobody_reports_behind_it_says_so() {
    for (left, carry) in [
        (0, Carry::Sequence),
        (1, Carry::Client),
        (1, Carry::Sequence),
    ] {
        let mut model = Model::of(&[talk(0, 0, Path::FullNat, carry); 2]);
        model.input.sightings.retain(|s| s.flow == left);
        for sighting in &mut model.input.sightings {
            sighting.flow = 0;
        }
        let flow = model.input.flows[left].clone();
        model.input.flows = vec![flow];
        chain(&mut model, 2);
        let joined = model.join();
        assert_eq!(joined.unjoined.len(), 1);
        assert_eq!(joined.unjoined[0].reason, Some(Reason::Translated));
    }
}

#[test]
fn gateways_side_by_side_let_through_what_both_of_them_did() {
    let mut model = Model::of(&[talk(0, 0, Path::FullNat, Carry::Nothing); 7]);
    for (gateway, opened) in [(240, 3), (241, 4)] {
        let (from, to) = (("10.1.0.1", VIP), (GATEWAY, "10.2.0.2:8080"));
        model.input.nats.push(nat(gateway, from, to, opened));
    }
    let joined = model.join();
    assert_eq!(joined.edges[0].connections, 7);
}

#[test]
fn of_clients_that_do_not_report_a_gateway_says_how_many_came() {
    // Two clients of one gateway, one of them without an agent; the server counted both.
    let mut model = Model::of(&[talk(0, 0, Path::FullNat, Carry::Nothing); 5]);
    model.track(talk(0, 0, Path::FullNat, Carry::Nothing), 5);
    model.track(talk(1, 0, Path::FullNat, Carry::Nothing), 4);
    count(&mut model, 1, 9);
    let joined = model.join();
    assert_eq!(joined.edges[0].connections, 5);
    assert_eq!(open_ends(&joined)[0].2, 4);
}

//! Joins without tokens: sequence numbers, what gateways translated, and why a side is not known.

use wire::{Columns, Role};

use super::super::{Flow, HostId, Nat};
use super::model::{Carry, GATEWAY, Model, Path, Talk, VIP, endpoint};
use crate::topology::{Edge, EvidenceKind, Reason, Topology};

fn talk(client: usize, server: usize, carry: Carry) -> Talk {
    Talk {
        client,
        server,
        path: Path::FullNat,
        carry,
    }
}

fn evidence(edge: &Edge) -> Vec<(EvidenceKind, u64)> {
    let list = edge.evidence.iter();
    list.map(|evidence| (evidence.kind, evidence.connections))
        .collect()
}

fn reasons(joined: &Topology) -> Vec<Option<Reason>> {
    joined.unjoined.iter().map(|edge| edge.reason).collect()
}

/// A fingerprint reported once more, by another host that has the same role.
fn copy(model: &mut Model, sighting: usize) {
    let mut sighting = model.input.sightings[sighting].clone();
    let mut flow = model.input.flows[sighting.flow].clone();
    flow.host = HostId([222; 16]);
    model.input.flows.push(flow);
    sighting.flow = model.input.flows.len() - 1;
    model.input.sightings.push(sighting);
}

#[test]
fn the_same_sequence_numbers_at_both_ends_join_them_through_any_gateway() {
    let mut talks = vec![talk(0, 0, Carry::Sequence); 60];
    talks.extend(vec![talk(0, 1, Carry::Sequence); 40]);
    let joined = Model::of(&talks).join();
    assert_eq!(joined.edges.len(), 2);
    assert!(joined.unjoined.is_empty());
    for (edge, n) in joined.edges.iter().zip([60, 40]) {
        assert_eq!(evidence(edge), [(EvidenceKind::Sequence, n)]);
        assert_eq!(edge.connections, n);
        assert!((0.8..0.9).contains(&edge.confidence), "{}", edge.confidence);
        let via: Vec<_> = edge.via.iter().map(|via| via.address.as_str()).collect();
        assert_eq!(via, [VIP, GATEWAY]);
    }
}

#[test]
fn a_connection_with_a_token_is_not_counted_again_by_its_sequence_numbers() {
    let mut talks = vec![talk(0, 0, Carry::ClientAndSequence); 5];
    talks.extend(vec![talk(0, 0, Carry::Sequence); 3]);
    let joined = Model::of(&talks).join();
    let edge = &joined.edges[0];
    assert_eq!(edge.connections, 8);
    let expected = [(EvidenceKind::Token, 5), (EvidenceKind::Sequence, 3)];
    assert_eq!(evidence(edge), expected);
    assert!(edge.confidence >= 0.99, "{}", edge.confidence);
}

#[test]
fn samples_of_tokens_and_of_sequence_numbers_stand_for_no_more_than_was_counted() {
    let mut model = Model::default();
    for carry in [Carry::Client, Carry::Sequence] {
        for server in [0, 1] {
            for _ in 0..20 {
                model.talk(talk(0, server, carry), 3);
            }
        }
    }
    // One in eight was kept of either, and both are samples of the same connections.
    for flow in &mut model.input.flows {
        let counters = flow.counters.as_mut().unwrap();
        counters.change(|all| all.plain[0] *= 4);
    }
    let joined = model.join();
    let shown: Vec<_> = joined.edges.iter().map(|e| e.connections).collect();
    assert_eq!(shown, [160, 160]);
    assert!(joined.unjoined.is_empty());
}

#[test]
fn rewritten_sequence_numbers_join_nothing_and_say_so() {
    let joined = Model::of(&[talk(0, 0, Carry::Rewritten); 4]).join();
    assert!(joined.edges.is_empty());
    assert_eq!(joined.ambiguous_sequences, 0);
    assert_eq!(reasons(&joined), [Some(Reason::SequenceOneEnd); 2]);
    let total = &joined.unjoined_reasons[0];
    assert_eq!((total.edges, total.connections), (2, 8));
}

#[test]
fn sequence_numbers_that_two_hosts_claim_are_counted_and_never_joined() {
    for end in [0, 1] {
        let mut model = Model::of(&[talk(0, 0, Carry::Sequence)]);
        copy(&mut model, end);
        let joined = model.join();
        assert_eq!(joined.ambiguous_sequences, 1);
        assert!(joined.edges.is_empty());
        assert!(reasons(&joined).contains(&Some(Reason::Ambiguous)));
    }
}

#[test]
fn ends_that_began_hours_apart_are_not_one_connection_but_wrong_clocks_are_forgiven() {
    for (apart_us, edges) in [(3_600_000_000, 1), (4_000_000_000, 0)] {
        let mut model = Model::of(&[talk(0, 0, Carry::Sequence)]);
        model.input.sightings[1].start_us += apart_us;
        let joined = model.join();
        assert_eq!(joined.edges.len(), edges);
        assert_eq!(joined.ambiguous_sequences, 1 - edges as u64);
    }
}

#[test]
fn a_token_and_sequence_numbers_that_lead_to_two_servers_are_both_left_aside() {
    let mut model = Model::of(&[talk(0, 0, Carry::Client), talk(0, 1, Carry::Sequence)]);
    for sighting in &mut model.input.sightings {
        (sighting.port, sighting.start_us) = (30_000, 5);
    }
    let joined = model.join();
    assert_eq!(joined.ambiguous_sequences, 1);
    assert!(joined.edges.is_empty());
    assert_eq!(reasons(&joined), [Some(Reason::Ambiguous); 3]);
}

#[test]
fn sequence_numbers_settle_what_a_replayed_token_leaves_open() {
    let mut model = Model::of(&[talk(0, 0, Carry::ClientAndSequence)]);
    // The token is read by a second host, which does not know the sequence numbers.
    copy(&mut model, 1);
    let joined = model.join();
    assert_eq!(joined.ambiguous_tokens, 1);
    assert_eq!(evidence(&joined.edges[0]), [(EvidenceKind::Sequence, 1)]);
    assert_eq!(joined.edges[0].server, "server-0/server");
}

#[test]
fn a_gateway_tells_which_clients_called_which_backends() {
    let mut talks = Vec::new();
    for (client, server, n) in [(0, 0, 6), (0, 1, 4), (1, 0, 3)] {
        talks.extend(vec![talk(client, server, Carry::Nothing); n]);
    }
    let mut model = Model::of(&talks);
    let (a, b, c) = (talks[0], talks[6], talks[10]);
    for (talk, n) in [(a, 6), (b, 4), (c, 3)] {
        model.track(talk, n);
    }
    model
        .input
        .hosts
        .push((HostId([250; 16]), String::from("gw")));
    let joined = model.join();
    assert!(joined.unjoined.is_empty());
    let shown: Vec<_> = joined
        .edges
        .iter()
        .map(|e| (e.client.as_str(), e.server.as_str(), evidence(e)))
        .collect();
    let by = |n| vec![(EvidenceKind::Conntrack, n)];
    let expected = [
        ("client-0/client", "server-0/server", by(6)),
        ("client-0/client", "server-1/server", by(4)),
        ("client-1/client", "server-0/server", by(3)),
    ];
    assert_eq!(shown, expected);
    let via: Vec<_> = joined.edges[0]
        .via
        .iter()
        .map(|v| v.address.as_str())
        .collect();
    assert_eq!(via, [VIP, GATEWAY, "gw"]);
    assert!((0.6..=0.8).contains(&joined.edges[0].confidence));
}

/// A gateway that takes in what another one, or itself, lets out.
pub(super) fn nat(host: u8, from: (&str, &str), to: (&str, &str), opened: u64) -> Nat {
    Nat {
        host: HostId([host; 16]),
        netns: 1,
        client: endpoint(&format!("{}:0", from.0)).addr,
        dialled: endpoint(from.1),
        source: endpoint(&format!("{}:0", to.0)).addr,
        server: endpoint(to.1),
        opened,
        before: 0,
    }
}

#[test]
fn gateways_one_behind_the_other_are_followed_and_loops_end() {
    let mut model = Model::of(&[talk(0, 0, Carry::Nothing); 7]);
    let hops = [
        ("10.1.0.1", VIP),
        ("10.9.0.1", VIP),
        ("10.9.0.2", "10.9.0.9:99"),
        (GATEWAY, "10.2.0.2:8080"),
    ];
    for (at, pair) in hops.windows(2).enumerate() {
        let host = u8::try_from(at).unwrap() + 240;
        model.input.nats.push(nat(host, pair[0], pair[1], 7));
    }
    model.input.nats.push(nat(250, hops[3], hops[2], 7));
    let joined = model.join();
    assert_eq!(evidence(&joined.edges[0]), [(EvidenceKind::Conntrack, 7)]);
    // One more hop than are followed.
    let long = [
        hops[0],
        ("10.8.0.1", VIP),
        ("10.8.0.2", VIP),
        hops[1],
        hops[2],
        hops[3],
    ];
    model.input.nats.clear();
    for pair in long.windows(2) {
        model.input.nats.push(nat(240, pair[0], pair[1], 7));
    }
    assert!(model.join().edges.is_empty());
}

#[test]
fn what_several_clients_share_is_not_divided_by_guessing() {
    let mut talks = vec![talk(0, 0, Carry::Nothing); 5];
    talks.extend(vec![talk(1, 1, Carry::Nothing); 5]);
    let mut model = Model::of(&talks);
    // The first gateway makes one address of both clients; only the second knows the servers.
    for client in ["10.1.0.1", "10.1.0.2"] {
        model
            .input
            .nats
            .push(nat(240, (client, VIP), ("10.9.0.1", VIP), 5));
    }
    for server in ["10.2.0.2:8080", "10.2.0.3:8080"] {
        model
            .input
            .nats
            .push(nat(241, ("10.9.0.1", VIP), (GATEWAY, server), 5));
    }
    let joined = model.join();
    assert!(joined.edges.is_empty(), "{:?}", joined.edges);
    assert_eq!(reasons(&joined), [Some(Reason::OneOf); 4]);
    let servers = ["server-0/server", "server-1/server"];
    let of_client = joined
        .unjoined
        .iter()
        .find(|e| e.client == "client-0/client");
    assert_eq!(of_client.unwrap().candidates, servers);
    assert!(
        servers
            .iter()
            .all(|id| joined.nodes.iter().any(|node| node.id == *id))
    );
}

#[test]
fn a_gateway_decides_nothing_where_two_sites_have_the_same_addresses() {
    let said = talk(0, 0, Carry::Nothing);
    let mut model = Model::of(&[said; 3]);
    model.track(said, 3);
    for at in [0, 1] {
        let mut model = model.clone();
        let twin = Flow {
            host: HostId([77; 16]),
            ..model.input.flows[at].clone()
        };
        model.input.flows.push(twin);
        let joined = model.join();
        assert!(joined.edges.is_empty());
        assert!(reasons(&joined).contains(&Some(Reason::AddressesShared)));
    }
    assert_eq!(model.join().edges.len(), 1);
}

#[test]
fn containers_of_every_host_may_have_the_same_address() {
    let mut model = Model::of(&[talk(0, 0, Carry::Nothing), talk(1, 0, Carry::Nothing)]);
    for (at, own) in [(0, "10.1.0.1"), (2, "10.1.0.2")] {
        let flow = &mut model.input.flows[at];
        assert_eq!(flow.role, Role::Client);
        flow.local = endpoint("172.17.0.2:0");
        let host = flow.host.0[0];
        let (inside, outside) = (("172.17.0.2", VIP), (own, VIP));
        model.input.nats.push(nat(host, inside, outside, 1));
        let behind = (GATEWAY, "10.2.0.2:8080");
        model.input.nats.push(nat(250, outside, behind, 1));
    }
    let joined = model.join();
    assert_eq!(joined.edges.len(), 2, "{:?}", joined.unjoined);
}

#[test]
fn the_containers_of_a_large_fleet_are_each_followed_through_their_own_host() {
    let mut model = Model::of(&[talk(0, 0, Carry::Nothing)]);
    model.input.flows[0].local = endpoint("172.17.0.2:0");
    let first = model.input.flows[0].clone();
    let server = model.input.flows[1].counters.as_mut().unwrap();
    server.change(|all| all.plain[0] = 600);
    for host in 0..600_u16 {
        let id = HostId(
            [[5, 0], host.to_be_bytes()]
                .concat()
                .repeat(4)
                .try_into()
                .unwrap(),
        );
        let own = format!("10.1.{}.{}", 1 + host / 200, 1 + host % 200);
        let mut row = nat(0, ("172.17.0.2", VIP), (&own, VIP), 1);
        row.host = id;
        let behind = nat(250, (&own, VIP), (GATEWAY, "10.2.0.2:8080"), 1);
        model.input.nats.extend([row, behind]);
        model.input.flows.push(Flow {
            host: id,
            ..first.clone()
        });
    }
    // One more has lost what its host said.
    let joined = model.join();
    assert_eq!(joined.edges.len(), 600);
    assert_eq!(joined.unjoined.len(), 1);
    assert_eq!(joined.unjoined[0].client, "client-0/client");
}

#[test]
fn what_is_open_since_before_the_window_is_joined_by_what_was_translated_then() {
    let said = talk(0, 0, Carry::Nothing);
    let mut model = Model::of(&[said; 2]);
    model.track(said, 0);
    model.input.nats[0].before = 9;
    for flow in &mut model.input.flows {
        let counters = flow.counters.as_mut().unwrap();
        counters.change(|all| all.plain[0] = 0);
        flow.open_before = 2;
    }
    let joined = model.join();
    assert_eq!(evidence(&joined.edges[0]), [(EvidenceKind::Conntrack, 2)]);
}

#[test]
fn why_a_side_is_not_known_is_told_by_what_was_reported() {
    let said = |path, carry| Talk {
        client: 0,
        server: 0,
        path,
        carry,
    };
    let reason = |talk: Talk, change: fn(&mut Model)| {
        let mut model = Model::of(&[talk; 2]);
        model.input.flows.truncate(1);
        model.input.sightings.retain(|s| s.flow == 0);
        change(&mut model);
        let joined = model.join();
        let mut edges = joined.unjoined.iter();
        let edge = edges.find(|edge| edge.client == "client-0/client");
        edge.expect("the client is known").reason
    };
    let direct = said(Path::Direct, Carry::Nothing);
    let failed = |model: &mut Model| {
        let counters = model.input.flows[0].counters.as_mut().unwrap();
        counters.change(|all| {
            all.plain = [0; crate::counters::COUNTERS];
            all.plain[2] = 3;
        });
    };
    let unnamed = |model: &mut Model| model.input.flows[0].remote = endpoint("[::]:0");
    let translated = |model: &mut Model| model.track(talk(0, 0, Carry::Nothing), 2);
    let elsewhere = |model: &mut Model| {
        let mut other = model.input.flows[0].clone();
        other.local = other.remote;
        other.remote = endpoint("10.99.0.1:1");
        other.host = HostId([9; 16]);
        model.input.flows.push(other);
    };
    let fullnat = |carry| said(Path::FullNat, carry);
    for (found, expected) in [
        (reason(direct, |_| ()), Reason::NoAgent),
        (reason(direct, elsewhere), Reason::NotCounted),
        (reason(direct, failed), Reason::NotEstablished),
        (reason(direct, unnamed), Reason::Unnamed),
        (reason(fullnat(Carry::Client), |_| ()), Reason::TokensOneEnd),
        (
            reason(fullnat(Carry::Sequence), |_| ()),
            Reason::SequenceOneEnd,
        ),
        (
            reason(fullnat(Carry::Nothing), translated),
            Reason::Translated,
        ),
    ] {
        assert_eq!(found, Some(expected));
    }
}

#[test]
fn a_sum_of_which_a_part_was_not_measured_is_not_known() {
    let mut model = Model::of(&[talk(0, 0, Carry::Client); 2]);
    let mut second = model.input.flows[0].clone();
    let absent = Columns::RETRANSMITS
        .with(Columns::RTT)
        .with(Columns::RESET_REMOTE);
    second.counters.as_mut().unwrap().set_absent(absent);
    model.input.flows.push(second);
    let joined = model.join();
    let client = joined.edges[0].client_counters.as_ref().unwrap();
    assert_eq!(
        (client.opened, client.retransmits, client.rtt_us),
        (2, None, None)
    );
    assert!(client.bytes_sent.is_some() && client.zero_windows == Some(0));
    let server = joined.edges[0].server_counters.as_ref().unwrap();
    assert_eq!(server.retransmits, Some(0));
    let json = serde_json::to_value(client).unwrap();
    assert!(json["retransmits"].is_null() && json["rtt_us"].is_null());
    assert!(json["reset_remote"].is_null() && json["reset_local"] == 0);
}

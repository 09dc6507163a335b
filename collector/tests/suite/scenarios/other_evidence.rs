//! Joins without tokens.

use collector::topology::EvidenceKind;
use wire::Columns;

use super::{Collector, ends, via};
use crate::support::world::{Carry, SENT, Talk, World};

#[test]
fn where_nobody_can_write_an_option_sequence_numbers_join_both_ends() {
    let (mut world, mut collector) = (World::new(), Collector::new());
    let (old, web) = (world.host("old"), world.host("web"));
    let talk = Talk {
        client: (old, "curl", "10.1.0.2"),
        server: (web, "nginx", "10.2.0.2:8080"),
        vip: Some("10.1.0.100:80"),
        nat: Some("10.2.0.1"),
        carry: Carry::Sequence,
    };
    world.cannot_count(old, Columns::RETRANSMITS.with(Columns::ZERO_WINDOWS));
    world.connect(&talk, 30);
    collector.take_all(&world.tick());
    let topology = collector.topology();
    assert!(topology.unjoined.is_empty() && topology.ambiguous_sequences == 0);
    let edge = &topology.edges[0];
    assert_eq!(ends(edge), ("old/curl", "web/nginx", "10.2.0.2:8080"));
    assert_eq!(edge.connections, 30);
    let evidence = &edge.evidence[0];
    assert_eq!(
        (evidence.kind, evidence.connections),
        (EvidenceKind::Sequence, 30)
    );
    let client = edge.client_counters.as_ref().expect("the client reports");
    assert_eq!((client.retransmits, client.zero_windows), (None, None));
    assert_eq!(client.bytes_sent, Some(30 * SENT));
}

#[test]
fn where_agents_only_count_a_gateway_that_reports_joins_both_ends() {
    let (mut world, mut collector) = (World::new(), Collector::new());
    let (one, two) = (world.host("one"), world.host("two"));
    let (web, gateway) = (world.host("web"), world.host("gateway"));
    let talk = |client, name| Talk {
        client: (client, "curl", name),
        server: (web, "nginx", "10.2.0.2:8080"),
        vip: Some("10.1.0.100:80"),
        nat: Some("10.2.0.1"),
        carry: Carry::Nothing,
    };
    let talks = [(talk(one, "10.1.0.2"), 30), (talk(two, "10.1.0.3"), 12)];
    for (talk, n) in &talks {
        world.connect(talk, *n);
        world.track(gateway, talk, *n);
    }
    // Reported in every interval, counted once.
    for _ in 0..3 {
        collector.take_all(&world.tick());
    }
    let topology = collector.topology();
    assert!(topology.unjoined.is_empty(), "{:?}", topology.unjoined);
    for (edge, (client, n)) in topology
        .edges
        .iter()
        .zip([("one/curl", 30), ("two/curl", 12)])
    {
        assert_eq!(ends(edge), (client, "web/nginx", "10.2.0.2:8080"));
        let evidence = &edge.evidence[0];
        assert_eq!(
            (evidence.kind, evidence.connections),
            (EvidenceKind::Conntrack, n)
        );
        let expected = [
            "client vip 10.1.0.100:80",
            "server nat 10.2.0.1",
            "gateway gateway gateway",
        ];
        assert_eq!(via(edge), expected);
    }
    // Without the gateway's rows nothing says who called whom.
    assert_eq!(topology.edges.len(), 2);
    assert!(topology.unjoined_reasons.is_empty());
}

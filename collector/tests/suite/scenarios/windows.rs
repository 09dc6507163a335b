//! Intervals, windows and restarts: what adds up to one edge.

use collector::query::{self, Asked};

use super::{Collector, assert_exact, assert_token, ends, full_nat, full_nat_world};
use crate::support::site::rows;
use crate::support::world::{BEGIN_MS, Carry};

#[test]
fn sightings_repeated_interval_after_interval_are_one_connection() {
    let ((mut world, hosts), mut collector) = (full_nat_world(), Collector::new());
    let [first, _] = full_nat(hosts, false, Carry::Client);
    world.connect(&first, 5);
    for _ in 0..4 {
        let batches = world.tick();
        collector.take_all(&batches);
        for batch in &batches {
            world.repeat(batch);
        }
    }
    let topology = collector.topology();
    assert_exact(&topology.edges[0], 5);
    assert_token(&topology.edges[0], 5);
}

#[test]
fn intervals_in_any_order_give_the_same_totals() {
    let ((mut world, hosts), mut collector) = (full_nat_world(), Collector::new());
    let [first, second] = full_nat(hosts, false, Carry::Client);
    let mut batches = Vec::new();
    for n in 1..=5 {
        world.connect(&first, n);
        world.connect(&second, 2 * n);
        batches.extend(world.tick());
    }
    batches.reverse();
    // One interval of the client and one of a backend are lost: counters are cumulative, and what
    // the tokens of those intervals would have said, the others say.
    batches.swap(0, 7);
    collector.take_all(&batches);
    let topology = collector.topology();
    assert_exact(&topology.edges[0], 15);
    assert_exact(&topology.edges[1], 30);
}

#[test]
fn a_restarted_agent_continues_the_same_edges() {
    let ((mut world, hosts), mut collector) = (full_nat_world(), Collector::new());
    let [first, _] = full_nat(hosts, false, Carry::Client);
    world.connect(&first, 5);
    collector.take_all(&world.tick());
    for host in hosts {
        world.restart(host);
    }
    world.connect(&first, 8);
    collector.take_all(&world.tick());
    let topology = collector.topology();
    assert_eq!(topology.edges.len(), 1);
    let edge = &topology.edges[0];
    assert_exact(edge, 13);
    assert_token(edge, 13);
    // Rows of two runs that lead to one edge are not a division.
    assert!(!edge.client_counters.as_ref().expect("set").apportioned);
    assert!(!edge.server_counters.as_ref().expect("set").apportioned);
}

#[test]
fn counters_that_begin_again_are_added_up() {
    let ((mut world, hosts), mut collector) = (full_nat_world(), Collector::new());
    let [first, _] = full_nat(hosts, false, Carry::Client);
    world.connect(&first, 5);
    collector.take_all(&world.tick());
    world.forget_edges(hosts[0]);
    world.connect(&first, 3);
    collector.take_all(&world.tick());
    let topology = collector.topology();
    assert_exact(&topology.edges[0], 8);
    let seen = (
        topology.edges[0].first_seen_ms,
        topology.edges[0].last_seen_ms,
    );
    let begin = i64::try_from(BEGIN_MS).expect("in range");
    assert_eq!(seen, (begin, begin + 20_000));
}

#[test]
fn a_window_holds_what_happened_in_it() {
    let ((mut world, hosts), mut collector) = (full_nat_world(), Collector::new());
    let [first, _] = full_nat(hosts, false, Carry::Client);
    for n in [5, 3, 2] {
        world.connect(&first, n);
        collector.take_all(&world.tick());
    }
    let store = collector.dir.path().join("collector.db");
    let begin = i64::try_from(BEGIN_MS).expect("in range");
    let asked = Asked {
        from_ms: Some(begin + 10_000),
        to_ms: Some(begin + 20_000),
    };
    let topology = query::topology(&store, asked, 0, rows(1000))
        .expect("topology")
        .document();
    assert_exact(&topology.edges[0], 3);
    assert_token(&topology.edges[0], 3);
}

#[test]
fn a_long_connection_keeps_its_edge_in_later_windows() {
    let ((mut world, hosts), mut collector) = (full_nat_world(), Collector::new());
    let [first, second] = full_nat(hosts, false, Carry::Client);
    world.connect(&second, 2);
    collector.take_all(&world.tick());
    world.hold(&first);
    collector.take_all(&world.tick());
    // An interval in which it is silent, and one in which it is not.
    collector.take_all(&world.tick());
    world.traffic(&first, 777);
    collector.take_all(&world.tick());

    let store = collector.dir.path().join("collector.db");
    let begin = i64::try_from(BEGIN_MS).expect("in range");
    for (interval, bytes) in [(3, 0), (4, 777)] {
        let asked = Asked {
            from_ms: Some(begin + (interval - 1) * 10_000),
            to_ms: Some(begin + interval * 10_000),
        };
        let topology = query::topology(&store, asked, 0, rows(1000))
            .expect("topology")
            .document();
        assert_eq!(topology.edges.len(), 1, "interval {interval}");
        assert!(topology.unjoined.is_empty());
        let edge = &topology.edges[0];
        assert_eq!(
            ends(edge),
            ("client/curl", "backend-1/python3", "10.2.0.2:8080")
        );
        assert_eq!(edge.connections, 1);
        assert_token(edge, 1);
        let client = edge.client_counters.as_ref().expect("set");
        let server = edge.server_counters.as_ref().expect("set");
        assert_eq!(
            (client.opened, client.bytes_sent, server.bytes_received),
            (0, Some(bytes), Some(bytes))
        );
    }
}

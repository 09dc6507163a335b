//! Agents that start anew while connections are open: whatever they find, it was counted once.

use collector::topology::{Edge, EdgeCounters, Topology};
use proptest::prelude::{Just, Strategy, prop, prop_assert_eq, prop_oneof, proptest};

use crate::scenarios::Collector;
use crate::support::world::{BEGIN_MS, Carry, Talk, World};

fn talk(client: usize, server: usize, carry: Carry, nat: bool) -> Talk<'static> {
    Talk {
        client: (client, "pool", "10.1.0.2"),
        server: (server, "db", "10.2.0.2:5432"),
        vip: nat.then_some("10.1.0.100:5432"),
        nat: nat.then_some("10.2.0.1"),
        carry,
    }
}

fn only_edge(topology: &Topology) -> &Edge {
    assert!(topology.unjoined.is_empty(), "{:#?}", topology.unjoined);
    assert_eq!(topology.ambiguous_sequences, 0);
    assert_eq!(topology.edges.len(), 1, "{:#?}", topology.edges);
    &topology.edges[0]
}

fn sides(edge: &Edge) -> [&EdgeCounters; 2] {
    [&edge.client_counters, &edge.server_counters].map(|side| side.as_ref().expect("it reports"))
}

/// What must not depend on restarts.
fn sums(edge: &Edge) -> Vec<Option<u64>> {
    let mut sums = vec![Some(edge.connections)];
    for side in sides(edge) {
        sums.extend([side.opened, side.closed, side.open].map(Some));
        sums.extend([side.bytes_sent, side.bytes_received]);
    }
    sums
}

#[test]
fn idle_connections_stay_as_many_however_often_either_end_or_both_start_anew() {
    let carries = [
        Carry::Client,
        Carry::Answer,
        Carry::Sequence,
        Carry::Nothing,
    ];
    for (carry, nat) in carries
        .into_iter()
        .flat_map(|carry| [(carry, false), (carry, true)])
    {
        // Where nothing tells how both ends belong together, addresses must.
        if carry == Carry::Nothing && nat {
            continue;
        }
        for restarted in [&[0][..], &[1], &[0, 1], &[1, 1, 1], &[0, 1, 0, 0, 1]] {
            let (mut world, mut collector) = (World::new(), Collector::new());
            let (client, server) = (world.host("client"), world.host("server"));
            let talk = talk(client, server, carry, nat);
            for _ in 0..5 {
                world.hold(&talk);
            }
            collector.take_all(&world.tick());
            for host in restarted {
                world.restart(*host);
                collector.take_all(&world.tick());
            }
            world.restart(0);
            world.restart(1);
            collector.take_all(&world.tick());
            let topology = collector.topology();
            let edge = only_edge(&topology);
            assert_eq!(edge.connections, 5, "{carry:?} {nat} {restarted:?}");
            for side in sides(edge) {
                let counted = (side.opened, side.adopted, side.closed, side.open);
                assert_eq!(counted, (5, 0, 0, 5), "{carry:?} {nat} {restarted:?}");
            }
        }
    }
}

#[test]
fn connections_older_than_all_agents_are_shown_as_open_and_not_as_opened() {
    for nat in [false, true] {
        let (mut world, mut collector) = (World::new(), Collector::new());
        let (client, server) = (world.host("client"), world.host("server"));
        for _ in 0..5 {
            world.hold(&talk(client, server, Carry::Sequence, nat));
        }
        // What the first runs counted never arrives.
        let _lost = world.tick();
        world.restart(0);
        world.restart(1);
        collector.take_all(&world.tick());
        let topology = collector.topology();
        let edge = only_edge(&topology);
        assert_eq!(edge.connections, 5);
        for side in sides(edge) {
            let counted = (side.opened, side.adopted, side.closed, side.open);
            assert_eq!(counted, (0, 5, 0, 5));
        }
    }
}

#[test]
fn a_window_behind_the_restart_shows_what_was_open_all_the_time() {
    let (mut world, mut collector) = (World::new(), Collector::new());
    let (client, server) = (world.host("client"), world.host("server"));
    let talk = talk(client, server, Carry::Client, true);
    for _ in 0..5 {
        world.hold(&talk);
    }
    collector.take_all(&world.tick());
    world.restart(0);
    world.restart(1);
    let from = world.now_ms - BEGIN_MS;
    collector.take_all(&world.tick());
    let topology = collector.topology_since(from);
    let edge = only_edge(&topology);
    assert_eq!((edge.connections, sides(edge)[0].open), (5, 5));
    assert_eq!((sides(edge)[0].opened, sides(edge)[1].opened), (0, 0));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Open,
    Close,
    Send(u64),
    Restart(usize),
    Tick,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => Just(Step::Open),
        2 => Just(Step::Close),
        2 => (1..9_u64).prop_map(Step::Send),
        3 => (0..2_usize).prop_map(Step::Restart),
        2 => Just(Step::Tick),
    ];
    prop::collection::vec(step, 0..25)
}

/// The edge after these steps; without `restarts` agents run on.
fn after(steps: &[Step], restarts: bool) -> Option<Edge> {
    let (mut world, mut collector) = (World::new(), Collector::new());
    let (client, server) = (world.host("client"), world.host("server"));
    let talk = talk(client, server, Carry::Client, false);
    let mut open = 0;
    for step in steps {
        match step {
            Step::Open => {
                open += 1;
                world.hold(&talk);
            }
            Step::Close if open > 0 => {
                open -= 1;
                world.release(&talk);
            }
            Step::Close => {}
            Step::Send(bytes) => world.traffic(&talk, *bytes),
            Step::Restart(host) if restarts => {
                // Who ends tells what it has.
                collector.take_all(&world.tick());
                world.restart(*host);
            }
            Step::Restart(_) | Step::Tick => collector.take_all(&world.tick()),
        }
    }
    collector.take_all(&world.tick());
    let topology = collector.topology();
    assert!(topology.unjoined.is_empty(), "{:#?}", topology.unjoined);
    topology.edges.into_iter().next()
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]
    #[test]
    fn any_interleaving_of_restarts_gives_the_same_sums_as_none(steps in steps()) {
        let with = after(&steps, true);
        let without = after(&steps, false);
        prop_assert_eq!(with.as_ref().map(sums), without.as_ref().map(sums));
    }
}

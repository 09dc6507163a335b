//! What belongs to a window, each side by the intervals of its own agent.

use super::super::{Flow, Presence};
use super::model::{Carry, Model, Path, Talk};
use crate::counters::Counters;
use crate::counters::OPENED;
use crate::packed::Packed;
use crate::topology::Topology;

const TALK: Talk = Talk {
    client: 0,
    server: 0,
    path: Path::FullNat,
    carry: Carry::Client,
};

/// Says of the sightings of a flow what they have to do with the window, in their order.
fn set(model: &mut Model, flow: usize, presences: &[Presence]) {
    let of_flow = model.input.sightings.iter_mut();
    let of_flow = of_flow.filter(|sighting| sighting.flow == flow);
    for (sighting, presence) in of_flow.zip(presences) {
        sighting.presence = *presence;
    }
}

/// What a side counted in the window, and had open when it began.
fn count(flow: &mut Flow, opened: u64, open_before: u64) {
    let mut counters = Counters::default();
    counters.plain[OPENED] = opened;
    flow.counters = Some(Packed::from(&counters));
    flow.open_before = open_before;
}

/// Connections and those open before, of each edge.
fn shown(topology: &Topology) -> Vec<(&str, u64, u64)> {
    assert!(topology.unjoined.is_empty(), "{:#?}", topology.unjoined);
    let edges = topology.edges.iter();
    edges
        .map(|edge| (edge.client.as_str(), edge.connections, edge.open_before))
        .collect()
}

#[test]
fn a_moment_belongs_to_the_window_that_ends_with_it() {
    let window = (10, 20);
    let of = |told, ended| Presence::of(told, ended, window);
    for ended in [None, Some(12), Some(i64::MAX)] {
        assert_eq!(of(10, Some(10)), Presence::Outside);
        assert_eq!(of(11, ended), Presence::Within);
        assert_eq!(of(20, ended), Presence::Within);
        assert_eq!(of(21, ended), Presence::Outside);
    }
    assert_eq!(of(10, None), Presence::Perhaps);
    assert_eq!(of(10, Some(11)), Presence::Open);
    assert_eq!(of(3, Some(i64::MAX)), Presence::Open);
}

#[test]
fn a_window_may_end_between_the_two_sides() {
    use Presence::{Outside, Within};
    let other = Talk { client: 1, ..TALK };
    let mut model = Model::of(&[TALK, TALK, TALK, other]);
    // The server, one row for both clients, told of one before, and will tell of one later.
    set(&mut model, 0, &[Within, Within, Outside]);
    set(&mut model, 1, &[Within, Outside, Within, Within]);
    for (flow, opened) in [(0, 2), (1, 3), (2, 1)] {
        count(&mut model.input.flows[flow], opened, 0);
    }
    let joined = model.join();
    assert_eq!(
        shown(&joined),
        [("client-0/client", 2, 0), ("client-1/client", 1, 0)]
    );
    let sides = joined.edges.iter().map(|edge| {
        let opened = |side: &Option<crate::topology::EdgeCounters>| side.as_ref().unwrap().opened;
        (opened(&edge.client_counters), opened(&edge.server_counters))
    });
    assert_eq!(sides.collect::<Vec<_>>(), [(2, 2), (1, 1)]);
}

#[test]
fn what_only_the_server_told_in_the_window_is_no_new_connection_of_it() {
    use Presence::{Outside, Within};
    let mut model = Model::of(&[TALK]);
    set(&mut model, 0, &[Outside]);
    set(&mut model, 1, &[Within]);
    count(&mut model.input.flows[0], 0, 0);
    assert_eq!(shown(&model.join()), [("client-0/client", 0, 0)]);
    // Also where the client's agent is gone.
    model.input.flows[0].counters = None;
    assert_eq!(shown(&model.join()), [("client-0/client", 1, 1)]);
}

#[test]
fn counters_bound_what_can_have_been_open() {
    let other = Talk { client: 1, ..TALK };
    let mut model = Model::of(&[TALK, TALK, TALK, other, other]);
    // Two ends of the first client were lost, and all of the second's.
    for flow in 0..3 {
        set(&mut model, flow, &[Presence::Open; 5]);
        count(&mut model.input.flows[flow], 0, 1);
    }
    model.input.flows[2].open_before = 0;
    let joined = model.join();
    assert_eq!(shown(&joined)[0], ("client-0/client", 1, 1));
}

#[test]
fn without_ends_a_side_that_has_nothing_open_contradicts() {
    let other = Talk { client: 1, ..TALK };
    let mut model = Model::of(&[TALK, other, other, other]);
    for flow in 0..3 {
        set(&mut model, flow, &[Presence::Perhaps; 4]);
        count(&mut model.input.flows[flow], 0, u64::from(flow < 2));
    }
    assert_eq!(shown(&model.join()), [("client-0/client", 1, 1)]);
}

#[test]
fn what_is_open_takes_no_part_of_what_was_opened() {
    let other = Talk { client: 1, ..TALK };
    let mut model = Model::of(&[TALK, other, other, other]);
    set(&mut model, 0, &[Presence::Open]);
    set(&mut model, 1, &[Presence::Open]);
    count(&mut model.input.flows[0], 0, 1);
    count(&mut model.input.flows[1], 3, 1);
    let joined = model.join();
    assert_eq!(
        shown(&joined),
        [("client-0/client", 1, 1), ("client-1/client", 3, 0)]
    );
    let opened = joined.edges.iter().map(|edge| {
        let server = edge.server_counters.as_ref().unwrap();
        (server.opened, server.apportioned)
    });
    assert_eq!(opened.collect::<Vec<_>>(), [(0, true), (3, true)]);
}

#[test]
fn what_is_open_stands_for_itself_whatever_the_sampling() {
    let mut model = Model::default();
    for _ in 0..3 {
        model.talk(TALK, 4);
    }
    for flow in 0..2 {
        set(&mut model, flow, &[Presence::Open; 3]);
        count(&mut model.input.flows[flow], 0, 3);
    }
    let joined = model.join();
    assert_eq!(shown(&joined), [("client-0/client", 3, 3)]);
    assert!(!joined.edges[0].sampled);
}

#[test]
fn a_claim_by_many_is_counted_in_one_window() {
    let mut model = Model::of(&[TALK, Talk { server: 1, ..TALK }]);
    for sighting in &mut model.input.sightings {
        sighting.token = 1 << 8;
    }
    assert_eq!(model.join().ambiguous_tokens, 1);
    model.input.sightings[0].presence = Presence::Outside;
    model.input.sightings[0].last_ms = -1;
    assert_eq!(model.join().ambiguous_tokens, 0);
}

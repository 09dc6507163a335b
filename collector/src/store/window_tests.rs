//! Windows against histories that know the truth: what is in each, and that they add up.

use std::collections::BTreeMap;

use proptest::prelude::{ProptestConfig, any, prop, prop_assert, prop_assert_eq, proptest};
use tempfile::TempDir;
use wire::Role;

use super::history_tests::*;
use super::{path, rows};
use crate::join;
use crate::store::{Reader, Window};
use crate::topology::{Edge, Topology};

fn topology(dir: &TempDir, (from_ms, to_ms): (i64, i64)) -> Topology {
    let window = Window { from_ms, to_ms };
    let input = Reader::open(&path(dir))
        .unwrap()
        .window(window, &mut rows(100_000))
        .unwrap();
    join::topology(&input, from_ms, to_ms)
}

/// Ids of the ends of a talk.
fn ends(talk: &Talk) -> (String, String) {
    let (host, process) = place(Role::Client, talk.client);
    let (server, _) = place(Role::Server, talk.server);
    (
        format!("host-{host}/service-{process}"),
        format!("host-{server}/service-1"),
    )
}

/// What windows are added up by: what each side opened, and what is new by the edge's own count.
type Sums = BTreeMap<(String, String), [u64; 3]>;

fn add(sums: &mut Sums, edge: &Edge) {
    let sides = [&edge.client_counters, &edge.server_counters];
    let [client, server] = sides.map(|side| side.as_ref().map_or(0, |side| side.opened));
    let new = edge.connections - edge.open_before;
    let sum = sums
        .entry((edge.client.clone(), edge.server.clone()))
        .or_default();
    for (sum, n) in sum.iter_mut().zip([client, server, new]) {
        *sum += n;
    }
}

proptest! {
    // Each case writes a database.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn windows_that_follow_one_another_add_up(
        (mut history, cuts) in cut(true),
        restarts in prop::collection::vec(prop::collection::vec(1..LAST_BEGIN, 0..3), 4),
    ) {
        for (agent, mut restarts) in history.agents.iter_mut().zip(restarts) {
            restarts.sort_unstable();
            restarts.dedup();
            agent.restarts = restarts;
        }
        let dir = history.stored();
        let mut truth = Sums::new();
        for talk in &history.talks {
            for sum in truth.entry(ends(talk)).or_default() {
                *sum += 1;
            }
        }
        let mut sums = Sums::new();
        for window in cuts.windows(2) {
            let topology = topology(&dir, (window[0], window[1]));
            prop_assert!(topology.unjoined.is_empty(), "{:?}: {:#?}", window, topology.unjoined);
            topology.edges.iter().for_each(|edge| add(&mut sums, edge));
        }
        sums.retain(|_, sum| *sum != [0; 3]);
        prop_assert_eq!(&sums, &truth);
        let mut whole = Sums::new();
        topology(&dir, (0, END)).edges.iter().for_each(|edge| add(&mut whole, edge));
        prop_assert_eq!(whole, truth);
    }

    #[test]
    fn a_window_shows_what_lived_in_it_and_nothing_else(
        (history, cuts) in cut(true), wide in any::<bool>(),
    ) {
        let dir = history.stored();
        let intervals: u64 = history.agents.iter().map(|agent| agent.interval).max().unwrap();
        let slack = i64::try_from(intervals).unwrap();
        for window in cuts.windows(2) {
            let to = if wide { window[1] } else { window[0] + 1 };
            let shown = topology(&dir, (window[0], to));
            let shown: Vec<_> = shown.edges.iter().map(|e| (e.client.clone(), e.server.clone())).collect();
            let lived = |from: i64, to: i64| {
                let talks = history.talks.iter().filter(move |talk| {
                    i64::try_from(talk.begin).unwrap() < to && i64::try_from(talk.end).unwrap() > from
                });
                talks.map(ends).collect::<Vec<_>>()
            };
            // By the intervals of the agents, which are the least that a window can show.
            for edge in &shown {
                let some = lived(window[0] - slack, to + slack);
                prop_assert!(some.contains(edge), "{edge:?} in {}..{to}", window[0]);
            }
            // What lives through the whole of it is there.
            let throughout = history.talks.iter().filter(|talk| {
                i64::try_from(talk.begin).unwrap() + slack < window[0]
                    && i64::try_from(talk.end).unwrap() > to
            });
            for edge in throughout.map(ends) {
                prop_assert!(shown.contains(&edge), "{edge:?} not in {}..{to}", window[0]);
            }
        }
    }

    #[test]
    fn without_ends_nothing_is_shown_of_a_service_that_has_nothing_open(
        (history, cuts) in cut(false),
    ) {
        let dir = history.stored();
        let interval = history.agents.iter().map(|agent| agent.interval).max().unwrap();
        for from in cuts {
            let now = from.unsigned_abs();
            let quiet = |talk: &Talk| talk.end + interval < now || talk.begin > now + interval;
            for edge in topology(&dir, (from, from + 1)).edges {
                let of_client = |talk: &&Talk| ends(talk).0 == edge.client;
                let silent = history.talks.iter().filter(of_client).all(quiet);
                prop_assert!(!silent, "{} at {from}", edge.client);
            }
        }
    }
}

/// A pool stays open; connections of another service of its host, to the same server, came after it
/// and are over: a window in which only the pool lives shows the pool, with all of the bytes.
#[test]
fn a_quiet_window_shows_the_pool_alone() {
    for tells_ends in [true, false] {
        let talk = |client, begin, end| Talk {
            client,
            server: 0,
            begin,
            end,
        };
        let mut talks = vec![talk(0, 500, 1_000_000)];
        talks.extend((0..20).map(|n| talk(1, 11_000 + n * 200, 11_100 + n * 200)));
        let agent = Agent {
            interval: 10_000,
            phase: 10_000,
            restarts: Vec::new(),
            tells_ends,
            adds: false,
        };
        let history = History {
            talks,
            agents: vec![agent; 4],
        };
        let dir = history.stored();
        let topology = topology(&dir, (30_000, 60_000));
        let edges: Vec<_> = topology
            .edges
            .iter()
            .map(|e| (e.client.as_str(), e.connections, e.open_before))
            .collect();
        assert_eq!(edges, [("host-0/service-1", 1, 1)]);
        assert!(topology.unjoined.is_empty());
        assert!(
            !topology.edges[0]
                .server_counters
                .as_ref()
                .unwrap()
                .apportioned
        );
    }
}

/// Two services hold a connection each to one of two servers behind one address, and both had short
/// ones to the other server after that: only ends tell which are open.
#[test]
fn pools_that_cross_are_told_apart_by_ends() {
    let talk = |client, server, begin, end| Talk {
        client,
        server,
        begin,
        end,
    };
    let talks = vec![
        talk(0, 0, 500, 1_000_000),
        talk(1, 1, 600, 1_000_000),
        talk(0, 1, 12_000, 12_010),
        talk(1, 0, 13_000, 13_010),
    ];
    let agent = Agent {
        interval: 10_000,
        phase: 10_000,
        restarts: Vec::new(),
        tells_ends: true,
        adds: false,
    };
    let history = History {
        talks,
        agents: vec![agent; 4],
    };
    let topology = topology(&history.stored(), (30_000, 40_000));
    let edges: Vec<_> = topology
        .edges
        .iter()
        .map(|e| (e.client.as_str(), e.server.as_str(), e.connections))
        .collect();
    assert_eq!(
        edges,
        [
            ("host-0/service-1", "host-10/service-1", 1),
            ("host-0/service-2", "host-11/service-1", 1),
        ]
    );
}

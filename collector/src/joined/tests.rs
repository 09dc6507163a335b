//! What is stored of a slice is what the join makes of its rows, whatever came in which order; and
//! slices add up to what the join makes of all rows.

mod gone;
mod marked;
mod standing;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::{
    Just, ProptestConfig, Strategy, prop, prop_assert, prop_assert_eq, prop_assume, proptest,
};
use tempfile::TempDir;

use super::Kept;
use crate::accept::Opened;
use crate::join::{self, Damaged, Joined};
use crate::meter::Meter;
use crate::metrics::Metrics;
use crate::store::tests::history_tests::*;
use crate::store::tests::{NOW, path, store};
use crate::store::writer::{self, Job, Message};
use crate::store::{Error, Piece, Reader, Slice, Store, Window};
use crate::time;
use crate::topology::{Edge, EdgeCounters, Topology};

/// Everything has settled by then.
const LATER: i64 = NOW + 1_000_000;
const WHOLE: Window = Window {
    from_ms: 0,
    to_ms: END,
};

fn shown(dir: &TempDir, window: Window) -> Topology {
    let mut reader = Reader::open(&path(dir)).unwrap();
    let shown = super::topology(&mut reader, window, window, Meter::unlimited());
    shown.unwrap().document()
}

/// By the join of all rows.
fn joined_at_once(dir: &TempDir, window: Window) -> Topology {
    let mut reader = Reader::open(&path(dir)).unwrap();
    let input = reader.window(window, &mut Meter::unlimited()).unwrap();
    join::topology(&input, window.from_ms, window.to_ms)
}

/// Joins as many slices.
fn join_slices(store: &mut Store, dir: &TempDir, most: usize) {
    let mut reader = Reader::open(&path(dir)).unwrap();
    for _ in 0..most {
        let Some(finished) = super::next(&mut reader, LATER, Meter::unlimited()).unwrap() else {
            return;
        };
        store.put_joined(&finished, NOW).unwrap();
    }
}

/// A history with restarts of its agents.
pub(crate) fn restarted() -> impl Strategy<Value = History> {
    let restarts = prop::collection::vec(prop::collection::vec(1..LAST_BEGIN, 0..3), 4);
    (history(true), restarts).prop_map(|(mut history, restarts)| {
        for (agent, mut restarts) in history.agents.iter_mut().zip(restarts) {
            restarts.sort_unstable();
            restarts.dedup();
            agent.restarts = restarts;
        }
        history
    })
}

/// Batches in any order, some twice; what each is followed by: slices that are joined, or a restart
/// of the collector.
fn deliveries() -> impl Strategy<Value = (History, Vec<(usize, Option<usize>)>)> {
    restarted().prop_flat_map(|history| {
        let all = history.all_batches().len();
        let again = prop::collection::vec(0..all, 0..10);
        let order = again.prop_flat_map(move |again| {
            Just((0..all).chain(again).collect::<Vec<usize>>()).prop_shuffle()
        });
        let then = prop::collection::vec(prop::option::weighted(0.9, 0_usize..4), all + 10);
        let deliveries =
            (order, then).prop_map(|(order, then)| order.into_iter().zip(then).collect());
        (Just(history), deliveries)
    })
}

fn slices(reader: &mut Reader) -> Vec<Slice> {
    let pieces = reader.view().unwrap().pieces(WHOLE).unwrap();
    let mut all: Vec<Slice> = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Joined(slice) => all.push(slice),
            Piece::Rows(rows) => panic!("not joined: {rows:?}"),
        }
    }
    let mut at = 0;
    while let Some(slice) = all.get(at).copied() {
        if !slice.is_shortest() {
            all.extend(reader.view().unwrap().parts(slice).unwrap());
        }
        at += 1;
    }
    all
}

/// What each side of the edges of a node counted.
fn of_nodes(edges: &[Edge]) -> BTreeMap<(String, bool), [u64; 4]> {
    let mut sums: BTreeMap<(String, bool), [u64; 4]> = BTreeMap::new();
    for edge in edges {
        for (node, counters, client) in [
            (&edge.client, &edge.client_counters, true),
            (&edge.server, &edge.server_counters, false),
        ] {
            let Some(counters) = counters else { continue };
            let bytes = counters.bytes_sent.unwrap();
            let numbers = [counters.opened, counters.closed, bytes, counters.open];
            let sum = sums.entry((node.clone(), client)).or_default();
            sum.iter_mut().zip(numbers).for_each(|(sum, n)| *sum += n);
        }
    }
    sums
}

/// Of an edge what slices add up to.
type Sums = BTreeMap<(String, String, String), Sum>;

#[derive(Debug, Default, PartialEq)]
struct Sum {
    connections: u64,
    open_before: u64,
    evidence: Vec<(String, u64)>,
    client: Option<EdgeCounters>,
    server: Option<EdgeCounters>,
    first_last_ms: Option<(i64, i64)>,
    confidence: String,
}

/// A side that others had a part of as well is left out: where it is divided slice by slice, less
/// of it is common.
fn sums(edges: &[Edge], shared: &BTreeMap<(String, bool), bool>) -> Sums {
    let own = |node: &String, client| !shared.get(&(node.clone(), client)).is_some_and(|is| *is);
    let sum = |edge: &Edge| Sum {
        connections: edge.connections,
        open_before: edge.open_before,
        evidence: (edge.evidence.iter())
            .map(|one| (format!("{:?}", one.kind), one.connections))
            .collect(),
        client: edge
            .client_counters
            .clone()
            .filter(|_| own(&edge.client, true)),
        server: edge
            .server_counters
            .clone()
            .filter(|_| own(&edge.server, false)),
        first_last_ms: (own(&edge.client, true) && own(&edge.server, false))
            .then_some((edge.first_seen_ms, edge.last_seen_ms)),
        confidence: format!("{:.3}", edge.confidence),
    };
    let key = |edge: &Edge| {
        let key = (&edge.client, &edge.server, &edge.server_endpoint);
        (key.0.clone(), key.1.clone(), key.2.clone())
    };
    edges.iter().map(|edge| (key(edge), sum(edge))).collect()
}

/// The sides of nodes that are divided among edges.
fn shared(edges: &[Edge]) -> BTreeMap<(String, bool), bool> {
    let mut all = BTreeMap::new();
    for edge in edges {
        for (node, counters, client) in [
            (&edge.client, &edge.client_counters, true),
            (&edge.server, &edge.server_counters, false),
        ] {
            let is = counters
                .as_ref()
                .is_some_and(|counters| counters.apportioned);
            *all.entry((node.clone(), client)).or_insert(false) |= is;
        }
    }
    all
}

#[test]
fn the_thread_joins_what_arrives_and_goes_on_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let talks = (0..40).map(|n| Talk {
        client: n % CLIENTS,
        server: n % SERVERS,
        begin: 100 * n as u64,
        end: 100 * n as u64 + 10_000,
    });
    let agent = Agent {
        interval: 10_000,
        phase: 10_000,
        restarts: Vec::new(),
        tells_ends: true,
        adds: true,
    };
    let history = History {
        talks: talks.collect(),
        agents: vec![agent; 4],
    };
    let batches = history.all_batches();
    for half in batches.chunks(batches.len().div_ceil(2)) {
        let metrics = Arc::new(Metrics::default());
        let kept = crate::config::Store {
            path: path(&dir),
            retention: Duration::from_secs(1 << 32),
            retention_minutes: Duration::from_secs(1 << 32),
            retention_hours: Duration::from_secs(1 << 32),
            max_bytes: 1 << 30,
            outbox_bytes: 1 << 30,
            kind: crate::config::StoreKind::Sqlite,
            clickhouse: None,
        };
        let writer =
            writer::spawn(Box::new(store(&dir)), 100, &kept, Arc::clone(&metrics)).unwrap();
        let joiner = super::spawn(
            Arc::new(path(&dir)),
            Meter::unlimited(),
            (
                writer.jobs.clone(),
                Arc::new(Kept::new(1 << 20, Arc::clone(&metrics))),
            ),
            Arc::clone(&metrics),
            || Some(()),
        );
        for batch in half {
            let (reply, outcome) = tokio::sync::oneshot::channel();
            let opened = batch.clone();
            writer
                .jobs
                .send(Message::Batch(Box::new(Job::new(
                    opened,
                    reply,
                    time::monotonic(),
                ))))
                .unwrap();
            outcome.blocking_recv().unwrap().unwrap();
        }
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut reader = Reader::open(&path(&dir)).unwrap();
        while reader.view().unwrap().slice_counts().unwrap().waiting > 0 {
            assert!(Instant::now() < deadline, "not joined");
            std::thread::park_timeout(Duration::from_millis(50));
        }
        assert!(metrics.join_slices_total.get() > 0);
        assert_eq!(metrics.join_failures_total.get(), 0);
        drop(joiner);
        drop(writer.jobs);
        writer.thread.join().unwrap();
    }
    slices(&mut Reader::open(&path(&dir)).unwrap());
    let (added, whole) = (shown(&dir, WHOLE), joined_at_once(&dir, WHOLE));
    assert_eq!(of_nodes(&added.edges), of_nodes(&whole.edges));
    assert_eq!(added.edges.len(), 4);
}

#[test]
fn bytes_that_are_no_slice_are_an_error() {
    let dir = TempDir::new().unwrap();
    let talks = (0..9).map(|n| Talk {
        client: n % CLIENTS,
        server: n % SERVERS,
        begin: 1,
        end: 2,
    });
    let agents = vec![
        Agent {
            interval: 10_000,
            phase: 10_000,
            restarts: Vec::new(),
            tells_ends: true,
            adds: true,
        };
        4
    ];
    let history = History {
        talks: talks.collect(),
        agents,
    };
    let mut now = store(&dir);
    for batch in &history.all_batches() {
        now.put(&[batch], NOW).remove(0).unwrap();
    }
    let mut reader = Reader::open(&path(&dir)).unwrap();
    let input = reader.window(WHOLE, &mut Meter::unlimited()).unwrap();
    let joined = join::joined(input, 0, Meter::unlimited()).unwrap();
    let bytes = joined.encode().unwrap();
    assert_eq!(Joined::decode(&bytes).as_ref(), Ok(&joined));
    let (mut sum, edges) = (Joined::default(), joined.edges());
    assert!(edges > 0);
    let room = |most: usize| move |edges| (edges <= most).then_some(()).ok_or(Damaged);
    assert_eq!(sum.add_encoded(&bytes, room(edges - 1)), Err(Damaged));
    let mut sum = Joined::default();
    assert_eq!(sum.add_encoded(&bytes, room(edges)), Ok(()));
    assert_eq!(sum, joined);
    // What is there already takes no more room.
    assert_eq!(sum.add_encoded(&bytes, room(edges)), Ok(()));
    let mut twice = joined.clone();
    twice.add(joined.clone());
    assert_eq!(sum, twice);
    for at in 0..bytes.len() {
        assert!(Joined::decode(&bytes[..at]).is_err(), "{at}");
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            // Never a panic.
            drop(Joined::decode(&damaged));
            let _: Result<(), Damaged> = joined.clone().add_encoded(&damaged, room(2 * edges));
        }
    }
}

proptest! {
    // Each case writes a database and joins some hundred times.
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_is_stored_is_what_the_join_makes_of_the_rows_whatever_came_when(
        (history, deliveries) in deliveries(),
    ) {
        let dir = TempDir::new().unwrap();
        let mut store_now = store(&dir);
        let batches = history.all_batches();
        for (at, then) in deliveries {
            let batch: &Opened = &batches[at];
            store_now.put(&[batch], NOW).remove(0).unwrap();
            match then {
                Some(most) => join_slices(&mut store_now, &dir, most),
                None => {
                    drop(store_now);
                    store_now = store(&dir);
                }
            }
        }
        join_slices(&mut store_now, &dir, usize::MAX);
        let mut reader = Reader::open(&path(&dir)).unwrap();
        for slice in slices(&mut reader) {
            let view = reader.view().unwrap();
            let stored = Joined::decode(&view.joined(slice).unwrap()).unwrap();
            let now = if slice.is_shortest() {
                let input = view.window(slice.window(), &mut Meter::unlimited()).unwrap();
                join::joined(input, slice.start_ms, Meter::unlimited()).unwrap()
            } else {
                let mut sum = Joined::default();
                for part in view.parts(slice).unwrap() {
                    sum.add(Joined::decode(&view.joined(part).unwrap()).unwrap());
                }
                sum
            };
            prop_assert_eq!(stored, now, "{:?}", slice);
        }
    }

    #[test]
    fn rows_that_do_not_fit_at_once_are_joined_in_parts(
        history in restarted(),
        less in 1_usize..4,
    ) {
        let dir = history.stored();
        let whole = joined_at_once(&dir, WHOLE);
        let mut reader = Reader::open(&path(&dir)).unwrap();
        let (most, mut all) = (1 << 30, Meter::new(1 << 30, usize::MAX));
        reader.window(WHOLE, &mut all).unwrap();
        let rows = (most - all.rows_left(1)).saturating_sub(less);
        // A few rows may all be of one moment.
        prop_assume!(rows > 40);
        let meter = Meter::new(rows, usize::MAX);
        let at_once = super::topology(&mut reader, WHOLE, WHOLE, meter);
        prop_assert!(matches!(at_once, Err(Error::Exceeded(_))));
        let parts = super::topology(&mut reader, WHOLE, WHOLE, meter.for_parts());
        let parts = parts.unwrap().document();
        let shared = shared(&whole.edges);
        prop_assert_eq!(sums(&parts.edges, &shared), sums(&whole.edges, &shared));
        prop_assert_eq!(of_nodes(&parts.edges), of_nodes(&whole.edges));
    }

    #[test]
    fn slices_add_up_to_the_whole(history in restarted()) {
        let dir = history.stored();
        let whole = joined_at_once(&dir, WHOLE);
        let mut store = store(&dir);
        prop_assert_eq!(&shown(&dir, WHOLE), &whole, "nothing is joined yet");
        join_slices(&mut store, &dir, usize::MAX);
        let added = shown(&dir, WHOLE);
        prop_assert!(added.unjoined.is_empty(), "{:#?}", added.unjoined);
        let shared = shared(&whole.edges);
        prop_assert_eq!(sums(&added.edges, &shared), sums(&whole.edges, &shared));
        prop_assert_eq!(of_nodes(&added.edges), of_nodes(&whole.edges));
        prop_assert_eq!(added.nodes, whole.nodes);
    }
}

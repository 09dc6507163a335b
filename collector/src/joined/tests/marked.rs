//! Hosts that were copied and names that come late, in join on arrival.

use super::*;
use crate::join::HostId;

/// Machines that use one host id, and when and how processes are named.
#[derive(Clone, Debug)]
struct Odd {
    history: History,
    /// The second host has the state of the first one.
    copied: bool,
    /// Of each batch, by turns: which version of the names it tells, if it tells any.
    names: Vec<Option<u8>>,
}

fn odd() -> impl Strategy<Value = Odd> {
    let names = prop::collection::vec(prop::option::weighted(0.3, 0_u8..3), 1..9);
    let odd = (restarted(), proptest::prelude::any::<bool>(), names);
    odd.prop_map(|(mut history, copied, names)| {
        for agent in &mut history.agents {
            // Each batch is followed by joins.
            agent.interval = agent.interval.max(10_000);
        }
        Odd {
            history,
            copied,
            names,
        }
    })
}

impl Odd {
    fn batches(&self) -> Vec<Opened> {
        let all = self.history.all_batches().into_iter().enumerate();
        let odd = all.map(|(at, opened)| {
            let mut batch = opened.batch;
            if self.copied && batch.header.host == [1; 16] {
                batch.header.host = [0; 16];
                batch.header.boot = batch.header.boot.map(|byte| byte + 100);
            }
            match self.names[at % self.names.len()] {
                None => batch.processes.clear(),
                Some(version) => {
                    for process in &mut batch.processes {
                        process.service = format!("{}-{version}", process.service);
                    }
                }
            }
            crate::store::tests::opened(batch)
        });
        odd.collect()
    }
}

fn odd_deliveries() -> impl Strategy<Value = (Odd, Vec<(usize, usize)>)> {
    odd().prop_flat_map(|odd| {
        let all = odd.history.all_batches().len();
        let again = prop::collection::vec(0..all, 0..10);
        let order = again.prop_flat_map(move |again| {
            Just((0..all).chain(again).collect::<Vec<usize>>()).prop_shuffle()
        });
        // Some as they arrive where nothing is late.
        let in_order = proptest::prelude::any::<bool>();
        let then = prop::collection::vec(0_usize..4, all + 10);
        let deliveries = (order, in_order, then).prop_map(|(mut order, in_order, then)| {
            if in_order {
                order.sort_unstable();
            }
            order.into_iter().zip(then).collect()
        });
        (Just(odd), deliveries)
    })
}

/// Whether what is stored of each slice is what the join makes of its rows now.
fn check(dir: &TempDir) -> Result<(), proptest::test_runner::TestCaseError> {
    let mut reader = Reader::open(&path(dir)).unwrap();
    for slice in slices(&mut reader) {
        if !slice.is_shortest() {
            continue;
        }
        let view = reader.view().unwrap();
        let stored = Joined::decode(&view.joined(slice).unwrap()).unwrap();
        let input = view
            .window(slice.window(), &mut Meter::unlimited())
            .unwrap();
        let now = join::joined(input, slice.start_ms, Meter::unlimited()).unwrap();
        prop_assert_eq!(stored, now, "{:?}", slice);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn copied_hosts_and_late_names_are_joined_again((odd, deliveries) in odd_deliveries()) {
        let dir = TempDir::new().unwrap();
        let mut store = store(&dir);
        let batches = odd.batches();
        for (now_ms, (at, most)) in (NOW..).step_by(1000).zip(deliveries) {
            store.put(&[&batches[at]], now_ms).remove(0).unwrap();
            join_slices(&mut store, &dir, most);
        }
        join_slices(&mut store, &dir, usize::MAX);
        check(&dir)?;
    }
}

#[test]
fn machines_that_turn_out_to_share_a_host_id_are_two_nodes_in_all_that_was_joined() {
    let dir = TempDir::new().unwrap();
    let talks = (0..80).map(|n| Talk {
        client: n % CLIENTS,
        server: n % SERVERS,
        begin: 1000 * n as u64,
        end: 1000 * n as u64 + 500,
    });
    let agent = Agent {
        interval: 10_000,
        phase: 10_000,
        restarts: Vec::new(),
        tells_ends: true,
        adds: true,
    };
    let odd = Odd {
        history: History {
            talks: talks.collect(),
            agents: vec![agent; 4],
        },
        copied: true,
        names: vec![Some(0)],
    };
    let mut store = store(&dir);
    let mut batches = odd.batches();
    // In the order of their time, but for the last of the copy.
    batches.sort_by_key(|batch| batch.batch.header.end_ms);
    let last = |batch: &Opened| batch.batch.header.boot == [100; 16];
    let at = batches.iter().rposition(last).unwrap();
    let late = batches.remove(at);
    let (copies, others): (Vec<_>, Vec<_>) = batches.into_iter().partition(last);
    // At first the machines seem to follow each other.
    for (now_ms, batch) in (NOW..).step_by(1000).zip(copies.iter().chain(&others)) {
        store.put(&[batch], now_ms).remove(0).unwrap();
    }
    join_slices(&mut store, &dir, usize::MAX);
    let of_copies = |dir: &TempDir| {
        let mut reader = Reader::open(&path(dir)).unwrap();
        let mut found: BTreeMap<i64, Vec<HostId>> = BTreeMap::new();
        for slice in slices(&mut reader) {
            let body = reader.view().unwrap().joined(slice).unwrap();
            let joined = Joined::decode(&body).unwrap();
            if slice.is_shortest() && joined.edges() > 0 {
                found.insert(slice.start_ms, joined.copies().iter().copied().collect());
            }
        }
        found
    };
    assert!(of_copies(&dir).values().all(Vec::is_empty));
    store.put(&[&late], NOW + 1_000_000).remove(0).unwrap();
    join_slices(&mut store, &dir, usize::MAX);
    let both = vec![HostId([0; 16]), HostId([100; 16])];
    let found = of_copies(&dir);
    assert!(found.len() > 3, "{found:?}");
    assert!(found.values().all(|copies| *copies == both), "{found:?}");
    check(&dir).unwrap();
}

//! What is made before somebody asks is what a question makes at the same moment.

use tempfile::TempDir;

use super::super::kept::{Kept, SPARE, Wanted};
use super::super::standing::Standing;
use super::*;
use crate::store::{AHEAD_TOLERANCE_MS, Retention};

struct Both {
    kept: Arc<Kept>,
    metrics: Arc<Metrics>,
    standing: Standing,
}

impl Both {
    fn new() -> Self {
        let metrics = Arc::new(Metrics::default());
        let kept = Arc::new(Kept::new(1 << 24, Arc::clone(&metrics)));
        Self {
            standing: Standing::new(Arc::clone(&kept), Arc::clone(&metrics)),
            metrics,
            kept,
        }
    }

    /// What was made before, and what a question makes; `None` where joining is behind.
    fn made(&mut self, dir: &TempDir, from_ms: i64) -> Option<(Topology, Topology)> {
        let mut reader = Reader::open(&path(dir)).unwrap();
        let window = Window {
            from_ms,
            to_ms: END,
        };
        let at = (END - from_ms, END, time::monotonic());
        let made = self.standing.make(&mut reader, at, Meter::unlimited());
        if !made.unwrap() {
            return None;
        }
        let wanted = Wanted {
            window,
            is_now: true,
        };
        let failing = || Err(Error::Damaged { what: "not made" });
        let standing = self.kept.get(wanted, SPARE, failing).unwrap();
        let read = Window {
            to_ms: END + AHEAD_TOLERANCE_MS,
            ..window
        };
        let read = (read, time::whole_ms(SPARE));
        let asked = super::super::topology_about(&mut reader, window, read, Meter::unlimited());
        Some((standing.document(), asked.unwrap().document()))
    }
}

/// Connections in all of the time, told each ten seconds.
fn lasting() -> History {
    let talks = (0..200).map(|n| Talk {
        client: n % CLIENTS,
        server: n % SERVERS,
        begin: 1900 * n as u64,
        end: 1900 * n as u64 + 15_000,
    });
    let agent = Agent {
        interval: 10_000,
        phase: 10_000,
        restarts: Vec::new(),
        tells_ends: true,
        adds: true,
    };
    History {
        talks: talks.collect(),
        agents: vec![agent; 4],
    }
}

#[test]
fn sums_are_used_again_until_one_of_their_slices_changes() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let mut batches = lasting().all_batches();
    let late = batches.remove(batches.len() / 3);
    for batch in &batches {
        store.put(&[batch], NOW).remove(0).unwrap();
    }
    join_slices(&mut store, &dir, usize::MAX);
    let mut both = Both::new();
    let (first, asked) = both.made(&dir, 0).unwrap();
    assert_eq!(first, asked);
    let sums = both.metrics.query_topologies_standing_bytes.get();
    assert!(sums > 0, "three slices of the longest");
    assert_eq!(both.made(&dir, 0), Some((first.clone(), asked)));
    assert_eq!(both.metrics.query_topologies_standing_bytes.get(), sums);
    // It changes all slices around it.
    store.put(&[&late], NOW).remove(0).unwrap();
    assert_eq!(both.made(&dir, 0), None, "they wait to be joined again");
    join_slices(&mut store, &dir, usize::MAX);
    let (again, asked) = both.made(&dir, 0).unwrap();
    assert_eq!(again, asked);
    assert_ne!(again, first, "the sum is of the new slice");
    let (restarted, _) = Both::new().made(&dir, 0).unwrap();
    assert_eq!(restarted, again, "whatever was there before");
}

#[test]
fn what_is_far_from_joined_is_not_made() {
    let dir = lasting().stored();
    let mut both = Both::new();
    assert_eq!(both.made(&dir, 0), None);
    let mut reader = Reader::open(&path(&dir)).unwrap();
    let turn = both.standing.turn(&mut reader, END, Meter::unlimited());
    assert!(turn.unwrap(), "it was due");
    assert_eq!(
        both.metrics.query_topologies_standing_skipped_total.get(),
        1
    );
    assert_eq!(both.metrics.topology_standing_seconds.count(), 0);
    join_slices(&mut store(&dir), &dir, usize::MAX);
    let turn = both.standing.turn(&mut reader, END, Meter::unlimited());
    assert!(turn.unwrap(), "the next one");
    assert_eq!(both.metrics.topology_standing_seconds.count(), 1);
    let turn = both.standing.turn(&mut reader, END, Meter::unlimited());
    assert!(!turn.unwrap(), "each once in a while");
}

proptest! {
    // Each case writes a database and joins some hundred times.
    #![proptest_config(ProptestConfig::with_cases(4))]

    #[test]
    fn what_is_made_before_is_what_a_question_makes(
        (history, deliveries) in deliveries(),
        from_ms in 0..60_000_i64,
        age_ms in 0..END,
    ) {
        let dir = TempDir::new().unwrap();
        let mut store_now = store(&dir);
        let batches = history.all_batches();
        let mut both = Both::new();
        for (n, (at, then)) in deliveries.into_iter().enumerate() {
            store_now.put(&[&batches[at]], NOW).remove(0).unwrap();
            match then {
                Some(most) => join_slices(&mut store_now, &dir, most),
                None => {
                    drop(store_now);
                    store_now = store(&dir);
                }
            }
            if n % 8 == 7 && let Some((made, asked)) = both.made(&dir, from_ms) {
                prop_assert_eq!(made, asked);
            }
        }
        join_slices(&mut store_now, &dir, usize::MAX);
        for _ in 0..2 {
            let both = both.made(&dir, from_ms);
            // Where nothing happened in the window, nothing is joined.
            prop_assume!(both.is_some());
            let (made, asked) = both.unwrap();
            prop_assert_eq!(made, asked);
        }
        let mut retention = Retention::new(1).with_joined(1, 1);
        while store_now.retain(&mut retention, age_ms).unwrap().more {}
        if let Some((made, asked)) = both.made(&dir, from_ms) {
            prop_assert_eq!(made, asked);
        }
    }
}

//! Rows of both kinds against histories that know the truth: whatever is lost, late, doubled or out
//! of order, sums are exact after the next totals and never too high before.

use proptest::prelude::prop_assert;

use super::probe_tests::{Probe, probes as table_of};
use super::*;
use crate::counters;
use crate::store::retention::Pass;

/// What was added in the interval of batch `sequence`.
fn added(since_ms: u64, opened: u64) -> EdgeRow {
    EdgeRow {
        total: false,
        ..edge(since_ms, opened)
    }
}

/// An agent whose rows say what their interval added.
struct Agent {
    boot: u8,
    since_ms: u64,
    counted: u64,
    /// A batch is known to be lost.
    owes_total: bool,
}

impl Agent {
    fn new(boot: u8, since_ms: u64) -> Self {
        Self {
            boot,
            since_ms,
            counted: 0,
            owes_total: false,
        }
    }

    /// The batch of the interval that ends at `end`, in which so many connections were opened;
    /// rows without a change are not there.
    fn close(&mut self, (sequence, end): (u64, u64), opened: u64, total: bool) -> Opened {
        self.counted += opened;
        let mut batch = batch(end, vec![]).batch;
        (batch.header.sequence, batch.header.boot) = (sequence, [self.boot; 16]);
        let total = total || std::mem::take(&mut self.owes_total);
        let kinds = [(opened > 0, false, opened), (total, true, self.counted)];
        let mut probes = Vec::new();
        for (_, total, count) in kinds.into_iter().filter(|(there, ..)| *there) {
            batch.edges.push(EdgeRow {
                total,
                ..edge(self.since_ms, count)
            });
            batch.nats.push(wire::NatRow {
                since_ms: self.since_ms,
                total,
                ..nat_tests::nat(count)
            });
            probes.push(Probe {
                total,
                since_ms: self.since_ms,
                device: 7,
                count,
                depth: end,
            });
        }
        batch.others.push(table_of(&probes));
        super::opened(batch)
    }
}

/// Connections translated in a window.
fn translated(dir: &TempDir, window: Window) -> u64 {
    let mut reader = Reader::open(&path(dir)).unwrap();
    let nats = reader.window(window, &mut rows(1000)).unwrap().nats;
    nats.iter().map(|nat| nat.opened).sum()
}

/// What the flow's edges, the gateway's translations and a table that only its sender knows say of a
/// window, which is the same.
fn both(dir: &TempDir, window: Window) -> u64 {
    let opened = count(dir, window);
    assert_eq!(translated(dir, window), opened, "{window:?}");
    assert_eq!(described_tests::counted(dir, window), opened, "{window:?}");
    opened
}

#[test]
fn what_a_lost_batch_added_shows_with_the_next_total() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let mut agent = Agent::new(2, 500);
    for (sequence, opened) in [(1, 5), (2, 7), (3, 1), (4, 2), (5, 3)] {
        let batch = agent.close((sequence, sequence), opened, sequence == 4);
        if sequence != 2 {
            put(&mut store, &batch);
        }
        if sequence == 3 {
            assert_eq!(both(&dir, ALL), 6, "the second is not known yet");
        }
    }
    assert_eq!(both(&dir, ALL), 18);
    let counts = (0..5).map(|at| both(&dir, window(at, at + 1)));
    assert_eq!(counts.collect::<Vec<_>>(), [5, 0, 1, 9, 3]);
}

#[test]
fn what_comes_late_is_where_it_belongs_and_changes_no_total() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let mut agent = Agent::new(2, 500);
    let batches: Vec<_> = [(1, 5), (2, 7), (3, 1), (4, 2), (5, 3)]
        .into_iter()
        .map(|(sequence, opened)| agent.close((sequence, sequence), opened, sequence == 4))
        .collect();
    for at in [0, 2, 4, 3, 1, 1] {
        store.put(&[&batches[at]], NOW).remove(0).unwrap();
    }
    assert_eq!(both(&dir, ALL), 18);
    let counts = (0..5).map(|at| both(&dir, window(at, at + 1)));
    assert_eq!(counts.collect::<Vec<_>>(), [5, 7, 1, 2, 3]);
}

#[test]
fn what_is_open_is_known_from_what_intervals_added() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let row = |opened, closed| EdgeRow {
        closed,
        ..added(500, opened)
    };
    // The second of them comes last.
    for (sequence, opened, closed) in [(1, 5, 1), (3, 1, 2), (2, 0, 1)] {
        put(&mut store, &batch(sequence, vec![row(opened, closed)]));
    }
    put(&mut store, &batch(9, vec![]));
    let mut reader = Reader::open(&path(&dir)).unwrap();
    let input = reader.window(window(7, 9), &mut rows(100)).unwrap();
    let open: Vec<_> = input.flows.iter().map(|flow| flow.open_before).collect();
    assert_eq!(open, [2]);
}

/// What windows show of the one edge that is told of by batches of a minute and more.
fn shown(dir: &TempDir) -> Vec<(u64, u64, u64, i64)> {
    let mut reader = Reader::open(&path(dir)).unwrap();
    let mut all = Vec::new();
    for (from, to) in [(0, 14), (1, 3), (4, 6), (5, 7), (7, 13), (8, 14), (13, 14)] {
        let input = reader.window(window(from, to), &mut rows(100)).unwrap();
        all.extend(input.flows.iter().map(|flow| {
            let counters = flow.counters.as_ref().unwrap();
            let [opened, closed] =
                [counters::OPENED, counters::CLOSED].map(|at| counters.plain(at));
            (opened, closed, flow.open_before, flow.last_ms)
        }));
    }
    all
}

#[test]
fn what_is_open_and_since_when_is_the_same_in_whatever_order_a_run_arrives() {
    let told = [(1, 1, 0), (4, 0, 1), (7, 2, 0), (13, 0, 1), (14, 0, 0)];
    let batches = told.map(|(sequence, opened, closed)| {
        let row = EdgeRow {
            closed,
            ..added(500, opened)
        };
        let rows = if opened + closed > 0 {
            vec![row]
        } else {
            vec![]
        };
        batch(sequence, rows)
    });
    let stored = |order: &[usize]| {
        let dir = TempDir::new().unwrap();
        let mut store = store(&dir);
        for at in order {
            put(&mut store, &batches[*at]);
        }
        shown(&dir)
    };
    let expected = stored(&[0, 1, 2, 3, 4]);
    assert_eq!(expected[0], (3, 2, 0, 130_000));
    assert_eq!(
        expected.last(),
        Some(&(0, 0, 1, 130_000)),
        "silent, with one open"
    );
    for order in [
        [1, 0, 2, 3, 4],
        [2, 1, 0, 3, 4],
        [2, 0, 1, 4, 3],
        [3, 2, 1, 0, 4],
        [4, 0, 3, 1, 2],
        [4, 3, 2, 1, 0],
    ] {
        assert_eq!(stored(&order), expected, "{order:?}");
    }
}

#[test]
fn a_batch_between_two_that_a_clock_set_back_left_no_room_is_not_counted_twice() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let mut agent = Agent::new(2, 500);
    let mut at = |sequence, end_ms, opened, total| {
        let mut batch = agent.close((sequence, sequence), opened, total).batch;
        (batch.header.start_ms, batch.header.end_ms) = (end_ms - 10, end_ms);
        super::opened(batch)
    };
    let first = at(1, 10_000, 5, false);
    let late = at(2, 30_000, 7, false);
    let total = at(3, 10_001, 1, true);
    let last = at(4, 40_000, 2, false);
    for batch in [&first, &total, &late, &last] {
        put(&mut store, batch);
    }
    assert_eq!(both(&dir, ALL), 15);
}

#[test]
fn a_total_after_an_eviction_belongs_to_no_window() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let mut agent = Agent::new(2, 500);
    put(&mut store, &agent.close((1, 1), 1000, false));
    // The store was full, and the series silent meanwhile.
    let mut pass = Pass::by_size(50_000);
    while pass.step(&store.connection, &mut Vec::new()).unwrap().more {}
    drop(store);
    let mut store = super::store(&dir);
    let sql = "INSERT INTO evicted (id, before_ms, at_ms, rows) VALUES (1, 50000, 50000, 1)";
    store.connection.execute(sql, ()).unwrap();
    assert_eq!(both(&dir, ALL), 0);
    for (sequence, opened, total) in [(6, 3, false), (7, 4, false), (8, 2, true), (9, 1, false)] {
        put(
            &mut store,
            &agent.close((sequence, sequence), opened, total),
        );
    }
    let windows = || (5..9).map(|at| window(at, at + 1));
    // What intervals added is known where rows are kept as they came.
    let counts: Vec<_> = windows().map(|at| count(&dir, at)).collect();
    assert_eq!(counts, [3, 4, 2, 1], "nothing of what was before");
    let counts: Vec<_> = windows().map(|at| translated(&dir, at)).collect();
    assert_eq!(counts, [0, 0, 0, 1], "nothing of what was before");
    // One that begins later has no past that could be missing.
    let mut new = Agent::new(3, 90_500);
    for (sequence, opened, total) in [(1, 3, false), (2, 4, true)] {
        put(
            &mut store,
            &new.close((sequence, sequence + 9), opened, total),
        );
    }
    assert_eq!(both(&dir, window(9, 11)), 7);
}

#[test]
fn one_batch_adds_what_is_late_to_a_bounded_number_of_samples() {
    let dir = TempDir::new().unwrap();
    let mut store = store(&dir);
    let of = |sequence: u64, total: bool, count: u64| {
        let row = |port| {
            let mut row = EdgeRow {
                total,
                ..edge(500, count)
            };
            row.remote.port = port;
            row
        };
        batch(sequence, (1..=10).map(row).collect())
    };
    for sequence in 2..30 {
        put(&mut store, &of(sequence, false, 1));
    }
    let late = put(&mut store, &of(1, false, 1));
    assert!(
        matches!(late, Outcome::Stored { unplaced: 1.., .. }),
        "said: {late:?}"
    );
    assert!(count(&dir, ALL) < 290, "too low and not too high");
    put(&mut store, &of(30, true, 30));
    assert_eq!(count(&dir, ALL), 300);
}

/// One interval: what was opened in it, and what becomes of its batch.
#[derive(Clone, Copy, Debug)]
struct Interval {
    opened: u64,
    total: bool,
    lost: bool,
    /// The agent is started again after it.
    restart: bool,
    /// Place among the arrivals.
    arrives: u16,
    doubled: bool,
}

fn interval() -> impl Strategy<Value = Interval> {
    let flags = prop::array::uniform4(0_u8..10);
    (0_u64..4, flags, proptest::prelude::any::<u16>(), 0_u16..6).prop_map(
        |(opened, flags, far, near)| Interval {
            opened,
            total: flags[0] < 2,
            lost: flags[1] < 2,
            restart: flags[2] == 0,
            // Most come nearly in order.
            arrives: if flags[3] < 2 { far } else { near },
            doubled: flags[3] % 2 == 0,
        },
    )
}

/// Batches in the order of their arrival, and what was opened up to the end of each interval.
fn history(intervals: &[Interval]) -> (Vec<(u16, Opened)>, Vec<u64>) {
    let (mut arrivals, mut truth) = (Vec::new(), vec![0]);
    let mut agent = Agent::new(2, 0);
    let mut sequence = 0;
    for (end, interval) in (1_u64..).zip(intervals) {
        sequence += 1;
        truth.push(truth.last().unwrap() + interval.opened);
        let is_last = interval.restart || end == intervals.len() as u64;
        let total = interval.total || is_last;
        let batch = agent.close((sequence, end), interval.opened, total);
        if interval.lost && !is_last {
            agent.owes_total = true;
        } else {
            let place = u16::try_from(end * 3)
                .unwrap()
                .saturating_add(interval.arrives);
            if interval.doubled {
                arrivals.push((place.saturating_add(7), batch.clone()));
            }
            arrivals.push((place, batch));
        }
        if is_last {
            (agent, sequence) = (Agent::new(agent.boot + 1, end * 10_000), 0);
        }
    }
    arrivals.sort_by_key(|(place, _)| *place);
    (arrivals, truth)
}

proptest! {
    // Each case writes a database and asks it often.
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn sums_are_exact_after_the_totals_and_never_too_high_before(
        intervals in prop::collection::vec(interval(), 1..25),
        looks in prop::collection::vec((0_u64..26, 0_u64..26), 6),
    ) {
        let dir = TempDir::new().unwrap();
        let (arrivals, truth) = history(&intervals);
        let last = truth.len() as u64 - 1;
        let upto = |end: u64| Window { from_ms: i64::MIN, to_ms: i64::try_from(end * 10_000).unwrap() };
        for (at, (_, batch)) in arrivals.iter().enumerate() {
            // The collector is killed and started again.
            let mut store = store(&dir);
            store.put(&[batch], NOW).remove(0).unwrap();
            if let Some((_, end)) = looks.iter().find(|(look, _)| *look == at as u64) {
                let end = (*end).min(last);
                let shown = both(&dir, upto(end));
                prop_assert!(shown <= truth[usize::try_from(end).unwrap()], "{shown} up to {end}");
            }
        }
        prop_assert_eq!(both(&dir, ALL), truth[truth.len() - 1]);
        // Windows that follow one another add up, and those up to a total are exact.
        let mut sum = 0;
        for (end, interval) in (1_u64..).zip(&intervals) {
            let from = i64::try_from(end).unwrap();
            sum += both(&dir, window(from - 1, from));
            let truth = truth[usize::try_from(end).unwrap()];
            prop_assert!(sum <= truth, "{sum} up to {end}, not {truth}");
            if (interval.total || interval.restart) && !interval.lost {
                prop_assert_eq!(sum, truth, "after the total of {}", end);
            }
        }
        // Without a loss each interval shows what it added, whatever the order.
        if intervals.iter().all(|interval| !interval.lost) {
            for (end, interval) in (1..).zip(&intervals) {
                prop_assert_eq!(both(&dir, window(end - 1, end)), interval.opened);
            }
        }
    }
}

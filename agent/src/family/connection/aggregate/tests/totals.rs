//! What arrives is never too much, and exact after the next totals.

use std::collections::BTreeMap;

use wire::SINCE_STEP_MS;

use super::*;
use crate::spool::Lost;

/// What a receiver knows of one edge, from the batches that arrived.
type Known = (u64, u64, wire::Histogram);

/// Takes one row as a receiver does, in the order of the batches.
fn receive(known: &mut BTreeMap<u16, Known>, row: &EdgeRow) {
    let (opened, bytes, rtt) = known.entry(row.remote.port).or_default();
    if row.total {
        (*opened, *bytes, *rtt) = (0, 0, wire::Histogram::default());
    }
    *opened += row.opened;
    *bytes += row.bytes_sent;
    rtt.sum_us += row.rtt.sum_us;
    for (sum, count) in rtt.buckets.iter_mut().zip(row.rtt.buckets) {
        *sum += count;
    }
}

proptest! {
    /// Whichever batches are lost, and however late that is known: what arrived is never too much,
    /// and exact after the totals that follow.
    #[test]
    fn after_any_loss_the_next_totals_are_exact(
        intervals in proptest::collection::vec(
            (proptest::collection::vec((0..5_u16, 1..100_u64), 0..6), 0..10_u8, 0..4_u64), 1..80),
    ) {
        let mut all = connections();
        let (mut truth, mut known) = (BTreeMap::new(), BTreeMap::new());
        let mut losses: Vec<(u64, u64)> = Vec::new();
        let mut id = 0;
        let count = intervals.len() as u64;
        for (batch, (changes, fate, delay)) in (1..).zip(intervals) {
            for (port, bytes) in changes {
                id += 1;
                let mut one = event(ReportReason::Closed, id, bytes);
                one.remote.port = port;
                all.fold(&one, 3, NOW);
                let row = EdgeRow {
                    total: false,
                    opened: 1,
                    bytes_sent: bytes,
                    rtt: { let mut rtt = wire::Histogram::default(); rtt.record(100); rtt },
                    ..EdgeRow::new((3, Role::Client, one.local, one.remote), 1, 0)
                };
                receive(&mut truth, &row);
            }
            let is_last = batch == count;
            let is_known = |loss: &(u64, u64)| loss.1 <= batch || is_last;
            let mut lost = None;
            for (number, _) in losses.iter().filter(|loss| is_known(loss)) {
                Lost::add(&mut lost, Lost::from(*number));
            }
            losses.retain(|loss| !is_known(loss));
            let close = Close { batch, is_last, lost, ..end(NOW) };
            let rows = all.close(&close).edges;
            if fate < 3 && !is_last {
                losses.push((batch, batch + 1 + delay));
                continue;
            }
            rows.iter().for_each(|row| receive(&mut known, row));
            for (port, (opened, bytes, rtt)) in &known {
                let truth = &truth[port];
                prop_assert!(*opened <= truth.0 && *bytes <= truth.1 && rtt.sum_us <= truth.2.sum_us);
            }
        }
        prop_assert_eq!(known, truth);
    }
}

#[test]
fn the_end_of_a_run_tells_all_totals_that_are_owed() {
    let mut all = connections();
    for (id, port) in (1..=20).zip(100..) {
        let mut one = event(ReportReason::Closed, id, 10);
        one.remote.port = port;
        all.fold(&one, 3, NOW);
    }
    let last = Close {
        is_last: true,
        ..end(NOW)
    };
    let summary = all.close(&last);
    let totals = summary.edges.iter().filter(|row| row.total);
    assert_eq!((totals.count(), summary.owes), (20, false));
    assert!(all.close(&last).edges.is_empty(), "once");
}

#[test]
fn an_edge_that_was_quiet_for_long_is_forgotten_and_starts_again() {
    let mut all = connections();
    all.fold(&event(ReportReason::Closed, 1, 10), 3, NOW);
    let rows = (0..=QUIET_INTERVALS).flat_map(|_| all.close(&end(NOW)).edges);
    let rows: Vec<_> = rows.map(|row| (row.total, row.opened)).collect();
    assert_eq!(rows, [(false, 1), (true, 1)]);
    assert_eq!(all.sizes().1, 0);
    let later = Now {
        unix_ms: NOW.unix_ms + 4_000_000,
        ..NOW
    };
    all.fold(&event(ReportReason::Closed, 2, 10), 3, later);
    let summary = all.close(&end(later));
    let edge = only_edge(&summary);
    let since_ms = NOW.unix_ms + 61 * SINCE_STEP_MS;
    assert_eq!((edge.opened, edge.since_ms), (1, since_ms));
}

#[test]
fn series_begin_in_steps_of_the_run_and_never_twice_at_once() {
    let mut all = connections();
    let at = |unix_ms| Now { unix_ms, ..NOW };
    let mut opens_after = |ms| {
        let now = at(NOW.unix_ms.wrapping_add_signed(ms));
        all.fold(&event(ReportReason::Closed, 1, 10), 3, now);
        let since_ms = only_edge(&all.close(&end(now))).since_ms;
        // It is forgotten before the next one opens, whatever the clock says.
        for _ in 0..=QUIET_INTERVALS {
            all.close(&end(now));
        }
        assert_eq!(all.sizes().1, 0);
        since_ms.wrapping_sub(NOW.unix_ms).cast_signed()
    };
    let step = SINCE_STEP_MS.cast_signed();
    assert_eq!(opens_after(7), 0, "when the run began");
    assert_eq!(opens_after(8), 8, "as exactly as need be");
    assert_eq!(opens_after(20 * step + 9), 20 * step);
    assert_eq!(opens_after(20 * step + 10), 20 * step + 10);
    assert_eq!(opens_after(20 * step + 11), 20 * step + 11);
    assert_eq!(opens_after(21 * step), 21 * step);
    assert_eq!(opens_after(-5), -5, "the clock was set back");
}

#[test]
fn resets_that_no_program_tells_of_are_absent_and_not_counted_in_part() {
    let mut all = connections();
    all.lacks(Columns::RESET_LOCAL);
    for (id, flag) in [
        (1, abi::WB_FLAG_RESET_SENT),
        (2, abi::WB_FLAG_RESET_RECEIVED),
    ] {
        let mut one = event(ReportReason::Closed, id, 10);
        one.flags |= flag;
        all.fold(&one, 3, NOW);
    }
    let summary = all.close(&end(NOW));
    let edge = only_edge(&summary);
    assert_eq!(
        (edge.closed, edge.reset_local, edge.reset_remote),
        (2, 0, 1)
    );
    assert_eq!(edge.absent, Columns::RESET_LOCAL);
}

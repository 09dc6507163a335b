//! Processes beside their siblings.

use super::*;

/// A connection that a process accepted.
fn accepted(reason: ReportReason, (id, pid): (u64, u32), sent: u64) -> Connection {
    let mut one = event(reason, id, sent);
    one.role = Role::Server;
    one.flags |= abi::WB_FLAG_ACCEPTED | abi::WB_FLAG_LISTENER;
    one.process.tgid = pid;
    one.numbers.bytes_received = 10 * sent;
    one
}

/// Of each process: pid, open connections, accepted, closed, bytes sent.
fn rows(summary: &Summary) -> Vec<(u32, u32, u64, u64, u64)> {
    let all = summary.others.workers.iter().filter(|row| !row.total);
    let one = |row: &wire::WorkerRow| {
        let counted = (row.accepted, row.closed, row.bytes_sent);
        (row.pid, row.open, counted.0, counted.1, counted.2)
    };
    all.map(one).collect()
}

#[test]
fn one_that_goes_quiet_shows_beside_its_siblings() {
    let mut all = connections();
    for ends in [(1, 11), (2, 11), (3, 12)] {
        all.fold(&accepted(ReportReason::Live, ends, 100), 3, NOW);
    }
    let told = rows(&all.close(&end(NOW)));
    assert_eq!(told, [(11, 2, 2, 0, 200), (12, 1, 1, 0, 100)]);
    // One of both works on; the other one has its connections still.
    all.fold(&accepted(ReportReason::Live, (1, 11), 100), 3, NOW);
    all.fold(&accepted(ReportReason::Live, (3, 12), 150), 3, NOW);
    all.fold(&accepted(ReportReason::Closed, (4, 12), 30), 3, NOW);
    let told = rows(&all.close(&end(NOW)));
    assert_eq!(told, [(11, 2, 0, 0, 0), (12, 1, 1, 1, 80)]);
    // Where nobody sends anything, nobody is quiet beside another one.
    assert_eq!(rows(&all.close(&end(NOW))), []);
}

#[test]
fn one_process_alone_is_not_told_nor_one_that_has_nothing_accepted() {
    let mut all = connections();
    all.fold(&accepted(ReportReason::Live, (1, 11), 100), 3, NOW);
    // Another service; and one that waits for its owner, whose listener is not at work.
    all.fold(&accepted(ReportReason::Live, (2, 12), 100), 4, NOW);
    let mut waiting = accepted(ReportReason::Closed, (3, 13), 0);
    waiting.flags &= !abi::WB_FLAG_ACCEPTED;
    all.fold(&waiting, 3, NOW);
    assert_eq!(rows(&all.close(&end(NOW))), []);
}

#[test]
fn the_total_is_the_sum_of_what_was_told() {
    let mut all = connections();
    all.fold(&accepted(ReportReason::Live, (1, 11), 100), 3, NOW);
    assert_eq!(rows(&all.close(&end(NOW))), []);
    all.fold(&accepted(ReportReason::Live, (1, 11), 150), 3, NOW);
    all.fold(&accepted(ReportReason::Live, (2, 12), 10), 3, NOW);
    let last = Close {
        is_last: true,
        ..end(NOW)
    };
    let summary = all.close(&last);
    let totals = summary.others.workers.iter().filter(|row| row.total);
    let sent: Vec<u64> = totals.map(|row| row.bytes_sent).collect();
    assert_eq!(sent, [50, 10]);
}

#[test]
fn beyond_the_bound_processes_are_counted() {
    let mut all = connections();
    for pid in 1..=1030 {
        all.fold(
            &accepted(ReportReason::Closed, (pid.into(), pid), 1),
            3,
            NOW,
        );
    }
    assert_eq!(all.losses().workers_full, 6);
    // They are forgotten when they have been quiet for long, and there is room again.
    for _ in 0..=30 {
        all.close(&Close {
            is_last: true,
            ..end(NOW)
        });
    }
    all.fold(&accepted(ReportReason::Closed, (2000, 2000), 1), 3, NOW);
    assert_eq!(all.losses().workers_full, 6);
}

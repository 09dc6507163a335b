//! Whatever the order of snapshots and closes, an edge ends with what the kernel counted.

use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;
use wire::{Endpoint, Life};

use super::sight::FIRST_PER_EDGE;
use super::*;

mod totals;
mod workers;

const BOUNDS: Bounds = Bounds {
    connections: 100,
    edges: 50,
    sightings: 100,
    events: 100,
};
const NOW: Now = Now {
    unix_ms: 1_000_000,
    monotonic_zero_ns: 5_000_000_000,
};

fn endpoint(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().expect("an address").into()
}

fn event(reason: ReportReason, id: u64, bytes: u64) -> Connection {
    Connection {
        reason,
        id,
        start_ns: 1_000_000,
        established_ns: 3_000_000,
        time_ns: 9_000_000,
        token_sent: Some(id),
        token_received: None,
        role: Role::Client,
        flags: abi::WB_FLAG_ESTABLISHED | abi::WB_FLAG_TOKEN_SENT,
        old_state: 0,
        process: abi::wb_process::default(),
        local: endpoint("10.0.0.1:40000"),
        remote: endpoint("10.0.0.2:80"),
        netns: 1,
        numbers: abi::wb_numbers {
            bytes_sent: bytes,
            segments_sent: u32::try_from(bytes).unwrap_or(u32::MAX),
            srtt_us: 100,
            ..Default::default()
        },
        fingerprint: None,
    }
}

/// One that was open before the agent.
fn older(reason: ReportReason, id: u64, bytes: u64) -> Connection {
    Connection {
        established_ns: 0,
        token_sent: None,
        fingerprint: Some(id),
        flags: abi::WB_FLAG_ESTABLISHED | abi::WB_FLAG_ADOPTED,
        ..event(reason, id, bytes)
    }
}

fn connections() -> Connections {
    Connections::new(BOUNDS, Columns::NONE, NOW)
}

/// The end of an interval.
fn end(now: Now) -> Close {
    Close {
        now,
        batch: 1,
        length: Duration::from_secs(10),
        is_last: false,
        lost: None,
    }
}

/// What the interval added to the one edge that changed.
fn only_edge(summary: &Summary) -> &EdgeRow {
    let mut added = summary.edges.iter().filter(|row| !row.total);
    let edge = added.next().expect("an edge changed");
    assert_eq!(added.next(), None, "{:?}", summary.edges);
    edge
}

#[test]
fn a_short_connection_is_counted_whole_at_its_close() {
    let mut all = connections();
    all.fold(&event(ReportReason::Closed, 1, 700), 3, NOW);
    let summary = all.close(&end(NOW));
    let edge = only_edge(&summary);
    assert_eq!((edge.opened, edge.closed, edge.bytes_sent), (1, 1, 700));
    assert_eq!((edge.local.port, edge.remote.port), (0, 80));
    assert_eq!(edge.connect_latency.sum_us, 2000);
    assert_eq!(summary.sightings.len(), 1);
    assert_eq!(summary.sightings[0].start_us, 5_001_000);
}

#[test]
fn a_long_connection_adds_only_what_is_new() {
    let mut all = connections();
    all.fold(&event(ReportReason::Live, 1, 100), 3, NOW);
    assert_eq!(only_edge(&all.close(&end(NOW))).bytes_sent, 100);
    all.fold(&event(ReportReason::Live, 1, 250), 3, NOW);
    let summary = all.close(&end(NOW));
    assert_eq!(only_edge(&summary).bytes_sent, 150);
    assert!(summary.sightings.is_empty(), "a token is reported once");
    all.fold(&event(ReportReason::Closed, 1, 300), 3, NOW);
    let edge = only_edge(&all.close(&end(NOW))).clone();
    assert_eq!((edge.opened, edge.closed, edge.bytes_sent), (0, 1, 50));
}

#[test]
fn an_unchanged_edge_is_not_sent_again() {
    let mut all = connections();
    all.fold(&event(ReportReason::Live, 1, 100), 3, NOW);
    all.close(&end(NOW));
    all.fold(&event(ReportReason::Live, 1, 100), 3, NOW);
    assert!(all.close(&end(NOW)).edges.is_empty());
}

#[test]
fn an_adopted_connection_counts_from_its_baseline() {
    let mut all = connections();
    all.fold(&older(ReportReason::Adopted, 1, 5000), 3, NOW);
    all.fold(&older(ReportReason::Adopted, 1, 5000), 3, NOW);
    all.fold(&older(ReportReason::Live, 1, 5100), 3, NOW);
    all.fold(&older(ReportReason::Closed, 1, 5200), 3, NOW);
    let summary = all.close(&end(NOW));
    let edge = only_edge(&summary);
    assert_eq!((edge.opened, edge.adopted, edge.closed), (0, 1, 1));
    assert_eq!((edge.bytes_sent, edge.segments_sent), (200, 200));
    assert_eq!(edge.connect_latency.count(), 0);
    assert_eq!(summary.sightings[0].kept, Kept::Adopted);
}

#[test]
fn an_older_connection_that_was_not_taken_over_is_not_new_either() {
    for first in [ReportReason::Live, ReportReason::Closed] {
        let mut all = connections();
        all.fold(&older(first, 1, 5000), 3, NOW);
        if first == ReportReason::Live {
            all.fold(&older(ReportReason::Closed, 1, 5300), 3, NOW);
        }
        let summary = all.close(&end(NOW));
        let edge = only_edge(&summary);
        assert_eq!((edge.opened, edge.adopted, edge.closed), (0, 1, 1));
        let sent = if first == ReportReason::Live { 300 } else { 0 };
        assert_eq!(edge.bytes_sent, sent, "nobody counts them twice");
    }
    // Nor is one for which there was no room when the agent began.
    let mut all = connections();
    for id in 0..101 {
        all.fold(&older(ReportReason::Adopted, id, 10), 3, NOW);
    }
    assert_eq!(all.losses().connections_full, 1);
    all.fold(&older(ReportReason::Closed, 0, 10), 3, NOW);
    all.fold(&older(ReportReason::Live, 100, 50), 3, NOW);
    all.fold(&older(ReportReason::Closed, 100, 60), 3, NOW);
    let summary = all.close(&end(NOW));
    let edge = only_edge(&summary);
    assert_eq!((edge.opened, edge.adopted, edge.closed), (0, 101, 2));
    assert_eq!(edge.bytes_sent, 10);
}

#[test]
fn a_segment_counter_that_wraps_still_counts_forward() {
    let mut all = connections();
    let mut first = event(ReportReason::Live, 1, 10);
    first.numbers.segments_sent = u32::MAX - 1;
    all.fold(&first, 3, NOW);
    let mut last = event(ReportReason::Closed, 1, 10);
    last.numbers.segments_sent = 3;
    all.fold(&last, 3, NOW);
    let sent = only_edge(&all.close(&end(NOW))).segments_sent;
    assert_eq!(sent, u64::from(u32::MAX - 1) + 5);
}

#[test]
fn refused_and_failed_attempts_are_told_apart() {
    let mut all = connections();
    let mut refused = event(ReportReason::Closed, 1, 0);
    refused.flags = abi::WB_FLAG_RESET_RECEIVED;
    refused.numbers.error = ECONNREFUSED;
    all.fold(&refused, 3, NOW);
    let mut failed = event(ReportReason::Closed, 2, 0);
    failed.flags = 0;
    failed.numbers.error = ETIMEDOUT;
    all.fold(&failed, 3, NOW);
    let summary = all.close(&end(NOW));
    let edge = only_edge(&summary);
    assert_eq!((edge.opened, edge.failed, edge.refused), (0, 2, 1));
    let kinds: Vec<_> = summary.events.iter().map(|event| event.kind).collect();
    assert_eq!(kinds, [EventKind::Refused, EventKind::Failed]);
}

#[test]
fn a_process_that_changes_its_name_keeps_its_edge_and_its_sightings() {
    let mut all = connections();
    let mut opened = event(ReportReason::Live, 1, 10);
    opened.token_sent = None;
    all.fold(&opened, 3, NOW);
    all.fold(&event(ReportReason::Closed, 1, 20), 4, NOW);
    let summary = all.close(&end(NOW));
    assert_eq!(only_edge(&summary).process_id, 3);
    assert_eq!(summary.sightings[0].process_id, 3);
}

#[test]
fn resets_are_counted_by_side() {
    let mut all = connections();
    for (id, flag) in [
        (1, abi::WB_FLAG_RESET_SENT),
        (2, abi::WB_FLAG_RESET_RECEIVED),
    ] {
        let mut reset = event(ReportReason::Closed, id, 1);
        reset.flags |= flag;
        all.fold(&reset, 3, NOW);
    }
    let summary = all.close(&end(NOW));
    let edge = only_edge(&summary);
    assert_eq!(
        (edge.reset_local, edge.reset_remote, edge.closed),
        (1, 1, 2)
    );
    assert_eq!(summary.events.len(), 2);
}

#[test]
fn a_connection_whose_close_was_lost_is_closed_by_the_sweep_and_counted() {
    let mut all = connections();
    all.fold(&event(ReportReason::Live, 1, 10), 3, NOW);
    all.sweep();
    all.close(&end(NOW));
    all.sweep();
    assert_eq!(
        all.losses().connections_lost,
        0,
        "its close may be on the way"
    );
    all.sweep();
    assert_eq!(all.losses().connections_lost, 1);
    assert_eq!(only_edge(&all.close(&end(NOW))).closed, 1);
    assert_eq!(all.sizes().0, 0);
}

#[test]
fn a_connection_whose_end_was_missed_is_there_once_without_its_numbers() {
    let mut all = connections();
    all.fold(&event(ReportReason::Live, 1, 10), 3, NOW);
    for id in [1, 2] {
        let mut missed = event(ReportReason::Stale, id, 0);
        missed.flags |= abi::WB_FLAG_ESTABLISHED;
        all.fold(&missed, 3, NOW);
    }
    let summary = all.close(&end(NOW));
    let edge = only_edge(&summary);
    assert_eq!((edge.opened, edge.closed), (2, 2));
    assert_eq!(all.losses().connections_lost, 2);
    assert_eq!(all.sizes().0, 0);
}

#[test]
fn a_full_table_of_edges_counts_in_the_catch_all() {
    let mut all = connections();
    for id in 0..60_u64 {
        let mut one = event(ReportReason::Closed, id, 10);
        one.remote.port = u16::try_from(id).expect("small");
        all.fold(&one, 3, NOW);
    }
    let summary = all.close(&end(NOW));
    assert!(summary.edges.len() <= BOUNDS.edges);
    let opened: u64 = summary.edges.iter().map(|edge| edge.opened).sum();
    assert_eq!(opened, 60, "nothing is lost");
    assert_eq!(all.losses().edges_overflowed, 12);
}

#[test]
fn a_connection_beyond_the_bound_is_counted_at_its_close() {
    let mut all = Connections::new(
        Bounds {
            connections: 1,
            ..BOUNDS
        },
        Columns::NONE,
        NOW,
    );
    for id in 1..=2 {
        all.fold(&event(ReportReason::Live, id, 10), 3, NOW);
        all.fold(&event(ReportReason::Live, id, 20), 3, NOW);
    }
    assert_eq!(only_edge(&all.close(&end(NOW))).opened, 1);
    assert_eq!(all.losses().connections_full, 2);
    all.fold(&event(ReportReason::Closed, 2, 30), 3, NOW);
    let summary = all.close(&end(NOW));
    assert_eq!(
        (only_edge(&summary).opened, only_edge(&summary).bytes_sent),
        (1, 30)
    );
}

#[test]
fn sightings_and_events_beyond_their_bounds_are_counted() {
    let bounds = Bounds {
        sightings: 3,
        events: 2,
        ..BOUNDS
    };
    let mut all = Connections::new(bounds, Columns::NONE, NOW);
    for id in 1..=5 {
        let mut reset = event(ReportReason::Closed, id, 1);
        reset.flags |= abi::WB_FLAG_RESET_SENT;
        all.fold(&reset, 3, NOW);
    }
    let summary = all.close(&end(NOW));
    assert_eq!((summary.sightings.len(), summary.events.len()), (3, 2));
    let losses = all.losses();
    assert_eq!((losses.sightings_dropped, losses.events_dropped), (2, 3));
}

#[test]
fn what_was_told_while_it_was_open_is_told_again_when_it_ends() {
    let mut all = connections();
    let told = |all: &mut Connections| -> Vec<(u64, Life)> {
        let rows = all.close(&end(NOW)).sightings;
        rows.iter().map(|row| (row.token, row.life)).collect()
    };
    all.fold(&event(ReportReason::Closed, 1, 1), 3, NOW);
    for id in [2, 3] {
        all.fold(&event(ReportReason::Live, id, 1), 3, NOW);
    }
    assert_eq!(
        told(&mut all),
        [(1, Life::Ended), (2, Life::Open), (3, Life::Open)]
    );
    for id in [2, 3] {
        all.fold(&event(ReportReason::Live, id, 2), 3, NOW);
    }
    assert_eq!(told(&mut all), []);
    all.fold(&event(ReportReason::Closed, 2, 3), 3, NOW);
    all.fold(&event(ReportReason::Stale, 3, 3), 3, NOW);
    assert_eq!(told(&mut all), [(2, Life::Ended), (3, Life::Ended)]);
}

#[test]
fn an_end_is_told_as_the_begin_was_and_takes_no_room_of_begins() {
    let bounds = Bounds {
        sightings: 2,
        ..BOUNDS
    };
    let mut all = Connections::new(bounds, Columns::NONE, NOW);
    all.spare(1, false);
    for id in [2, 4] {
        all.fold(&event(ReportReason::Live, id, 1), 3, NOW);
    }
    all.close(&end(NOW));
    all.spare(3, false);
    for id in [2, 4, 8, 16] {
        all.fold(&event(ReportReason::Closed, id, 2), 3, NOW);
    }
    let rows = all.close(&end(NOW)).sightings;
    let told: Vec<_> = rows
        .iter()
        .map(|row| (row.token, row.kept, row.sample_level))
        .collect();
    let sampled = |token, level| (token, Kept::Sampled, level);
    assert_eq!(
        told,
        [sampled(2, 1), sampled(4, 1), sampled(8, 3), sampled(16, 3)]
    );
    assert_eq!(all.losses().sightings_dropped, 0);
}

#[test]
fn above_the_budget_tokens_are_sampled_but_abnormal_ones_kept() {
    let bounds = Bounds {
        sightings: 10,
        ..BOUNDS
    };
    let mut all = Connections::new(bounds, Columns::NONE, NOW);
    for id in 1..=1000_u64 {
        all.fold(&event(ReportReason::Closed, id, 1), 3, NOW);
    }
    all.close(&end(NOW));
    assert!(all.sample_level() >= 6, "1000 tokens for 10 places");
    // The highest bit set: left out at every level but 0.
    let mut plain = event(ReportReason::Closed, u64::MAX, 1);
    for id in 0..u64::from(FIRST_PER_EDGE) {
        plain.id = id;
        all.fold(&plain, 3, NOW);
    }
    let mut odd = event(ReportReason::Closed, u64::MAX, 1);
    odd.flags |= abi::WB_FLAG_RESET_RECEIVED;
    all.fold(&plain, 3, NOW);
    all.fold(&odd, 3, NOW);
    let kept: Vec<_> = all
        .close(&end(NOW))
        .sightings
        .iter()
        .map(|row| row.kept)
        .collect();
    assert_eq!(
        kept,
        [
            Kept::First,
            Kept::First,
            Kept::First,
            Kept::First,
            Kept::Abnormal
        ]
    );
}

proptest! {
    /// Ground truth: each connection opened once and ended with its last number, however often
    /// it was looked at in between and wherever the intervals end.
    #[test]
    fn totals_are_what_the_kernel_counted(
        steps in proptest::collection::vec((0..20_u64, 0..1000_u64, 0..4_u8), 1..200),
    ) {
        let mut all = connections();
        let mut bytes = HashMap::<u64, u64>::new();
        let mut truth = (0, 0, 0);
        let mut next_id = 1000;
        let mut ids = HashMap::<u64, u64>::new();
        let mut total = EdgeRowTotals::default();
        for (slot, more, step) in steps {
            let id = *ids.entry(slot).or_insert_with(|| { next_id += 1; next_id });
            let known = bytes.contains_key(&id);
            let sum = *bytes.entry(id).and_modify(|sum| *sum += more).or_insert(more);
            if !known { truth.0 += 1; }
            truth.2 += more;
            if step == 0 {
                all.fold(&event(ReportReason::Closed, id, sum), 3, NOW);
                truth.1 += 1;
                ids.remove(&slot);
            } else {
                all.fold(&event(ReportReason::Live, id, sum), 3, NOW);
            }
            if step == 3 {
                total.take(&all.close(&end(NOW)));
            }
        }
        total.take(&all.close(&end(NOW)));
        prop_assert_eq!((total.opened, total.closed, total.bytes), truth);
    }
}

proptest! {
    /// What every run of the agent counts adds up to what happened, wherever runs end.
    #[test]
    fn runs_one_after_the_other_add_up_to_what_happened(
        steps in proptest::collection::vec((0..20_u64, 0..1000_u64, 0..5_u8), 1..100),
    ) {
        let mut all = connections();
        let mut open = HashMap::<u64, (u64, bool)>::new();
        let (mut opened, mut closed, mut sent) = (0, 0, 0);
        let mut sums = (0, 0, 0, 0);
        let mut found = 0;
        let mut end = |all: &mut Connections| {
            for edge in all.close(&end(NOW)).edges.iter().filter(|row| !row.total) {
                sums.0 += edge.opened;
                sums.1 += edge.closed;
                sums.2 += edge.bytes_sent;
                sums.3 += edge.adopted;
            }
        };
        let seen = |reason, id, (bytes, is_older): (u64, bool)| match is_older {
            true => older(reason, id, bytes),
            false => event(reason, id, bytes),
        };
        for (id, more, step) in steps {
            if step == 4 {
                for (id, state) in &open {
                    all.fold(&seen(ReportReason::Live, *id, *state), 3, NOW);
                }
                end(&mut all);
                all = connections();
                for (id, state) in &mut open {
                    state.1 = true;
                    found += 1;
                    all.fold(&seen(ReportReason::Adopted, *id, *state), 3, NOW);
                }
                continue;
            }
            opened += u64::from(!open.contains_key(&id));
            let state = open.entry(id).or_default();
            state.0 += more;
            sent += more;
            let reason = if step == 0 { ReportReason::Closed } else { ReportReason::Live };
            all.fold(&seen(reason, id, *state), 3, NOW);
            if step == 0 {
                closed += 1;
                open.remove(&id);
            }
        }
        end(&mut all);
        prop_assert_eq!(sums, (opened, closed, sent, found));
    }
}

#[test]
fn where_nobody_knows_who_connected_both_ports_stay_and_it_is_said() {
    let mut all = connections();
    let mut unknown = older(ReportReason::Adopted, 1, 10);
    unknown.flags |= abi::WB_FLAG_ROLE_UNKNOWN;
    all.fold(&unknown, 3, NOW);
    let summary = all.close(&end(NOW));
    assert_eq!(all.losses().connections_unowned, 1, "and nobody has it");
    let edge = only_edge(&summary);
    assert_eq!((edge.local.port, edge.remote.port), (40_000, 80));
    assert!(edge.absent.has(Columns::ROLE));
}

#[derive(Default)]
struct EdgeRowTotals {
    opened: u64,
    closed: u64,
    bytes: u64,
}

impl EdgeRowTotals {
    /// What an interval added is added up; a total is the sum of it.
    fn take(&mut self, summary: &Summary) {
        for edge in &summary.edges {
            if !edge.total {
                self.opened += edge.opened;
                self.closed += edge.closed;
                self.bytes += edge.bytes_sent;
            }
            if edge.total {
                let total = (edge.opened, edge.closed, edge.bytes_sent);
                assert_eq!(total, (self.opened, self.closed, self.bytes));
            }
        }
    }
}

#[test]
fn what_the_host_cannot_measure_is_said_of_every_edge() {
    let absent = Columns::ZERO_WINDOWS.with(Columns::RTT);
    let mut all = Connections::new(BOUNDS, absent, NOW);
    all.fold(&event(ReportReason::Closed, 1, 10), 3, NOW);
    assert_eq!(only_edge(&all.close(&end(NOW))).absent, absent);
}

/// Kernels before 5.4 have no counter of segments out of order, which their programs say with each
/// record.
#[test]
fn what_the_kernel_turns_out_not_to_count_is_absent_and_not_zero() {
    let mut all = connections();
    // Without its socket nothing can be read, nor be found missing.
    all.fold(&event(ReportReason::Stale, 1, 0), 3, NOW);
    let mut old = event(ReportReason::Closed, 2, 10);
    old.flags |= abi::WB_FLAG_NO_OUT_OF_ORDER;
    all.fold(&old, 4, NOW);
    all.fold(&event(ReportReason::Closed, 3, 10), 5, NOW);
    let edges = all.close(&end(NOW)).edges;
    assert_eq!(edges.len(), 3);
    let absent = edges.iter().all(|row| row.absent == Columns::OUT_OF_ORDER);
    assert!(absent, "{edges:?}");
    assert_eq!(all.absent(), Columns::OUT_OF_ORDER);
}

#[test]
fn an_open_connection_is_counted_where_its_owner_is_and_not_where_it_was_awaited() {
    let mut all = connections();
    let mut event = event(ReportReason::Live, 1, 100);
    event.role = Role::Server;
    let awaits = event.flags | abi::WB_FLAG_LISTENER;
    event.flags = awaits;
    let at = |ms: u64| Now {
        unix_ms: NOW.unix_ms + ms,
        ..NOW
    };
    let (listener, worker) = (3, 4);
    all.fold(&event, listener, at(10_000));
    assert!(
        all.close(&end(at(10_000))).edges.is_empty(),
        "told too early"
    );
    event.flags = awaits | abi::WB_FLAG_ACCEPTED;
    all.fold(&event, worker, at(20_000));
    assert_eq!(only_edge(&all.close(&end(at(20_000)))).process_id, worker);
    // What nobody takes over belongs to who listens, after two intervals or at its end.
    event.flags = awaits;
    event.id = 2;
    event.time_ns = 25_000_000_000;
    all.fold(&event, listener, at(30_000));
    assert_eq!(only_edge(&all.close(&end(at(30_000)))).process_id, listener);
    event.id = 3;
    (event.reason, event.time_ns) = (ReportReason::Closed, 9_000_000);
    all.fold(&event, listener, at(40_000));
    assert_eq!(only_edge(&all.close(&end(at(40_000)))).opened, 1);
}

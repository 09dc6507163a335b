//! What waits, for how long, and as whose it is told.

use std::net::SocketAddr;

use bpf::abi;
use wire::{Endpoint, Role};

use super::*;
use crate::family::connection::event;

const SECOND_NS: u64 = 1_000_000_000;
const UNKNOWN: Found = Found {
    owner: Owner::Unknown,
    direct: false,
};

fn end(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().unwrap().into()
}

fn process(tgid: u32) -> Owner {
    Owner::Process(abi::wb_process {
        tgid,
        ..Default::default()
    })
}

fn found(tgid: u32) -> Found {
    let (owner, direct) = (process(tgid), true);
    Found { owner, direct }
}

fn guess(tgid: u32) -> Found {
    let direct = false;
    Found {
        direct,
        ..found(tgid)
    }
}

/// Of connection 7.
fn report(reason: ReportReason, bytes: u64) -> Report {
    let ends = (end("10.0.0.1:80"), end("10.0.0.2:4000"));
    let mut connection = event::open(1, ends, Role::Server, 0);
    (connection.reason, connection.id) = (reason, 7);
    connection.numbers.bytes_sent = bytes;
    Report {
        connection,
        space: 0,
        inode: 70,
        cgroup_id: 0,
        claimed: true,
    }
}

/// Takes in a report of connection 7; what is told, by whose, and with how many bytes.
fn take(
    waiting: &mut Waiting,
    report: Report,
    found: Found,
    (hopeless, now_ns): (bool, u64),
) -> Vec<(ReportReason, u32, u64)> {
    let mut out = Vec::new();
    waiting.take((now_ns, report), found, (hopeless, now_ns), &mut out);
    out.iter()
        .map(|one| (one.reason, one.process.tgid, one.numbers.bytes_sent))
        .collect()
}

#[test]
fn an_open_connection_is_told_of_its_owner_and_of_nobody_before() {
    let mut waiting = Waiting::default();
    assert!(
        take(
            &mut waiting,
            report(ReportReason::Live, 1),
            UNKNOWN,
            (false, 0)
        )
        .is_empty()
    );
    let told = take(
        &mut waiting,
        report(ReportReason::Live, 2),
        found(9),
        (false, SECOND_NS),
    );
    assert_eq!(told, [(ReportReason::Live, 9, 2)]);
    assert_eq!(waiting.doubts(), Doubts::default());
}

#[test]
fn one_that_is_older_than_the_agent_keeps_what_it_had_counted_when_it_was_found() {
    let mut waiting = Waiting::default();
    assert!(
        take(
            &mut waiting,
            report(ReportReason::Adopted, 100),
            UNKNOWN,
            (false, 0)
        )
        .is_empty()
    );
    let told = take(
        &mut waiting,
        report(ReportReason::Live, 130),
        found(9),
        (false, 1),
    );
    assert_eq!(
        told,
        [
            (ReportReason::Adopted, 9, 100),
            (ReportReason::Live, 9, 130)
        ]
    );
    let told = take(
        &mut waiting,
        report(ReportReason::Closed, 140),
        found(9),
        (false, 2),
    );
    assert_eq!(told, [(ReportReason::Closed, 9, 140)]);
}

#[test]
fn what_nobody_has_is_told_as_unknown_and_counted_while_it_is_open() {
    let mut waiting = Waiting::default();
    assert!(
        take(
            &mut waiting,
            report(ReportReason::Live, 1),
            UNKNOWN,
            (false, 0)
        )
        .is_empty()
    );
    let told = take(
        &mut waiting,
        report(ReportReason::Live, 1),
        UNKNOWN,
        (true, 1),
    );
    assert_eq!(told, [(ReportReason::Live, 0, 1)]);
    assert_eq!(waiting.doubts().unknown, 1);
    for (reason, now_ns) in [(ReportReason::Live, 2), (ReportReason::Closed, 3)] {
        assert_eq!(
            take(&mut waiting, report(reason, 1), UNKNOWN, (true, now_ns)).len(),
            1
        );
    }
    assert_eq!(waiting.doubts().unknown, 1, "once for each connection");
    // Nor does it wait for ever where nobody says that it is hopeless.
    let mut waiting = Waiting::default();
    assert!(
        take(
            &mut waiting,
            report(ReportReason::Live, 1),
            UNKNOWN,
            (false, 0)
        )
        .is_empty()
    );
    assert_eq!(
        take(
            &mut waiting,
            report(ReportReason::Live, 1),
            UNKNOWN,
            (false, OPEN_NS)
        )
        .len(),
        1
    );
}

#[test]
fn an_open_connection_waits_for_its_own_owner_before_a_guess_is_believed() {
    let mut waiting = Waiting::default();
    for list in 0..u64::from(MAX_LISTS) {
        assert!(
            take(
                &mut waiting,
                report(ReportReason::Live, 1),
                guess(8),
                (false, list)
            )
            .is_empty()
        );
    }
    let told = take(
        &mut waiting,
        report(ReportReason::Live, 1),
        guess(8),
        (false, 9),
    );
    assert_eq!(told, [(ReportReason::Live, 8, 1)]);
    assert_eq!(waiting.doubts().guessed, 1);
}

#[test]
fn what_ended_waits_until_its_service_is_known() {
    let mut waiting = Waiting::default();
    assert!(
        take(
            &mut waiting,
            report(ReportReason::Closed, 5),
            UNKNOWN,
            (false, 0)
        )
        .is_empty()
    );
    assert!(waiting.take_ended(SECOND_NS, false).is_empty());
    // Somebody was found: it is tried again.
    let (since_ns, report) = waiting.take_ended(SECOND_NS, true).remove(0);
    let mut out = Vec::new();
    waiting.take((since_ns, report), guess(8), (false, SECOND_NS), &mut out);
    assert_eq!((out[0].process.tgid, out[0].numbers.bytes_sent), (8, 5));
    let guessed = 1;
    assert_eq!(
        waiting.doubts(),
        Doubts {
            guessed,
            ..Doubts::default()
        }
    );
}

#[test]
fn what_ended_is_told_as_unknown_when_its_time_is_over_or_the_agent_ends() {
    for ends in [false, true] {
        let mut waiting = Waiting::default();
        assert!(
            take(
                &mut waiting,
                report(ReportReason::Closed, 5),
                UNKNOWN,
                (false, 0)
            )
            .is_empty()
        );
        if ends {
            waiting.end();
        }
        let now_ns = if ends { 1 } else { ENDED_NS };
        let due = waiting.take_ended(now_ns, false);
        assert_eq!(due.len(), 1);
        let mut out = Vec::new();
        for one in due {
            waiting.take(one, UNKNOWN, (false, now_ns), &mut out);
        }
        assert_eq!((out.len(), waiting.doubts().unknown), (1, 1));
    }
}

#[test]
fn what_turns_out_to_be_out_of_scope_is_never_told_or_ended() {
    let foreign = Found {
        owner: Owner::Foreign,
        direct: true,
    };
    let mut waiting = Waiting::default();
    assert!(
        take(
            &mut waiting,
            report(ReportReason::Adopted, 1),
            UNKNOWN,
            (false, 0)
        )
        .is_empty()
    );
    assert!(
        take(
            &mut waiting,
            report(ReportReason::Closed, 1),
            foreign,
            (false, 1)
        )
        .is_empty()
    );
    let mut waiting = Waiting::default();
    take(
        &mut waiting,
        report(ReportReason::Live, 1),
        UNKNOWN,
        (true, 0),
    );
    let told = take(
        &mut waiting,
        report(ReportReason::Live, 1),
        foreign,
        (false, 1),
    );
    assert_eq!(told, [(ReportReason::Stale, 0, 1)]);
}

#[test]
fn a_flood_waits_within_its_bound() {
    let mut waiting = Waiting::default();
    let mut told = 0;
    for _ in 0..MAX_ENDED + 3 {
        told += take(
            &mut waiting,
            report(ReportReason::Closed, 1),
            UNKNOWN,
            (false, 0),
        )
        .len();
    }
    assert_eq!((told, waiting.doubts().full), (3, 3));
}

#[test]
fn what_is_known_of_nobody_goes_with_it_and_gives_way_to_an_owner() {
    let somewhere = |reason| {
        let mut report = report(reason, 1);
        report.connection.process.cgroup_id = 4711;
        report
    };
    let mut out = Vec::new();
    let mut waiting = Waiting::default();
    waiting.take(
        (0, somewhere(ReportReason::Closed)),
        UNKNOWN,
        (true, ENDED_NS),
        &mut out,
    );
    waiting.take(
        (0, somewhere(ReportReason::Closed)),
        found(9),
        (false, 0),
        &mut out,
    );
    let told: Vec<_> = out
        .iter()
        .map(|one| (one.process.tgid, one.process.cgroup_id))
        .collect();
    assert_eq!(told, [(0, 4711), (9, 0)]);
}

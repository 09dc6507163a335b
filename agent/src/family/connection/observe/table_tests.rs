//! The life of connections as packets and the kernel's words tell it.

use std::net::SocketAddr;

use proptest::prelude::*;

use wire::Endpoint;

use super::*;
use crate::family::connection::event::ReportReason;
use crate::family::connection::observe::entry::Report;
use crate::sock_diag::{self, Info, Socket};

pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const CLIENT: &str = "10.0.0.1:4000";
pub(super) const SERVER: &str = "10.0.0.2:80";

pub(super) fn end(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().unwrap().into()
}

pub(super) fn table(told: bool) -> Table {
    Table::new(100, told, vec![7], Reader::new(&[]))
}

pub(super) fn segment(ends: [&str; 2], flags: u8, numbers: [u32; 2], payload: u32) -> Segment {
    Segment {
        source: end(ends[0]),
        destination: end(ends[1]),
        sequence: numbers[0],
        acknowledged: numbers[1],
        flags,
        payload: Some(payload),
        option: None,
    }
}

pub(super) fn seen(way: Way, time_ns: u64) -> PacketContext {
    let ours = match way {
        Way::Out => [true, false],
        Way::In | Way::Past => [false, true],
    };
    PacketContext {
        space: 0,
        time_ns,
        way,
        ours,
    }
}

/// What the client's host sees of a handshake.
pub(super) fn open(table: &mut Table, now: u64) {
    let syn = segment([CLIENT, SERVER], SYN, [1000, 0], 0);
    table.segment(&seen(Way::Out, now), &syn);
    let answer = segment([SERVER, CLIENT], SYN | ACK, [5000, 1001], 0);
    table.segment(&seen(Way::In, now + 300_000), &answer);
}

/// ... and that it is done.
pub(super) fn acknowledge(table: &mut Table, now: u64) {
    let ack = segment([CLIENT, SERVER], ACK, [1001, 5001], 0);
    table.segment(&seen(Way::Out, now), &ack);
}

/// 40 bytes there, 60 back.
pub(super) fn close(table: &mut Table, now: u64) {
    let fin = segment([CLIENT, SERVER], FIN | ACK, [1031, 5001], 10);
    table.segment(&seen(Way::Out, now), &fin);
    let fin = segment([SERVER, CLIENT], FIN | ACK, [5061, 1042], 0);
    table.segment(&seen(Way::In, now), &fin);
}

pub(super) fn socket(ends: [&str; 2], state: u8, info: Option<Info>) -> Socket {
    Socket {
        state,
        local: end(ends[0]),
        remote: end(ends[1]),
        inode: 70,
        uid: 0,
        cgroup_id: 0,
        unacknowledged: 0,
        info,
    }
}

pub(super) fn info() -> Info {
    Info {
        length: 232,
        rtt_us: 90,
        acknowledged: Some(42),
        received: Some(61),
        segments: Some([5, 4]),
        sent: Some([40, 0]),
        ..Info::default()
    }
}

pub(super) fn only(table: &mut Table) -> Report {
    let mut reports = table.take_reports();
    assert_eq!(reports.len(), 1, "{reports:?}");
    reports.remove(0)
}

#[test]
fn a_short_connection_is_reported_whole_when_its_socket_is_gone() {
    let mut table = table(true);
    open(&mut table, SECOND);
    close(&mut table, 2 * SECOND);
    assert!(table.take_reports().is_empty());
    let gone = socket([CLIENT, SERVER], 7, Some(info()));
    table.closed(0, &gone, Role::Client, 2 * SECOND);
    let report = only(&mut table);
    let connection = report.connection;
    assert_eq!(
        (connection.reason, connection.role),
        (ReportReason::Closed, Role::Client)
    );
    assert!(connection.has(abi::WB_FLAG_ESTABLISHED) && report.claimed);
    assert_eq!(connection.established_ns - connection.start_ns, 300_000);
    let numbers = connection.numbers;
    assert_eq!((numbers.bytes_sent, numbers.bytes_received), (40, 60));
    assert_eq!((numbers.segments_sent, numbers.srtt_us), (5, 90));
    assert_eq!(numbers.error, 0);
    assert_eq!(connection.fingerprint, Some(wire::fingerprint(1001, 5001)));
    assert_eq!((connection.netns, table.len()), (7, 0));
}

#[test]
fn without_the_kernels_word_the_packets_tell_the_bytes() {
    let mut table = table(false);
    open(&mut table, SECOND);
    close(&mut table, 2 * SECOND);
    table.settle(2 * SECOND + 1, usize::MAX);
    assert!(table.take_reports().is_empty(), "too early");
    table.settle(4 * SECOND, usize::MAX);
    let connection = only(&mut table).connection;
    let numbers = connection.numbers;
    assert_eq!((numbers.bytes_sent, numbers.bytes_received), (40, 60));
    table.settle(5 * SECOND, usize::MAX);
    assert!(table.take_reports().is_empty(), "reported once");
}

#[test]
fn the_same_packet_on_several_devices_is_one() {
    let mut table = table(true);
    for _ in 0..3 {
        open(&mut table, SECOND);
    }
    assert_eq!(table.len(), 1);
    close(&mut table, 2 * SECOND);
    close(&mut table, 2 * SECOND + 1);
    let gone = socket([CLIENT, SERVER], 7, Some(info()));
    table.closed(0, &gone, Role::Client, 2 * SECOND);
    assert_eq!(only(&mut table).connection.numbers.bytes_received, 60);
}

#[test]
fn a_server_is_told_from_a_client_and_knows_the_same_name() {
    let mut table = table(true);
    let answer = segment([SERVER, CLIENT], SYN | ACK, [5000, 1001], 0);
    table.segment(&seen(Way::Out, SECOND), &answer);
    let gone = socket([SERVER, CLIENT], 7, Some(info()));
    table.closed(0, &gone, Role::Server, 2 * SECOND);
    let connection = only(&mut table).connection;
    assert_eq!(connection.role, Role::Server);
    assert_eq!(connection.fingerprint, Some(wire::fingerprint(1001, 5001)));
}

#[test]
fn what_is_passed_on_is_no_connection_of_this_host() {
    for told in [true, false] {
        let mut table = table(told);
        // A container's SYN arrives, and leaves with an address of this host.
        let inner = segment(["10.9.9.9:4000", SERVER], SYN, [1000, 0], 0);
        table.segment(&seen(Way::Past, SECOND), &inner);
        open(&mut table, SECOND + 1);
        close(&mut table, 2 * SECOND);
        table.settle(200 * SECOND, usize::MAX);
        assert_eq!((table.len(), table.take_reports().len()), (0, 0));
    }
}

#[test]
fn packets_of_no_socket_are_counted_and_left_out() {
    let mut table = table(true);
    open(&mut table, SECOND);
    close(&mut table, 2 * SECOND);
    table.settle(100 * SECOND, usize::MAX);
    assert!(table.take_reports().is_empty());
    assert_eq!(table.losses().unclaimed, 1);
}

#[test]
fn after_news_were_lost_packets_stand_in() {
    let mut table = table(true);
    open(&mut table, SECOND);
    close(&mut table, 2 * SECOND);
    table.mistrust(3 * SECOND);
    table.settle(4 * SECOND, usize::MAX);
    let numbers = only(&mut table).connection.numbers;
    assert_eq!((numbers.bytes_sent, numbers.bytes_received), (40, 60));
    let late = socket([CLIENT, SERVER], 7, Some(info()));
    table.closed(0, &late, Role::Client, 5 * SECOND);
    assert!(table.take_reports().is_empty(), "reported once");
}

#[test]
fn refused_reset_and_unanswered_are_told_apart() {
    let mut table = table(true);
    let syn = segment([CLIENT, SERVER], SYN, [1000, 0], 0);
    table.segment(&seen(Way::Out, SECOND), &syn);
    let reset = segment([SERVER, CLIENT], RST | ACK, [0, 999], 0);
    table.segment(&seen(Way::In, SECOND), &reset);
    assert!(table.take_reports().is_empty(), "a reset of something else");
    let reset = segment([SERVER, CLIENT], RST | ACK, [0, 1001], 0);
    table.segment(&seen(Way::In, SECOND), &reset);
    let refused = only(&mut table).connection;
    assert_eq!((refused.numbers.error, refused.flags), (111, 0));

    let mut table = self::table(true);
    open(&mut table, 3 * SECOND);
    let reset = segment([SERVER, CLIENT], RST, [5001, 0], 0);
    table.segment(&seen(Way::In, 4 * SECOND), &reset);
    let gone = socket([CLIENT, SERVER], 7, Some(info()));
    table.closed(0, &gone, Role::Client, 5 * SECOND);
    let reset = only(&mut table).connection;
    assert!(reset.has(abi::WB_FLAG_RESET_RECEIVED | abi::WB_FLAG_ESTABLISHED));

    let mut table = self::table(true);
    table.segment(&seen(Way::Out, 6 * SECOND), &syn);
    let nothing = Info {
        length: 232,
        ..Info::default()
    };
    let gone = socket([CLIENT, SERVER], 7, Some(nothing));
    table.closed(0, &gone, Role::Client, 7 * SECOND);
    let failed = only(&mut table).connection;
    assert_eq!((failed.numbers.error, failed.flags), (0, 0));
}

#[test]
fn an_established_connection_that_ends_without_a_packet_timed_out() {
    let mut table = table(true);
    open(&mut table, SECOND);
    let gone = socket([CLIENT, SERVER], 7, Some(info()));
    table.closed(0, &gone, Role::Client, 60 * SECOND);
    assert_eq!(only(&mut table).connection.numbers.error, 110);
}

#[test]
fn connections_older_than_the_agent_are_adopted_and_followed() {
    let mut table = table(true);
    table.begin_list();
    let open = socket([CLIENT, SERVER], sock_diag::ESTABLISHED, Some(info()));
    table.listed(0, &open, (Role::Client, true), SECOND);
    table.end_list(SECOND);
    let adopted = only(&mut table).connection;
    assert_eq!(adopted.reason, ReportReason::Adopted);
    table.begin_list();
    table.listed(0, &open, (Role::Client, false), 2 * SECOND);
    table.end_list(2 * SECOND);
    let live = only(&mut table).connection;
    assert_eq!((live.reason, live.id), (ReportReason::Live, adopted.id));
    for turn in 3..5 {
        table.begin_list();
        table.end_list(turn * SECOND);
    }
    assert_eq!(only(&mut table).connection.reason, ReportReason::Stale);
}

#[test]
fn a_connection_that_this_host_aborts_is_told_by_its_packets() {
    let mut table = table(true);
    open(&mut table, SECOND);
    let reset = segment([CLIENT, SERVER], RST | ACK, [1041, 5061], 0);
    table.segment(&seen(Way::Out, 2 * SECOND), &reset);
    // The kernel forgot the other end.
    let gone = socket([CLIENT, "0.0.0.0:0"], 7, Some(Info::default()));
    table.closed(0, &gone, Role::Client, 2 * SECOND);
    table.settle(4 * SECOND, usize::MAX);
    let connection = only(&mut table).connection;
    assert!(connection.has(abi::WB_FLAG_RESET_SENT));
    let numbers = connection.numbers;
    assert_eq!((numbers.bytes_sent, numbers.bytes_received), (40, 60));
}

#[test]
fn a_port_that_is_used_again_is_another_connection() {
    let mut table = table(true);
    open(&mut table, SECOND);
    close(&mut table, 2 * SECOND);
    let syn = segment([CLIENT, SERVER], SYN, [9000, 0], 0);
    table.segment(&seen(Way::Out, 2 * SECOND + 1), &syn);
    let gone = socket([CLIENT, SERVER], 7, Some(info()));
    table.closed(0, &gone, Role::Client, 2 * SECOND + 2);
    assert_eq!(
        only(&mut table).connection.fingerprint,
        Some(wire::fingerprint(1001, 5001))
    );
    assert_eq!(table.len(), 1, "the new one");
}

#[test]
fn a_full_table_counts_what_it_cannot_hold() {
    let mut table = Table::new(1, true, vec![7], Reader::new(&[]));
    for port in ["10.0.0.1:4000", "10.0.0.1:4001"] {
        let syn = segment([port, SERVER], SYN, [1000, 0], 0);
        table.segment(&seen(Way::Out, SECOND), &syn);
    }
    assert_eq!((table.len(), table.losses().full), (1, 1));
    // Its end is told all the same.
    let gone = socket(["10.0.0.1:4001", SERVER], 7, Some(info()));
    table.closed(0, &gone, Role::Client, 2 * SECOND);
    assert_eq!(only(&mut table).connection.reason, ReportReason::Closed);
}

#[test]
fn ends_that_are_used_again_and_again_are_each_told_in_their_order() {
    const TIMES: u32 = 100;
    let mut table = table(true);
    for time in 0..TIMES {
        let syn = segment([CLIENT, SERVER], SYN, [1000 * time, 0], 0);
        table.segment(&seen(Way::Out, SECOND), &syn);
        let answer = segment([SERVER, CLIENT], SYN | ACK, [5000, 1000 * time + 1], 0);
        table.segment(&seen(Way::In, SECOND), &answer);
    }
    for _ in 0..TIMES {
        let gone = socket([CLIENT, SERVER], 7, Some(info()));
        table.closed(0, &gone, Role::Client, 2 * SECOND);
    }
    let names: Vec<_> = table
        .take_reports()
        .iter()
        .map(|report| report.connection.fingerprint)
        .collect();
    let wanted: Vec<_> = (0..TIMES)
        .map(|time| Some(wire::fingerprint(1000 * time + 1, 5001)))
        .collect();
    assert_eq!(names, wanted);
    assert_eq!((table.losses(), table.replaced.len), (Losses::default(), 0));
}

#[test]
fn ends_that_are_used_again_beyond_the_bound_are_counted_and_told_by_the_kernels_word() {
    let mut table = table(true);
    for time in 0..150 {
        let syn = segment([CLIENT, SERVER], SYN, [1000 * time, 0], 0);
        table.segment(&seen(Way::Out, SECOND), &syn);
    }
    assert_eq!((table.replaced.len, table.losses().full), (100, 49));
    for _ in 0..150 {
        let gone = socket([CLIENT, SERVER], 7, Some(info()));
        table.closed(0, &gone, Role::Client, 2 * SECOND);
    }
    assert_eq!(table.take_reports().len(), 150);
}

#[test]
fn what_is_settled_in_one_turn_is_bounded_and_nothing_is_left_out() {
    let mut table = table(false);
    for port in 1..=10 {
        let client = format!("10.0.0.1:{port}");
        let syn = segment([&client, SERVER], SYN, [1000, 0], 0);
        table.segment(&seen(Way::Out, SECOND), &syn);
        let answer = segment([SERVER, &client], SYN | ACK, [5000, 1001], 0);
        table.segment(&seen(Way::In, SECOND), &answer);
        let reset = segment([SERVER, &client], RST | ACK, [5001, 1001], 0);
        table.segment(&seen(Way::In, 2 * SECOND), &reset);
    }
    let mut told = Vec::new();
    while table.settle(5 * SECOND, 4) {
        let reports = table.take_reports();
        assert!((1..=4).contains(&reports.len()), "{}", reports.len());
        told.extend(reports);
    }
    told.extend(table.take_reports());
    assert_eq!(told.len(), 10);
}

#[test]
fn an_attempt_whose_answer_may_be_among_lost_packets_did_not_fail_for_all_we_know() {
    for blind in [false, true] {
        let mut table = table(true);
        let syn = segment([CLIENT, SERVER], SYN, [1000, 0], 0);
        table.segment(&seen(Way::Out, SECOND), &syn);
        if blind {
            table.missed_packets(2 * SECOND);
            table.mistrust(2 * SECOND);
        }
        for list in 3..6 {
            table.begin_list();
            table.end_list(list * SECOND);
        }
        let reason = only(&mut table).connection.reason;
        assert_eq!(
            reason,
            if blind {
                ReportReason::Stale
            } else {
                ReportReason::Closed
            }
        );
    }
}

/// Anything that can happen, in any order.
#[derive(Clone, Debug)]
enum Step {
    Packet(Way, u8, [u32; 2], bool),
    Gone(bool),
    List(bool),
    Settle,
    Mistrust,
}

fn step() -> impl Strategy<Value = Step> {
    let way = prop_oneof![Just(Way::Out), Just(Way::In), Just(Way::Past)];
    let flags = prop_oneof![
        Just(SYN),
        Just(SYN | ACK),
        Just(FIN | ACK),
        Just(RST),
        Just(ACK)
    ];
    prop_oneof![
        8 => (way, flags, [0_u32..4, 0_u32..4], any::<bool>())
            .prop_map(|(way, flags, numbers, turned)| Step::Packet(way, flags, numbers, turned)),
        2 => any::<bool>().prop_map(Step::Gone),
        2 => any::<bool>().prop_map(Step::List),
        1 => Just(Step::Settle),
        1 => Just(Step::Mistrust),
    ]
}

proptest! {
    /// Whatever happens, a connection ends at most once and nothing is said of it afterwards.
    #[test]
    fn every_connection_ends_at_most_once(told: bool, steps in proptest::collection::vec(step(), 0..80)) {
        let mut table = table(told);
        let mut ended = HashSet::new();
        for (step, turn) in steps.into_iter().zip(1_u64..) {
            let now = turn * SECOND;
            match step {
                Step::Packet(way, flags, numbers, turned) => {
                    let ends = if turned { [SERVER, CLIENT] } else { [CLIENT, SERVER] };
                    table.segment(&seen(way, now), &segment(ends, flags, numbers, 0));
                }
                Step::Gone(server) => {
                    let role = if server { Role::Server } else { Role::Client };
                    table.closed(0, &socket([CLIENT, SERVER], 7, Some(info())), role, now);
                }
                Step::List(there) => {
                    table.begin_list();
                    if there {
                        let open = socket([CLIENT, SERVER], sock_diag::ESTABLISHED, Some(info()));
                        table.listed(0, &open, (Role::Client, turn == 1), now);
                    }
                    table.end_list(now);
                }
                Step::Settle => _ = table.settle(now, 3),
                Step::Mistrust => table.mistrust(now),
            }
            for report in table.take_reports() {
                let id = report.connection.id;
                prop_assert!(!ended.contains(&id), "{:?}", report);
                if matches!(report.connection.reason, ReportReason::Closed | ReportReason::Stale) {
                    ended.insert(id);
                }
            }
            prop_assert!(table.len() <= 100);
        }
    }
}

#[test]
fn a_scan_that_answers_the_syn_ack_with_a_reset_is_an_attempt_and_not_a_connection() {
    for told in [true, false] {
        let mut table = table(told);
        open(&mut table, SECOND);
        let reset = segment([CLIENT, SERVER], RST, [1001, 0], 0);
        table.segment(&seen(Way::Out, SECOND + 1), &reset);
        table.settle(200 * SECOND, usize::MAX);
        assert!(table.take_reports().is_empty());
        for list in [10, 20, 30] {
            table.begin_list();
            table.end_list(list * SECOND);
        }
        let connection = only(&mut table).connection;
        assert_eq!(connection.reason, ReportReason::Closed);
        assert!(!connection.has(abi::WB_FLAG_ESTABLISHED), "it never was");
    }
}

#[test]
fn the_handshakes_last_segment_makes_it_a_connection() {
    let mut table = table(false);
    open(&mut table, SECOND);
    acknowledge(&mut table, SECOND + 1);
    let reset = segment([SERVER, CLIENT], RST | ACK, [5001, 1001], 0);
    table.segment(&seen(Way::In, 2 * SECOND), &reset);
    table.settle(9 * SECOND, usize::MAX);
    let connection = only(&mut table).connection;
    assert!(connection.has(abi::WB_FLAG_ESTABLISHED));
    assert!(connection.has(abi::WB_FLAG_RESET_RECEIVED));
}

#[test]
fn where_syns_cross_both_called_connect() {
    let mut table = table(true);
    let syn = segment([CLIENT, SERVER], SYN, [1000, 0], 0);
    table.segment(&seen(Way::Out, SECOND), &syn);
    let crossed = segment([SERVER, CLIENT], SYN, [5000, 0], 0);
    table.segment(&seen(Way::In, SECOND + 1), &crossed);
    let answer = segment([CLIENT, SERVER], SYN | ACK, [1000, 5001], 0);
    table.segment(&seen(Way::Out, SECOND + 2), &answer);
    let other = segment([SERVER, CLIENT], SYN | ACK, [5000, 1001], 0);
    table.segment(&seen(Way::In, SECOND + 3), &other);
    close(&mut table, 2 * SECOND);
    table.closed(
        0,
        &socket([CLIENT, SERVER], 7, Some(info())),
        None::<Role>,
        2 * SECOND,
    );
    let connection = only(&mut table).connection;
    assert_eq!(connection.role, Role::Client);
    assert_eq!(connection.numbers.bytes_sent, 40);
    assert_eq!(table.len(), 0, "it is one connection");
}

#[test]
fn who_connected_is_not_guessed_where_nobody_tells() {
    let mut table = table(true);
    let gone = socket([CLIENT, SERVER], 7, Some(info()));
    table.closed(0, &gone, None::<Role>, SECOND);
    assert!(only(&mut table).connection.has(abi::WB_FLAG_ROLE_UNKNOWN));
    table.begin_list();
    table.listed(
        0,
        &socket([SERVER, CLIENT], sock_diag::ESTABLISHED, None),
        (None::<Role>, true),
        SECOND,
    );
    assert!(only(&mut table).connection.has(abi::WB_FLAG_ROLE_UNKNOWN));
}

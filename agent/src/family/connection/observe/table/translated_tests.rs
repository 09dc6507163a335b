//! Connections of which packets name another end than their sockets do.

use wire::Role;

use super::super::tests::{
    CLIENT, SECOND, SERVER, acknowledge, close, end, info, only, open, seen, segment, socket, table,
};
use super::super::{Losses, Way};
use super::*;
use crate::family::connection::event::ReportReason;
use crate::frame::FIN;
use crate::sock_diag::Info;

const VIRTUAL: &str = "10.9.0.100:8000";

/// The host's own rules turn the address that the program called into the server's.
#[test]
fn a_connection_that_its_own_host_translates_is_what_packets_show_and_what_its_socket_names() {
    let mut table = table(true);
    open(&mut table, SECOND);
    close(&mut table, 2 * SECOND);
    let gone = socket([CLIENT, VIRTUAL], 7, Some(info()));
    table.closed(0, &gone, Role::Client, 2 * SECOND);
    let report = only(&mut table).connection;
    assert_eq!(
        (report.role, report.reason),
        (Role::Client, ReportReason::Closed)
    );
    assert_eq!(report.remote, end(VIRTUAL));
    assert_eq!(report.fingerprint, Some(wire::fingerprint(1001, 5001)));
    let bytes = (report.numbers.bytes_sent, report.numbers.bytes_received);
    assert_eq!(bytes, (40, 60));
    assert!(!table.settle(200 * SECOND, 100));
    assert_eq!(table.losses(), Losses::default());
}

/// The same at the other end: what came was for another address or port.
#[test]
fn a_server_behind_its_own_hosts_redirection_is_known_by_its_client() {
    let mut table = table(true);
    let answer = segment([SERVER, CLIENT], SYN | ACK, [5000, 1001], 0);
    table.segment(&seen(Way::Out, SECOND), &answer);
    let ack = segment([CLIENT, SERVER], ACK, [1001, 5001], 0);
    table.segment(&seen(Way::In, SECOND), &ack);
    let gone = socket([VIRTUAL, CLIENT], 7, None);
    table.closed(0, &gone, Role::Server, 2 * SECOND);
    let report = only(&mut table).connection;
    assert_eq!((report.role, report.local), (Role::Server, end(VIRTUAL)));
    assert_eq!(report.fingerprint, Some(wire::fingerprint(1001, 5001)));
}

#[test]
fn an_open_connection_that_its_own_host_translates_is_followed_by_both_names() {
    let mut table = table(true);
    open(&mut table, SECOND);
    acknowledge(&mut table, SECOND);
    let known = socket([CLIENT, VIRTUAL], 1, Some(info()));
    for list in 2..4 {
        table.begin_list();
        table.listed(0, &known, (Role::Client, false), list * SECOND);
        table.end_list(list * SECOND);
        assert_eq!(table.take_reports().len(), usize::from(list == 3), "{list}");
    }
    close(&mut table, 4 * SECOND);
    let gone = socket([CLIENT, VIRTUAL], 7, Some(info()));
    table.closed(0, &gone, Role::Client, 4 * SECOND);
    let report = only(&mut table).connection;
    assert_eq!(report.fingerprint, Some(wire::fingerprint(1001, 5001)));
    let bytes = (report.numbers.bytes_sent, report.numbers.bytes_received);
    assert_eq!(bytes, (40, 60), "without the FIN, which packets showed");
    assert_eq!(table.losses(), Losses::default());
    // The same ends once more, on another connection.
    let syn = segment([CLIENT, SERVER], SYN, [7000, 0], 0);
    table.segment(&seen(Way::Out, 5 * SECOND), &syn);
    assert!(table.knows(0, &socket([CLIENT, SERVER], 2, None)));
}

/// The address that was called leads back to this host, which answers as that address.
#[test]
fn both_ends_of_what_a_host_translates_to_itself_are_known_as_their_sockets_name_them() {
    let mut table = table(true);
    let both = |table: &mut Table, ends: [&str; 2], flags, numbers, payload| {
        let segment = segment(ends, flags, numbers, payload);
        let ours = ends.map(|one| one != VIRTUAL);
        for way in [Way::Out, Way::In] {
            let seen = PacketContext {
                ours,
                ..seen(way, SECOND)
            };
            table.segment(&seen, &segment);
        }
    };
    both(&mut table, [CLIENT, SERVER], SYN, [1000, 0], 0);
    both(&mut table, [VIRTUAL, CLIENT], SYN | ACK, [5000, 1001], 0);
    both(&mut table, [CLIENT, SERVER], FIN | ACK, [1031, 5001], 10);
    both(&mut table, [VIRTUAL, CLIENT], FIN | ACK, [5061, 1042], 0);
    let name = Some(wire::fingerprint(1001, 5001));
    for (ends, role) in [
        ([CLIENT, VIRTUAL], Role::Client),
        ([SERVER, CLIENT], Role::Server),
    ] {
        let told = match role {
            Role::Client => info(),
            Role::Server => Info {
                sent: Some([60, 0]),
                received: Some(41),
                ..info()
            },
        };
        table.closed(0, &socket(ends, 7, Some(told)), role, 2 * SECOND);
        let report = only(&mut table).connection;
        assert_eq!((report.role, report.fingerprint), (role, name));
        assert_eq!((report.local, report.remote), (end(ends[0]), end(ends[1])));
        let bytes = [report.numbers.bytes_sent, report.numbers.bytes_received];
        let right = match role {
            Role::Client => [40, 60],
            Role::Server => [60, 40],
        };
        assert_eq!(bytes, right);
    }
    assert_eq!(table.losses(), Losses::default());
}

#[test]
fn packets_of_another_connection_are_not_taken_for_a_translated_one() {
    let unmatched = |prepare: &dyn Fn(&mut Table), told: Info| {
        let mut table = table(true);
        prepare(&mut table);
        let gone = socket([CLIENT, VIRTUAL], 7, Some(told));
        table.closed(0, &gone, Role::Client, 3 * SECOND);
        let report = only(&mut table).connection;
        report.fingerprint.is_none()
    };
    let plain = |table: &mut Table| {
        open(table, SECOND);
        close(table, 2 * SECOND);
    };
    assert!(!unmatched(&plain, info()));
    let more = Info {
        sent: Some([41, 0]),
        ..info()
    };
    assert!(unmatched(&plain, more), "it has sent something else");
    let two = |table: &mut Table| {
        let other = segment([CLIENT, "10.0.0.3:80"], SYN, [2000, 0], 0);
        table.segment(&seen(Way::Out, SECOND), &other);
        plain(table);
    };
    assert!(unmatched(&two, info()), "it may be either");
    let blind = |table: &mut Table| {
        plain(table);
        table.missed_packets(2 * SECOND);
    };
    assert!(unmatched(&blind, info()), "its own may be among the lost");
    let own = |table: &mut Table| {
        plain(table);
        let gone = socket([CLIENT, SERVER], 7, Some(info()));
        table.closed(0, &gone, Role::Client, 2 * SECOND);
        table.take_reports();
    };
    assert!(unmatched(&own, info()), "its socket has been seen");
}

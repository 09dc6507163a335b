//! What a list of sockets is matched with.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const NETNS: u32 = 7;

fn end(host: u8, port: u16) -> Endpoint {
    let mut addr = [0; 16];
    addr[10..12].fill(0xff);
    addr[12..].copy_from_slice(&[10, 0, 0, host]);
    Endpoint { addr, port }
}

fn socket(local: Endpoint, remote: Endpoint, received: u64) -> Socket {
    Socket {
        state: sock_diag::ESTABLISHED,
        local,
        remote,
        inode: 1,
        uid: 0,
        cgroup_id: 0,
        unacknowledged: 0,
        info: Some(sock_diag::Info {
            received: Some(received),
            ..sock_diag::Info::default()
        }),
    }
}

fn entry(id: u64, local: Endpoint, remote: Endpoint) -> abi::wb_connection {
    abi::wb_connection {
        id,
        start_ns: id,
        tuple: abi::wb_tuple {
            netns: NETNS,
            local: local.addr,
            local_port: local.port,
            remote: remote.addr,
            remote_port: remote.port,
        },
        ..Default::default()
    }
}

fn older(limit: usize, connections: impl Iterator<Item = (Endpoint, Endpoint, Role)>) -> Older {
    let mut older = Older::new(limit);
    for (local, remote, role) in connections {
        older.insert(&event::open(NETNS, (local, remote), role, 1));
    }
    older
}

#[test]
fn twenty_thousand_old_connections_are_matched_in_one_pass_and_keep_their_role() {
    let ends = |n: u16| (end(1, 80), end(u8::try_from(n % 200).unwrap(), 10_000 + n));
    let all = (0..20_000).map(|n| (ends(n).0, ends(n).1, Role::Server));
    let mut known = older(65_536, all);
    for gone in [0_u16, 10_000] {
        let mut matching = Matching::new(&[], known, 5);
        for n in gone..20_000 {
            matching.take(NETNS, &socket(ends(n).0, ends(n).1, u64::from(n)));
        }
        let (found, still) = matching.end(true);
        assert_eq!(found.len(), usize::from(20_000 - gone));
        assert!(
            found
                .iter()
                .all(|one| one.role == Role::Server && one.reason == ReportReason::Live)
        );
        let last = found.iter().map(|one| one.numbers.bytes_received).max();
        assert_eq!(last, Some(19_999));
        known = still;
    }
    assert_eq!(known.roles.len(), 10_000, "what a whole list lacks is gone");
}

#[test]
fn what_finds_no_room_is_counted() {
    let all = (0..5).map(|n| (end(1, 80), end(2, n), Role::Client));
    let known = older(3, all);
    assert_eq!((known.roles.len(), known.dropped), (3, 2));
}

#[test]
fn what_a_list_that_is_not_whole_lacks_may_still_be_open() {
    let all = (1..=2).map(|n| (end(1, 80), end(2, n), Role::Client));
    let mut matching = Matching::new(&[], older(9, all), 5);
    matching.take(NETNS, &socket(end(1, 80), end(2, 1), 0));
    let (found, known) = matching.end(false);
    assert_eq!((found.len(), known.roles.len()), (1, 2));
}

#[test]
fn of_two_entries_with_the_same_ends_the_younger_one_is_open() {
    let entries = [1, 3, 2].map(|id| entry(id, end(1, 80), end(2, 9)));
    let mut matching = Matching::new(&entries, Older::new(9), 5);
    matching.take(NETNS, &socket(end(1, 80), end(2, 9), 0));
    let (found, _) = matching.end(true);
    assert_eq!(found.iter().map(|one| one.id).collect::<Vec<_>>(), [3]);
}

proptest! {
    /// The same as looking through everything for each.
    #[test]
    fn a_match_is_what_a_search_through_all_would_find(
        entered in proptest::collection::hash_set(0_u16..12, 0..8),
        old in proptest::collection::hash_set(0_u16..12, 0..8),
        listed in proptest::collection::vec(0_u16..12, 0..16),
        whole: bool,
    ) {
        let ends = |n: u16| (end(1, 80), end(2, n));
        let entries: Vec<_> = entered.iter().map(|n| entry(1 + u64::from(*n), ends(*n).0, ends(*n).1)).collect();
        let known = older(99, old.iter().map(|n| (ends(*n).0, ends(*n).1, Role::Server)));
        let mut matching = Matching::new(&entries, known, 5);
        for n in &listed {
            matching.take(NETNS, &socket(ends(*n).0, ends(*n).1, 0));
        }
        let (found, still) = matching.end(whole);

        let tuple = |n: &u16| event::tuple_id(NETNS, ends(*n).0, ends(*n).1);
        let mut wanted = HashSet::new();
        let mut kept: HashSet<u64> = old.iter().map(&tuple).filter(|_| !whole).collect();
        for n in 0..12 {
            let times = listed.iter().filter(|one| **one == n).count();
            if times > 0 && entered.contains(&n) {
                wanted.insert(1 + u64::from(n));
            }
            // What is entered takes the first of what is listed twice.
            if old.contains(&n) && times > usize::from(entered.contains(&n)) {
                wanted.insert(tuple(&n));
                kept.insert(tuple(&n));
            }
        }
        prop_assert_eq!(found.len(), wanted.len());
        prop_assert_eq!(found.iter().map(|one| one.id).collect::<HashSet<_>>(), wanted);
        prop_assert_eq!(still.roles.keys().copied().collect::<HashSet<_>>(), kept);
    }
}

//! A `/proc` of our own, and who is found in it.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;

use super::*;

fn end(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().unwrap().into()
}

/// Who is named; the kernel does not tell the cgroup.
fn of(owners: &mut Owners, side: (u16, Role), ends: (Endpoint, Endpoint), inode: u32) -> Owner {
    owners.of(side, ends, (inode, 0)).owner
}

/// Process 7 has socket 70 and is in /a/b; process 8 has 70 and 80 and is elsewhere.
fn host() -> (tempfile::TempDir, Owners) {
    let host = tempfile::tempdir().unwrap();
    for (number, cgroup, sockets) in [(7, "/a/b", &[70][..]), (8, "/else", &[70, 80])] {
        let process = host.path().join(format!("proc/{number}"));
        fs::create_dir_all(process.join("fd")).unwrap();
        for (descriptor, inode) in sockets.iter().enumerate() {
            let link = process.join(format!("fd/{descriptor}"));
            symlink(format!("socket:[{inode}]"), link).unwrap();
        }
        symlink("/dev/null", process.join("fd/9")).unwrap();
        symlink("/opt/shop (deleted)", process.join("exe")).unwrap();
        fs::write(process.join("comm"), "shop\n").unwrap();
        fs::write(process.join("cgroup"), format!("1:cpu:/x\n0::{cgroup}\n")).unwrap();
        let fields = "S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 500 9 9";
        fs::write(process.join("stat"), format!("{number} (a) b) {fields}")).unwrap();
    }
    let place = place(&host);
    (host, Owners::new(place, 4))
}

fn place(host: &tempfile::TempDir) -> Place {
    Place {
        proc: host.path().join("proc"),
        cgroups: host.path().to_owned(),
        scope: "/a".into(),
    }
}

#[test]
fn the_owner_of_a_socket_is_found_and_who_is_out_of_scope_is_told_apart() {
    let (_host, mut owners) = host();
    for inode in [70, 80, 90] {
        owners.want(inode);
    }
    owners.look();
    let (local, remote) = (end("10.0.0.1:4000"), end("10.0.0.2:80"));
    let client = (0, Role::Client);
    let Owner::Process(process) = of(&mut owners, client, (local, remote), 70) else {
        panic!("nobody");
    };
    assert_eq!((process.tgid, process.start_ns), (7, 5_000_000_000));
    assert_eq!(&process.comm[..5], b"shop\0");
    assert_eq!(&process.exe[..5], b"shop\0");
    assert_eq!(
        of(&mut owners, client, (local, end("10.0.0.3:80")), 80),
        Owner::Foreign
    );
    assert_eq!(
        of(&mut owners, client, (local, end("10.0.0.4:80")), 90),
        Owner::Unknown
    );
}

#[test]
fn a_connection_that_is_gone_belongs_to_who_connected_there_before() {
    let (_host, mut owners) = host();
    owners.want(70);
    owners.look();
    let ends = (end("10.0.0.1:4000"), end("10.0.0.2:80"));
    let known = of(&mut owners, (0, Role::Client), ends, 70);
    let gone = (end("10.0.0.1:4001"), ends.1);
    assert_eq!(of(&mut owners, (0, Role::Client), gone, 0), known);
    assert_eq!(of(&mut owners, (1, Role::Client), gone, 0), Owner::Unknown);
    owners.forget_ends();
    assert_eq!(of(&mut owners, (0, Role::Client), gone, 0), Owner::Unknown);
}

#[test]
fn an_accepted_connection_belongs_to_its_listener_whatever_address_that_has() {
    let (_host, mut owners) = host();
    for (listening, local) in [
        ("0.0.0.0:80", "10.0.0.1:80"),
        ("[::]:81", "10.0.0.1:81"),
        ("10.0.0.1:82", "10.0.0.1:82"),
    ] {
        owners.listens(0, end(listening), 70);
        assert!(owners.listener(0, end(local)).is_some());
        owners.look_now();
        let found = of(
            &mut owners,
            (0, Role::Server),
            (end(local), end("10.0.0.9:9")),
            0,
        );
        assert!(matches!(found, Owner::Process(_)), "{listening}");
    }
    assert!(owners.listener(0, end("10.0.0.1:83")).is_none());
}

/// A process with this many sockets from 1000 on, in the scope.
fn busy(host: &tempfile::TempDir, number: u32, sockets: std::ops::Range<u32>) {
    let process = host.path().join(format!("proc/{number}"));
    fs::remove_dir_all(&process).ok();
    fs::create_dir_all(process.join("fd")).unwrap();
    for inode in sockets {
        symlink(
            format!("socket:[{inode}]"),
            process.join(format!("fd/{inode}")),
        )
        .unwrap();
    }
    fs::write(process.join("cgroup"), "0::/a\n").unwrap();
    let fields = "S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 500 9 9";
    fs::write(process.join("stat"), format!("{number} (a) {fields}")).unwrap();
}

#[test]
fn owners_stay_within_their_bound_and_recover_while_lists_fail() {
    let (host, mut owners) = host();
    let client = (0, Role::Client);
    for round in 0..5 {
        let sockets = 1000 + 10 * round..1000 + 10 * round + 3;
        busy(&host, 9, sockets.clone());
        owners.begin_list();
        for inode in sockets.clone() {
            owners.want(inode);
        }
        owners.look_now();
        assert!(owners.sockets.len() <= 4 && owners.wanted.len() <= 4);
        // Whose the sockets of this round are is known, although nobody says which are gone.
        let remote = end(&format!("10.0.0.2:{}", 80 + round));
        let owner = of(
            &mut owners,
            client,
            (end("10.0.0.1:4000"), remote),
            sockets.start,
        );
        assert!(
            matches!(owner, Owner::Process(_)),
            "round {round}: {owner:?}"
        );
        owners.fail_list();
    }
    assert_eq!(owners.forgotten(), 5 * 3, "what was given up is counted");
}

#[test]
fn what_finds_no_room_is_counted_each_time() {
    let (host, mut owners) = host();
    busy(&host, 9, 1000..1010);
    for inode in 1000..1010 {
        owners.want(inode);
    }
    assert_eq!((owners.wanted.len(), owners.forgotten()), (4, 6));
    owners.look_now();
    for inode in 1004..1010 {
        owners.want(inode);
    }
    owners.look_now();
    assert_eq!(owners.sockets.len(), 4);
    assert_eq!(owners.forgotten(), 6 + 2 + 4);
}

#[test]
fn a_whole_list_forgets_what_it_lacks_but_listeners() {
    let (_host, mut owners) = host();
    owners.listens(0, end("10.0.0.1:80"), 70);
    owners.want(80);
    owners.look_now();
    owners.begin_list();
    owners.end_list();
    assert!(owners.known(70).is_some() && owners.known(80).is_none());
    owners.want(80);
    owners.look_now();
    owners.begin_list();
    owners.want(80);
    owners.end_list();
    assert!(owners.known(80).is_some());
}

#[test]
fn a_look_over_several_turns_finds_what_one_look_finds() {
    let (host, _) = host();
    for process in [20, 21, 22] {
        busy(
            &host,
            process,
            1000 + 10 * process..1000 + 10 * process + 10,
        );
    }
    let wanted: Vec<u32> = (1200..1230).chain([70, 90]).collect();
    let look = |descriptors: usize| {
        let mut owners = Owners::new(place(&host), 100);
        for inode in &wanted {
            owners.want(*inode);
        }
        let mut turns = 1;
        owners.begin_walk();
        while !owners.walk_on(descriptors) {
            turns += 1;
        }
        let found: Vec<_> = wanted.iter().map(|inode| owners.known(*inode)).collect();
        (found, turns, owners.wanted.len())
    };
    let (at_once, one, missing) = look(usize::MAX);
    assert_eq!((one, missing), (1, 1), "nobody has 90");
    assert_eq!(at_once.iter().flatten().count(), wanted.len() - 1);
    for descriptors in [1, 4, 7] {
        let (found, turns, missing) = look(descriptors);
        assert!(turns > 30 / descriptors, "{turns} turns");
        assert_eq!((found, missing), (at_once.clone(), 1));
    }
}

/// What the main thread of a process waits in: a call and its first argument.
fn waits_in(host: &tempfile::TempDir, number: u32, call: i64, descriptor: u32) {
    let thread = host.path().join(format!("proc/{number}/task/{number}"));
    fs::create_dir_all(&thread).unwrap();
    let text = format!("{call} {descriptor:#x} 0x0 0x0 0x0 0x0 0x0 0x7ffc 0x7f00\n");
    fs::write(thread.join("syscall"), text).unwrap();
}

fn tgid(owner: Owner) -> Option<u32> {
    match owner {
        Owner::Process(process) => Some(process.tgid),
        Owner::Foreign | Owner::Unknown => None,
    }
}

const SERVER: (u16, Role) = (0, Role::Server);

fn ends() -> (Endpoint, Endpoint) {
    (end("10.0.0.1:80"), end("10.0.0.9:9"))
}

#[test]
fn who_accepts_comes_before_who_only_has_the_listener() {
    let (host, _) = host();
    // A manager, and a worker that inherited the listener from it; 1000 is their descriptor, too.
    for number in [9, 10] {
        busy(&host, number, 1000..1001);
    }
    waits_in(&host, 9, nix::libc::SYS_wait4, 1000);
    waits_in(&host, 10, nix::libc::SYS_accept4, 1000);
    let mut owners = Owners::new(place(&host), 10);
    owners.listens(0, end("0.0.0.0:80"), 1000);
    owners.look_now();
    assert_eq!(tgid(of(&mut owners, SERVER, ends(), 0)), Some(10));
    assert!(owners.wanted.is_empty());
}

#[test]
fn a_listener_on_which_nobody_accepts_yet_is_looked_at_again() {
    let (host, _) = host();
    busy(&host, 9, 1000..1001);
    waits_in(&host, 9, nix::libc::SYS_wait4, 1000);
    let mut owners = Owners::new(place(&host), 10);
    owners.listens(0, end("0.0.0.0:80"), 1000);
    owners.look_now();
    assert_eq!(tgid(of(&mut owners, SERVER, ends(), 0)), Some(9), "for now");
    busy(&host, 10, 1000..1001);
    waits_in(&host, 10, nix::libc::SYS_accept4, 1000);
    owners.look_now();
    assert_eq!(tgid(of(&mut owners, SERVER, ends(), 0)), Some(10));
}

#[test]
fn what_is_accepted_belongs_to_who_has_it_and_so_do_others_of_the_same_listener() {
    let (host, _) = host();
    busy(&host, 9, 1000..1001);
    busy(&host, 10, 1000..1002);
    let mut owners = Owners::new(place(&host), 10);
    owners.listens(0, end("0.0.0.0:80"), 1000);
    owners.want(1001);
    owners.look_now();
    let found = owners.of(SERVER, ends(), (1001, 0));
    assert_eq!((tgid(found.owner), found.direct), (Some(10), true));
    let gone = owners.of(SERVER, ends(), (0, 0));
    assert_eq!((tgid(gone.owner), gone.direct), (Some(10), false));
}

#[test]
fn a_socket_that_nobody_had_at_first_is_found_by_a_later_look() {
    let (host, _) = host();
    let mut owners = Owners::new(place(&host), 10);
    owners.want(1000);
    for miss in 1..=MAX_MISSES {
        assert!(!owners.is_hopeless(1000));
        owners.look_now();
        assert_eq!(owners.is_hopeless(1000), miss == MAX_MISSES);
    }
    // It was on its way between two processes (SCM_RIGHTS).
    busy(&host, 9, 1000..1001);
    owners.begin_list();
    owners.want(1000);
    owners.end_list();
    owners.look_now();
    assert_eq!(tgid(of(&mut owners, SERVER, ends(), 1000)), Some(9));
    assert!(!owners.is_hopeless(1000));
}

#[test]
fn an_open_socket_is_found_with_the_process_that_is_known_there_without_a_look() {
    let (host, _) = host();
    busy(&host, 9, 1000..1002);
    let mut owners = Owners::new(place(&host), 10);
    let (local, remote) = ends();
    let client = (0, Role::Client);
    owners.want(1000);
    owners.look_now();
    assert_eq!(
        tgid(of(&mut owners, client, (local, remote), 1000)),
        Some(9)
    );
    let looks = owners.looks();
    assert!(owners.ask_known(client, remote, 1001));
    assert!(
        !owners.ask_known(client, remote, 70),
        "somebody else has it"
    );
    assert_eq!(
        tgid(of(&mut owners, client, (local, remote), 1001)),
        Some(9)
    );
    assert_eq!(owners.looks(), looks);
    owners.is_strange(0, remote, 70);
    let short = owners.of(client, (end("10.0.0.1:4001"), remote), (0, 0));
    assert_eq!(short.owner, Owner::Unknown, "it may be the stranger's");
}

/// Process 9 waits to accept on its listener, and process 10 has what may be a connection of it; looked
/// at once.
fn handed_on() -> (tempfile::TempDir, Owners) {
    let (host, _) = host();
    busy(&host, 9, 1000..1001);
    waits_in(&host, 9, nix::libc::SYS_accept4, 1000);
    busy(&host, 10, 2000..2001);
    fs::write(host.path().join("proc/10/comm"), "helper\n").unwrap();
    let mut owners = Owners::new(place(&host), 10);
    owners.listens(0, end("0.0.0.0:80"), 1000);
    owners.want(2000);
    owners.look_now();
    (host, owners)
}

/// A connection that was accepted by one process, and handed to another one that has the listener no
/// more, or never had it.
#[test]
fn what_was_handed_on_belongs_to_who_accepts_on_its_listener() {
    let (_host, mut owners) = handed_on();
    let found = owners.of(SERVER, ends(), (2000, 0));
    assert_eq!(
        (found.owner, found.direct),
        (Owner::Unknown, false),
        "not yet"
    );
    owners.look_now();
    let found = owners.of(SERVER, ends(), (2000, 0));
    assert_eq!((tgid(found.owner), found.direct), (Some(9), true));
}

/// Who accepted it has ended, and its listener with it, though no list says so yet.
#[test]
fn what_was_handed_on_belongs_to_who_has_it_once_nobody_has_the_listener() {
    let (host, mut owners) = handed_on();
    fs::remove_dir_all(host.path().join("proc/9")).unwrap();
    for _ in 0..MAX_MISSES {
        assert_eq!(owners.of(SERVER, ends(), (2000, 0)).owner, Owner::Unknown);
        owners.look_now();
    }
    let found = owners.of(SERVER, ends(), (2000, 0));
    assert_eq!((tgid(found.owner), found.direct), (Some(10), true));
}

/// The other way round: the manager waited on the listener, and started who accepts by need.
#[test]
fn who_was_started_to_accept_is_not_taken_for_one_to_whom_it_was_handed_on() {
    let (host, _) = host();
    busy(&host, 9, 1000..1001);
    waits_in(&host, 9, nix::libc::SYS_accept4, 1000);
    let mut owners = Owners::new(place(&host), 10);
    owners.listens(0, end("0.0.0.0:80"), 1000);
    owners.look_now();
    waits_in(&host, 9, nix::libc::SYS_wait4, 1000);
    busy(&host, 10, 1000..1002);
    fs::write(host.path().join("proc/10/comm"), "service\n").unwrap();
    waits_in(&host, 10, nix::libc::SYS_accept4, 1000);
    owners.want(1001);
    owners.look_now();
    assert_eq!(owners.of(SERVER, ends(), (1001, 0)).owner, Owner::Unknown);
    owners.look_now();
    assert_eq!(tgid(owners.of(SERVER, ends(), (1001, 0)).owner), Some(10));
    let short = owners.of(SERVER, ends(), (0, 0));
    assert_eq!((tgid(short.owner), short.direct), (Some(10), false));
}

#[test]
fn a_client_that_nobody_met_is_in_the_cgroup_in_which_its_socket_was_made() {
    let (host, _) = host();
    let of = |scope: &str| {
        Owners::new(
            Place {
                scope: scope.into(),
                ..place(&host)
            },
            10,
        )
    };
    let everywhere = of("/");
    assert_eq!(everywhere.birthplace(Role::Client, 4711), 4711);
    assert_eq!(
        everywhere.birthplace(Role::Client, 3 << 32 | 1),
        0,
        "the root"
    );
    assert_eq!(
        everywhere.birthplace(Role::Server, 4711),
        0,
        "its listener's"
    );
    assert_eq!(
        of("/a").birthplace(Role::Client, 4711),
        0,
        "perhaps outside"
    );
}

#[test]
fn what_an_owner_looks_like_is_kept_for_when_it_has_ended() {
    let (_host, mut owners) = host();
    for inode in [70, 80] {
        owners.want(inode);
    }
    owners.look_now();
    assert!(!owners.take_past().is_empty());
    assert!(owners.take_past().is_empty(), "once");
}

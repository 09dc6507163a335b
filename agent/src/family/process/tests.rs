//! Identities over a host that is made up.

use super::{
    IDLE_MS, Identities, MAX_SNAPSHOTS, Observed, ProcFs, REFRESH_MS, SEARCH_EVERY_MS, Snapshot,
};
use crate::config::{Glob, ServiceRule};

/// Answers the same for every process, and counts.
#[derive(Default)]
struct Host {
    snapshot: Snapshot,
    snapshots: usize,
}

impl ProcFs for Host {
    fn snapshot(&mut self, _observed: &Observed<'_>, _now_ms: u64) -> Snapshot {
        self.snapshots += 1;
        self.snapshot.clone()
    }
}

fn host(exe: &str, cgroup: &str) -> Host {
    let snapshot = Snapshot {
        exe: Some(exe.as_bytes().to_vec()),
        cgroups: Some(format!("0::{cgroup}\n")),
        cgroup_path: Some(cgroup.to_owned()),
        is_vouched: true,
    };
    Host {
        snapshot,
        snapshots: 0,
    }
}

fn observed(tgid: u32, comm: &'static [u8]) -> Observed<'static> {
    Observed {
        tgid,
        started_ns: 5_000_000,
        comm,
        exe_name: b"nginx\0\0",
        cgroup_id: 9,
        netns: 4,
    }
}

fn identities(limit: usize, rules: Vec<ServiceRule>) -> Identities {
    Identities::new(limit, rules, 1_000_000_000_000)
}

fn rule(name: &str, exe: Option<&str>, unit: Option<&str>) -> ServiceRule {
    ServiceRule {
        name: name.into(),
        exe: exe.map(Glob::new),
        comm: None,
        cgroup: None,
        unit: unit.map(Glob::new),
        container: None,
        tags: vec![("team".into(), name.into())],
    }
}

#[test]
fn processes_of_one_program_share_an_identity_and_cost_one_look() {
    let mut host = host("/usr/sbin/nginx", "/system.slice/nginx.service");
    let mut identities = identities(10, Vec::new());
    let first = identities.resolve(&observed(7, b"nginx\0junk"), &mut host, 0);
    let second = identities.resolve(&observed(8, b"nginx"), &mut host, 0);
    assert_eq!((first, second, host.snapshots), (1, 1, 1));
    let other = identities.resolve(&observed(8, b"worker"), &mut host, 0);
    assert_eq!(other, 2);
    let rows = identities.take_rows(1);
    assert_eq!(rows.len(), 2);
    let row = &rows[0];
    assert_eq!((row.tgid, row.started_ms), (7, 1_000_005));
    assert_eq!(
        (row.comm.as_str(), row.exe.as_str()),
        ("nginx", "/usr/sbin/nginx")
    );
    assert_eq!(row.cgroup, "/system.slice/nginx.service");
    assert_eq!(
        (row.unit.as_str(), row.service.as_str()),
        ("nginx.service", "nginx")
    );
}

#[test]
fn every_row_is_sent_again_when_a_batch_was_lost() {
    let mut host = host("/usr/sbin/nginx", "/system.slice/nginx.service");
    let mut identities = identities(10, Vec::new());
    identities.resolve(&observed(7, b"nginx"), &mut host, 0);
    assert_eq!(identities.take_rows(1).len(), 1);
    assert!(identities.take_rows(2).is_empty());
    identities.resend();
    assert_eq!(identities.take_rows(3).len(), 1);
}

#[test]
fn rows_are_sent_once_then_on_change_and_again_while_in_use() {
    let mut host = host("/usr/sbin/nginx", "/a");
    let mut identities = identities(10, Vec::new());
    identities.resolve(&observed(7, b"a"), &mut host, 10);
    assert_eq!(identities.take_rows(11).len(), 1);
    assert!(identities.take_rows(12).is_empty());
    assert!(
        identities.take_rows(11 + REFRESH_MS).is_empty(),
        "nobody uses it any more"
    );
    identities.resolve(&observed(7, b"a"), &mut host, 12 + REFRESH_MS);
    assert_eq!(identities.take_rows(13 + REFRESH_MS).len(), 1);
}

#[test]
fn a_process_that_was_gone_too_soon_is_completed_by_a_later_one() {
    let mut gone = Host::default();
    let mut identities = identities(10, Vec::new());
    identities.resolve(&observed(7, b"a"), &mut gone, 0);
    let row = identities.take_rows(0).remove(0);
    assert_eq!((row.exe.as_str(), row.cgroup.as_str()), ("nginx", ""));
    assert_eq!(row.service, "nginx");

    let mut host = host("/usr/sbin/nginx", "/a.service");
    identities.resolve(&observed(7, b"a"), &mut host, 1);
    assert_eq!(host.snapshots, 0, "the same process is not looked at again");
    identities.resolve(&observed(8, b"a"), &mut host, 1);
    let row = identities.take_rows(1).remove(0);
    assert_eq!(
        (row.exe.as_str(), row.service.as_str()),
        ("/usr/sbin/nginx", "a")
    );

    identities.resolve(&observed(9, b"a"), &mut gone, 2);
    assert!(identities.take_rows(2).is_empty(), "what is known is kept");
}

#[test]
fn looks_at_processes_that_are_always_gone_come_to_an_end() {
    let mut gone = Host::default();
    let mut identities = identities(10, Vec::new());
    for tgid in 1..=1000 {
        identities.resolve(&observed(tgid, b"a"), &mut gone, 0);
    }
    assert_eq!(gone.snapshots, usize::from(MAX_SNAPSHOTS));
}

#[test]
fn a_full_table_counts_into_a_catch_all_and_makes_room_by_forgetting_the_idle() {
    let mut host = host("/x", "/a");
    let mut identities = identities(2, Vec::new());
    let start = SEARCH_EVERY_MS;
    let names: [&[u8]; 4] = [b"a", b"b", b"c", b"d"];
    let ids: Vec<u32> = names
        .map(|name| identities.resolve(&observed(1, name), &mut host, start))
        .to_vec();
    assert_eq!((ids, identities.overflowed()), (vec![1, 2, 0, 0], 2));
    let rows = identities.take_rows(start);
    assert_eq!(rows[0].process_id, 0);
    assert_eq!(rows[0].service, "(other processes)");
    assert_eq!(rows.len(), 3);

    identities.resolve(&observed(1, b"b"), &mut host, start + IDLE_MS);
    assert_eq!(
        identities.resolve(&observed(1, b"c"), &mut host, start + IDLE_MS),
        3
    );
    assert_eq!(
        identities.resolve(&observed(1, b"b"), &mut host, start + IDLE_MS),
        2
    );
    assert_eq!(identities.len(), 2);
}

#[test]
fn the_first_rule_of_which_all_patterns_match_names_the_service() {
    let rules = vec![
        rule("no", Some("/usr/sbin/nginx"), Some("other.service")),
        rule("front", Some("*/nginx"), None),
        rule("late", Some("*"), None),
    ];
    let mut host = host("/usr/sbin/nginx", "/system.slice/web.service");
    let mut identities = identities(10, rules);
    identities.resolve(&observed(7, b"a"), &mut host, 0);
    let row = identities.take_rows(0).remove(0);
    assert_eq!(row.service, "front");
    assert_eq!(row.tags, [("team".to_owned(), "front".to_owned())]);
}

/// What an unprivileged user can bring about: units below his own manager, cgroups in what was
/// delegated to him, and any path in a mount namespace of his own.
#[test]
fn no_rule_by_unit_container_or_path_is_met_by_what_a_user_may_name() {
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    let mut by_container = rule("container", None, None);
    by_container.container = Some(Glob::new("0123*"));
    let rules = vec![
        rule("unit", None, Some("nginx.service")),
        rule("user", None, Some("user@7.service")),
        by_container,
        rule("path", Some("/usr/sbin/nginx"), None),
    ];
    let user = "/user.slice/user-7.slice/user@7.service";
    let service = |cgroup: &str, is_vouched| {
        let mut host = host("/usr/sbin/nginx", cgroup);
        host.snapshot.is_vouched = is_vouched;
        let mut identities = identities(10, rules.clone());
        identities.resolve(&observed(7, b"task"), &mut host, 0);
        identities.take_rows(0).remove(0).service
    };
    assert_eq!(service("/system.slice/nginx.service", true), "unit");
    assert_eq!(service("/system.slice/nginx.service", false), "unit");
    assert_eq!(
        service("/system.slice/ci.service/nginx.service", false),
        "ci"
    );
    assert_eq!(
        service("/system.slice/ci.service/nginx.service", true),
        "path"
    );
    assert_eq!(
        service(&format!("{user}/app.slice/nginx.service"), false),
        "user"
    );
    assert_eq!(
        service(&format!("/system.slice/docker-{ID}.scope"), false),
        "container"
    );
    assert_eq!(
        service(&format!("{user}/docker-{ID}.scope"), false),
        "user@7/0123456789ab"
    );
    assert_eq!(
        service(&format!("{user}/docker-{ID}.scope/nginx.service"), false),
        "user@7/0123456789ab/nginx"
    );
}

#[test]
fn without_a_rule_the_service_is_unit_container_program_or_task_name() {
    let id = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    for (exe, cgroup, service) in [
        (
            "/x/nginx",
            "/system.slice/web@1.service".to_owned(),
            "web@1",
        ),
        ("/x/nginx", format!("/docker/{id}"), "0123456789ab"),
        (
            "/x/nginx",
            "/user.slice/session-1.scope".to_owned(),
            "nginx",
        ),
        ("/x/nginx", "/".to_owned(), "nginx"),
        ("", "/".to_owned(), "task"),
    ] {
        let mut host = host(exe, &cgroup);
        let mut identities = identities(10, Vec::new());
        identities.resolve(&observed(7, b"task"), &mut host, 0);
        assert_eq!(
            identities.take_rows(0)[0].service,
            service,
            "{exe} {cgroup}"
        );
    }
}

#[test]
fn hostile_names_are_made_harmless() {
    let mut host = host("/tmp/\x1b]0;x\x07", "/a\nb");
    let mut identities = identities(10, Vec::new());
    identities.resolve(&observed(7, b"a\xff\x1b"), &mut host, 0);
    let row = identities.take_rows(0).remove(0);
    for text in [&row.comm, &row.exe, &row.cgroup, &row.service] {
        assert!(!text.chars().any(char::is_control), "{text:?}");
    }
    assert_eq!(row.comm, "a\u{fffd}\u{fffd}");
}

/// The same program in the same network namespace under the same unit name, in a container, in a
/// machine and on the host: three, in every layout of cgroups.
#[test]
fn a_unit_of_each_manager_is_a_service_of_its_own_on_every_layout_of_cgroups() {
    const UNIT: &str = "/system.slice/nginx.service";
    let places = [
        (UNIT.to_owned(), "nginx", ""),
        (format!("/lxc.payload.web{UNIT}"), "web/nginx", "web"),
        (
            format!("/machine.slice/machine-db.scope/payload{UNIT}"),
            "db/nginx",
            "db",
        ),
    ];
    // The text of /proc/<pid>/cgroup, the cgroup2 id and its path.
    let v2 = |path: &str, id: u64| (format!("0::{path}\n"), id, Some(path.to_owned()));
    let hybrid = |path: &str, id: u64| {
        let text = format!("4:memory:{path}\n1:name=systemd:{path}\n0::{path}\n");
        (text, id, Some(path.to_owned()))
    };
    let runtime = |path: &str, _: u64| {
        let unit = "/system.slice/runtime.service";
        let text = format!("4:memory:{path}\n1:name=systemd:{path}\n0::{unit}\n");
        (text, 5, Some(unit.to_owned()))
    };
    let v1 = |path: &str, _: u64| (format!("4:memory:/x\n1:name=systemd:{path}\n"), 0, None);
    type Layout<'l> = &'l dyn Fn(&str, u64) -> (String, u64, Option<String>);
    let layouts: [(Layout<'_>, usize); 4] = [(&v2, 3), (&hybrid, 3), (&runtime, 2), (&v1, 3)];
    for (at, (layout, told)) in layouts.into_iter().enumerate() {
        let mut identities = identities(10, Vec::new());
        let resolve = |identities: &mut Identities, tgid: u32, place: &str, id: u64| {
            let (text, cgroup_id, cgroup_path) = layout(place, id);
            let mut host = host("/usr/sbin/nginx", "");
            (host.snapshot.cgroups, host.snapshot.cgroup_path) = (Some(text), cgroup_path);
            let observed = Observed {
                cgroup_id,
                ..observed(tgid, b"nginx")
            };
            identities.resolve(&observed, &mut host, 0)
        };
        // In a runtime's unit is the runtime, and what it runs.
        let skipped = places.len() - told;
        let mut ids = Vec::new();
        for tgid in 0..2 {
            for (number, (place, ..)) in (10..).zip(&places[skipped..]) {
                ids.push(resolve(
                    &mut identities,
                    10 * number + tgid,
                    place,
                    number.into(),
                ));
            }
        }
        assert_eq!(
            ids[..told],
            ids[told..],
            "layout {at}: other processes of each"
        );
        let rows = identities.take_rows(0);
        let names: Vec<_> = rows
            .iter()
            .map(|row| (row.service.as_str(), row.container.as_str()))
            .collect();
        let expected: Vec<_> = places[skipped..]
            .iter()
            .map(|(_, name, container)| (*name, *container))
            .collect();
        assert_eq!(names, expected, "layout {at}");
    }
}

#[test]
fn where_all_that_are_alike_are_in_one_place_so_is_one_that_is_gone() {
    let on = |path: &str| {
        let mut host = host("/usr/sbin/nginx", "");
        host.snapshot.cgroups = Some(format!("1:name=systemd:{path}\n"));
        host.snapshot.cgroup_path = None;
        host
    };
    let seen = |tgid| Observed {
        cgroup_id: 0,
        ..observed(tgid, b"nginx")
    };
    let mut identities = identities(10, Vec::new());
    let first = identities.resolve(&seen(7), &mut on("/system.slice/a.service"), 0);
    let gone = identities.resolve(&seen(8), &mut Host::default(), 0);
    assert_eq!(gone, first);
    let other = identities.resolve(&seen(9), &mut on("/system.slice/b.service"), 0);
    assert_ne!(other, first);
    let gone = identities.resolve(&seen(10), &mut Host::default(), 0);
    assert!(gone != first && gone != other, "it may be either");
}

#[test]
fn a_flood_of_processes_is_looked_at_within_a_budget() {
    let mut host = host("/usr/sbin/nginx", "");
    host.snapshot.cgroups = Some("1:name=systemd:/system.slice/a.service\n".to_owned());
    host.snapshot.cgroup_path = None;
    let mut identities = identities(10, Vec::new());
    let mut ids: Vec<u32> = (1..=1000)
        .map(|tgid| {
            let observed = Observed {
                cgroup_id: 0,
                ..observed(tgid, b"nginx")
            };
            identities.resolve(&observed, &mut host, 0)
        })
        .collect();
    ids.dedup();
    assert_eq!((ids.len(), host.snapshots), (1, 64));
}

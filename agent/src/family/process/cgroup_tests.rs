//! Paths of every runtime, and whose names are in them.

use super::{MAX_MANAGERS, path, place};
use proptest::prelude::*;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[test]
fn containers_are_found_in_the_paths_of_every_runtime() {
    for pattern in [
        "/docker/ID",
        "/system.slice/docker-ID.scope",
        "/kubepods/besteffort/pod1-2-3/ID",
        "/kubepods.slice/kubepods-pod1_2.slice/cri-containerd-ID.scope",
        "/system.slice/containerd.service/kubepods-burstable-pod1.slice:cri-containerd:ID",
        "/kubepods.slice/kubepods-pod1.slice/crio-ID.scope",
        "/machine.slice/libpod-ID.scope",
        "/machine.slice/libpod-ID.scope/container",
        "/ecs/0a1b/ID",
        "/ecstasks.slice/ecstasks-0a1b.slice/docker-ID.scope",
    ] {
        let text = pattern.replace("ID", ID);
        let place = place(&text);
        assert_eq!((place.container(), place.unit), (ID, ""), "{pattern}");
    }
    for text in [
        "/lxc/web",
        "/lxc.payload/web",
        "/lxc.payload.web",
        "/lxc/web/ns",
        "/lxc.payload.web/init.scope",
        "/machine.slice/machine-web.scope",
        "/machine.slice/machine-web.scope/payload/init.scope",
        "/machine.slice/systemd-nspawn@web.service/payload",
        "/machine.slice/systemd-nspawn@web.service/init.scope",
        "/machine.slice/machine-test.slice/machine-web.scope",
    ] {
        assert_eq!(place(text).container(), "web", "{text}");
    }
}

#[test]
fn names_that_a_unit_cannot_have_are_read_as_they_were_given() {
    for (text, name) in [
        (
            "/machine.slice/machine-qemu\\x2d1\\x2dweb.scope",
            "qemu-1-web",
        ),
        (
            "/machine.slice/machine-a\\x1b\\x2f\\xzz.scope",
            "a\\x1b\\x2f\\xzz",
        ),
        ("/machine.slice/machine-a\\x2.scope", "a\\x2"),
        (
            "/ecs/0a1b/0123456789abcdef0123456789abcdef-2531612879",
            "0123456789abcdef0123456789abcdef-2531612879",
        ),
        ("/kubepods.slice/kubepods-burstable-pod1_2.slice", "1-2"),
        ("/kubepods/pod1-2", "1-2"),
    ] {
        assert_eq!(place(text).container(), name, "{text}");
    }
}

#[test]
fn what_is_not_a_container_is_not_taken_for_one() {
    for pattern in [
        "/",
        "",
        "/system.slice/crio-conmon-ID.scope",
        "/machine.slice/libpod-conmon-ID.scope",
        "/xID",
        "/0123",
        "/lxc",
        "/lxc.payload.",
        "/lxc.monitor.web",
        "/machine.slice",
        "/machine.slice/machine-.scope",
        "/machine.slice/machine-web.scope/supervisor",
        "/machine.slice/systemd-nspawn@web.service/supervisor",
        "/system.slice/ci.service/machine-web.scope",
        "/system.slice/pod1",
        "/0123456789abcdef0123456789abcdef-",
        "/aé3456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    ] {
        let text = pattern.replace("ID", ID);
        assert_eq!(place(&text).container(), "", "{pattern}");
    }
}

#[test]
fn units_are_the_innermost_and_not_around_a_container() {
    for (text, unit) in [
        ("/system.slice/nginx.service", "nginx.service"),
        (
            "/system.slice/system-getty.slice/getty@tty1.service",
            "getty@tty1.service",
        ),
        (
            "/user.slice/user-0.slice/user@0.service/app.slice/a.service",
            "a.service",
        ),
        (
            "/user.slice/user-0.slice/session-3.scope",
            "session-3.scope",
        ),
        ("/init.scope", ""),
        ("/system.slice", ""),
        (
            "/lxc.payload.web/system.slice/nginx.service",
            "nginx.service",
        ),
    ] {
        assert_eq!(place(text).unit, unit, "{text}");
    }
}

#[test]
fn what_a_user_may_name_is_told_from_what_the_system_named() {
    let user = "/user.slice/user-7.slice/user@7.service";
    for (text, system_unit, is_of_user) in [
        ("/system.slice/nginx.service", "nginx.service", false),
        (
            "/system.slice/ci.service/nginx.service",
            "ci.service",
            false,
        ),
        (
            "/user.slice/user-7.slice/session-3.scope",
            "session-3.scope",
            false,
        ),
        (
            &format!("{user}/app.slice/nginx.service"),
            "user@7.service",
            true,
        ),
        (&format!("{user}/docker-{ID}.scope"), "", true),
        (
            &format!("{user}/docker-{ID}.scope/nginx.service"),
            "nginx.service",
            true,
        ),
        (
            "/lxc.payload.web/system.slice/nginx.service",
            "nginx.service",
            false,
        ),
    ] {
        let place = place(text);
        assert_eq!(
            (place.system_unit, place.is_of_user),
            (system_unit, is_of_user),
            "{text}"
        );
    }
}

#[test]
fn the_path_that_says_most_is_chosen() {
    let v1 = "4:memory:/docker/abc\n1:name=systemd:/system.slice/a.service\n0::/\n";
    assert_eq!(path(Some("/b"), Some(v1)).unwrap(), "/b");
    assert_eq!(
        path(Some("/"), Some(v1)).unwrap(),
        "/system.slice/a.service"
    );
    assert_eq!(
        path(None, Some("4:memory:/docker/abc\n3:cpu:/\n")).unwrap(),
        "/docker/abc"
    );
    assert_eq!(
        path(None, Some("0::/c\n1:name=systemd:/d\n")).unwrap(),
        "/c"
    );
    assert_eq!(path(Some("/"), Some("0::/\n3:cpu:/\n")).unwrap(), "/");
    assert_eq!(path(None, Some("broken\n1:x:relative\n")), None);
    assert_eq!(path(None, None), None);
}

#[test]
fn a_runtime_is_not_taken_for_what_it_runs() {
    let text = format!(
        "4:memory:/docker/{ID}\n1:name=systemd:/docker/{ID}\n0::/system.slice/docker.service\n"
    );
    let chosen = path(Some("/system.slice/docker.service"), Some(&text)).unwrap();
    assert_eq!(place(&chosen).container(), ID);
    // But what is in no container keeps to the cgroup2 tree.
    let text = "4:memory:/other\n1:name=systemd:/system.slice/b.service\n0::/a\n";
    assert_eq!(path(Some("/a"), Some(text)).unwrap(), "/a");
}

#[test]
fn a_unit_is_another_one_under_each_manager() {
    let user = "/user.slice/user-7.slice/user@7.service";
    for (text, name) in [
        ("/system.slice/nginx.service", "nginx"),
        ("/lxc.payload.web/system.slice/nginx.service", "web/nginx"),
        ("/lxc/web/system.slice/nginx.service", "web/nginx"),
        (
            "/machine.slice/machine-db.scope/payload/system.slice/nginx.service",
            "db/nginx",
        ),
        (
            "/machine.slice/systemd-nspawn@db.service/system.slice/nginx.service",
            "db/nginx",
        ),
        (
            "/lxc.payload.out/lxc.payload.web/system.slice/nginx.service",
            "out/web/nginx",
        ),
        (&format!("{user}/app.slice/nginx.service"), "user@7/nginx"),
        (&format!("{user}/app.slice"), "user@7/program"),
        (
            &format!("/lxc.payload.web{user}/app.slice/nginx.service"),
            "web/user@7/nginx",
        ),
        (
            &format!("{user}/user.slice/libpod-{ID}.scope"),
            "user@7/0123456789ab",
        ),
        (
            &format!("/docker/{ID}/system.slice/nginx.service"),
            "0123456789ab/nginx",
        ),
        (
            &format!("/kubepods.slice/kubepods-pod1_2.slice/crio-{ID}.scope"),
            "0123456789ab",
        ),
        ("/lxc.payload.web/x", "web"),
        // Whoever has a unit delegated names what is below it.
        ("/system.slice/ci.service/nginx.service", "ci"),
    ] {
        assert_eq!(
            place(text).service("program").as_deref(),
            Some(name),
            "{text}"
        );
    }
    for text in [
        "/",
        "/user.slice/user-7.slice/session-3.scope",
        "/init.scope",
    ] {
        assert_eq!(place(text).service("program"), None, "{text}");
    }
}

/// Managers inside of one another, as paths write them and as names show them.
fn nest() -> impl Strategy<Value = (String, Vec<String>)> {
    let name = "[a-z][a-z0-9.]{0,6}";
    let hex = "[0-9a-f]{64}";
    let one = prop_oneof![
        name.prop_map(|name| (format!("/lxc.payload.{name}"), name)),
        name.prop_map(|name| (format!("/lxc/{name}"), name)),
        name.prop_map(|name| (format!("/machine.slice/machine-{name}.scope/payload"), name)),
        hex.prop_map(|id| (
            format!("/system.slice/docker-{id}.scope"),
            id[..12].to_owned()
        )),
        hex.prop_map(|id| (
            format!("/kubepods/burstable/pod1/{id}"),
            id[..12].to_owned()
        )),
        (1..99_u32).prop_map(|uid| {
            let path = format!("/user.slice/user-{uid}.slice/user@{uid}.service");
            (path, format!("user@{uid}"))
        }),
    ];
    proptest::collection::vec(one, 0..=MAX_MANAGERS).prop_map(|all| {
        let (paths, names): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        (paths.concat(), names)
    })
}

proptest! {
    #[test]
    fn every_manager_around_a_unit_is_in_its_name((path, names) in nest(), unit in "[a-z]{1,8}") {
        let text = format!("{path}/system.slice/{unit}.service");
        let place = place(&text);
        prop_assert_eq!(place.unit, format!("{unit}.service"));
        let expected = names.iter().chain([&unit]).cloned().collect::<Vec<_>>().join("/");
        prop_assert_eq!(place.service("x"), Some(expected));
    }

    #[test]
    fn of_several_trees_the_one_with_the_containers_is_read((inside, names) in nest(), at in 0..3_usize) {
        let mut trees = ["/", "/", "/system.slice/containerd.service"].map(str::to_owned);
        trees[at] = format!("{inside}/x");
        let [memory, systemd, unified] = &trees;
        let text = format!("4:memory:{memory}\n1:name=systemd:{systemd}\n0::{unified}\n");
        let chosen = path(Some(unified), Some(&text)).unwrap();
        if !names.is_empty() {
            prop_assert_eq!(chosen, trees[at].clone());
        }
    }

    #[test]
    fn no_path_makes_the_reader_panic(text in "\\PC{0,200}") {
        let place = place(&text);
        prop_assert!(place.managers.len() <= MAX_MANAGERS);
        let _name = place.service("x");
        let _path = path(None, Some(&text));
    }
}

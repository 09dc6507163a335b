//! What a cgroup path tells: container and systemd unit.

/// Container and unit of a path; empty where there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place<'p> {
    pub(super) container: &'p str,
    pub(super) unit: &'p str,
    /// The outermost unit of that container, or of the host, which the system's manager named:
    /// what is below one may be delegated to a user, who names cgroups as he likes.
    pub(super) system_unit: &'p str,
    /// Below a user's own manager, where even containers are named by that user.
    pub(super) is_of_user: bool,
}

/// Chooses the path that says most: the cgroup2 one, unless the process stays in that tree's root.
///
/// `cgroup2` is the path of the record's cgroup id, `proc` the text of `/proc/<tgid>/cgroup`.
pub(super) fn path(cgroup2: Option<&str>, proc: Option<&str>) -> Option<String> {
    if let Some(path) = cgroup2.filter(|path| *path != "/") {
        return Some(path.to_owned());
    }
    let lines = proc.map(lines).unwrap_or_default();
    let of = |controllers: &str| {
        let line = lines.iter().find(|line| line.controllers == controllers);
        line.map(|line| line.path).filter(|path| *path != "/")
    };
    let deepest = || {
        lines
            .iter()
            .map(|line| line.path)
            .max_by_key(|path| path.len())
    };
    // systemd's own v1 tree names units; others may only hold containers.
    of("")
        .or_else(|| of("name=systemd"))
        .or_else(deepest)
        .or(cgroup2)
        .map(str::to_owned)
}

struct Line<'t> {
    controllers: &'t str,
    path: &'t str,
}

/// `4:memory:/docker/0123`, and `0::/system.slice` for cgroup2.
fn lines(text: &str) -> Vec<Line<'_>> {
    let parse = |line| {
        let (_, rest) = str::split_once(line, ':')?;
        let (controllers, path) = rest.split_once(':')?;
        path.starts_with('/').then_some(Line { controllers, path })
    };
    text.lines().filter_map(parse).collect()
}

/// The cgroup2 line of `/proc/<tgid>/cgroup`.
pub(super) fn cgroup2_line(proc: &str) -> Option<&str> {
    lines(proc)
        .into_iter()
        .find(|line| line.controllers.is_empty())
        .map(|line| line.path)
}

/// The innermost container, and the innermost unit that is not outside of it.
pub(super) fn place(path: &str) -> Place<'_> {
    let mut place = Place::default();
    let mut parts = path.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        let container = if matches!(part, "lxc" | "lxc.payload") {
            parts.peek().copied().unwrap_or_default()
        } else {
            container(part)
        };
        if !container.is_empty() {
            // A unit around a container is the one that runs containers.
            place = Place {
                container,
                is_of_user: place.is_of_user,
                ..Place::default()
            };
        } else if is_unit(part) {
            place.unit = part;
            if place.system_unit.is_empty() {
                place.system_unit = part;
            }
            place.is_of_user |= part.starts_with("user@");
        }
    }
    place
}

/// Container id in one component: docker, containerd, CRI-O, podman and Kubernetes all put 64 hex
/// digits at the end, after a prefix of their own; LXC has names.
fn container(part: &str) -> &str {
    const ID: usize = 64;
    if let Some(name) = part.strip_prefix("lxc.payload.") {
        return name;
    }
    // The monitor beside a container is not in it.
    if part.contains("conmon") {
        return "";
    }
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let Some(start) = part.len().checked_sub(ID) else {
        return "";
    };
    let Some((prefix, id)) = part.split_at_checked(start) else {
        return "";
    };
    let separated = prefix.is_empty() || prefix.ends_with(['-', ':', '_']);
    if separated && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        id
    } else {
        ""
    }
}

/// Services, and scopes such as a login session; slices only hold others.
fn is_unit(part: &str) -> bool {
    part.ends_with(".service") || (part.ends_with(".scope") && part != "init.scope")
}

#[cfg(test)]
mod tests {
    use super::{Place, path, place};
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
        ] {
            let text = pattern.replace("ID", ID);
            assert_eq!(
                place(&text),
                Place {
                    container: ID,
                    ..Place::default()
                },
                "{pattern}"
            );
        }
        for text in [
            "/lxc/web",
            "/lxc.payload/web",
            "/lxc.payload.web",
            "/lxc/web/ns",
        ] {
            assert_eq!(place(text).container, "web", "{text}");
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
            "/aé3456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        ] {
            assert_eq!(place(&pattern.replace("ID", ID)).container, "", "{pattern}");
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

    proptest! {
        #[test]
        fn no_path_makes_the_reader_panic(text in "\\PC{0,200}") {
            let _place = place(&text);
            let _path = path(None, Some(&text));
        }
    }
}

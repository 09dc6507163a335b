//! The cgroup trees, and the scope among them.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::mounts::{Mount, Visible};
use super::tree::{Cgroup2, Hierarchy};
use super::{Fact, kernel, namespaces};

/// Mounts of the whole tree in this mount namespace. Those of another one can be looked at, and not be
/// bound; the agent may have been started without any (`ip netns exec` replaces `/sys`), or with one
/// that a cgroup namespace made.
pub(super) fn cgroup2(mounts: &Visible) -> Cgroup2 {
    let shows_root = |mount: &&Mount| mount.kind == "cgroup2" && mount.root == Path::new("/");
    let points = mounts.own.iter().filter(shows_root);
    // A mount may be hidden below a later one: what counts is that the tree shows.
    let mut found: Vec<&PathBuf> = points
        .map(|mount| &mount.point)
        .filter(|point| point.join("cgroup.procs").exists())
        .collect();
    // A cgroup namespace shows its own branch as if it were all.
    let whole = found
        .iter()
        .position(|at| namespaces::is_whole(at).is_yes());
    let best = (!found.is_empty()).then(|| found.swap_remove(whole.unwrap_or(0)));
    match best {
        Some(at) => Cgroup2::Mounted { at: at.clone() },
        None if kernel::has_file_system("cgroup2") => Cgroup2::Mountable {
            options: options(mounts),
        },
        None => Cgroup2::Missing {
            why: "the kernel was built without cgroup2".into(),
        },
    }
}

/// What a mount elsewhere was made with, without the flags that every mount has for itself.
fn options(mounts: &Visible) -> String {
    let elsewhere = mounts.own.iter().chain(&mounts.of_first_process);
    let mount = elsewhere.into_iter().find(|mount| mount.kind == "cgroup2");
    let all = mount.map_or("", |mount| mount.options.as_str()).split(',');
    all.filter(|option| !matches!(*option, "" | "rw" | "ro"))
        .collect::<Vec<_>>()
        .join(",")
}

pub(super) fn hierarchy(mounts: &Visible) -> Hierarchy {
    let has = |kind: &str| {
        let all = mounts.own.iter().chain(&mounts.of_first_process);
        all.into_iter().any(|mount| mount.kind == kind)
    };
    arranged(has("cgroup"), has("cgroup2"))
}

/// What is said of a scope that may come later.
pub(super) const NOT_YET: &str = "there is no such cgroup yet";

/// The scope's directory, opened; or why it cannot be.
pub(super) fn scope(cgroup2: &Cgroup2, scope: &str) -> Result<File, Fact> {
    match cgroup2 {
        Cgroup2::Mounted { at } => {
            let path = at.join(scope.trim_start_matches('/'));
            File::open(&path).map_err(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Fact::unknown(format!("{NOT_YET}: {scope}")),
                _ => Fact::no(format!("cannot open {}: {error}", path.display())),
            })
        }
        Cgroup2::Mountable { .. } => Err(Fact::unknown(
            "the cgroup2 tree is only mounted in the jail",
        )),
        Cgroup2::Missing { why } => Err(Fact::no(why.clone())),
    }
}

/// How the host arranges its cgroups.
fn arranged(has_v1: bool, has_v2: bool) -> Hierarchy {
    match (has_v1, has_v2) {
        (false, true) => Hierarchy::V2,
        (true, true) => Hierarchy::Hybrid,
        (true, false) => Hierarchy::V1,
        (false, false) => Hierarchy::None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Cgroup2, Hierarchy, hierarchy, options, scope};
    use crate::host::Fact;
    use crate::host::mounts::{Visible, parse};

    fn visible(own: &str) -> Visible {
        Visible {
            own: parse(own),
            of_first_process: Vec::new(),
        }
    }

    #[test]
    fn the_hierarchy_follows_from_what_is_mounted() {
        let v1 = "1 1 0:1 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n";
        let v2 = "1 1 0:1 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        assert_eq!(hierarchy(&visible(v1)), Hierarchy::V1);
        assert_eq!(hierarchy(&visible(v2)), Hierarchy::V2);
        assert_eq!(hierarchy(&visible(&format!("{v1}{v2}"))), Hierarchy::Hybrid);
        assert_eq!(hierarchy(&visible("")), Hierarchy::None);
    }

    #[test]
    fn a_scope_that_cannot_be_looked_at_is_neither_there_nor_missing() {
        let mountable = Cgroup2::Mountable {
            options: String::new(),
        };
        assert!(matches!(scope(&mountable, "/a"), Err(Fact::Unknown { .. })));
        let missing = Cgroup2::Missing {
            why: "no cgroup2".into(),
        };
        assert_eq!(scope(&missing, "/").unwrap_err(), Fact::no("no cgroup2"));
    }

    #[test]
    fn options_of_a_mount_elsewhere_are_kept() {
        let of_first_process =
            parse("1 1 0:1 / /c rw - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n");
        let mounts = Visible {
            own: Vec::new(),
            of_first_process,
        };
        assert_eq!(options(&mounts), "nsdelegate,memory_recursiveprot");
        assert_eq!(options(&visible("")), "");
    }
}

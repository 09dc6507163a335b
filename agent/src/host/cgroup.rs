//! The cgroup trees, and the scope among them.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::mounts::{Mount, Visible};
use super::{Fact, kernel, namespaces};

/// How the host arranges its cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Controllers in v1 trees, and a cgroup2 tree beside them.
    Hybrid,
    /// No cgroups are mounted.
    None,
    /// v1 trees only.
    V1,
    /// One cgroup2 tree.
    V2,
}

impl Hierarchy {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::None => "none",
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// Where the cgroup2 tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroup2 {
    /// Mounted, and reachable at this path.
    Mounted {
        /// Its root.
        at: PathBuf,
    },
    /// Out of reach, but the kernel has it.
    Mountable {
        /// Options with which it is mounted elsewhere, if it is: a mount with others would change
        /// them for the whole host.
        options: String,
    },
    /// The kernel does not have it.
    Missing {
        /// What was asked and answered.
        why: String,
    },
}

impl std::fmt::Display for Cgroup2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mounted { at } => write!(f, "mounted at {}", at.display()),
            Self::Mountable { .. } => f.write_str("out of reach, can be mounted"),
            Self::Missing { why } => write!(f, "missing: {why}"),
        }
    }
}

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
    kernel::hierarchy(has("cgroup"), has("cgroup2"))
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

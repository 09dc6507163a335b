//! Whether what this process sees of the host is all of it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Cgroup2, Fact};

/// Inode numbers of the namespaces that the kernel begins with, fixed since 3.8 and part of its
/// interface now (`include/linux/proc_ns.h`, `include/uapi/linux/nsfs.h`).
const FIRST_CGROUP: u64 = 0xefff_fffb;
const FIRST_PID: u64 = 0xefff_fffc;

/// Whether the cgroup2 tree in reach is the host's whole one. Only the root of the whole tree lacks
/// `cgroup.events` (`CFTYPE_NOT_ON_ROOT`, kernel/cgroup/cgroup.c); what a cgroup namespace shows as
/// its root has it.
pub(super) fn tree(cgroup2: &Cgroup2) -> Fact {
    match cgroup2 {
        Cgroup2::Mounted { at } => is_whole(at),
        // A mount made here shows what the namespace shows.
        Cgroup2::Mountable { .. } => own(Path::new("/proc/self/ns/cgroup"), FIRST_CGROUP),
        Cgroup2::Missing { why } => Fact::unknown(why.clone()),
    }
}

/// The same of one mount.
pub(super) fn is_whole(root: &Path) -> Fact {
    Fact::when(
        !root.join("cgroup.events").exists(),
        format!("{} is a branch of the host's tree", root.display()),
    )
}

/// Whether `/proc` here numbers processes as the kernel does.
pub(super) fn processes() -> Fact {
    own(Path::new("/proc/self/ns/pid"), FIRST_PID)
}

fn own(namespace: &Path, first: u64) -> Fact {
    match fs::metadata(namespace) {
        Ok(metadata) => Fact::when(
            metadata.ino() == first,
            "the agent is in a namespace of its own",
        ),
        // The kernel has no such namespaces, so there is one view for all.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Fact::Yes,
        Err(error) => Fact::unknown(format!("{}: {error}", namespace.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_whose_root_has_events_is_a_branch() {
        let place = tempfile::tempdir().unwrap();
        let tree_at = || {
            tree(&Cgroup2::Mounted {
                at: place.path().to_owned(),
            })
        };
        fs::write(place.path().join("cgroup.procs"), "").unwrap();
        assert_eq!(tree_at(), Fact::Yes);
        fs::write(place.path().join("cgroup.events"), "populated 1\n").unwrap();
        assert!(matches!(tree_at(), Fact::No { why } if why.contains("branch")));
    }

    #[test]
    fn a_namespace_that_the_kernel_does_not_have_hides_nothing() {
        assert_eq!(own(Path::new("/proc/self/ns/none"), 1), Fact::Yes);
        let other = own(Path::new("/proc/self/ns/pid"), 1);
        assert!(matches!(other, Fact::No { .. }));
    }
}

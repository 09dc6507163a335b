//! Whether what this process sees of the host is all of it.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::{Cgroup2, Fact};

/// Inode numbers of the namespaces that the kernel begins with, fixed since 3.8 and part of its
/// interface now (`include/linux/proc_ns.h`, `include/uapi/linux/nsfs.h`).
const FIRST_CGROUP: u64 = 0xefff_fffb;
const FIRST_PID: u64 = 0xefff_fffc;
/// Below a process's directory.
const CGROUP: &str = "ns/cgroup";

/// The host's cgroup namespace, where this process is in another one, as in a container: only in it is
/// the tree whole, be it mounted already or to be mounted. `None` where there is no need of it, or no
/// process in sight lives there and may be asked, as in a PID namespace.
#[must_use]
pub fn first_cgroups(proc: &Path) -> Option<File> {
    match own(&proc.join("self").join(CGROUP), FIRST_CGROUP) {
        Fact::No { .. } => find(proc, CGROUP, FIRST_CGROUP),
        Fact::Yes | Fact::Unknown { .. } => None,
    }
}

/// The namespace of this kind and number, opened by the first process that lives in it and may be asked.
fn find(proc: &Path, kind: &str, number: u64) -> Option<File> {
    let mut processes: Vec<u32> = fs::read_dir(proc)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    processes.sort_unstable();
    processes.into_iter().find_map(|process| {
        let file = File::open(proc.join(process.to_string()).join(kind)).ok()?;
        // What was opened is compared: the number may be another process's by then.
        (file.metadata().ok()?.ino() == number).then_some(file)
    })
}

/// Whether the cgroup2 tree in reach is the host's whole one. Only the root of the whole tree lacks
/// `cgroup.events` (`CFTYPE_NOT_ON_ROOT`, kernel/cgroup/cgroup.c); what a cgroup namespace shows as
/// its root has it.
pub(super) fn tree(cgroup2: &Cgroup2) -> Fact {
    match cgroup2 {
        Cgroup2::Mounted { at } => is_whole(at),
        // A mount made here shows what the namespace shows.
        Cgroup2::Mountable { .. } => own(&Path::new("/proc/self").join(CGROUP), FIRST_CGROUP),
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
    fn the_first_cgroup_namespace_is_sought_by_who_is_in_another_one() {
        let proc = Path::new("/proc");
        let first = own(&proc.join("self").join(CGROUP), FIRST_CGROUP);
        assert!(first != Fact::Yes || first_cgroups(proc).is_none());
        let bare = tempfile::tempdir().unwrap();
        assert!(first_cgroups(bare.path()).is_none(), "the kernel has none");
        let process = bare.path().join("7/ns");
        fs::create_dir_all(&process).unwrap();
        fs::write(process.join("cgroup"), "").unwrap();
        let inode = fs::metadata(process.join("cgroup")).unwrap().ino();
        assert!(find(bare.path(), CGROUP, inode).is_some());
        assert!(find(bare.path(), CGROUP, inode + 1).is_none());
    }

    #[test]
    fn a_namespace_that_the_kernel_does_not_have_hides_nothing() {
        assert_eq!(own(Path::new("/proc/self/ns/none"), 1), Fact::Yes);
        let other = own(Path::new("/proc/self/ns/pid"), 1);
        assert!(matches!(other, Fact::No { .. }));
    }
}

//! The numbers by which the kernel's programs know cgroups, had of their directories.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};

/// The lower half, which every kernel shows as the inode.
const HALF: u64 = 0xffff_ffff;

/// How the numbers of a tree's directories are had.
///
/// The programs see the number of the kernfs node. A file handle has it whole; an inode number is
/// the same since 5.5 on 64-bit machines, and its lower half before (kernfs_id_ino()), on 4.18 of
/// RHEL 8 as well, which has the newer programs' fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// By a file handle.
    Handle,
    /// The inode number is it.
    Inode,
    /// There are no handles, so only the lower halves can be compared.
    Lower,
}

impl Numbers {
    /// Asks the root of a tree, where the halves differ if they differ anywhere: the generation of
    /// kernfs begins at 1.
    #[must_use]
    pub fn of(root: &Path) -> Self {
        let Ok(metadata) = fs::metadata(root) else {
            return Self::Inode;
        };
        if !is_cgroup(root) {
            return Self::Inode;
        }
        choose(metadata.ino(), bpf::handle::number(root).ok())
    }

    /// The number of a directory; `None` when it is gone.
    #[must_use]
    pub fn number(self, directory: &Path) -> Option<u64> {
        match self {
            Self::Handle => bpf::handle::number(directory).ok(),
            Self::Inode | Self::Lower => Some(self.comparable(fs::metadata(directory).ok()?.ino())),
        }
    }

    /// The number of a directory that was just listed with its inode number.
    #[must_use]
    pub fn listed(self, inode: u64, directory: &Path) -> Option<u64> {
        match self {
            Self::Handle => self.number(directory),
            Self::Inode | Self::Lower => Some(self.comparable(inode)),
        }
    }

    /// The part of a number that can be compared.
    #[must_use]
    pub const fn comparable(self, number: u64) -> u64 {
        number & self.mask()
    }

    /// The bits of a number that can be compared.
    #[must_use]
    pub const fn mask(self) -> u64 {
        match self {
            Self::Handle | Self::Inode => u64::MAX,
            Self::Lower => HALF,
        }
    }
}

fn choose(inode: u64, handle: Option<u64>) -> Numbers {
    match handle {
        None => Numbers::Lower,
        Some(number) if number == inode => Numbers::Inode,
        Some(_) => Numbers::Handle,
    }
}

/// Handles of other file systems are other things.
fn is_cgroup(directory: &Path) -> bool {
    statfs(directory).is_ok_and(|found| {
        [CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&found.filesystem_type())
    })
}

#[cfg(test)]
mod tests {
    use super::{HALF, Numbers, choose};
    use std::path::Path;

    #[test]
    fn the_root_tells_whether_inodes_are_the_numbers() {
        assert_eq!(choose(1, Some(1)), Numbers::Inode);
        // 4.14 to 5.4, and 4.18 of RHEL 8: the generation is the upper half.
        assert_eq!(choose(1, Some(1 << 32 | 1)), Numbers::Handle);
        assert_eq!(choose(1, None), Numbers::Lower);
    }

    #[test]
    fn without_handles_only_what_both_sides_have_is_compared() {
        let kernels = 7 << 32 | 40;
        assert_eq!(Numbers::Lower.comparable(kernels), 40);
        assert_eq!(Numbers::Lower.mask(), HALF);
        assert_eq!(Numbers::Handle.comparable(kernels), kernels);
        assert_eq!(Numbers::Inode.comparable(kernels), kernels);
    }

    #[test]
    fn directories_of_other_file_systems_have_inodes_only() {
        let place = tempfile::tempdir().unwrap();
        assert_eq!(Numbers::of(place.path()), Numbers::Inode);
        assert_eq!(Numbers::of(Path::new("/nowhere")), Numbers::Inode);
    }
}

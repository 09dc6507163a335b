//! Removes what labs of dead processes left behind.

use std::path::{Path, PathBuf};

use nix::mount::MntFlags;

use super::cgroup::{self, Tree};
use super::name::{LabName, PREFIX};
use super::netns;

/// Removes namespaces, cgroups and directories of labs whose process is gone.
///
/// Best effort: what cannot be removed now is tried again by the next lab.
pub fn sweep(tree: &Tree, directories: &Path) {
    for directory in named(&tree.root) {
        cgroup::remove(&directory).ok();
    }
    for name in netns::list(PREFIX) {
        if dead(&name) {
            netns::delete(&name).ok();
        }
    }
    for directory in named(directories) {
        // Mounted by the dead lab only where the machine had no cgroup2 tree.
        nix::mount::umount2(&directory.join("cgroup2"), MntFlags::MNT_DETACH).ok();
        std::fs::remove_dir_all(directory).ok();
    }
}

/// Directories below `parent` that belong to a dead lab.
fn named(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(dead))
        .map(|entry| entry.path())
        .collect()
}

fn dead(name: &str) -> bool {
    LabName::parse(name).is_some_and(|lab| !lab.alive())
}

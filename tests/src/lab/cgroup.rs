//! One branch of the cgroup2 tree per lab, one leaf per host.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::wait::wait_through;

/// How long killed processes may take to leave their cgroup.
const EMPTY_DEADLINE: Duration = Duration::from_secs(30);

/// A mounted cgroup2 tree.
#[derive(Debug)]
pub struct Tree {
    /// Where it is mounted.
    pub root: PathBuf,
    /// Whether the lab mounted it itself and so takes it down again.
    private: bool,
}

impl Tree {
    /// Finds the machine's cgroup2 mount, or mounts one at `spare` when there is none.
    ///
    /// # Errors
    /// When there is none and none can be mounted.
    pub fn find(spare: &Path) -> Result<Self> {
        if let Some(root) = mounted(&std::fs::read_to_string("/proc/self/mounts")?) {
            return Ok(Self {
                root,
                private: false,
            });
        }
        std::fs::create_dir_all(spare)?;
        nix::mount::mount(
            Some("none"),
            spare,
            Some("cgroup2"),
            MsFlags::empty(),
            None::<&str>,
        )
        .context("mount cgroup2")?;
        Ok(Self {
            root: spare.to_owned(),
            private: true,
        })
    }

    /// Creates the cgroup `relative` and returns its directory.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn create(&self, relative: &str) -> Result<PathBuf> {
        let directory = self.root.join(relative);
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("create cgroup {}", directory.display()))?;
        Ok(directory)
    }

    /// Takes down a mount that [`Tree::find`] made.
    ///
    /// # Errors
    /// Those of `umount`.
    pub fn release(&self) -> Result<()> {
        if self.private {
            nix::mount::umount2(&self.root, MntFlags::MNT_DETACH).context("unmount cgroup2")?;
        }
        Ok(())
    }
}

/// The first cgroup2 mount point in the text of /proc/self/mounts.
fn mounted(mounts: &str) -> Option<PathBuf> {
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (point, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(point))
    })
}

/// All process ids in the cgroup `directory` and below.
#[must_use]
pub fn processes(directory: &Path) -> Vec<i32> {
    let mut found = Vec::new();
    for inner in below(directory) {
        let procs = std::fs::read_to_string(inner.join("cgroup.procs")).unwrap_or_default();
        found.extend(procs.lines().filter_map(|line| line.parse::<i32>().ok()));
    }
    found
}

/// The directory itself and all below, innermost last.
fn below(directory: &Path) -> Vec<PathBuf> {
    let mut all = vec![directory.to_owned()];
    let mut at = 0;
    while at < all.len() {
        if let Ok(entries) = std::fs::read_dir(&all[at]) {
            all.extend(
                entries
                    .flatten()
                    .map(|entry| entry.path())
                    .filter(|path| path.is_dir()),
            );
        }
        at += 1;
    }
    all
}

/// Kills every process in the cgroup `directory` and below, then removes the directories.
///
/// # Errors
/// When processes stay, or a directory cannot be removed.
pub fn remove(directory: &Path) -> Result<()> {
    if !directory.exists() {
        return Ok(());
    }
    wait_through(EMPTY_DEADLINE, "empty cgroup", || {
        let left = processes(directory);
        for &process in &left {
            // Process 0 is a process of another pid namespace: not ours to kill.
            if process > 0 {
                kill(Pid::from_raw(process), Signal::SIGKILL).ok();
            }
        }
        Ok(left.is_empty().then_some(()))
    })?;
    for inner in below(directory).iter().rev() {
        // Zombies keep a cgroup busy for a moment after its processes are gone from the list.
        wait_through(EMPTY_DEADLINE, "removable cgroup", || {
            Ok(std::fs::remove_dir(inner).is_ok().then_some(()))
        })
        .with_context(|| format!("remove cgroup {}", inner.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_mount_of_a_hybrid_machine_is_found() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mounted(mounts), Some("/sys/fs/cgroup/unified".into()));
        assert_eq!(mounted("proc /proc proc rw 0 0\n"), None);
    }
}

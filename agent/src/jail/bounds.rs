//! Hard bounds by a cgroup of the agent's own, where the operator asks for them.
//!
//! One group for each tree, below its root, named after the root directory; made at the start and
//! never shared. A process cannot remove the group that it is in, and the confined agent could
//! reach none: the next start and `waybill-agent clean` remove those in which nobody is. Nothing but
//! groups of that name is ever touched, and one with a process in it refuses to go.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::config::{ByteSize, CpuShare, Jail};
use crate::host::mounts::{self, Mount};

/// The names of all groups of agents begin with it.
const PREFIX: &str = "waybill-agent-";
/// The kernel takes no quota below a thousandth of a second, and no period above a second
/// (kernel/sched/core.c, `min_cfs_quota_period`, `max_cfs_quota_period`).
const PERIOD_US: u64 = 100_000;
const LONG_PERIOD_US: u64 = 1_000_000;

/// Enters groups with the bounds that are asked for; returns what could not be done.
pub(super) fn enter(setting: &Jail, rootfs: &Path) -> Vec<String> {
    let mut left_out = Vec::new();
    // An earlier run may have had bounds that this one has not.
    if let Err(error) = clean() {
        left_out.push(format!("groups of earlier runs: {error:#}"));
    }
    let trees = mounts::visible().own;
    let bounds = [
        setting.cpu.map(Bound::Cpu),
        setting.memory.map(Bound::Memory),
    ];
    for bound in bounds.into_iter().flatten() {
        let done = name(rootfs).and_then(|name| bound.enforce(&trees, &name));
        if let Err(error) = done {
            left_out.push(format!("jail.{}: {error:#}", bound.controller()));
        }
    }
    left_out
}

/// Removes the groups of agents that ended; returns how many there were.
///
/// # Errors
/// A tree cannot be listed.
pub fn clean() -> Result<usize> {
    let mut removed = 0;
    for tree in mounts::visible().own.iter().filter(|one| is_tree(one)) {
        let entries =
            fs::read_dir(&tree.point).with_context(|| format!("list {}", tree.point.display()))?;
        let ours = entries.flatten().filter(|entry| {
            let name = entry.file_name();
            name.to_str().is_some_and(|name| name.starts_with(PREFIX))
        });
        // The kernel refuses where somebody is in it.
        removed += ours
            .filter(|entry| fs::remove_dir(entry.path()).is_ok())
            .count();
    }
    Ok(removed)
}

fn is_tree(mount: &Mount) -> bool {
    mount.root == Path::new("/") && matches!(mount.kind.as_str(), "cgroup" | "cgroup2")
}

fn name(rootfs: &Path) -> Result<String> {
    let metadata = fs::metadata(rootfs).context("look at the root directory")?;
    Ok(format!("{PREFIX}{:x}-{:x}", metadata.dev(), metadata.ino()))
}

#[derive(Clone, Copy, Debug)]
enum Bound {
    Cpu(CpuShare),
    Memory(ByteSize),
}

impl Bound {
    const fn controller(self) -> &'static str {
        match self {
            Self::Cpu(_) => "cpu",
            Self::Memory(_) => "memory",
        }
    }

    /// Files of a group and what is written to them.
    fn files(self, second: bool) -> Vec<(&'static str, String)> {
        match self {
            Self::Cpu(share) => {
                let share = u64::from(share.per_mille());
                let period = if share < 10 {
                    LONG_PERIOD_US
                } else {
                    PERIOD_US
                };
                let quota = period * share / 1_000;
                match second {
                    true => vec![("cpu.max", format!("{quota} {period}"))],
                    false => vec![
                        ("cpu.cfs_period_us", period.to_string()),
                        ("cpu.cfs_quota_us", quota.to_string()),
                    ],
                }
            }
            Self::Memory(most) => {
                let file = if second {
                    "memory.max"
                } else {
                    "memory.limit_in_bytes"
                };
                vec![(file, most.bytes().to_string())]
            }
        }
    }

    fn enforce(self, trees: &[Mount], name: &str) -> Result<()> {
        let controller = self.controller();
        let (place, second) = place(trees, controller)?;
        let group = place.join(name);
        match fs::create_dir(&group) {
            // The other bound's, in the same tree.
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            made => made.with_context(|| format!("make {}", group.display()))?,
        }
        let write = |file: &str, text: &str| {
            let file = group.join(file);
            fs::write(&file, text).with_context(|| format!("write {}", file.display()))
        };
        for (file, text) in self.files(second) {
            write(file, &text)?;
        }
        // Whoever writes.
        write("cgroup.procs", "0")
    }
}

/// The tree that bounds this, and whether it is the second version of cgroups.
fn place(trees: &[Mount], controller: &str) -> Result<(PathBuf, bool)> {
    let has = |text: &str, by: char| text.split(by).any(|word| word.trim() == controller);
    let first = |tree: &&Mount| tree.kind == "cgroup" && has(&tree.options, ',');
    let mut whole = trees.iter().filter(|tree| is_tree(tree));
    if let Some(tree) = whole.clone().find(first) {
        return Ok((tree.point.clone(), false));
    }
    let Some(tree) = whole.find(|tree| tree.kind == "cgroup2") else {
        bail!("no tree of cgroups that bounds it is mounted");
    };
    // systemd finds its services by their group, and would take this for the end of one.
    if std::env::var_os("INVOCATION_ID").is_some() {
        bail!("systemd started the agent: give its unit CPUQuota= and MemoryMax= instead");
    }
    let enabled = tree.point.join("cgroup.subtree_control");
    let text =
        fs::read_to_string(&enabled).with_context(|| format!("read {}", enabled.display()))?;
    if !has(&text, ' ') {
        // Switching it on would change every group of the host.
        bail!("{} does not name {controller}", enabled.display());
    }
    Ok((tree.point.clone(), true))
}

#[cfg(test)]
mod tests {
    use super::{Bound, place};
    use crate::config::ByteSize;
    use crate::host::mounts::parse;

    #[test]
    fn bounds_are_written_as_each_version_reads_them() {
        let files = |bound: Bound, second| {
            let files = bound.files(second).into_iter();
            files
                .map(|(name, text)| format!("{name}={text}"))
                .collect::<Vec<_>>()
        };
        let cpu = |share: &str| Bound::Cpu(share.parse().unwrap());
        assert_eq!(files(cpu("20%"), true), ["cpu.max=20000 100000"]);
        assert_eq!(
            files(cpu("150%"), false),
            ["cpu.cfs_period_us=100000", "cpu.cfs_quota_us=150000"]
        );
        assert_eq!(files(cpu("0.1%"), true), ["cpu.max=1000 1000000"]);
        let memory = Bound::Memory(ByteSize::new(64 << 20));
        assert_eq!(files(memory, true), ["memory.max=67108864"]);
        assert_eq!(files(memory, false), ["memory.limit_in_bytes=67108864"]);
    }

    #[test]
    fn the_tree_with_the_controller_is_taken() {
        let trees = parse(
            "1 1 0:1 / /c/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
             2 1 0:2 / /c/memory rw - cgroup cgroup rw,memory\n\
             3 1 0:3 /part /d/memory rw - cgroup cgroup rw,memory\n",
        );
        assert_eq!(place(&trees, "cpu").unwrap().0.to_str(), Some("/c/cpu"));
        assert_eq!(
            place(&trees, "memory").unwrap().0.to_str(),
            Some("/c/memory")
        );
        let refused = place(&trees[2..], "memory").unwrap_err().to_string();
        assert!(refused.contains("no tree"), "{refused}");
    }
}

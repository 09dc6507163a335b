//! Where processes are that their cgroup2 id does not tell apart: on hosts whose cgroups are those of
//! version 1, every process is in the root of the other tree, and on hybrid ones a container may be in
//! its runtime's unit there.

use std::collections::HashMap;
use std::hash::{Hash, Hasher as _};

use super::cgroup;
use super::observed::{Key, Observed};
use super::procfs::{MAX_SNAPSHOTS, ProcFs};
use super::snapshot::Snapshot;

/// Processes and cgroups that are remembered; then all are asked for again.
const MAX_KNOWN: usize = 16_384;
/// Processes that are looked at in a second; others are where all are that are otherwise like them.
const PER_SECOND: u32 = 64;

/// What was learned, as far as it matters for identities.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_cgroup: HashMap<u64, Cgroup>,
    /// Paths by process: its number and its start.
    by_process: HashMap<(u32, u64), u64>,
    /// The one path of all processes that are otherwise alike, none where they have several.
    alike: HashMap<Key, Option<u64>>,
    second: u64,
    snapshots: u32,
}

/// A cgroup2.
#[derive(Clone, Copy, Debug, Default)]
struct Cgroup {
    /// There is no other tree: its id tells all.
    is_all: bool,
    /// Processes of it that were gone.
    misses: u8,
}

impl Places {
    /// A number for the path of a process, 0 where its cgroup2 id tells it, or nobody knows; and what
    /// was seen where that took a look. One that is gone is where all are that are otherwise like it.
    pub(super) fn of(
        &mut self,
        key: &Key,
        observed: &Observed<'_>,
        procfs: &mut dyn ProcFs,
        now_ms: u64,
    ) -> (u64, Option<Snapshot>) {
        let process = (observed.tgid, observed.started_ns);
        let cgroup = self.by_cgroup.get(&observed.cgroup_id).copied();
        let mut cgroup = cgroup.unwrap_or_default();
        if observed.tgid == 0 || cgroup.is_all {
            return (0, None);
        }
        if let Some(path) = self.by_process.get(&process) {
            return (*path, None);
        }
        let alike = self.alike.get(key).copied();
        if cgroup.misses >= MAX_SNAPSHOTS || !self.may_look(now_ms) {
            return (alike.flatten().unwrap_or(0), None);
        }
        let snapshot = procfs.snapshot(observed, now_ms);
        let path = match &snapshot.cgroups {
            Some(text) => {
                cgroup.is_all = is_below_root(observed) && cgroup::is_only(text);
                let path = number(observed, &snapshot, text);
                let known = alike.unwrap_or(Some(path));
                insert(&mut self.alike, *key, known.filter(|known| *known == path));
                path
            }
            None => {
                cgroup.misses += 1;
                alike.flatten().unwrap_or(0)
            }
        };
        insert(&mut self.by_cgroup, observed.cgroup_id, cgroup);
        insert(&mut self.by_process, process, path);
        (path, Some(snapshot))
    }

    fn may_look(&mut self, now_ms: u64) -> bool {
        let second = now_ms / 1000;
        if self.second != second {
            (self.second, self.snapshots) = (second, 0);
        }
        self.snapshots += 1;
        self.snapshots <= PER_SECOND
    }
}

fn insert<K: Eq + Hash, V>(known: &mut HashMap<K, V>, key: K, value: V) {
    if known.len() >= MAX_KNOWN {
        known.clear();
    }
    known.insert(key, value);
}

/// Whether it is in a cgroup2 other than the root, whose inode number is 1; before 5.5 the upper half
/// of a number is a generation (`union kernfs_node_id`).
const fn is_below_root(observed: &Observed<'_>) -> bool {
    observed.cgroup_id & 0xffff_ffff > 1
}

/// A number for the path that says most, 0 where that is the path of the cgroup2 id.
fn number(observed: &Observed<'_>, snapshot: &Snapshot, text: &str) -> u64 {
    let chosen = cgroup::path(snapshot.cgroup_path.as_deref(), Some(text));
    if chosen.is_none() || (is_below_root(observed) && chosen == snapshot.cgroup_path) {
        return 0;
    }
    let mut hasher = siphasher::sip::SipHasher13::new();
    hasher.write(chosen.unwrap_or_default().as_bytes());
    hasher.finish().max(1)
}

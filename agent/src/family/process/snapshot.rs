//! What `/proc` shows of a process while it lives, and what of that is remembered when it has ended.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// Clock ticks per second in `/proc/<pid>/stat`: USER_HZ, fixed at 100 for programs.
const TICK_NS: u64 = 10_000_000;
/// Field 22 of `/proc/<pid>/stat`, counted after the name in parentheses.
const START_FIELD: usize = 19;
/// `/proc/<pid>/cgroup` and `stat` are far smaller.
pub(super) const MAX_TEXT: u64 = 64 << 10;
/// Processes that are remembered for when they have ended, and bytes of what was seen of them.
const MAX_PAST: usize = 1024;
const MAX_PAST_BYTES: usize = 1 << 20;
/// Below a process's directory.
const USER_NAMESPACE: &str = "ns/user";

/// What could be learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Target of `/proc/<tgid>/exe`; `None` when it is gone or may not be read.
    pub exe: Option<Vec<u8>>,
    /// Whether only root can have chosen that path: whoever has a user namespace of his own mounts
    /// what he likes over every path.
    pub is_vouched: bool,
    /// Text of `/proc/<tgid>/cgroup`; `None` when it is gone.
    pub cgroups: Option<String>,
    /// Path of the record's cgroup in the cgroup2 tree; `None` when it is gone or 0.
    pub cgroup_path: Option<String>,
}

/// Looks at processes while they live.
#[derive(Clone, Debug)]
pub struct SnapshotReader {
    proc: PathBuf,
    /// The agent's own user namespace, as `/proc` names it; none where the kernel has no others.
    user_namespace: Option<PathBuf>,
}

impl SnapshotReader {
    /// Looks below `proc`.
    #[must_use]
    pub fn new(proc: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            // Links of `/proc` can be read, and not followed any more.
            user_namespace: fs::read_link(proc.join("self"))
                .and_then(|own| fs::read_link(proc.join(own).join(USER_NAMESPACE)))
                .ok(),
        }
    }

    /// What is seen of a process, by its number and start; all but the path of its cgroup2.
    #[must_use]
    pub fn snapshot(&self, (tgid, started_ns): (u32, u64)) -> Snapshot {
        let directory = self.proc.join(tgid.to_string());
        let exe = fs::read_link(directory.join("exe")).ok().map(without_mark);
        // Behind the path: nobody comes back from another one.
        let is_vouched = self.user_namespace.is_none()
            || self.user_namespace == fs::read_link(directory.join(USER_NAMESPACE)).ok();
        let cgroups = read(&directory.join("cgroup"));
        // Last: had the number been given to another process before, it would show here.
        let same = is_same(&directory, started_ns);
        Snapshot {
            exe: exe.filter(|_| same),
            is_vouched,
            cgroups: cgroups.filter(|_| same),
            cgroup_path: None,
        }
    }
}

/// What was seen of processes while they lived, by their number and start; the oldest go first.
#[derive(Debug, Default)]
pub struct Past {
    snapshots: HashMap<(u32, u64), Snapshot>,
    order: VecDeque<(u32, u64)>,
    bytes: usize,
}

impl Past {
    /// Remembers a process, as it was seen first.
    pub fn insert(&mut self, process: (u32, u64), snapshot: Snapshot) {
        if snapshot.exe.is_none() || self.snapshots.contains_key(&process) {
            return;
        }
        self.bytes += snapshot.bytes();
        self.snapshots.insert(process, snapshot);
        self.order.push_back(process);
        while self.snapshots.len() > MAX_PAST || self.bytes > MAX_PAST_BYTES {
            let oldest = self.order.pop_front();
            let Some(gone) = oldest.and_then(|oldest| self.snapshots.remove(&oldest)) else {
                return;
            };
            self.bytes -= gone.bytes();
        }
    }

    /// Nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.snapshots.is_empty()
    }

    pub(super) fn get(&self, process: (u32, u64)) -> Option<&Snapshot> {
        self.snapshots.get(&process)
    }

    pub(super) fn extend(&mut self, mut other: Self) {
        for process in other.order {
            if let Some(snapshot) = other.snapshots.remove(&process) {
                self.insert(process, snapshot);
            }
        }
    }
}

impl Snapshot {
    fn bytes(&self) -> usize {
        let texts = [
            self.exe.as_ref().map(Vec::len),
            self.cgroups.as_ref().map(String::len),
        ];
        texts.into_iter().flatten().sum()
    }
}

/// A program that was replaced since, as by an upgrade, is still that program.
fn without_mark(target: PathBuf) -> Vec<u8> {
    let target = target.into_os_string().into_vec();
    target
        .strip_suffix(b" (deleted)")
        .map(<[u8]>::to_vec)
        .unwrap_or(target)
}

fn read(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .ok()?
        .take(MAX_TEXT)
        .read_to_end(&mut bytes)
        .ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether the process in this directory started when the observed one did.
fn is_same(directory: &Path, started_ns: u64) -> bool {
    if started_ns == 0 {
        return directory.exists();
    }
    let ticks = read(&directory.join("stat")).and_then(|stat| start_ticks(&stat));
    ticks.is_some_and(|ticks| ticks.abs_diff(started_ns / TICK_NS) <= 1)
}

/// The name may hold blanks and parentheses: fields are counted from the last closing one.
fn start_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(START_FIELD)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{MAX_PAST, MAX_PAST_BYTES, Past, Snapshot, SnapshotReader, start_ticks};
    use std::fs;
    use std::path::Path;

    #[test]
    fn a_path_counts_only_in_the_agents_own_user_namespace() {
        let vouched = |own: Option<&str>, theirs: Option<&str>| {
            let host = tempfile::tempdir().unwrap();
            let proc = host.path();
            fs::create_dir_all(proc.join("5/ns")).unwrap();
            fs::create_dir_all(proc.join("7/ns")).unwrap();
            let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, proc.join(at)).unwrap();
            link("5", "self");
            own.into_iter().for_each(|to| link(to, "5/ns/user"));
            theirs.into_iter().for_each(|to| link(to, "7/ns/user"));
            SnapshotReader::new(proc).snapshot((7, 0)).is_vouched
        };
        assert!(vouched(Some("user:[1]"), Some("user:[1]")));
        assert!(!vouched(Some("user:[1]"), Some("user:[2]")));
        assert!(!vouched(Some("user:[1]"), None), "it may not be read");
        assert!(vouched(None, None), "the kernel has none");
    }

    #[test]
    fn the_kernel_shows_who_made_a_user_namespace_of_his_own() {
        let proc = Path::new("/proc");
        let mut other = std::process::Command::new("unshare")
            .args(["--user", "sleep", "100"])
            .spawn()
            .unwrap();
        let link = |pid: u32| fs::read_link(proc.join(pid.to_string()).join("ns/user"));
        let own = link(std::process::id()).unwrap();
        let give_up = crate::clock::monotonic_ms() + 10_000;
        // Where the host forbids it, there is none to be shown.
        while link(other.id()).is_ok_and(|theirs| theirs == own)
            && other.try_wait().unwrap().is_none()
            && crate::clock::monotonic_ms() < give_up
        {
            std::thread::yield_now();
        }
        let made = link(other.id()).is_ok_and(|theirs| theirs != own);
        let reader = SnapshotReader::new(proc);
        let vouched = |pid| reader.snapshot((pid, 0)).is_vouched;
        let (ours, theirs) = (vouched(std::process::id()), vouched(other.id()));
        other.kill().ok();
        other.wait().unwrap();
        assert!(ours);
        assert!(!made || !theirs);
    }

    #[test]
    fn the_past_is_bounded_and_forgets_the_oldest() {
        let snapshot = |bytes: usize| Snapshot {
            exe: Some(b"/opt/x".to_vec()),
            cgroups: Some("x".repeat(bytes)),
            ..Snapshot::default()
        };
        let mut past = Past::default();
        for number in 0..2000 {
            past.insert((number, 1), snapshot(10));
        }
        assert_eq!(past.snapshots.len(), MAX_PAST);
        assert!(past.get((975, 1)).is_none() && past.get((976, 1)).is_some());
        for number in 0..100 {
            past.insert((number, 2), snapshot(60_000));
        }
        assert!(past.bytes <= MAX_PAST_BYTES && past.get((99, 2)).is_some());
        assert_eq!(past.order.len(), past.snapshots.len());
        past.insert((1, 3), Snapshot::default());
        assert!(past.get((1, 3)).is_none(), "nothing was seen of it");
    }

    #[test]
    fn the_start_stands_behind_the_last_parenthesis() {
        assert_eq!(start_ticks("1 (a) b) S"), None);
        let fields: Vec<String> = (3..=30).map(|field| field.to_string()).collect();
        assert_eq!(
            start_ticks(&format!("1 ((x)) {}", fields.join(" "))),
            Some(22)
        );
    }
}

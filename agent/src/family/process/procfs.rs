//! What the host shows of a process while it lives: `/proc` and the cgroup2 tree.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};

use super::cgroup;
use super::observed::Observed;
use super::snapshot::{Past, Snapshot, SnapshotReader};
use crate::host::Numbers;

/// How many of its processes may be gone, or hidden, before an identity stays incomplete.
pub(super) const MAX_SNAPSHOTS: u8 = 16;
/// Cgroups remembered; a host with more gets the rest looked up again and again.
const MAX_CGROUPS: usize = 16_384;
/// Levels below the root that are searched.
const MAX_DEPTH: usize = 32;
/// The tree is walked this often at most, because gone cgroups cannot be found at all.
const WALK_EVERY_MS: u64 = 5_000;

/// Where identities look; tests have their own.
pub trait ProcFs {
    /// Looks at a process that may have ended by now; `now_ms` is Unix time.
    fn snapshot(&mut self, observed: &Observed<'_>, now_ms: u64) -> Snapshot;

    /// Takes what others have seen of processes that may end before they are looked at.
    fn keep_past(&mut self, _past: Past) {}
}

/// The real ones.
#[derive(Debug)]
pub struct HostProcFs {
    reader: SnapshotReader,
    past: Past,
    cgroup_root: PathBuf,
    numbers: Numbers,
    /// By number, as far as it can be compared.
    paths: HashMap<u64, String>,
    walked_ms: Option<u64>,
}

impl HostProcFs {
    /// Looks below `proc` and, for cgroups, below the mount point `cgroup_root`.
    #[must_use]
    pub fn new(proc: &Path, cgroup_root: &Path) -> Self {
        Self {
            reader: SnapshotReader::new(proc),
            past: Past::default(),
            cgroup_root: cgroup_root.to_owned(),
            numbers: Numbers::of(cgroup_root),
            paths: HashMap::new(),
            walked_ms: None,
        }
    }

    fn cgroup_path(&mut self, id: u64, proc: Option<&str>, now_ms: u64) -> Option<String> {
        if id == 0 {
            return None;
        }
        let id = self.numbers.comparable(id);
        if let Some(path) = self.paths.get(&id) {
            return Some(path.clone());
        }
        // The process itself usually says where it is; the number proves it.
        let said = proc.and_then(cgroup::cgroup2_line);
        if let Some(path) = said.filter(|path| self.id_of(path) == Some(id)) {
            self.remember(id, path.to_owned());
            return Some(path.to_owned());
        }
        if self
            .walked_ms
            .is_none_or(|at| now_ms.saturating_sub(at) >= WALK_EVERY_MS)
        {
            self.walked_ms = Some(now_ms);
            self.walk();
        }
        self.paths.get(&id).cloned()
    }

    fn id_of(&self, path: &str) -> Option<u64> {
        let inside = path.trim_start_matches('/');
        // A process in another cgroup namespace may be shown with a path that leads outside.
        if inside.split('/').any(|part| part == "..") {
            return None;
        }
        self.numbers.number(&self.cgroup_root.join(inside))
    }

    fn remember(&mut self, id: u64, path: String) {
        if self.paths.len() >= MAX_CGROUPS {
            self.paths.clear();
        }
        self.paths.insert(id, path);
    }

    /// Replaces what is known by what is there now.
    fn walk(&mut self) {
        self.paths.clear();
        if let Some(root) = self.numbers.number(&self.cgroup_root) {
            self.paths.insert(root, "/".to_owned());
        }
        let mut level = vec![String::new()];
        for _ in 0..MAX_DEPTH {
            let mut below = Vec::new();
            for parent in &level {
                self.walk_into(parent, &mut below);
            }
            level = below;
        }
    }

    fn walk_into(&mut self, parent: &str, below: &mut Vec<String>) {
        let Ok(entries) = fs::read_dir(self.cgroup_root.join(parent.trim_start_matches('/')))
        else {
            return;
        };
        for entry in entries.flatten() {
            if self.paths.len() >= MAX_CGROUPS {
                return;
            }
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = format!("{parent}/{}", entry.file_name().to_string_lossy());
                if let Some(id) = self.numbers.listed(entry.ino(), &entry.path()) {
                    self.paths.insert(id, path.clone());
                }
                below.push(path);
            }
        }
    }
}

impl ProcFs for HostProcFs {
    fn snapshot(&mut self, observed: &Observed<'_>, now_ms: u64) -> Snapshot {
        let process = (observed.tgid, observed.started_ns);
        let mut snapshot = self.reader.snapshot(process);
        if snapshot.exe.is_none()
            && let Some(past) = self.past.get(process)
        {
            snapshot = past.clone();
        }
        let cgroups = snapshot.cgroups.as_deref();
        snapshot.cgroup_path = self.cgroup_path(observed.cgroup_id, cgroups, now_ms);
        snapshot
    }

    fn keep_past(&mut self, past: Past) {
        self.past.extend(past);
    }
}

#[cfg(test)]
mod tests {
    use super::{HostProcFs, Past, ProcFs as _, SnapshotReader};
    use crate::family::process::Observed;
    use crate::host::Numbers;
    use std::fs;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    fn observed(tgid: u32, started_ns: u64, cgroup_id: u64) -> Observed<'static> {
        Observed {
            tgid,
            started_ns,
            comm: b"x",
            exe_name: b"x",
            cgroup_id,
            netns: 1,
        }
    }

    /// A `/proc` with one process and a cgroup tree with two groups.
    fn host() -> tempfile::TempDir {
        let host = tempfile::tempdir().unwrap();
        let process = host.path().join("proc/7");
        fs::create_dir_all(&process).unwrap();
        fs::create_dir_all(host.path().join("cgroup/a/b")).unwrap();
        std::os::unix::fs::symlink("/opt/x (deleted)", process.join("exe")).unwrap();
        fs::write(process.join("cgroup"), "0::/a/b\n").unwrap();
        let fields = "S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 500 9 9";
        fs::write(process.join("stat"), format!("7 (a) b) {fields}")).unwrap();
        host
    }

    fn procfs(host: &Path) -> HostProcFs {
        HostProcFs::new(&host.join("proc"), &host.join("cgroup"))
    }

    #[test]
    fn a_living_process_shows_path_and_cgroup() {
        let host = host();
        let id = fs::metadata(host.path().join("cgroup/a/b")).unwrap().ino();
        let snapshot = procfs(host.path()).snapshot(&observed(7, 5_000_000_000, id), 0);
        assert_eq!(snapshot.exe.unwrap(), b"/opt/x");
        assert_eq!(snapshot.cgroup_path.unwrap(), "/a/b");
    }

    #[test]
    fn a_number_that_was_given_again_shows_nothing_of_the_new_process() {
        let host = host();
        let snapshot = procfs(host.path()).snapshot(&observed(7, 4_000_000_000, 0), 0);
        assert_eq!((snapshot.exe, snapshot.cgroups), (None, None));
    }

    /// As on a host without a cgroup2 tree: only the process itself ever said where it was.
    #[test]
    fn what_was_seen_of_a_process_while_it_lived_is_known_when_it_has_ended() {
        let host = host();
        let mut procfs = procfs(host.path());
        let mut past = Past::default();
        let process = (7, 5_000_000_000);
        past.insert(
            process,
            SnapshotReader::new(&host.path().join("proc")).snapshot(process),
        );
        procfs.keep_past(past);
        fs::remove_dir_all(host.path().join("proc/7")).unwrap();
        let snapshot = procfs.snapshot(&observed(7, 5_000_000_000, 0), 0);
        assert_eq!(snapshot.exe.unwrap(), b"/opt/x");
        assert_eq!(snapshot.cgroups.unwrap(), "0::/a/b\n");
        let later = procfs.snapshot(&observed(7, 6_000_000_000, 0), 0);
        assert_eq!((later.exe, later.cgroups), (None, None), "another one");
    }

    #[test]
    fn the_cgroup_of_a_gone_process_is_found_in_the_tree_which_is_not_walked_all_the_time() {
        let host = host();
        let mut procfs = procfs(host.path());
        let id = |path: &str| fs::metadata(host.path().join(path)).unwrap().ino();
        let snapshot = procfs.snapshot(&observed(8, 1, id("cgroup/a")), 0);
        assert_eq!(snapshot.cgroup_path.unwrap(), "/a");
        let root = procfs.snapshot(&observed(8, 1, id("cgroup")), 1);
        assert_eq!(root.cgroup_path.unwrap(), "/");
        fs::create_dir(host.path().join("cgroup/c")).unwrap();
        assert_eq!(
            procfs
                .snapshot(&observed(8, 1, id("cgroup/c")), 2)
                .cgroup_path,
            None
        );
        let later = procfs.snapshot(&observed(8, 1, id("cgroup/c")), 60_000);
        assert_eq!(later.cgroup_path.unwrap(), "/c");
    }

    #[test]
    fn where_only_the_lower_half_of_a_number_is_shown_it_finds_the_cgroup() {
        let host = host();
        let id = |path: &str| 3 << 32 | fs::metadata(host.path().join(path)).unwrap().ino();
        let mut procfs = procfs(host.path());
        procfs.numbers = Numbers::Lower;
        for (process, path) in [(7, "cgroup/a/b"), (8, "cgroup/a")] {
            let snapshot = procfs.snapshot(&observed(process, 5_000_000_000, id(path)), 0);
            assert_eq!(snapshot.cgroup_path.unwrap(), path["cgroup".len()..]);
        }
    }

    #[test]
    fn a_path_that_leads_out_of_the_tree_is_not_followed() {
        let host = host();
        fs::write(host.path().join("proc/7/cgroup"), "0::/../proc\n").unwrap();
        let id = fs::metadata(host.path().join("proc")).unwrap().ino();
        let snapshot = procfs(host.path()).snapshot(&observed(7, 5_000_000_000, id), 0);
        assert_eq!(snapshot.cgroup_path, None);
    }

    #[test]
    fn endless_files_are_cut() {
        let host = host();
        fs::write(host.path().join("proc/7/cgroup"), vec![b'x'; 200_000]).unwrap();
        let snapshot = procfs(host.path()).snapshot(&observed(7, 5_000_000_000, 0), 0);
        assert_eq!(
            snapshot.cgroups.unwrap().len() as u64,
            super::super::snapshot::MAX_TEXT
        );
    }
}

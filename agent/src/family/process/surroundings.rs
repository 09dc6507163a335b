//! What the host shows of a process while it lives: `/proc` and the cgroup2 tree.

use std::collections::HashMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::DirEntryExt as _;
use std::path::{Path, PathBuf};

use super::cgroup;
use super::observed::Observed;
use crate::host::Numbers;

/// How many of its processes may be gone, or hidden, before an identity stays incomplete.
pub(super) const MAX_LOOKS: u8 = 16;
/// Clock ticks per second in `/proc/<pid>/stat`: USER_HZ, fixed at 100 for programs.
const TICK_NS: u64 = 10_000_000;
/// Field 22 of `/proc/<pid>/stat`, counted after the name in parentheses.
const START_FIELD: usize = 19;
/// `/proc/<pid>/cgroup` and `stat` are far smaller.
const MAX_TEXT: u64 = 64 << 10;
/// Cgroups remembered; a host with more gets the rest looked up again and again.
const MAX_CGROUPS: usize = 16_384;
/// Levels below the root that are searched.
const MAX_DEPTH: usize = 32;
/// The tree is walked this often at most, because gone cgroups cannot be found at all.
const WALK_EVERY_MS: u64 = 5_000;

/// Below a process's directory.
const USER_NAMESPACE: &str = "ns/user";

/// What could be learned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
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

/// Where identities look; tests have their own.
pub trait Surroundings {
    /// Looks at a process that may have ended by now; `now_ms` is Unix time.
    fn look(&mut self, observed: &Observed<'_>, now_ms: u64) -> Look;
}

/// The real ones.
#[derive(Debug)]
pub struct ProcSurroundings {
    proc: PathBuf,
    cgroup_root: PathBuf,
    /// The agent's own user namespace, as `/proc` names it; none where the kernel has no others.
    user_namespace: Option<PathBuf>,
    numbers: Numbers,
    /// By number, as far as it can be compared.
    paths: HashMap<u64, String>,
    walked_ms: Option<u64>,
}

impl ProcSurroundings {
    /// Looks below `proc` and, for cgroups, below the mount point `cgroup_root`.
    #[must_use]
    pub fn new(proc: &Path, cgroup_root: &Path) -> Self {
        Self {
            proc: proc.to_owned(),
            cgroup_root: cgroup_root.to_owned(),
            // Links of `/proc` can be read, and not followed any more.
            user_namespace: fs::read_link(proc.join("self"))
                .and_then(|own| fs::read_link(proc.join(own).join(USER_NAMESPACE)))
                .ok(),
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

impl Surroundings for ProcSurroundings {
    fn look(&mut self, observed: &Observed<'_>, now_ms: u64) -> Look {
        let directory = self.proc.join(observed.tgid.to_string());
        let exe = fs::read_link(directory.join("exe")).ok().map(without_mark);
        // Behind the path: nobody comes back from another one.
        let is_vouched = self.user_namespace.is_none()
            || self.user_namespace == fs::read_link(directory.join(USER_NAMESPACE)).ok();
        let cgroups = read(&directory.join("cgroup"));
        // Last: had the number been given to another process before, it would show here.
        let same = is_same(&directory, observed.started_ns);
        let cgroups = cgroups.filter(|_| same);
        let cgroup_path = self.cgroup_path(observed.cgroup_id, cgroups.as_deref(), now_ms);
        Look {
            exe: exe.filter(|_| same),
            is_vouched,
            cgroups,
            cgroup_path,
        }
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
    use super::{MAX_TEXT, ProcSurroundings, Surroundings as _, start_ticks};
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

    fn surroundings(host: &Path) -> ProcSurroundings {
        ProcSurroundings::new(&host.join("proc"), &host.join("cgroup"))
    }

    #[test]
    fn a_living_process_shows_path_and_cgroup() {
        let host = host();
        let id = fs::metadata(host.path().join("cgroup/a/b")).unwrap().ino();
        let look = surroundings(host.path()).look(&observed(7, 5_000_000_000, id), 0);
        assert_eq!(look.exe.unwrap(), b"/opt/x");
        assert_eq!(look.cgroup_path.unwrap(), "/a/b");
    }

    #[test]
    fn a_path_counts_only_in_the_agents_own_user_namespace() {
        let vouched = |own: Option<&str>, theirs: Option<&str>| {
            let host = host();
            let proc = host.path().join("proc");
            fs::create_dir_all(proc.join("5/ns")).unwrap();
            fs::create_dir_all(proc.join("7/ns")).unwrap();
            let link = |to: &str, at: &str| std::os::unix::fs::symlink(to, proc.join(at)).unwrap();
            link("5", "self");
            own.into_iter().for_each(|to| link(to, "5/ns/user"));
            theirs.into_iter().for_each(|to| link(to, "7/ns/user"));
            let mut surroundings = surroundings(host.path());
            surroundings
                .look(&observed(7, 5_000_000_000, 0), 0)
                .is_vouched
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
        let mut surroundings = ProcSurroundings::new(proc, Path::new("/sys/fs/cgroup"));
        let mut vouched = |pid| surroundings.look(&observed(pid, 0, 0), 0).is_vouched;
        let (ours, theirs) = (vouched(std::process::id()), vouched(other.id()));
        other.kill().ok();
        other.wait().unwrap();
        assert!(ours);
        assert!(!made || !theirs);
    }

    #[test]
    fn a_number_that_was_given_again_shows_nothing_of_the_new_process() {
        let host = host();
        let look = surroundings(host.path()).look(&observed(7, 4_000_000_000, 0), 0);
        assert_eq!((look.exe, look.cgroups), (None, None));
    }

    #[test]
    fn the_cgroup_of_a_gone_process_is_found_in_the_tree_which_is_not_walked_all_the_time() {
        let host = host();
        let mut surroundings = surroundings(host.path());
        let id = |path: &str| fs::metadata(host.path().join(path)).unwrap().ino();
        let look = surroundings.look(&observed(8, 1, id("cgroup/a")), 0);
        assert_eq!(look.cgroup_path.unwrap(), "/a");
        let root = surroundings.look(&observed(8, 1, id("cgroup")), 1);
        assert_eq!(root.cgroup_path.unwrap(), "/");
        fs::create_dir(host.path().join("cgroup/c")).unwrap();
        assert_eq!(
            surroundings
                .look(&observed(8, 1, id("cgroup/c")), 2)
                .cgroup_path,
            None
        );
        let later = surroundings.look(&observed(8, 1, id("cgroup/c")), 60_000);
        assert_eq!(later.cgroup_path.unwrap(), "/c");
    }

    #[test]
    fn where_only_the_lower_half_of_a_number_is_shown_it_finds_the_cgroup() {
        let host = host();
        let id = |path: &str| 3 << 32 | fs::metadata(host.path().join(path)).unwrap().ino();
        let mut surroundings = surroundings(host.path());
        surroundings.numbers = Numbers::Lower;
        for (process, path) in [(7, "cgroup/a/b"), (8, "cgroup/a")] {
            let look = surroundings.look(&observed(process, 5_000_000_000, id(path)), 0);
            assert_eq!(look.cgroup_path.unwrap(), path["cgroup".len()..]);
        }
    }

    #[test]
    fn a_path_that_leads_out_of_the_tree_is_not_followed() {
        let host = host();
        fs::write(host.path().join("proc/7/cgroup"), "0::/../proc\n").unwrap();
        let id = fs::metadata(host.path().join("proc")).unwrap().ino();
        let look = surroundings(host.path()).look(&observed(7, 5_000_000_000, id), 0);
        assert_eq!(look.cgroup_path, None);
    }

    #[test]
    fn endless_files_are_cut() {
        let host = host();
        fs::write(host.path().join("proc/7/cgroup"), vec![b'x'; 200_000]).unwrap();
        let look = surroundings(host.path()).look(&observed(7, 5_000_000_000, 0), 0);
        assert_eq!(look.cgroups.unwrap().len() as u64, MAX_TEXT);
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

//! Identity of processes: who is behind a connection.
//!
//! Pure but for [`Surroundings`], which answers from `/proc` and the cgroup tree.

use wire::ProcessRow;

/// What the kernel record says about a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed<'a> {
    /// Thread-group id.
    pub tgid: u32,
    /// Start of the process, nanoseconds since boot (CLOCK_BOOTTIME); 0 when unknown.
    pub started_ns: u64,
    /// Kernel task name, NUL padding allowed.
    pub comm: &'a [u8],
    /// Last component of the executable's path, NUL padding allowed.
    pub exe_name: &'a [u8],
    /// cgroup2 id (inode number), 0 when unknown.
    pub cgroup_id: u64,
    /// Network namespace inode number.
    pub netns: u32,
}

/// What can be learned from the host while a process lives.
pub trait Surroundings {
    /// Executable path and `/proc/<tgid>/cgroup`, if that process still runs.
    fn live(&mut self, tgid: u32, started_ns: u64) -> Option<Live>;

    /// Path of a cgroup2 group below the root, by inode number.
    fn cgroup_path(&mut self, id: u64) -> Option<String>;
}

/// A living process as `/proc` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Target of `/proc/<tgid>/exe`, lossily decoded; empty when it may not be read.
    pub exe: String,
    /// Lines of `/proc/<tgid>/cgroup`.
    pub cgroups: String,
}

/// All identities of this run.
#[derive(Debug)]
pub struct Identities {
    rows: Vec<ProcessRow>,
}

impl Identities {
    /// The id of the identity behind `observed`; `now_ms` is Unix time.
    pub fn resolve(
        &mut self,
        _observed: &Observed<'_>,
        _surroundings: &mut dyn Surroundings,
        _now_ms: u64,
    ) -> u32 {
        0
    }

    /// Rows that are new, changed, or due for their refresh.
    pub fn take_rows(&mut self, _now_ms: u64) -> Vec<ProcessRow> {
        std::mem::take(&mut self.rows)
    }
}

//! Family `process`: who the processes behind the other rows are.

use super::pairs_bytes;
use crate::table::table;

/// Most bytes of a process row, as [`ProcessRow::bytes`] counts them.
pub const MAX_PROCESS_BYTES: usize = 64 << 10;

table! {
    /// A process identity: all processes with the same program, name, cgroup and namespace.
    ProcessRow is State "process" of "process" version 1,
    sorted by |row| (row.process_id, row.tgid, row.started_ms);

    /// Key, unique within host and boot.
    process_id: u32 = Dimension "",
    /// Thread-group id of one process of this identity.
    tgid: u32 = Dimension "",
    /// Start of that process; 0 when unknown.
    started_ms: u64 = Time "ms",
    /// Kernel task name.
    comm: String = Text "",
    /// Path of the executable, or its last component when the process was gone too soon.
    exe: String = Text "",
    /// cgroup path.
    cgroup: String = Text "",
    /// Container id, empty when none.
    container: String = Text "",
    /// systemd unit, empty when none.
    unit: String = Text "",
    /// Service name: the operator's rule, else unit, container or executable.
    service: String = Text "",
    /// Business tags from the operator's rules, sorted by key.
    tags: Vec<(String, String)> = Text "",
}

impl ProcessRow {
    /// Bytes of its texts, and 16 for each tag.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts = [
            &self.comm,
            &self.exe,
            &self.cgroup,
            &self.container,
            &self.unit,
            &self.service,
        ];
        texts.iter().map(|text| text.len()).sum::<usize>() + pairs_bytes(&self.tags)
    }
}

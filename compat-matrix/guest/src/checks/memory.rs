//! What an agent needs of a machine's memory, and what it is given on a small one.

use std::fs;

/// Below this the default tables of several agents do not fit beside everything else.
const SMALL_KIB: u64 = 256 << 10;

/// Below this there is room for one agent, and not for a lab of several with a collector.
const TINY_KIB: u64 = 160 << 10;

/// Memory of this machine, KiB.
fn total() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    number(&text, "MemTotal:").unwrap_or(u64::MAX)
}

/// Why no lab fits into this machine, if that is so; without what differs between two boots.
pub(super) fn too_small() -> Option<String> {
    let reason = "of memory hold one agent, not a lab of several with a collector";
    (total() < TINY_KIB).then(|| format!("less than {} MiB {reason}", TINY_KIB >> 10))
}

/// Limits that an operator would set on a small machine; none on others.
pub(super) fn limits() -> &'static [(&'static str, &'static str)] {
    if total() >= SMALL_KIB {
        return &[];
    }
    &[
        ("limits.connections", "4096"),
        ("limits.ring_bytes", "'256KiB'"),
    ]
}

/// The most that any agent used, KiB.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Used {
    /// Memory of the process.
    resident: u64,
    /// Memory of its BPF maps, which the kernel holds; 0 where it does not say.
    maps: u64,
}

impl Used {
    /// Takes note of a running agent.
    pub(super) fn note(&mut self, process: i32) {
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
        self.resident = self.resident.max(number(&status, "VmHWM:").unwrap_or(0));
        let files = fs::read_dir(format!("/proc/{process}/fdinfo"));
        let mut maps = std::collections::BTreeMap::new();
        for file in files.into_iter().flatten().flatten() {
            let text = fs::read_to_string(file.path()).unwrap_or_default();
            // Several files may hold one map. Programs have the same field and another id.
            if let (Some(id), Some(bytes)) = (number(&text, "map_id:"), number(&text, "memlock:")) {
                maps.insert(id, bytes);
            }
        }
        self.maps = self.maps.max(maps.values().sum::<u64>() / 1024);
    }

    /// What is known, by name.
    pub(super) fn measures(self) -> impl Iterator<Item = (&'static str, u64)> {
        let all = [
            ("agent_peak_rss_kb", self.resident),
            ("agent_maps_kb", self.maps),
        ];
        all.into_iter().filter(|(_, kib)| *kib > 0)
    }
}

/// The number after `field` at the beginning of a line.
fn number(text: &str, field: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(field))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_field_is_read_whatever_its_unit() {
        let text = "VmPeak:\t 9 kB\nVmHWM:\t  18120 kB\n";
        assert_eq!(number(text, "VmHWM:"), Some(18_120));
        assert_eq!(number("memlock:\t4096\n", "memlock:"), Some(4096));
        assert_eq!(number(text, "VmRSS:"), None);
    }
}

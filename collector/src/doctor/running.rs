//! The process that serves by a configuration, as `/proc` shows it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::DEFAULT_PATH;

/// What `/proc` says of it; what cannot be read is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Running {
    pub(super) pid: u32,
    pub(super) descriptors: Option<u64>,
    pub(super) descriptors_most: Option<u64>,
    pub(super) resident_bytes: Option<u64>,
    /// The bound of its cgroup.
    pub(super) memory_most: Option<u64>,
}

impl Running {
    /// The one that `serve` runs in; `None` where there is none, or none that may be seen.
    pub(super) fn find(config: &Path) -> Option<Self> {
        let wanted = real(config);
        let processes = fs::read_dir("/proc").ok()?.flatten();
        let mut ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let found = ids.find(|id| {
            let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            served(&line).is_some_and(|file| real(&file) == wanted)
        });
        found.map(Self::of)
    }

    pub(super) fn of(pid: u32) -> Self {
        let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}")).ok();
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok();
        Self {
            pid,
            descriptors: descriptors.map(|list| list.count() as u64),
            descriptors_most: read("limits").as_deref().and_then(open_files),
            resident_bytes: read("status").as_deref().and_then(resident),
            memory_most: read("cgroup").as_deref().and_then(memory_most),
        }
    }
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The configuration that a command line serves by.
fn served(line: &[u8]) -> Option<PathBuf> {
    let words: Vec<_> = line.split(|byte| *byte == 0).collect();
    let words: Vec<&str> = words
        .into_iter()
        .map(|word| std::str::from_utf8(word).unwrap_or_default())
        .collect();
    let (program, rest) = words.split_first()?;
    if !program.ends_with("waybill-collector") || rest.first() != Some(&"serve") {
        return None;
    }
    let behind = rest.iter().position(|word| *word == "--config");
    let behind = behind.and_then(|at| rest.get(at + 1).copied());
    let joined = rest.iter().find_map(|word| word.strip_prefix("--config="));
    Some(PathBuf::from(behind.or(joined).unwrap_or(DEFAULT_PATH)))
}

fn open_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn resident(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib << 10)
}

/// The least bound on the way up from a cgroup, of either version.
fn memory_most(cgroups: &str) -> Option<u64> {
    let bounds = cgroups.lines().flat_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (kinds, path) = (parts.next()?, parts.next()?);
        let (root, file) = match kinds {
            "" => ("/sys/fs/cgroup", "memory.max"),
            kinds if kinds.split(',').any(|kind| kind == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let own = PathBuf::from(format!("{root}{path}"));
        let up = own.ancestors().map(|folder| folder.join(file));
        let bounds = up.filter_map(|file| {
            let text = fs::read_to_string(file).ok()?;
            text.trim().parse::<u64>().ok()
        });
        bounds.min()
    });
    // Version 1 says "no bound" as a number near 2^63.
    bounds.min().filter(|bound| *bound < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_names_the_configuration_it_serves_by() {
        let of = |line: &str| served(line.replace(' ', "\0").as_bytes());
        let default = Some(PathBuf::from(DEFAULT_PATH));
        assert_eq!(of("/usr/bin/waybill-collector serve "), default);
        let other = Some(PathBuf::from("/x.toml"));
        assert_eq!(of("waybill-collector serve --config /x.toml"), other);
        assert_eq!(of("./waybill-collector serve --config=/x.toml"), other);
        for none in [
            "",
            "waybill-collector",
            "waybill-collector doctor --config /x.toml",
            "vi waybill-collector serve",
            "waybill-agent serve",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
    }

    #[test]
    fn what_proc_says_is_read() {
        let limits = "Limit  Soft Limit  Hard Limit  Units\nMax open files  1024  4096  files\n";
        assert_eq!(open_files(limits), Some(1024));
        assert_eq!(resident("Name:\tx\nVmRSS:\t  2 kB\n"), Some(2048));
        let own = Running::of(std::process::id());
        assert!(own.descriptors.is_some_and(|count| count > 2));
        assert!(own.resident_bytes.is_some_and(|bytes| bytes > 1 << 20));
        assert_eq!(memory_most("no cgroup"), None);
    }
}

//! Which capabilities are needed after loading: tried with fewer and fewer, not looked up.
//!
//! Before 5.19 every bpf(2) command on an open descriptor wants `CAP_BPF` (before 5.8
//! `CAP_SYS_ADMIN`) when `unprivileged_bpf_disabled` is set; vendors backport both ways.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;

use libbpf_rs::{MapCore as _, MapFlags};

use super::capability::Capability;
use super::{bpf, kernel};
use crate::jail;

/// Processes on which reading is tried: several, because users and modules differ.
const MAX_PROCESSES: usize = 32;

/// The smallest set of capabilities with which something works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Least {
    capabilities: &'static [Capability],
    how: String,
}

impl Least {
    /// What has to be kept.
    #[must_use]
    pub const fn capabilities(&self) -> &'static [Capability] {
        self.capabilities
    }

    /// A set and how it was found.
    pub(crate) fn new(capabilities: &'static [Capability], how: impl Into<String>) -> Self {
        Self {
            capabilities,
            how: how.into(),
        }
    }
}

impl std::fmt::Display for Least {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let set: super::Capabilities = self.capabilities.iter().copied().collect();
        write!(f, "{set} ({})", self.how)
    }
}

/// Reading a map's entry by descriptor.
pub(super) fn maps() -> Least {
    const SETS: [&[Capability]; 3] = [&[], &[Capability::BPF], &[Capability::SYS_ADMIN]];
    match bpf::small_map() {
        Ok(map) => least(&SETS, || {
            match map.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY) {
                Ok(_) => Ok(()),
                Err(error) => Err(io::Error::other(error)),
            }
        }),
        Err(error) => Least::new(SETS[1], format!("assumed, no map can be made: {error:#}")),
    }
}

/// Listing the programs on a cgroup.
pub(super) fn query(scope: Option<&File>) -> Least {
    const SETS: [&[Capability]; 4] = [
        &[],
        &[Capability::NET_ADMIN],
        &[Capability::NET_ADMIN, Capability::BPF],
        &[Capability::SYS_ADMIN],
    ];
    match scope {
        Some(scope) => least(&SETS, || {
            ::bpf::query::sockops_programs(scope.as_fd()).map(|_| ())
        }),
        None => Least::new(SETS[1], "assumed, the scope's cgroup is out of reach"),
    }
}

/// Reading whose executable another process runs.
pub(super) fn executables() -> Least {
    const SETS: [&[Capability]; 3] = [
        &[],
        &[Capability::SYS_PTRACE],
        &[Capability::SYS_PTRACE, Capability::DAC_READ_SEARCH],
    ];
    // What nobody may read, not even this process now, tells nothing about fewer capabilities.
    let readable: Vec<PathBuf> = processes()
        .filter(|link| fs::read_link(link).is_ok())
        .take(MAX_PROCESSES)
        .collect();
    if readable.is_empty() {
        return Least::new(SETS[1], "assumed, there is no other process to try it on");
    }
    least(&SETS, || {
        let refused = readable.iter().find_map(|link| fs::read_link(link).err());
        // A process that ended meanwhile did not refuse.
        refused
            .filter(|error| error.kind() != io::ErrorKind::NotFound)
            .map_or(Ok(()), Err)
    })
}

/// `/proc/<pid>/exe` of every other process.
fn processes() -> impl Iterator<Item = PathBuf> {
    let own = std::process::id().to_string();
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(move |entry| {
            let name = entry.file_name();
            let number = name
                .to_str()
                .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))?;
            (number != own).then(|| entry.path().join("exe"))
        })
}

/// The first set with which `ask` succeeds; the last resort is to keep nothing.
fn least(sets: &[&'static [Capability]], ask: impl Fn() -> io::Result<()> + Sync) -> Least {
    let own = kernel::effective_capabilities();
    let mut refusal = String::new();
    for set in sets {
        if !set.iter().all(|capability| own.has(*capability)) {
            continue;
        }
        match jail::with_only(set, &ask) {
            Ok(Ok(())) => {
                let how = if refusal.is_empty() {
                    "tried".to_owned()
                } else {
                    format!("tried; with less: {refusal}")
                };
                return Least::new(set, how);
            }
            Ok(Err(error)) => refusal = error.to_string(),
            Err(error) => return Least::new(&[], format!("could not be tried: {error:#}")),
        }
    }
    Least::new(
        &[],
        format!("does not work with any set that was tried: {refusal}"),
    )
}

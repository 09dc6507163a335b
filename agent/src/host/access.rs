//! Which capabilities are needed after loading: tried with fewer and fewer, not looked up.
//!
//! Before 5.19 every bpf(2) command on an open descriptor wants `CAP_BPF` (before 5.8
//! `CAP_SYS_ADMIN`) when `unprivileged_bpf_disabled` is set; vendors backport both ways.

use std::fs;
use std::io;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libbpf_rs::{MapCore as _, MapFlags};

use super::{Fact, bpf, kernel};
use crate::filters;
use crate::sandbox::{self, Capabilities, Capability};

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
        let set: Capabilities = self.capabilities.iter().copied().collect();
        write!(f, "{set} ({})", self.how)
    }
}

/// Reading a map's entry by descriptor.
pub(super) fn maps(uid: u32) -> Least {
    const SETS: [&[Capability]; 3] = [&[], &[Capability::BPF], &[Capability::SYS_ADMIN]];
    match bpf::small_map() {
        Ok(map) => least(&SETS, uid, || {
            match map.lookup(&0_u32.to_ne_bytes(), MapFlags::ANY) {
                Ok(_) => Ok(()),
                Err(error) => Err(io::Error::other(error)),
            }
        }),
        Err(error) => Least::new(SETS[1], format!("assumed, no map can be made: {error:#}")),
    }
}

/// Attaching packet filters, tried on the loopback device of a network namespace made for it:
/// whether the kernel knows `clsact`, and what is needed to attach a loaded program to it.
pub(super) fn filters(supported: &Fact) -> (Fact, Least) {
    const SETS: [&[Capability]; 3] = [
        &[Capability::NET_ADMIN],
        &[Capability::NET_ADMIN, Capability::BPF],
        &[Capability::NET_ADMIN, Capability::SYS_ADMIN],
    ];
    let assumed = |why: &str| Least::new(SETS[0], format!("assumed, {why}"));
    if !supported.is_yes() {
        let why = "there are no packet filters";
        return (Fact::unknown(why), assumed(why));
    }
    let program = match bpf::trial_filter() {
        Ok((_, program)) => program,
        Err(error) => {
            let why = format!("a packet filter cannot be loaded: {error:#}");
            return (Fact::no(why), assumed("there are no packet filters"));
        }
    };
    let own = kernel::effective_capabilities();
    let mut refusal = String::new();
    for set in SETS {
        if !set.iter().all(|capability| own.has(*capability)) {
            continue;
        }
        match sandbox::in_spare_network(set, || filters::try_on_loopback(program.as_fd())) {
            Ok(Ok(())) => return (Fact::Yes, Least::new(set, how(&refusal))),
            Ok(Err(error)) => refusal = error.to_string(),
            Err(error) => {
                let why = format!("it could not be tried: {error:#}");
                return (Fact::unknown(&why), assumed(&why));
            }
        }
    }
    match refusal.is_empty() {
        true => {
            let why = "not permitted: attaching needs CAP_NET_ADMIN";
            (Fact::no(why), assumed(why))
        }
        false => (
            Fact::no(format!("the kernel refuses filters on clsact: {refusal}")),
            assumed("it does not work with any set that was tried"),
        ),
    }
}

/// Mounts that only one thread sees, tried on one that ends right afterwards.
pub(super) fn private_mounts() -> Fact {
    match sandbox::try_mounts() {
        Ok(()) => Fact::Yes,
        Err(error) => Fact::no(format!("{error:#}")),
    }
}

/// Filters on system calls, tried on a thread that ends right afterwards.
pub(super) fn seccomp() -> Fact {
    match sandbox::try_seccomp() {
        Ok(()) => Fact::Yes,
        Err(error) => Fact::no(format!("a filter is refused: {error:#}")),
    }
}

/// Reading whose executable another process runs.
pub(super) fn executables(uid: u32) -> Least {
    of_processes("exe", uid, |link| fs::read_link(link).map(drop))
}

/// Reading which sockets another process has.
pub(super) fn descriptors(uid: u32) -> Least {
    of_processes("fd", uid, |folder| {
        // Threads of the kernel have none, and would be no trial.
        let first = fs::read_dir(folder)?.flatten().next();
        let link = first.ok_or(io::ErrorKind::NotFound)?;
        fs::read_link(link.path()).map(drop)
    })
}

/// Reading something of other processes in `/proc`.
fn of_processes(name: &str, uid: u32, read: impl Fn(&Path) -> io::Result<()> + Sync) -> Least {
    const SETS: [&[Capability]; 3] = [
        &[],
        &[Capability::SYS_PTRACE],
        &[Capability::SYS_PTRACE, Capability::DAC_READ_SEARCH],
    ];
    // What nobody may read, not even this process now, tells nothing about fewer capabilities.
    let readable: Vec<PathBuf> = processes(name)
        .filter(|path| read(path).is_ok())
        .take(MAX_PROCESSES)
        .collect();
    if readable.is_empty() {
        return Least::new(SETS[1], "assumed, there is no other process to try it on");
    }
    let missed = Mutex::new(Vec::new());
    let ask = || {
        let mut refused = None;
        for path in &readable {
            match read(path) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => note(&missed, path),
                Err(error) => refused = refused.or(Some(error)),
            }
        }
        refused.map_or(Ok(()), Err)
    };
    // A process that ended meanwhile did not refuse; one that is still there is hidden (hidepid).
    let confirm = || {
        let mut missed = missed.lock().unwrap_or_else(PoisonError::into_inner);
        let hidden = missed.drain(..).any(|path| read(path).is_ok());
        match hidden {
            true => Err(io::Error::other("processes of others are hidden")),
            false => Ok(()),
        }
    };
    least_confirmed(&SETS, uid, ask, confirm)
}

fn note<'p>(missed: &Mutex<Vec<&'p Path>>, path: &'p Path) {
    let mut missed = missed.lock().unwrap_or_else(PoisonError::into_inner);
    missed.push(path);
}

/// A file or folder of every other process.
fn processes(file: &str) -> impl Iterator<Item = PathBuf> {
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
            (number != own).then(|| entry.path().join(file))
        })
}

fn how(refusal: &str) -> String {
    match refusal.is_empty() {
        true => "tried".to_owned(),
        false => format!("tried; with less: {refusal}"),
    }
}

/// The first set with which `ask` succeeds; the last resort is to keep nothing.
fn least(
    sets: &[&'static [Capability]],
    uid: u32,
    ask: impl Fn() -> io::Result<()> + Sync,
) -> Least {
    least_confirmed(sets, uid, ask, || Ok(()))
}

/// The same, where `confirm` sees with all capabilities whether an answer was right.
fn least_confirmed(
    sets: &[&'static [Capability]],
    uid: u32,
    ask: impl Fn() -> io::Result<()> + Sync,
    confirm: impl Fn() -> io::Result<()>,
) -> Least {
    let own = kernel::effective_capabilities();
    let mut refusal = String::new();
    for set in sets {
        if !set.iter().all(|capability| own.has(*capability)) {
            continue;
        }
        let answer = sandbox::with_only(set, uid, &ask);
        match answer.map(|answer| answer.and_then(|()| confirm())) {
            Ok(Ok(())) => {
                return Least::new(set, how(&refusal));
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

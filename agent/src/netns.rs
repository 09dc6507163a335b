//! The network namespaces in reach: the agent's own and each other one with a process in scope.
//!
//! What is to be read there is opened before the agent is confined, by a thread that enters the
//! namespace, and works from anywhere afterwards.

mod tenants;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::Result;
use log::warn;

use crate::{sandbox, tasks};
pub(crate) use tenants::{Census, Tenants};

/// Network namespaces watched at once: each takes descriptors and buffers.
const MAX: usize = 64;

/// What was opened in each.
#[derive(Debug)]
pub(crate) struct Reached<T> {
    /// The first is of the agent's own.
    pub(crate) all: Vec<T>,
    /// Namespaces that are left out: beyond the bound, or not to be opened.
    pub(crate) missed: u64,
}

/// Opens something in the own network namespace, and in every other one that has a process in
/// `scope` (a cgroup's path, `/` for everything).
///
/// `open` is told for how many namespaces it is called, so that they can share what is bounded.
///
/// Takes `CAP_SYS_ADMIN` for other namespaces; no other thread may be left when the agent is
/// confined, and none is.
///
/// # Errors
/// It cannot be opened in the own namespace; another one is counted and left out.
pub(crate) fn open_all<T: Send>(
    (proc, scope): (&Path, &str),
    open: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Reached<T>> {
    let others = others(proc, scope, u64::from(own_inode()?));
    let count = (1 + others.len()).min(MAX);
    let mut reached = Reached {
        all: vec![open(count)?],
        missed: 0,
    };
    for path in others.values() {
        if reached.all.len() >= MAX {
            reached.missed += 1;
            continue;
        }
        match inside(path, || open(count)) {
            Ok(one) => reached.all.push(one),
            Err(error) => {
                reached.missed += 1;
                let (path, error) = (path.display().to_string(), format!("{error:#}"));
                warn!(path = path.as_str(), error = error.as_str(); "network namespace not watched");
            }
        }
    }
    Ok(reached)
}

/// Inode number of the calling thread's network namespace.
pub(crate) fn own_inode() -> io::Result<u32> {
    let file = File::open("/proc/thread-self/ns/net").or_else(|_| File::open(own_namespace()))?;
    u32::try_from(file.metadata()?.ino()).map_err(io::Error::other)
}

/// The path of a thread's namespace on kernels before 3.17, which lack `/proc/thread-self`.
fn own_namespace() -> String {
    format!("/proc/self/task/{}/ns/net", nix::unistd::gettid())
}

/// Network namespaces of processes in scope, by inode number: one process's file for each.
fn others(proc: &Path, scope: &str, own: u64) -> BTreeMap<u64, PathBuf> {
    let mut found = BTreeMap::new();
    for number in tasks::processes(proc) {
        let directory = proc.join(number.to_string());
        let path = directory.join("ns/net");
        let Some(inode) = inode_of(&path).filter(|inode| *inode != own) else {
            continue;
        };
        if found.contains_key(&inode) {
            continue;
        }
        let cgroups = fs::read_to_string(directory.join("cgroup")).unwrap_or_default();
        if tasks::in_scope(&cgroups, scope) {
            found.insert(inode, path);
        }
    }
    found
}

/// Inode number of a namespace by the path of its file.
fn inode_of(path: &Path) -> Option<u64> {
    Some(path.metadata().ok()?.ino())
}

/// Runs `open` in the network namespace of a file.
fn inside<T: Send>(path: &Path, open: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let file = File::open(path)?;
    sandbox::in_network_of(&file, open)?
}

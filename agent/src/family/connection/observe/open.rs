//! Opening: the network namespaces in reach, each entered by a thread of its own.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::namespace::{Namespace, inode_of};
use super::tasks;
use crate::config::Config;
use crate::frame::OptionPrefix;
use crate::sandbox;

/// Network namespaces watched at once: each takes four descriptors and its buffers.
const MAX_SPACES: usize = 64;

/// More would be refused by a socket option that is a signed 32-bit number.
const MAX_RING_BYTES: u64 = 64 << 20;

/// What was opened while it was allowed.
#[derive(Debug)]
pub struct Opened {
    pub(super) spaces: Vec<Namespace>,
    /// Namespaces that are not watched.
    pub(super) missed: u64,
    /// The kernel tells of closed sockets.
    pub(super) told: bool,
    pub(super) prefix: OptionPrefix,
}

/// Opens the own network namespace and every other one that has a process in scope.
///
/// Takes `CAP_NET_RAW`, and `CAP_SYS_ADMIN` for other namespaces; no other thread may be left when
/// the agent is confined, and none is.
///
/// # Errors
/// The own namespace cannot be watched; another one is counted and left out.
pub fn open(config: &Config, told: bool, proc: &Path) -> Result<Opened> {
    let prefix = OptionPrefix {
        kind: config.option.kind.get(),
        exid: config.option.exid.get(),
    };
    let ring_bytes = usize::try_from(config.limits.ring_bytes.bytes().min(MAX_RING_BYTES));
    let ring_bytes = ring_bytes.context("limits.ring_bytes")?;
    let open = || Namespace::open(prefix, told, ring_bytes);
    let own = open().context("watch the own network namespace")?;
    let others = others(proc, &config.scope.cgroup, u64::from(own.inode));
    let mut spaces = vec![own];
    let mut missed = 0;
    for path in others.values() {
        if spaces.len() >= MAX_SPACES {
            missed += 1;
            continue;
        }
        match inside(path, open) {
            Ok(space) => spaces.push(space),
            Err(error) => {
                missed += 1;
                let path = path.display().to_string();
                ::log::warn!(path = path.as_str(), error = format!("{error:#}").as_str(); "network namespace not watched");
            }
        }
    }
    Ok(Opened {
        spaces,
        missed,
        told,
        prefix,
    })
}

/// Network namespaces of processes in scope, by inode number: one process's file for each.
pub(super) fn others(proc: &Path, scope: &str, own: u64) -> BTreeMap<u64, PathBuf> {
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

/// Runs `open` in the network namespace of a file.
pub(super) fn inside<T: Send>(path: &Path, open: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let file = File::open(path)?;
    sandbox::in_network_of(&file, open)?
}

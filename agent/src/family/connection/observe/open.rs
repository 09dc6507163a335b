//! Opening: what watches each network namespace in reach.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::namespace::{Namespace, Room};
use crate::config::Config;
use crate::frame::OptionPrefix;
use crate::netns::{self, Reached};

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
/// Takes `CAP_NET_RAW`, and `CAP_SYS_ADMIN` for other namespaces.
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
    let open = |spaces| Namespace::open(prefix, told, Room::each_of(spaces, ring_bytes));
    let place = (proc, config.scope.cgroup.as_str());
    let reached = netns::open_all(place, open).context("watch the own network namespace")?;
    let Reached { all, missed } = reached;
    Ok(Opened {
        spaces: all,
        missed,
        told,
        prefix,
    })
}

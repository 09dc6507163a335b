//! How far a look through `/proc` has come.

use std::fs;

use super::known::Owner;

/// A look through `/proc`, over as many turns as it takes.
#[derive(Debug)]
pub(super) struct Walk {
    /// Processes that are still to be looked at, the last one next.
    pub(super) left: Vec<u32>,
    pub(super) process: Option<Process>,
    /// Connections' sockets that it is to find.
    pub(super) open: usize,
    /// A listener is wanted, and all who have it, or what was looked for in vain before.
    pub(super) whole: bool,
    pub(super) took_ns: u64,
}

/// The process that is being looked at.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) number: u32,
    pub(super) entries: fs::ReadDir,
    /// Who it is, once that was asked.
    pub(super) owner: Option<Owner>,
    pub(super) epolls: Vec<u32>,
    /// Inode and descriptor.
    pub(super) listeners: Vec<(u32, u32)>,
}

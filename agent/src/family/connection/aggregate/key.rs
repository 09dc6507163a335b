//! What makes an edge one edge. Pure.

use bpf::abi;
use wire::{EdgeRow, Endpoint, Role};

use crate::family::connection::event::Connection;

/// What makes an edge one edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct EdgeKey {
    pub(super) process_id: u32,
    pub(super) role: Role,
    pub(super) local: Endpoint,
    pub(super) remote: Endpoint,
    pub(super) netns: u32,
    /// Nobody knows which side called `connect()`.
    pub(super) role_unknown: bool,
}

impl EdgeKey {
    /// Ephemeral ports are merged: the client's on both sides, where it is known which one that is.
    pub(super) fn of(event: &Connection, process_id: u32) -> Self {
        let (mut local, mut remote) = (event.local, event.remote);
        let role_unknown = event.has(abi::WB_FLAG_ROLE_UNKNOWN);
        match event.role {
            _ if role_unknown => {}
            Role::Client => local.port = 0,
            Role::Server => remote.port = 0,
        }
        Self {
            process_id,
            role: event.role,
            local,
            remote,
            netns: event.netns,
            role_unknown,
        }
    }

    /// Where changes go when the table is full: no address, so it never joins with anything.
    pub(super) fn catch_all(role: Role) -> Self {
        let none = Endpoint {
            addr: [0; 16],
            port: 0,
        };
        Self {
            process_id: 0,
            role,
            local: none,
            remote: none,
            netns: 0,
            role_unknown: false,
        }
    }
}

pub(super) fn empty_row(key: EdgeKey, since_ms: u64) -> EdgeRow {
    let ends = (key.process_id, key.role, key.local, key.remote);
    EdgeRow::new(ends, key.netns, since_ms)
}

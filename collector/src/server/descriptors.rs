//! Open files: as many as the connections take.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Files that are no connections: store, log, readers of the store, the runtime.
const OTHERS: u64 = 128;

/// Files that so many connections take, with all others.
#[must_use]
pub fn descriptors_for(connections: usize) -> u64 {
    (connections as u64).saturating_add(OTHERS)
}

/// Raises the limit of open files for so many connections, as far as it may be raised; how many
/// connections it is enough for.
pub(super) fn room_for(connections: usize) -> usize {
    let wanted = descriptors_for(connections);
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return connections;
    };
    let raised = wanted.min(hard);
    let have = if soft < raised && setrlimit(Resource::RLIMIT_NOFILE, raised, hard).is_ok() {
        raised
    } else {
        soft
    };
    let room = usize::try_from(have.saturating_sub(OTHERS).max(1)).unwrap_or(usize::MAX);
    if room < connections {
        log::warn!(
            connections, room, open_files = have;
            "limit of open files is too low for limits.connections"
        );
    }
    room.min(connections)
}

//! What the family has in the kernel: programs, what they are told, and what they know.

mod co_attached;
mod load;
mod moved;
mod scope;
mod state;
mod tables;

pub use load::{Loaded, apply, missed_runs, try_once};
pub use state::{PART_BYTES, Snapshot, decode_all, entries, paths_off, tell_listener};
pub use tables::{beat, clone_flags, replace_destinations, write_keys, write_settings};

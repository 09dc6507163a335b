//! Family `process`: identity of processes, who is behind a connection.
//!
//! An identity is what all processes of one program have in common: task name, program name,
//! cgroup and network namespace. It is what an edge belongs to, so that a thousand short-lived
//! workers are one line. Pure but for [`ProcFs`], which answers from `/proc` and the cgroup
//! tree while the process still lives. Owned by the event loop.
//!
//! Names come from processes, so they are hostile: see `text.rs`.

mod cgroup;
mod identity;
mod observed;
mod owners;
mod places;
mod processes;
mod procfs;
mod running;
mod snapshot;
mod text;

pub use identity::Identities;
pub use observed::Observed;
pub(crate) use owners::{Found, Owner, Owners, Place};
pub use processes::Processes;
pub use procfs::{HostProcFs, ProcFs};
pub(crate) use running::{decide, open};
pub use snapshot::{Past, Snapshot, SnapshotReader};

//! Running a piece of work with less: fewer capabilities, other namespaces, fewer system calls.
//!
//! What is tried here ends with the thread on which it is tried, and the process stays what it was;
//! what stays for good is the jail's. Knows neither facts nor plans.

mod capability;
mod mounts;
mod syscalls;
mod thread;

pub use capability::{Capabilities, Capability};
pub(crate) use mounts::{mount_tmpfs, mount_tracefs, private_mounts, read_only};
pub use mounts::{try_mounts, with_tracefs};
pub use syscalls::try_seccomp;
pub(crate) use syscalls::{Rules, apply, compile};
pub(crate) use thread::to_caps;
pub use thread::{in_network_of, in_spare_network, with_only};

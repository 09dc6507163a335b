//! The system calls of what listens to connection tracking.

use nix::libc;

use crate::calls::Caller;
use crate::calls::call::{Call, any};

/// Whose calls are the family's own.
pub(crate) const TRACKING: Caller = Caller::new("connection tracking", &[CALLS]);

/// The socket was opened before.
const CALLS: &[Call] = &[
    any(libc::SYS_getsockopt, "getsockopt", "news that were lost"),
    any(
        libc::SYS_recvfrom,
        "recvfrom",
        "news of connection tracking",
    ),
];

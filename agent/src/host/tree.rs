//! The words for the cgroup trees of a host.

use std::path::PathBuf;

/// How the host arranges its cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hierarchy {
    /// Controllers in v1 trees, and a cgroup2 tree beside them.
    Hybrid,
    /// No cgroups are mounted.
    None,
    /// v1 trees only.
    V1,
    /// One cgroup2 tree.
    V2,
}

impl Hierarchy {
    /// The name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hybrid => "hybrid",
            Self::None => "none",
            Self::V1 => "v1",
            Self::V2 => "v2",
        }
    }
}

/// Where the cgroup2 tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroup2 {
    /// Mounted, and reachable at this path.
    Mounted {
        /// Its root.
        at: PathBuf,
    },
    /// Out of reach, but the kernel has it.
    Mountable {
        /// Options with which it is mounted elsewhere, if it is: a mount with others would change
        /// them for the whole host.
        options: String,
    },
    /// The kernel does not have it.
    Missing {
        /// What was asked and answered.
        why: String,
    },
}

impl std::fmt::Display for Cgroup2 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mounted { at } => write!(f, "mounted at {}", at.display()),
            Self::Mountable { .. } => f.write_str("out of reach, can be mounted"),
            Self::Missing { why } => write!(f, "missing: {why}"),
        }
    }
}

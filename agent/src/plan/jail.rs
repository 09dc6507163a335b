//! What the jail must leave to the running agent: the least that its families work with.

use std::path::PathBuf;

use super::choice::Choice;
use super::seccomp::Seccomp;
use crate::host::HostFacts;
use crate::sandbox::{Capabilities, Capability};

/// What must still be there in the jail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailNeeds {
    /// Capabilities kept after loading, with the reason for each.
    pub capabilities: Vec<(Capability, String)>,
    /// Mounts inside the root directory, in the order in which they are made.
    pub mounts: Vec<JailMount>,
    /// User and group after loading; 0 is root.
    pub user: Choice<u32>,
    /// System calls kept after loading.
    pub seccomp: Seccomp,
    /// What is left to the process that keeps the packet filters, where there are any.
    pub keeper: Option<HelperNeeds>,
    /// What is left to the process that reads the operator's files again.
    pub reader: HelperNeeds,
}

impl JailNeeds {
    /// The capabilities without their reasons.
    #[must_use]
    pub fn capability_set(&self) -> Capabilities {
        set_of(&self.capabilities)
    }
}

/// What a helper process must still be able to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelperNeeds {
    /// Capabilities kept, with the reason for each.
    pub capabilities: Vec<(Capability, String)>,
    /// User and group; 0 is root.
    pub user: u32,
    /// System calls kept.
    pub seccomp: Seccomp,
}

impl HelperNeeds {
    /// The capabilities without their reasons.
    #[must_use]
    pub fn capability_set(&self) -> Capabilities {
        set_of(&self.capabilities)
    }
}

fn set_of(kept: &[(Capability, String)]) -> Capabilities {
    kept.iter().map(|(capability, _)| *capability).collect()
}

/// One mount inside the root directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JailMount {
    /// Where, relative to the root directory.
    pub target: &'static str,
    /// What.
    pub source: Source,
    /// How long.
    pub until: Until,
    /// Without it the agent starts all the same.
    pub optional: bool,
    /// What it is for.
    pub why: &'static str,
}

impl JailMount {
    /// The kernel's own description of its structures, where there is one, for who loads programs.
    pub(crate) fn types(facts: &HostFacts) -> Option<Self> {
        let why = "layout of kernel structures";
        let bind = || Self::bind("sys/kernel/btf", Until::Loaded, false, why);
        facts.btf.is_yes().then(bind)
    }

    /// The host's own file or directory, read-only, in the same place.
    pub(crate) fn bind(
        target: &'static str,
        until: Until,
        optional: bool,
        why: &'static str,
    ) -> Self {
        Self {
            target,
            source: Source::Host(PathBuf::from("/").join(target)),
            until,
            optional,
            why,
        }
    }
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The cgroup2 tree, where no mount of it is in reach; with these options.
    Cgroup2(String),
    /// A path of the host, read-only.
    Host(PathBuf),
    /// The directory itself, writable while everything around it is not.
    Itself,
    /// An empty directory in memory, writable.
    Tmpfs,
    /// The kernel's tracing directory.
    Tracefs {
        /// Probes are made there.
        writable: bool,
    },
}

impl Source {
    /// The name in reports.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Cgroup2(_) => "new cgroup2 mount, read-only".into(),
            Self::Host(path) => format!("the host's {}, read-only", path.display()),
            Self::Itself => "writable".into(),
            Self::Tmpfs => "new tmpfs, writable".into(),
            Self::Tracefs { writable: false } => "new tracefs mount, read-only".into(),
            Self::Tracefs { writable: true } => "new tracefs mount, writable".into(),
        }
    }
}

/// How long a mount stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Until {
    /// As long as the agent runs.
    End,
    /// Until the programs are loaded.
    Loaded,
}

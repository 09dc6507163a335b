//! `/run/status.json`: what the running agent says of itself, for `doctor` and for scripts.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::files;
use crate::jail::SandboxState;
use crate::plan::{HelperNeeds, JailNeeds, Seccomp, SeccompMode};
use crate::sandbox::Capability;

/// Name of the file below the run directory.
pub const FILE: &str = "status.json";

/// One status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Process id on the host.
    pub pid: u32,
    /// Unix milliseconds at which this run began.
    pub started_ms: u64,
    /// Unix milliseconds at which this was written.
    pub written_ms: u64,
    /// Injection mode.
    pub mode: String,
    /// Family and variant or reason.
    pub plan: Vec<(String, String)>,
    /// Peers for which the option is off, and why.
    pub paths_off: Vec<(String, String)>,
    /// What confined the agent when it began to measure, as it read it back from the kernel.
    #[serde(default)]
    pub jail: Option<SandboxState>,
    /// What it may still do and what for: of what it opened, whatever was planned.
    #[serde(default)]
    pub kept: Option<Kept>,
    /// Process id and the like of the process that keeps the packet filters.
    #[serde(default)]
    pub keeper: Option<Helper>,
    /// The same of the process that reads the operator's files again.
    #[serde(default)]
    pub reader: Option<Helper>,
    /// Every counter of the agent.
    pub counters: std::collections::BTreeMap<String, u64>,
}

/// What is left to a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Capabilities, and what each is for.
    pub capabilities: Vec<(String, String)>,
    /// Whose system calls are allowed, by the names of [`crate::calls::Caller`]; without a filter,
    /// none is named.
    pub callers: Vec<String>,
}

/// A process beside the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Helper {
    /// Process id on the host.
    pub pid: i32,
    /// What is left to it.
    pub kept: Kept,
}

impl Kept {
    /// What the plan leaves to the agent.
    #[must_use]
    pub fn of(needs: &JailNeeds) -> Self {
        Self::named(&needs.capabilities, &needs.seccomp)
    }

    fn named(capabilities: &[(Capability, String)], seccomp: &Seccomp) -> Self {
        let name = |(capability, why): &(Capability, String)| (capability.to_string(), why.clone());
        let callers = match seccomp.mode.value {
            SeccompMode::Off => &[],
            SeccompMode::Enforce | SeccompMode::Log => seccomp.callers.as_slice(),
        };
        Self {
            capabilities: capabilities.iter().map(name).collect(),
            callers: callers.iter().map(|one| one.name.to_owned()).collect(),
        }
    }
}

impl Helper {
    /// What the plan leaves to the process `pid`.
    #[must_use]
    pub fn of(needs: &HelperNeeds, pid: i32) -> Self {
        Self {
            pid,
            kept: Kept::named(&needs.capabilities, &needs.seccomp),
        }
    }
}

impl Status {
    /// What is in the file.
    ///
    /// # Errors
    /// Never, unless a name cannot be told in JSON.
    pub fn text(&self) -> io::Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(io::Error::other)
    }
}

/// Replaces the file in one step, so that a reader never sees half of it. Without a sync: it is worth
/// nothing after the power went. Waits for the disk.
///
/// # Errors
/// The directory cannot be written.
pub fn write(directory: &Path, text: &[u8]) -> io::Result<()> {
    files::replace_own(&directory.join(FILE), text, false)
}

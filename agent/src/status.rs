//! `/run/status.json`: what the running agent says of itself, for `doctor` and for scripts.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::jail::Seen;

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
    pub jail: Option<Seen>,
    /// Every counter of the agent.
    pub counters: std::collections::BTreeMap<String, u64>,
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
    let fresh = directory.join("status.json.new");
    fs::write(&fresh, text)?;
    fs::rename(fresh, directory.join(FILE))
}

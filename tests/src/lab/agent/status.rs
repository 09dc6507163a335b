//! What a running agent says about itself.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;

/// What a running agent says about itself in `status.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Status {
    /// Process id.
    pub pid: i32,
    /// Unix milliseconds at which this was written, at the end of an interval.
    pub written_ms: u64,
    /// Injection mode in force.
    pub mode: String,
    /// Family and variant, or the reason for none.
    pub plan: Vec<(String, String)>,
    /// Destinations for which the option is off.
    pub paths_off: Vec<serde_json::Value>,
    /// The agent's counters.
    pub counters: BTreeMap<String, u64>,
}

impl Status {
    /// One counter.
    ///
    /// # Errors
    /// When the agent has no such counter: a misspelt name must not read as 0.
    pub fn counter(&self, name: &str) -> Result<u64> {
        self.counters.get(name).copied().with_context(|| {
            let names: Vec<&str> = self.counters.keys().map(String::as_str).collect();
            format!("no counter {name} among {}", names.join(" "))
        })
    }
}

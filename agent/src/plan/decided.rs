//! What the agent does on this host.

use super::connection::absent_row;
use super::{Connection, Decision, JailNeeds, Needs};
use crate::config::Config;
use crate::host::HostFacts;

/// All decisions, and what the jail leaves for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Family `connection`.
    pub connection: Connection,
    /// The other families.
    pub families: Vec<Decision>,
    /// What the jail leaves.
    pub jail: JailNeeds,
    /// What works less than it seems to, one sentence each.
    pub warnings: Vec<String>,
}

impl Plan {
    /// Leaves the jail the capabilities and system calls of what really was opened, whatever was
    /// planned; to be called when everything was opened or given up.
    pub fn settle(&mut self, facts: &HostFacts, config: &Config, opened: &[Needs]) {
        self.jail.settle(facts, config, opened);
    }

    /// Name and decision with its reason, for reports and host rows.
    #[must_use]
    pub fn rows(&self) -> Vec<(String, String)> {
        let user = &self.jail.user;
        let seccomp = &self.jail.seccomp.mode;
        let own = [
            ("user", format!("{}: {}", user.value, user.reason)),
            (
                "seccomp",
                format!("{}: {}", seccomp.value.name(), seccomp.reason),
            ),
        ];
        let warnings = (!self.warnings.is_empty()).then(|| self.warnings.join("; "));
        let rows = self.connection.rows().into_iter();
        rows.chain(self.families.iter().map(Decision::row))
            .chain(own)
            .map(|(name, decision)| (name.to_owned(), decision))
            .chain(self.connection.types_row())
            .chain(absent_row(self.connection.absent))
            .chain(warnings.map(|all| ("warnings".to_owned(), all)))
            .chain(self.connection.refused.iter().cloned())
            .collect()
    }
}

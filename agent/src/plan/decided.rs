//! What the agent does on this host.

use super::{Decision, JailNeeds, Mode, Needs};
use crate::config::Config;
use crate::host::HostFacts;

/// All decisions, and what the jail leaves for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Each family, in the order of the registry.
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

    /// How connections of this host get their waybill.
    #[must_use]
    pub fn mode(&self) -> Mode {
        let mut modes = self.families.iter().rev().filter_map(|one| one.mode);
        modes.next().unwrap_or(Mode::Observe)
    }

    /// Whether the host's own configuration has the option written.
    #[must_use]
    pub fn may_write(&self, config: &Config) -> bool {
        self.mode() != Mode::Observe && !config.keys.is_empty()
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
        let rows = self.families.iter().flat_map(|one| &one.rows);
        let notes = self.families.iter().flat_map(|one| &one.notes);
        rows.cloned()
            .chain(own.map(|(name, decision)| (name.to_owned(), decision)))
            .chain(notes.cloned())
            .chain(warnings.map(|all| ("warnings".to_owned(), all)))
            .collect()
    }
}

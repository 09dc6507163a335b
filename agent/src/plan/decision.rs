//! What is decided for one family.

use super::{Choice, JailMount, Mode, Outcome};
use crate::calls::Caller;
use crate::host::Least;
use crate::sandbox::Capability;

/// How a family runs, or why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Its name, the same in every layer.
    pub family: &'static str,
    /// The name of the variant in which it runs, or why it does not.
    pub outcome: Outcome<&'static str>,
    /// How it marks connections, if that is for it to say.
    pub mode: Option<Mode>,
    /// Name and decision with its reason, for reports; none for what always runs.
    pub rows: Vec<(String, String)>,
    /// What is said behind all rows: what stands in for something, what the kernel refused.
    pub notes: Vec<(String, String)>,
    /// What must be left to the agent for it, if it runs.
    pub needs: Needs,
    /// What works less than it seems to, one sentence each.
    pub warnings: Vec<String>,
    /// What an operator may expect of it and does not get, one sentence each, for `doctor`.
    pub shortfalls: Vec<String>,
}

impl Decision {
    /// The family runs in this variant.
    #[must_use]
    pub fn run(family: &'static str, variant: Choice<&'static str>, needs: Needs) -> Self {
        let said = format!("{}: {}", variant.value, variant.reason);
        Self {
            rows: vec![(family.to_owned(), said)],
            outcome: Outcome::Run(variant),
            ..Self::always(family, needs)
        }
    }

    /// The family runs on every host, and there is nothing to say of it.
    #[must_use]
    pub fn always(family: &'static str, needs: Needs) -> Self {
        Self {
            family,
            outcome: Outcome::Run(Choice::new("on", "it always runs")),
            mode: None,
            rows: Vec::new(),
            notes: Vec::new(),
            needs,
            warnings: Vec::new(),
            shortfalls: Vec::new(),
        }
    }

    /// Whether it is to run.
    #[must_use]
    pub const fn runs(&self) -> bool {
        matches!(self.outcome, Outcome::Run(_))
    }

    /// Gives the family up.
    pub fn skip(&mut self, reason: String) {
        *self = Self {
            rows: vec![(self.family.to_owned(), format!("off: {reason}"))],
            outcome: Outcome::Skip { reason },
            ..Self::always(self.family, Needs::default())
        };
    }
}

/// What must be left to the agent for one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Capabilities kept after loading, with what each is for; one may be there twice.
    pub capabilities: Vec<(Capability, String)>,
    /// Mounts beside those that every agent has, in the order in which they are made.
    pub mounts: Vec<JailMount>,
    /// Whose system calls are kept.
    pub callers: Vec<Caller>,
    /// Capabilities of the process that keeps packet filters, if there is to be one.
    pub keeper: Option<Vec<(Capability, String)>>,
}

impl Needs {
    /// Adds the least capabilities with which something works.
    #[must_use]
    pub fn with(mut self, least: &Least, why: &str) -> Self {
        self.capabilities.extend(named(least, why));
        self
    }
}

/// Each of these capabilities with what it is for.
pub(crate) fn named(least: &Least, why: &str) -> impl Iterator<Item = (Capability, String)> {
    let capabilities = least.capabilities().iter();
    capabilities.map(move |one| (*one, why.to_owned()))
}

//! The rules that are in force, as people read them.

use std::sync::{Arc, PoisonError, RwLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::{RuleName, Said, Severity, Terms};

/// A rule, for people.
#[derive(Clone, Debug, PartialEq, JsonSchema, Serialize, Deserialize)]
pub struct RuleText {
    /// Its name.
    pub name: RuleName,
    /// The table it reads.
    pub table: String,
    /// Its expression, as it was written.
    pub expression: String,
    /// How bad it is.
    pub severity: Severity,
    /// For how long.
    pub terms: Terms,
    /// `shipped`, or the file it came from.
    pub source: String,
    /// Whether it is evaluated.
    pub enabled: bool,
    /// Its sentence, with places for numbers.
    pub summary: Said,
    /// What it means where it fires.
    pub meaning: Said,
    /// What it is likely to come from.
    pub causes: Vec<Said>,
    /// What to look at or do next.
    pub next_step: Said,
}

/// All of them; who evaluates publishes, who answers reads.
#[derive(Debug, Default)]
pub struct Catalogue(RwLock<Arc<Vec<RuleText>>>);

impl Catalogue {
    /// Puts others in their place.
    pub fn publish(&self, mut rules: Vec<RuleText>) {
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(rules);
    }

    /// All, by name.
    #[must_use]
    pub fn all(&self) -> Arc<Vec<RuleText>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// One of them.
    #[must_use]
    pub fn find(&self, name: &RuleName) -> Option<RuleText> {
        self.all().iter().find(|rule| rule.name == *name).cloned()
    }
}

//! What people may do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a person may do; each rank may do what those before it may.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, JsonSchema, Serialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Rank {
    /// Sees what hosts report.
    Viewer,
    /// Changes what the fleet does.
    Operator,
    /// Sees and changes who may do what.
    Admin,
}

impl Rank {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The rank of a word.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|rank| rank.name() == word)
    }

    /// Its word, in files, databases and answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

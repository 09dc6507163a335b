//! A rule, checked, and rules that are judged together.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::cases::Case;
use super::expr::{Aggregate, Expr};
use super::source::Source;
use super::unit::Unit;
use super::words::{Language, Texts};
use crate::alert::finding::{RuleName, Severity, Terms};

/// Most rules at once.
pub const MAX_RULES: usize = 1000;

/// A rule, checked.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name.
    pub name: RuleName,
    /// Where its rows are from.
    pub source: Source,
    /// How rows make groups, each of which is a subject.
    pub by: By,
    /// Of which rows.
    pub rows: Option<Expr>,
    /// Columns that make the whole of which groups are parts.
    pub within: Vec<String>,
    /// How much time rows are from, milliseconds.
    pub window_ms: i64,
    /// How long it must hold.
    pub terms: Terms,
    /// What groups collect.
    pub aggregates: Vec<Aggregate>,
    /// Of what it asks what is usual.
    pub usuals: Vec<Expr>,
    /// Days of which something must be known before anything is usual.
    pub days: u32,
    /// Whether what told nothing, while its host told something, added nothing; for what is usually
    /// there.
    pub missing_is_zero: bool,
    /// Its limits by name.
    pub limits: Vec<Limit>,
    /// The groups that it judges.
    pub only_where: Option<Expr>,
    /// What is shown beside what is usual.
    pub value: Expr,
    /// Its unit, and how that is written.
    pub unit: (Unit, String),
    /// What is usual of it, where it says so.
    pub usual: Option<usize>,
    /// When to warn.
    pub warning: Option<Expr>,
    /// When it is critical.
    pub critical: Option<Expr>,
    /// Further numbers for its sentences.
    pub numbers: Vec<(String, Expr, Unit)>,
    /// What it says.
    pub words: [Texts; 2],
    /// What it is tried with.
    pub cases: Vec<Case>,
    /// Whether it came with this program.
    pub shipped: bool,
    /// Whether it is judged.
    pub enabled: bool,
    /// The text of its expressions, for people.
    pub text: Shown,
}

/// How rows make groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// One of [`Source::subjects`].
    Subject(&'static str),
    /// Columns of a described table.
    Columns(Vec<String>),
}

/// A number that an operator may change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limit {
    /// Its name.
    pub name: String,
    /// In seconds, bytes or pieces.
    pub value: f64,
    /// As it was written.
    pub text: String,
}

/// A rule as people read it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, schemars::JsonSchema)]
pub struct Shown {
    /// The family it is about.
    pub family: String,
    /// Where its rows are from.
    pub of: String,
    /// How they are grouped.
    pub by: String,
    /// Of which rows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rows: String,
    /// Which groups it judges.
    #[serde(rename = "where", skip_serializing_if = "String::is_empty")]
    pub only_where: String,
    /// What it computes.
    pub value: String,
    /// When it warns.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub warning: String,
    /// When it is critical.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub critical: String,
}

/// Rules that are judged together.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    all: BTreeMap<RuleName, Arc<Rule>>,
}

impl Rules {
    /// These; of two with one name the later one.
    pub fn of(rules: impl IntoIterator<Item = Rule>) -> Self {
        let named = |rule: Rule| (rule.name.clone(), Arc::new(rule));
        Self {
            all: rules.into_iter().map(named).collect(),
        }
    }

    /// The rule of that name.
    #[must_use]
    pub fn get(&self, name: &RuleName) -> Option<&Arc<Rule>> {
        self.all.get(name)
    }

    /// All by name, those that are off among them.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Rule>> {
        self.all.values()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

impl Rule {
    /// The worst that it finds.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match self.critical {
            Some(_) => Severity::Critical,
            None => Severity::Warning,
        }
    }

    /// What it means, what is likely and what to do.
    #[must_use]
    pub fn texts(&self, language: Language) -> &Texts {
        &self.words[language as usize]
    }
}

impl By {
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Subject(subject) => String::from(*subject),
            Self::Columns(columns) => columns.join(", "),
        }
    }
}

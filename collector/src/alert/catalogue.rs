//! The rules that are in force, as people read them.

use std::sync::{Arc, PoisonError, RwLock};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::{RuleName, Said, Severity, Terms};
use super::rule::words::Texts;
use super::rule::{Rule, Rules};

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
    /// Puts these in their place.
    pub fn publish(&self, rules: &Rules) {
        // By name, as they come.
        let rules = rules.iter().map(|rule| text(rule)).collect();
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

/// A rule for people.
fn text(rule: &Rule) -> RuleText {
    let said = |of: fn(&Texts) -> &String| Said {
        en: of(&rule.words[0]).clone(),
        zh: of(&rule.words[1]).clone(),
    };
    let causes = rule.words[0].causes.iter().zip(&rule.words[1].causes);
    let shown = &rule.text;
    let parts = [
        ("rows", &shown.rows),
        ("where", &shown.only_where),
        ("value", &shown.value),
        ("warning", &shown.warning),
        ("critical", &shown.critical),
    ];
    let parts = parts.iter().filter(|(_, text)| !text.is_empty());
    let parts: Vec<String> = parts.map(|(key, text)| format!("{key}: {text}")).collect();
    let limits = rule.limits.iter();
    let limits = limits.map(|limit| format!("limit.{} = {}", limit.name, limit.text));
    let source = match rule.shipped {
        true => "shipped",
        false => "own",
    };
    RuleText {
        name: rule.name.clone(),
        table: shown.of.clone(),
        expression: parts
            .into_iter()
            .chain(limits)
            .collect::<Vec<_>>()
            .join("\n"),
        severity: rule.severity(),
        terms: rule.terms,
        source: String::from(source),
        enabled: rule.enabled,
        summary: said(|texts| &texts.summary),
        meaning: said(|texts| &texts.meaning),
        causes: causes
            .map(|(en, zh)| Said {
                en: en.clone(),
                zh: zh.clone(),
            })
            .collect(),
        next_step: said(|texts| &texts.next),
    }
}

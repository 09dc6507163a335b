//! A file of rules as it is written.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// What is changed of a rule that came with the program.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Change {
    pub(super) enable: Option<bool>,
    #[serde(rename = "for")]
    pub(super) hold: Option<Spanned<String>>,
    pub(super) keep_for: Option<Spanned<String>>,
    pub(super) limits: BTreeMap<String, Spanned<toml::Value>>,
}

/// A rule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Rule {
    pub(super) name: Spanned<String>,
    pub(super) family: Option<Spanned<String>>,
    pub(super) of: Spanned<String>,
    pub(super) by: Option<Spanned<OneOrMore>>,
    pub(super) rows: Option<Spanned<String>>,
    pub(super) within: Option<Spanned<OneOrMore>>,
    pub(super) window: Option<Spanned<String>>,
    #[serde(rename = "for")]
    pub(super) hold: Option<Spanned<String>>,
    pub(super) keep_for: Option<Spanned<String>>,
    pub(super) days: Option<Spanned<i64>>,
    pub(super) missing: Option<Spanned<String>>,
    #[serde(default)]
    pub(super) limits: BTreeMap<String, Spanned<toml::Value>>,
    #[serde(default)]
    pub(super) numbers: BTreeMap<String, Spanned<String>>,
    #[serde(rename = "where")]
    pub(super) only_where: Option<Spanned<String>>,
    pub(super) value: Spanned<String>,
    pub(super) unit: Option<Spanned<String>>,
    pub(super) warning: Option<Spanned<String>>,
    pub(super) critical: Option<Spanned<String>>,
    pub(super) en: Texts,
    pub(super) zh: Texts,
    #[serde(default)]
    pub(super) test: Vec<Spanned<Case>>,
    #[serde(default)]
    pub(super) enable: Option<bool>,
}

/// One name or several.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// What a rule says in a language.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Texts {
    pub(super) summary: Spanned<String>,
    pub(super) meaning: String,
    pub(super) causes: Vec<String>,
    pub(super) next: String,
}

/// Rows, and what is found in them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) rows: Vec<BTreeMap<String, toml::Value>>,
    #[serde(default)]
    pub(super) usual: Vec<BTreeMap<String, toml::Value>>,
    #[serde(default)]
    pub(super) fires: Option<String>,
    #[serde(default)]
    pub(super) on: Option<String>,
    #[serde(default)]
    pub(super) says: Option<String>,
}

impl OneOrMore {
    pub(super) fn list(&self) -> Vec<String> {
        match self {
            Self::One(name) => vec![name.clone()],
            Self::More(names) => names.clone(),
        }
    }
}

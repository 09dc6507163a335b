//! What a rule is tried with: rows, and what it finds in them.

use std::collections::BTreeMap;

use toml::Value;

use super::raw;
use super::source::Source;
use crate::alert::finding::Severity;

/// Most rows of a case.
const MAX_ROWS: usize = 1000;

/// Rows, and what is found in them.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Rows by their columns.
    pub rows: Vec<BTreeMap<String, Value>>,
    /// Rows of the same hour of each day before.
    pub usual: Vec<BTreeMap<String, Value>>,
    /// What it finds, once and only once; nothing where there is none.
    pub fires: Option<Severity>,
    /// Of what.
    pub on: Option<String>,
    /// A part of its sentence.
    pub says: Option<String>,
}

impl Case {
    /// Of what was written.
    pub(super) fn of(source: &Source, raw: raw::Case) -> Result<Self, String> {
        if raw.rows.len() > MAX_ROWS || raw.usual.len() > MAX_ROWS {
            return Err(format!("a test has at most {MAX_ROWS} rows"));
        }
        for name in raw.rows.iter().chain(&raw.usual).flat_map(BTreeMap::keys) {
            if source.column(name).is_none() {
                return Err(source.unknown(name));
            }
        }
        let fires = match raw.fires.as_deref() {
            None => None,
            Some("warning") => Some(Severity::Warning),
            Some("critical") => Some(Severity::Critical),
            Some(_) => {
                return Err(String::from(
                    "fires is \"warning\", \"critical\" or left out",
                ));
            }
        };
        Ok(Self {
            rows: raw.rows,
            usual: raw.usual,
            fires,
            on: raw.on,
            says: raw.says,
        })
    }
}

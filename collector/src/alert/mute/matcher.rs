//! Which alerts are meant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::alert::labels::{LABELS, Labels};

/// Most bytes of a value.
const VALUE_BYTES: usize = 256;
/// Most conditions of one silence.
const MOST: usize = 16;

/// A condition on a label of an alert.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    /// `rule`, `severity`, `kind`, `host` (name or id), `service`, `client`, `server`, `endpoint`,
    /// `gateway` or `table`.
    pub label: String,
    /// The value; `*` stands for any text.
    pub value: String,
    /// Those are meant that have no such value.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not: bool,
}

impl Matcher {
    /// Whether an alert with these labels meets it.
    #[must_use]
    pub fn meets(&self, labels: &Labels) -> bool {
        let values = labels.get(self.label.as_str());
        let has = values.is_some_and(|all| all.iter().any(|value| glob(&self.value, value)));
        has != self.not
    }

    /// Checks what somebody gave.
    ///
    /// # Errors
    /// A sentence with what is wrong.
    pub fn check(all: &[Self]) -> Result<(), String> {
        if all.is_empty() || all.len() > MOST {
            return Err(format!("matchers: expected 1 to {MOST}"));
        }
        if all.iter().all(|one| one.not) {
            let why = "matchers: expected one that is not negated, or nearly everything is meant";
            return Err(String::from(why));
        }
        for one in all {
            if !LABELS.contains(&one.label.as_str()) {
                let labels = LABELS.join(", ");
                let label = crate::escape::shorten(&one.label, 40);
                return Err(format!("matchers: no label {label:?}; there are {labels}"));
            }
            if one.value.is_empty() || one.value.len() > VALUE_BYTES {
                return Err(format!(
                    "matchers: expected a value of 1 to {VALUE_BYTES} bytes"
                ));
            }
        }
        Ok(())
    }
}

/// Whether a text is of a pattern in which `*` stands for any text. Linear in practice and never
/// worse than the product of both lengths.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut at, mut seen, mut star) = (0, 0, None);
    while seen < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, seen));
                at += 1;
            }
            Some(byte) if *byte == text[seen] => {
                at += 1;
                seen += 1;
            }
            _ => match star {
                // The star takes one byte more.
                Some((back, from)) => {
                    star = Some((back, from + 1));
                    at = back + 1;
                    seen = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

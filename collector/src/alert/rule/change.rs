//! What a file changes of rules that came with the program.

use super::definition::{Limit, Rule};
use super::expr::Type;
use super::parse::{self, What};
use super::unit::Unit;
use crate::alert::finding::RuleName;

/// What a file changes of a rule.
#[derive(Debug)]
pub struct Changed {
    pub(super) name: RuleName,
    pub(super) enable: Option<bool>,
    pub(super) for_ms: Option<i64>,
    pub(super) keep_for_ms: Option<i64>,
    pub(super) limits: Vec<(Limit, Type)>,
    /// Where it stands, for mistakes.
    pub(super) place: String,
}

impl Changed {
    /// Changes a rule among these.
    ///
    /// # Errors
    /// A line that says what cannot be changed.
    pub fn apply(&self, rules: &mut [Rule]) -> Result<(), String> {
        let Some(rule) = rules.iter_mut().find(|rule| rule.name == self.name) else {
            return Err(format!("{}: there is no rule {}", self.place, self.name));
        };
        for (limit, of) in &self.limits {
            let Some(known) = rule
                .limits
                .iter_mut()
                .find(|known| known.name == limit.name)
            else {
                let names: Vec<&str> = rule.limits.iter().map(|l| l.name.as_str()).collect();
                let names = names.join(", ");
                return Err(format!(
                    "{}: rule {} has no limit {:?}; there are: {names}",
                    self.place, self.name, limit.name
                ));
            };
            if let (Some(was), Type::Number(is)) = (unit_of(&known.text), of)
                && was != *is
            {
                return Err(format!(
                    "{}: limit {} of rule {} is {was}, and not {is}",
                    self.place, limit.name, self.name
                ));
            }
            known.clone_from(limit);
        }
        rule.enabled = self.enable.unwrap_or(rule.enabled);
        rule.terms.for_ms = self.for_ms.unwrap_or(rule.terms.for_ms);
        rule.terms.keep_for_ms = self.keep_for_ms.unwrap_or(rule.terms.keep_for_ms);
        Ok(())
    }
}

/// The unit of a limit as it was written; none of zero, which has every unit.
fn unit_of(text: &str) -> Option<Unit> {
    match parse::parse(text).map(|node| node.what) {
        Ok(What::Number(value, unit)) if value != 0.0 => Some(unit),
        _ => None,
    }
}

//! One choice and its reason.

/// A choice with its reason in an operator's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice<T> {
    /// What was chosen.
    pub value: T,
    /// Why.
    pub reason: String,
}

impl<T> Choice<T> {
    pub(crate) fn new(value: T, reason: impl Into<String>) -> Self {
        Self {
            value,
            reason: reason.into(),
        }
    }
}

/// How a family runs, or why it does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<V> {
    /// It runs in this variant.
    Run(Choice<V>),
    /// It does not run.
    Skip {
        /// What is missing, in an operator's words.
        reason: String,
    },
}

//! Values with their defaults, and mistakes before it is known in which file.

use super::raw::{self, Text};

/// A key path and what was expected there.
pub(super) type Mistake = (String, String);

/// All that were found.
#[derive(Debug, Default)]
pub(super) struct Mistakes(pub(super) Vec<Mistake>);

impl Mistakes {
    /// One more.
    pub(super) fn add(&mut self, key: &str, message: &str) {
        self.0.push((key.to_owned(), message.to_owned()));
    }

    /// The value, or one mistake more.
    pub(super) fn keep<T>(&mut self, checked: Result<T, Mistake>) -> Option<T> {
        checked.map_err(|mistake| self.0.push(mistake)).ok()
    }
}

/// A mistake at a key.
pub(super) fn wrong<T>(key: impl Into<String>, message: impl Into<String>) -> Result<T, Mistake> {
    Err((key.into(), message.into()))
}

/// The value that was written, or the default.
pub(super) fn or<T>(value: Option<Text<T>>, default: T) -> T {
    value.map_or(default, |Text(value)| value)
}

/// A value that has to be written.
pub(super) fn required<T: raw::FromText>(
    key: &'static str,
    value: Option<Text<T>>,
) -> Result<T, Mistake> {
    value
        .map(|Text(value)| value)
        .ok_or_else(|| (key.to_owned(), format!("missing, expected {}", T::EXPECTED)))
}

//! A mistake before it is known in which file.

/// A key path and what was expected there.
pub(super) type Mistake = (String, String);

/// A mistake at a key.
pub(super) fn wrong<T>(
    key: impl Into<String>,
    message: impl Into<String>,
) -> Result<T, Mistake> {
    Err((key.into(), message.into()))
}

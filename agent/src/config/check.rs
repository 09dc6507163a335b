//! One value of one key: what it must be, and its default.

use std::time::Duration;

use notation::{A_DURATION, format_duration, parse_duration};

use super::section::{At, Problems};
use super::value::{ByteSize, Expected};

/// Characters of a name.
const MAX_NAME: usize = 128;

/// The checked value of one key, or its default.
pub(super) fn value<T, U>(
    field: Option<At<T>>,
    default: U,
    problems: &mut Problems<'_>,
    check: impl FnOnce(T) -> Result<U, Expected>,
) -> U {
    optional(field, problems, check).unwrap_or(default)
}

/// The checked value of one key that has no default.
pub(super) fn optional<T, U>(
    field: Option<At<T>>,
    problems: &mut Problems<'_>,
    check: impl FnOnce(T) -> Result<U, Expected>,
) -> Option<U> {
    let At { value, place } = field?;
    match check(value) {
        Ok(value) => Some(value),
        Err(Expected(expected)) => {
            problems.wrong(&place, &expected);
            None
        }
    }
}

/// The value of one key that must be there.
pub(super) fn required<T>(
    field: Option<At<T>>,
    key: &str,
    expected: &str,
    problems: &mut Problems<'_>,
) -> Option<At<T>> {
    if field.is_none() && !problems.mentions(key) {
        problems.missing(key, expected);
    }
    field
}

pub(super) fn duration(
    min: Duration,
    max: Duration,
) -> impl FnOnce(String) -> Result<Duration, Expected> {
    move |text| {
        let duration = parse_duration(&text);
        let duration = duration.ok_or_else(|| Expected(A_DURATION.to_owned()))?;
        if duration < min || duration > max {
            let (min, max) = (format_duration(min), format_duration(max));
            return Err(Expected(format!("a duration from {min} to {max}")));
        }
        Ok(duration)
    }
}

pub(super) fn size(min: u64, max: u64) -> impl FnOnce(String) -> Result<ByteSize, Expected> {
    move |text| {
        let size: ByteSize = text.parse()?;
        if size.bytes() < min || size.bytes() > max {
            let (min, max) = (ByteSize::new(min), ByteSize::new(max));
            return Err(Expected(format!("a size from {min} to {max}")));
        }
        Ok(size)
    }
}

pub(super) fn number(min: u32, max: u32) -> impl FnOnce(i64) -> Result<u32, Expected> {
    move |value| match u32::try_from(value) {
        Ok(value) if (min..=max).contains(&value) => Ok(value),
        _ => Err(Expected(format!("a number from {min} to {max}"))),
    }
}

/// Names travel to the collector and its pages: short and printable.
pub(super) fn label(what: &'static str) -> impl FnOnce(String) -> Result<String, Expected> {
    move |text| {
        if text.is_empty() || text.chars().count() > MAX_NAME || text.chars().any(char::is_control)
        {
            return Err(Expected(format!(
                "{what} of 1 to {MAX_NAME} printable characters"
            )));
        }
        Ok(text)
    }
}

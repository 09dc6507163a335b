//! Points in time as operators write and read them. Times inside are Unix milliseconds.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use notation::parse_duration;
pub use notation::rfc3339;

/// Unix times from 1973 to 5138 have twelve to fourteen digits in milliseconds; what is smaller or
/// larger is one of these in another unit.
const DIGITS_MS: std::ops::Range<i64> = 100_000_000_000..100_000_000_000_000;

/// The time now.
#[must_use]
pub fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, whole_ms)
}

/// The time by a clock that nobody sets, for distances.
#[must_use]
pub fn monotonic() -> Instant {
    Instant::now()
}

/// A duration in milliseconds, at most `i64::MAX`.
#[must_use]
pub fn whole_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// Reads `2026-01-02T03:04:05Z`, in any zone that it names by its distance to UTC, a Unix time
/// between 1973 and 5138, whose unit its digits tell, `0`, `now`, or a duration before `now_ms` such
/// as `90m` or `-90m`.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_point(text: &str, now_ms: i64) -> Result<i64, String> {
    if let Ok(number) = text.parse::<i64>() {
        return unix(number).ok_or_else(|| {
            String::from(
                "no Unix time between 1973 and 5138 in seconds, milli-, micro- or nanoseconds; a \
                 duration before now has a unit, such as \"90m\"",
            )
        });
    }
    if text == "now" {
        return Ok(now_ms);
    }
    if let Some(ago) = parse_duration(text.strip_prefix('-').unwrap_or(text)) {
        return Ok(now_ms.saturating_sub(whole_ms(ago)));
    }
    text.parse().map(Timestamp::as_millisecond).map_err(|_| {
        String::from(
            "expected a UTC time such as 2026-01-02T03:04:05Z, a duration before now such as \
             \"90m\", or a Unix time in seconds or milliseconds",
        )
    })
}

/// A Unix time in milliseconds, from seconds, milli-, micro- or nanoseconds; 0 is 1970.
fn unix(number: i64) -> Option<i64> {
    let scales = [number.checked_mul(1000), Some(number)];
    let finer = [number / 1000, number / 1_000_000].map(Some);
    let all = scales.into_iter().chain(finer).flatten();
    let mut fitting = all.filter(|ms| DIGITS_MS.contains(ms) || number == 0);
    fitting.next()
}

/// Takes a number as the Unix milliseconds that its name promises.
///
/// # Errors
/// A sentence, where it is none between 1973 and 5138, nor 0.
pub fn check_ms(ms: i64) -> Result<(), String> {
    if ms == 0 || DIGITS_MS.contains(&ms) {
        return Ok(());
    }
    let meant = unix(ms).map(|meant| {
        let time = rfc3339(meant);
        format!("; if another unit is meant, {time} is {meant}")
    });
    let meant = meant.unwrap_or_default();
    Err(format!(
        "{ms} is no Unix time in milliseconds between 1973 and 5138{meant}"
    ))
}

#[cfg(test)]
mod tests {
    use super::{check_ms, parse_point, rfc3339};

    #[test]
    fn a_time_survives_writing_and_reading() {
        for ms in [0, 951_782_400_000, 1_709_251_199_999, 4_102_444_800_123, -1] {
            assert_eq!(parse_point(&rfc3339(ms), 0), Ok(ms), "{}", rfc3339(ms));
        }
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
        assert_eq!(rfc3339(i64::MAX), "9999-12-30T22:00:00.999Z");
        assert!(rfc3339(i64::MIN).starts_with("-009999-01-02T"));
    }

    #[test]
    fn a_time_may_name_another_zone_but_must_name_one() {
        let utc = parse_point("2026-01-02T03:04:05Z", 0);
        assert_eq!(parse_point("2026-01-02T05:04:05+02:00", 0), utc);
        assert!(parse_point("2026-01-02T03:04:05", 0).is_err());
    }

    #[test]
    fn a_duration_means_before_now() {
        assert_eq!(parse_point("90m", 6_000_000), Ok(600_000));
        assert_eq!(parse_point("-90m", 6_000_000), Ok(600_000));
        assert_eq!(parse_point("now", 6_000_000), Ok(6_000_000));
    }

    #[test]
    fn the_digits_of_a_unix_time_tell_its_unit() {
        for text in [
            "1764430000",
            "1764430000000",
            "1764430000000000",
            "1764430000000000000",
        ] {
            assert_eq!(parse_point(text, 0), Ok(1_764_430_000_000), "{text}");
        }
        assert_eq!(parse_point("0", 5), Ok(0));
        assert_eq!(parse_point("100000000", 0), Ok(100_000_000_000));
        for bad in ["90", "-1", "99999999", "-1764430000"] {
            let refused = parse_point(bad, 0).unwrap_err();
            assert!(refused.contains("no Unix time"), "{bad}: {refused}");
        }
    }

    #[test]
    fn what_is_called_milliseconds_is_milliseconds() {
        assert_eq!(check_ms(0), Ok(()));
        assert_eq!(check_ms(1_764_430_000_000), Ok(()));
        let refused = check_ms(1_764_430_000).unwrap_err();
        assert!(
            refused.ends_with("2025-11-29T15:26:40.000Z is 1764430000000"),
            "{refused}"
        );
        assert!(check_ms(5).is_err() && check_ms(-5).is_err() && check_ms(i64::MAX).is_err());
    }

    #[test]
    fn what_is_not_a_time_is_refused_with_an_example() {
        for bad in [
            "",
            "yesterday",
            "2023-02-29T00:00:00Z",
            "2024-13-01T00:00:00Z",
            "5 m",
            "--5m",
            "+5m",
            "NaN",
            "2024-01-01T00:00:00",
            "2024-01-01T24:00:00Z",
            "99999999999999999999d",
        ] {
            assert!(
                parse_point(bad, 0)
                    .unwrap_err()
                    .contains("2026-01-02T03:04:05Z"),
                "{bad}"
            );
        }
    }
}

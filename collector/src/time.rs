//! Points in time as operators write and read them. Times inside are Unix milliseconds.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds of a day.
const DAY_MS: i64 = 86_400_000;

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

/// `2026-01-02T03:04:05.678Z`; years outside 0..=9999 are clamped.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    let ms = ms.clamp(-62_167_219_200_000, 253_402_300_799_999);
    let (days, rest) = (ms.div_euclid(DAY_MS), ms.rem_euclid(DAY_MS));
    let (year, month, day) = civil(days);
    let (hour, minute) = (rest / 3_600_000, rest / 60_000 % 60);
    let (second, milli) = (rest / 1000 % 60, rest % 1000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
}

/// Reads `2026-01-02T03:04:05Z`, a Unix time between 1973 and 5138, whose unit its digits tell, `0`,
/// or a duration before `now_ms` such as `90m`.
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
    if let Some(ago) = parse_duration(text) {
        return Ok(now_ms.saturating_sub(whole_ms(ago)));
    }
    parse_rfc3339(text).ok_or_else(|| {
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

/// Reads `10s`, `5m`, `12h`, `7d` or `250ms`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let count: u64 = text[..digits].parse().ok()?;
    let unit_ms: u64 = match &text[digits..] {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    count.checked_mul(unit_ms).map(Duration::from_millis)
}

fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let mut date = date.splitn(3, '-').map(number);
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let (clock, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let mut clock = clock.splitn(3, ':').map(number);
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next()??);
    let in_range = year <= 9999
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    let fraction = format!("{fraction:0<3}");
    let milli = number(fraction.get(..3)?)?;
    let days = days_from_civil(year, month, day);
    // A day that the month does not have comes back as another one.
    if !in_range || civil(days) != (year, month, day) {
        return None;
    }
    Some(days * DAY_MS + ((hour * 60 + minute) * 60 + second) * 1000 + milli)
}

fn number(text: &str) -> Option<i64> {
    let plain = !text.is_empty() && text.len() <= 4 && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| text.parse().ok())?
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
///
/// Counts from 1 March, so that the leap day is the last of its year.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day = days.rem_euclid(146_097);
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::{check_ms, parse_duration, parse_point, rfc3339};
    use std::time::Duration;

    #[test]
    fn a_time_survives_writing_and_reading() {
        for ms in [0, 951_782_400_000, 1_709_251_199_999, 4_102_444_800_123, -1] {
            assert_eq!(parse_point(&rfc3339(ms), 0), Ok(ms), "{}", rfc3339(ms));
        }
        assert_eq!(rfc3339(951_782_400_000), "2000-02-29T00:00:00.000Z");
    }

    #[test]
    fn a_duration_means_before_now() {
        assert_eq!(parse_point("90m", 6_000_000), Ok(600_000));
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
            "-5m",
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

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(parse_duration("7d"), Some(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("250ms"), Some(Duration::from_millis(250)));
        for bad in ["7", "d", "7w", "7 d", "-7d", "1.5h"] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}

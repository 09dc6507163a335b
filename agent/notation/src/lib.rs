//! How sizes, durations, times and bytes are written as text: in both configurations, in logs,
//! reports and files that people copy.

#![forbid(unsafe_code)]

use std::time::Duration;

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use jiff::Timestamp;

/// What [`parse_size`] takes, in the words of an error.
pub const A_SIZE: &str = "a size such as \"64KiB\", \"256MiB\" or \"1GiB\"";
/// What [`parse_duration`] takes, in the words of an error.
pub const A_DURATION: &str = "a duration such as \"500ms\", \"10s\", \"5m\", \"12h\" or \"7d\"";

/// From the smallest on; a unit that ends like another one stands behind it.
const SIZES: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

const MILLISECONDS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

/// Bytes of `4096`, `4096B`, `64KiB`, `256MiB`, `1GiB` or `2TiB`.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok(),
        false => parse(text, &SIZES),
    }
}

/// Writes a size as [`parse_size`] reads it, in the largest unit that divides it.
#[must_use]
pub fn format_size(bytes: u64) -> String {
    format(bytes, &SIZES)
}

/// Reads `500ms`, `10s`, `5m`, `12h` or `7d`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &MILLISECONDS).map(Duration::from_millis)
}

/// Writes a duration as [`parse_duration`] reads it, in whole milliseconds or the largest unit that
/// divides it.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    format(millis, &MILLISECONDS)
}

/// Digits and one of the units, and nothing else: not even a sign.
fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn format(number: u64, units: &[(&str, u64)]) -> String {
    let divides = |(_, factor): &&(&str, u64)| number >= *factor && number.is_multiple_of(*factor);
    let (unit, factor) = units.iter().rfind(divides).unwrap_or(&units[0]);
    format!("{}{unit}", number / factor)
}

/// `2026-01-02T03:04:05.678Z`; beyond the years -9999 to 9999 it is the first or last moment of them.
#[must_use]
pub fn rfc3339(ms: i64) -> String {
    let end = if ms < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    };
    format!("{:.3}", Timestamp::from_millisecond(ms).unwrap_or(end))
}

/// Lower-case hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes)
}

/// The inverse of [`hex`] for `N` bytes; upper-case digits are taken as well.
#[must_use]
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    // Longer texts are not even looked at.
    let text = Some(text).filter(|text| text.len() == 2 * N)?;
    let bytes = HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?;
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_or_have_a_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("4096", 4096),
            ("7B", 7),
            ("64KiB", 64 << 10),
            ("256MiB", 256 << 20),
            ("1GiB", 1 << 30),
            ("3TiB", 3 << 40),
        ] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for bad in [
            "",
            "KiB",
            "1kb",
            "1 KiB",
            "-1",
            "+1KiB",
            "1.5GiB",
            "16777216TiB",
            "1KiBB",
        ] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("12h", 43_200_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(
                parse_duration(text),
                Some(Duration::from_millis(ms)),
                "{text}"
            );
        }
        for bad in [
            "",
            "10",
            "s",
            "1.5s",
            "10 s",
            "-1s",
            "+1s",
            "10sec",
            "213503982335d",
        ] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_is_in_the_largest_unit_that_divides_it_and_is_read_back() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1 << 20, "1MiB"),
            ((1 << 20) + 1024, "1025KiB"),
            (1 << 42, "4TiB"),
        ] {
            assert_eq!(format_size(bytes), text);
            assert_eq!(parse_size(text), Some(bytes));
        }
        for (ms, text) in [(0, "0ms"), (90_000, "90s"), (172_800_000, "2d")] {
            let duration = Duration::from_millis(ms);
            assert_eq!(format_duration(duration), text);
            assert_eq!(parse_duration(text), Some(duration));
        }
    }

    #[test]
    fn times_are_dates() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_123, "2100-03-01T00:00:00.123Z"),
            (i64::MAX, "9999-12-30T22:00:00.999Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn digits_are_lower_case_and_both_cases_are_read() {
        assert_eq!(hex(&[0, 0xa5, 0xff]), "00a5ff");
        assert_eq!(unhex("00a5ff"), Some([0, 0xa5, 0xff]));
        assert_eq!(unhex("00A5fF"), Some([0, 0xa5, 0xff]));
        assert_eq!(unhex::<0>(""), Some([]));
    }

    #[test]
    fn what_has_another_length_or_is_no_digit_is_refused() {
        for bad in [
            "", "0", "00a5f", "00a5ff0", "00a5fg", "+0a5ff", "00 a5f", "é0a5f",
        ] {
            assert_eq!(unhex::<3>(bad), None, "{bad}");
        }
    }
}

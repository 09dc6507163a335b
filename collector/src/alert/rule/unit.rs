//! Units: what may be compared and added, and how numbers are shown.
//!
//! Values are kept in seconds, bytes and pieces, whatever unit their column has.

use std::fmt;

/// Powers of seconds and bytes; both zero for what is counted in pieces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Unit {
    /// Power of a second.
    pub seconds: i8,
    /// Power of a byte.
    pub bytes: i8,
}

impl Unit {
    /// Pieces, and shares of them.
    pub const ONE: Self = Self {
        seconds: 0,
        bytes: 0,
    };
    /// A time.
    pub const SECOND: Self = Self {
        seconds: 1,
        bytes: 0,
    };
    /// Data.
    pub const BYTE: Self = Self {
        seconds: 0,
        bytes: 1,
    };

    /// The unit of a product.
    #[must_use]
    pub fn times(self, other: Self) -> Self {
        Self {
            seconds: self.seconds.saturating_add(other.seconds),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// The unit of a quotient.
    #[must_use]
    pub fn per(self, other: Self) -> Self {
        Self {
            seconds: self.seconds.saturating_sub(other.seconds),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match (self.bytes, self.seconds) {
            (0, 0) => "a plain number",
            (0, 1) => "a time",
            (1, 0) => "bytes",
            (0, -1) => "a number per second",
            (1, -1) => "bytes per second",
            (bytes, seconds) => return write!(f, "By^{bytes}·s^{seconds}"),
        };
        f.write_str(name)
    }
}

/// A unit as it is written, with what one of it is in seconds, bytes or pieces.
///
/// UCUM's names (`By`, `us`, `%`, `{segment}`), `B`, `KiB`, `MiB`, `GiB`, and each of these per
/// second (`/s`).
#[must_use]
pub fn parse(text: &str) -> Option<(Unit, f64)> {
    if let Some(whole) = text.strip_suffix("/s") {
        let (unit, scale) = parse(whole)?;
        return Some((unit.per(Unit::SECOND), scale));
    }
    if text.is_empty() || (text.starts_with('{') && text.ends_with('}')) {
        return Some((Unit::ONE, 1.0));
    }
    Some(match text {
        "%" => (Unit::ONE, 0.01),
        "us" => (Unit::SECOND, 1e-6),
        "ms" => (Unit::SECOND, 1e-3),
        "s" => (Unit::SECOND, 1.0),
        "min" | "m" => (Unit::SECOND, 60.0),
        "h" => (Unit::SECOND, 3600.0),
        "d" => (Unit::SECOND, 86_400.0),
        "By" | "B" => (Unit::BYTE, 1.0),
        "KiB" => (Unit::BYTE, 1024.0),
        "MiB" => (Unit::BYTE, 1_048_576.0),
        "GiB" => (Unit::BYTE, 1_073_741_824.0),
        _ => return None,
    })
}

/// The unit, as UCUM writes it, in which values are that a rule writes in another one: `s` for `ms`,
/// `By` for `MiB`, `1` for a share that is written in `%`; of pieces what they are called, if anything.
#[must_use]
pub fn kept(written: &str) -> &str {
    let (of, per) = match written.strip_suffix("/s") {
        Some(of) => (of, true),
        None => (written, false),
    };
    match (parse(of), per) {
        (Some((Unit::SECOND, _)), false) => "s",
        (Some((Unit::SECOND, _)), true) => "s/s",
        (Some((Unit::BYTE, _)), false) => "By",
        (Some((Unit::BYTE, _)), true) => "By/s",
        _ if of == "%" && !per => "1",
        _ if of == "%" => "1/s",
        _ => written,
    }
}

/// A number for people, as the unit says in which a rule writes it.
#[must_use]
pub fn said(value: f64, written: &str) -> String {
    match written {
        "%" => format!("{}%", digits(value * 100.0)),
        _ => shown(value, parse(written).map_or(Unit::ONE, |(unit, _)| unit)),
    }
}

/// A number for people, with three digits that count.
#[must_use]
pub fn shown(value: f64, unit: Unit) -> String {
    let per = match unit.seconds {
        -1 => "/s",
        _ => "",
    };
    match (unit.bytes, unit.seconds) {
        (0, 1) => time(value),
        (1, 0 | -1) => {
            let steps = [
                (1_073_741_824.0, "GiB"),
                (1_048_576.0, "MiB"),
                (1024.0, "KiB"),
            ];
            let step = steps.iter().find(|(least, _)| value.abs() >= *least);
            match step {
                Some((least, name)) => format!("{} {name}{per}", digits(value / least)),
                None => format!("{} B{per}", digits(value)),
            }
        }
        _ => format!("{}{per}", digits(value)),
    }
}

fn time(seconds: f64) -> String {
    let size = seconds.abs();
    let (scale, name) = match () {
        () if size >= 2.0 * 86_400.0 => (86_400.0, "d"),
        () if size >= 2.0 * 3600.0 => (3600.0, "h"),
        () if size >= 120.0 => (60.0, "min"),
        () if size >= 1.0 || size == 0.0 => (1.0, "s"),
        () if size >= 1e-3 => (1e-3, "ms"),
        () => (1e-6, "us"),
    };
    format!("{} {name}", digits(seconds / scale))
}

/// Three digits that count, and all of a whole number below a billion.
#[must_use]
pub fn digits(value: f64) -> String {
    if !value.is_finite() {
        return String::from("-");
    }
    if value.fract() == 0.0 && value.abs() < 1e9 {
        return format!("{value:.0}");
    }
    let size = value.abs();
    let text = match () {
        () if size >= 1e9 => return format!("{value:.2e}"),
        () if size >= 100.0 => return format!("{value:.0}"),
        () if size >= 10.0 => format!("{value:.1}"),
        () if size >= 1.0 => format!("{value:.2}"),
        () if size >= 0.001 => format!("{value:.4}"),
        () => return format!("{value:.2e}"),
    };
    let short = text.trim_end_matches('0').trim_end_matches('.');
    String::from(short)
}

/// The last whole multiple of a length, milliseconds.
#[must_use]
pub fn floor(at_ms: i64, length_ms: i64) -> i64 {
    at_ms.div_euclid(length_ms).saturating_mul(length_ms)
}

#[cfg(test)]
mod tests {
    use super::{Unit, kept, parse, said, shown};

    #[test]
    fn units_are_read_and_numbers_are_shown() {
        assert_eq!(parse("ms"), Some((Unit::SECOND, 1e-3)));
        assert_eq!(parse("{segment}"), Some((Unit::ONE, 1.0)));
        assert_eq!(parse("By/s"), Some((Unit::BYTE.per(Unit::SECOND), 1.0)));
        assert_eq!(parse("parsec"), None);
        assert_eq!(shown(0.0019, Unit::SECOND), "1.9 ms");
        assert_eq!(shown(7200.0, Unit::SECOND), "2 h");
        assert_eq!(shown(3.0 * 1_048_576.0, Unit::BYTE), "3 MiB");
        assert_eq!(shown(30.0, Unit::ONE), "30");
        assert_eq!(shown(0.001, Unit::ONE), "0.001");
        assert_eq!(shown(12.34, Unit::ONE.per(Unit::SECOND)), "12.3/s");
        let all = ["%", "ms", "MiB", "By/s", "/s", "", "{segment}"];
        let expected = ["1", "s", "By", "By/s", "/s", "", "{segment}"];
        assert_eq!(all.map(kept), expected);
        let of = |written| said(0.05, written);
        assert_eq!((of("%"), of("ms")), ("5%".into(), "50 ms".into()));
        assert_eq!(said(2048.0, "By/s"), "2 KiB/s");
    }
}

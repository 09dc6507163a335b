//! The small value types of the configuration: each holds only what is valid.
//!
//! Parsing says what was expected; the caller adds file, line and key.

pub(super) mod prefix;

use std::fmt;
use std::str::FromStr;

/// What a value should have been, in the words an operator reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Expected(pub String);

impl Expected {
    fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

/// A number of bytes, written as `4096`, `64KiB`, `256MiB` or `1GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(u64);

impl ByteSize {
    /// This many bytes.
    #[must_use]
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let bytes = notation::parse_size(text).map(Self);
        bytes.ok_or_else(|| Expected::new(notation::A_SIZE))
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&notation::format_size(self.0))
    }
}

/// A part of one CPU's time, written as `5%`, `0.5%` or `150%`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CpuShare(u32);

impl CpuShare {
    /// Thousandths of one CPU.
    #[must_use]
    pub const fn per_mille(self) -> u32 {
        self.0
    }
}

impl FromStr for CpuShare {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        const MOST: u64 = 1_000_000;
        let wrong = || Expected::new("a share of one CPU from \"0.1%\" on, such as \"5%\"");
        let number = text.strip_suffix('%').ok_or_else(wrong)?;
        let (whole, tenths) = number.split_once('.').unwrap_or((number, "0"));
        let tenths = Some(tenths).filter(|tenths| tenths.len() == 1);
        let tenths = tenths.and_then(digits).ok_or_else(wrong)?;
        let whole = digits(whole)
            .filter(|whole| *whole <= MOST)
            .ok_or_else(wrong)?;
        match u32::try_from(whole * 10 + tenths) {
            Ok(per_mille) if per_mille > 0 => Ok(Self(per_mille)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for CpuShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "{}%", self.0 / 10),
            tenths => write!(f, "{}.{tenths}%", self.0 / 10),
        }
    }
}

/// Only ASCII digits: `u64::from_str` alone would also take a sign.
fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// TCP option kind reserved for experiments: 253 or 254 (RFC 4727).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OptionKind(u8);

impl OptionKind {
    /// Kind 253.
    pub const DEFAULT: Self = Self(253);

    /// The kind as it stands on the wire.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl TryFrom<i64> for OptionKind {
    type Error = Expected;

    fn try_from(value: i64) -> Result<Self, Expected> {
        match value {
            253 => Ok(Self(253)),
            254 => Ok(Self(254)),
            _ => Err(Expected::new(
                "253 or 254, the TCP option kinds that are reserved for experiments (RFC 4727)",
            )),
        }
    }
}

/// Experiment identifier that follows kind and length (RFC 6994).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExId(u16);

impl ExId {
    /// "WB" in ASCII.
    pub const DEFAULT: Self = Self(0x5742);

    /// The identifier in host byte order.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }
}

/// Identifiers that TCP stacks themselves read in options of kind 253 and 254.
///
/// Linux takes 0xF989 of any even length for a Fast Open cookie and 0xE2D4 (C3D9) for SMC-R.
const TAKEN_EXIDS: [(u16, &str); 5] = [
    (0xF989, "TCP Fast Open"),
    (0xE2D4, "SMC-R"),
    (0xACC0, "AccECN"),
    (0xACC1, "AccECN"),
    (0x454E, "TCP-ENO"),
];

impl TryFrom<i64> for ExId {
    type Error = Expected;

    fn try_from(value: i64) -> Result<Self, Expected> {
        let wrong = || Expected::new("a 16-bit experiment identifier such as 0x5742");
        let exid = u16::try_from(value)
            .ok()
            .filter(|exid| *exid != 0)
            .ok_or_else(wrong)?;
        match TAKEN_EXIDS.iter().find(|(taken, _)| *taken == exid) {
            Some((_, owner)) => Err(Expected::new(format!(
                "an experiment identifier that is free: 0x{exid:04X} belongs to {owner}, and TCP \
                 stacks would read the waybill as theirs"
            ))),
            None => Ok(Self(exid)),
        }
    }
}

impl fmt::Display for ExId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:04X}", self.0)
    }
}

/// A value that never shows itself in logs, reports or debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself: the one place to look for in a review.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

/// A pattern over a whole text: `*` stands for any number of characters, `?` for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob(String);

impl Glob {
    /// Any text is a pattern.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// True when the whole of `text` matches.
    ///
    /// Linear in memory and at worst `pattern * text` in time: texts come from hostile processes.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let text: Vec<char> = text.chars().collect();
        let (mut p, mut t) = (0, 0);
        // Where to resume when the characters after the last `*` do not fit.
        let mut resume: Option<(usize, usize)> = None;
        while t < text.len() {
            match pattern.get(p) {
                Some('*') => {
                    resume = Some((p + 1, t));
                    p += 1;
                }
                Some(&c) if c == '?' || c == text[t] => {
                    p += 1;
                    t += 1;
                }
                _ => {
                    let Some((after_star, from)) = resume else {
                        return false;
                    };
                    resume = Some((after_star, from + 1));
                    p = after_star;
                    t = from + 1;
                }
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

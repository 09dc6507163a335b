//! How a token and some bits become one number.
//!
//! A number is first turned into a *code* that is small where the number is as expected. Small codes
//! are a token each; of a large one the token names the length and the rest goes, as it is, into the
//! table's bit string. Tokens of a column lie side by side and compress well; the bits are noise,
//! which no compressor shortens and which should not stand between the tokens.

use crate::error::DecodeError;

/// What a reader knows about a number before it reads it, and so how the number is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// At least this: the code is the wrapping difference.
    AtLeast(u64),
    /// About this: the code is the zigzag difference, whose lowest `noise` bits go to the bit string.
    About {
        /// What it is about.
        base: u64,
        /// Bits of the code that no compressor shortens.
        noise: u32,
    },
    /// About that many significant bits: the token is the zigzag difference to it.
    Bits(u32),
}

impl Expected {
    /// Nothing is known; small numbers are likelier.
    pub(crate) const ANY: Self = Self::AtLeast(0);

    /// Close to `base`.
    pub(crate) const fn near(base: u64) -> Self {
        Self::About { base, noise: 0 }
    }
}

/// Codes below this are tokens of their own.
pub const DIRECT: u8 = 8;
/// Significant bits of [`DIRECT`].
pub const DIRECT_BITS: u32 = 4;

/// Significant bits of a number; 0 for 0.
#[must_use]
pub const fn bits(value: u64) -> u32 {
    u64::BITS - value.leading_zeros()
}

fn unzigzag(code: u64, base: u64) -> u64 {
    base.wrapping_add((code >> 1) ^ (code & 1).wrapping_neg())
}

/// Reads the number that was written with the same expectation.
pub(crate) fn read(
    token: u8,
    expected: Expected,
    input: &mut BitReader<'_>,
) -> Result<u64, DecodeError> {
    match expected {
        Expected::AtLeast(base) => Ok(base.wrapping_add(read_code(token, 0, input)?)),
        Expected::About { base, noise } => Ok(unzigzag(read_code(token, noise, input)?, base)),
        Expected::Bits(expected) => {
            let length = unzigzag(u64::from(token), u64::from(expected));
            match u32::try_from(length) {
                Ok(0) => Ok(0),
                Ok(length @ 1..=64) => Ok(1 << (length - 1) | input.take(length - 1)?),
                _ => Err(malformed("token out of range")),
            }
        }
    }
}

fn read_code(token: u8, noise: u32, input: &mut BitReader<'_>) -> Result<u64, DecodeError> {
    let out_of_range = || malformed("token out of range");
    if token < DIRECT {
        let short = u64::from(token);
        if bits(short) + noise > u64::BITS {
            return Err(out_of_range());
        }
        return Ok(short << noise | input.take(noise)?);
    }
    let length = u32::from(token - DIRECT) + DIRECT_BITS + noise;
    if length > u64::BITS {
        return Err(out_of_range());
    }
    Ok(1 << (length - 1) | input.take(length - 1)?)
}

fn malformed(what: &str) -> DecodeError {
    DecodeError::Malformed(what.to_owned())
}

/// Reads a string of bits; the first one is the lowest bit of the first byte.
#[derive(Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    pending: u128,
    filled: u32,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            pending: 0,
            filled: 0,
        }
    }

    /// The next `count` bits, at most 64.
    pub(crate) fn take(&mut self, count: u32) -> Result<u64, DecodeError> {
        while self.filled < count {
            let (byte, rest) = self
                .bytes
                .split_first()
                .ok_or_else(|| malformed("bit string ends too early"))?;
            self.bytes = rest;
            self.pending |= u128::from(*byte) << self.filled;
            self.filled += 8;
        }
        let mask = (1u128 << count) - 1;
        let value = u64::try_from(self.pending & mask).expect("at most 64 bits");
        self.pending >>= count;
        self.filled -= count;
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn any_expected() -> impl Strategy<Value = Expected> {
        prop_oneof![
            any::<u64>().prop_map(Expected::AtLeast),
            (any::<u64>(), 0..64u32).prop_map(|(base, noise)| Expected::About { base, noise }),
            (0..=64u32).prop_map(Expected::Bits),
        ]
    }

    proptest! {
        #[test]
        fn any_token_and_bits_are_read_or_refused(
            token: u8,
            expected in any_expected(),
            bytes in prop::collection::vec(any::<u8>(), 0..20),
        ) {
            drop(read(token, expected, &mut BitReader::new(&bytes)));
        }
    }
}

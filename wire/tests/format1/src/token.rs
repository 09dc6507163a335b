//! How one number becomes a token and some bits.
//!
//! A number is first turned into a *code* that is small where the number is as expected. Small codes
//! are a token each; of a large one the token names the length and the rest goes, as it is, into the
//! table's bit string. Tokens of a column lie side by side and compress well; the bits are noise,
//! which no compressor shortens and which should not stand between the tokens.

use wire::format1::{DIRECT, DIRECT_BITS, Expected, bits};

/// A number as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) token: u8,
    /// For the bit string: the lowest `count` bits of this.
    pub(crate) bits: u64,
    pub(crate) count: u32,
}

impl Token {
    /// How `value` is written.
    pub(crate) fn of(value: u64, expected: Expected) -> Self {
        match expected {
            Expected::AtLeast(base) => Self::of_code(value.wrapping_sub(base), 0),
            Expected::About { base, noise } => Self::of_code(zigzag(value, base), noise),
            Expected::Bits(expected) => {
                let length = bits(value);
                let token = zigzag(u64::from(length), u64::from(expected));
                Self {
                    token: u8::try_from(token).expect("lengths are at most 64"),
                    bits: value,
                    count: length.saturating_sub(1),
                }
            }
        }
    }

    fn of_code(code: u64, noise: u32) -> Self {
        let short = u8::try_from(code >> noise).ok().filter(|s| *s < DIRECT);
        let length = bits(code);
        let long = || u8::try_from(length - noise - DIRECT_BITS).expect("at most 64") + DIRECT;
        Self {
            token: short.unwrap_or_else(long),
            bits: code,
            count: if short.is_some() { noise } else { length - 1 },
        }
    }
}

fn zigzag(value: u64, base: u64) -> u64 {
    let difference = value.wrapping_sub(base).cast_signed();
    ((difference << 1) ^ (difference >> 63)).cast_unsigned()
}

/// A string of bits; the first one is the lowest bit of the first byte.
#[derive(Debug, Default)]
pub(crate) struct Bits {
    bytes: Vec<u8>,
    pending: u128,
    filled: u32,
}

impl Bits {
    /// Appends the lowest `count` bits of `value`, at most 64.
    pub(crate) fn put(&mut self, value: u64, count: u32) {
        let mask = (1u128 << count) - 1;
        self.pending |= (u128::from(value) & mask) << self.filled;
        self.filled += count;
        while self.filled >= 8 {
            self.bytes.push(self.pending.to_le_bytes()[0]);
            self.pending >>= 8;
            self.filled -= 8;
        }
    }

    /// The bytes, the last one filled up with zeros.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.filled > 0 {
            self.bytes.push(self.pending.to_le_bytes()[0]);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_differences_are_tokens_without_bits() {
        let (any, near) = (Expected::AtLeast(0), |base| Expected::About {
            base,
            noise: 0,
        });
        let coded = |value, expected| {
            let Token { token, count, .. } = Token::of(value, expected);
            (token, count)
        };
        assert_eq!(coded(7, any), (7, 0));
        assert_eq!(coded(1000, near(1000)), (0, 0));
        assert_eq!(coded(997, near(1000)), (5, 0));
        assert_eq!(coded(0, Expected::Bits(3)), (5, 0));
        assert_eq!(coded(9, any), (8, 3));
        assert_eq!(coded(u64::MAX, any), (68, 63));
    }
}

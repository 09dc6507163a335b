//! Consistent sampling of tokens by their own value.
//!
//! Both ends of a connection decide alike without talking: at level `n` exactly the tokens that end
//! in `n` zero bits are kept, one in `2^n` of the random tokens. Levels are nested, so two hosts
//! with different levels both keep what the higher level keeps.

/// True where a token belongs to the sampled part at `level`.
///
/// A token kept at level `n + 1` is kept at level `n`. Level 0 keeps all; above 64 nothing is kept.
#[must_use]
pub fn keep(token: u64, level: u8) -> bool {
    token.trailing_zeros() >= u32::from(level)
}

/// The lowest level at which `rate` tokens per interval leave at most `budget` to be expected.
#[must_use]
pub fn level_for(rate: u64, budget: u64) -> u8 {
    let fits = |level: &u8| u128::from(rate) <= u128::from(budget) << level;
    (0..64).find(fits).unwrap_or(64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{keep, level_for};

    #[test]
    fn level_zero_keeps_every_token() {
        assert!(keep(u64::MAX, 0) && keep(0, 0) && keep(1, 0));
    }

    #[test]
    fn a_rate_within_the_budget_is_not_sampled() {
        assert_eq!(level_for(0, 0), 0);
        assert_eq!(level_for(8192, 8192), 0);
        assert_eq!(level_for(8193, 8192), 1);
        assert_eq!(level_for(16_384, 8192), 1);
        assert_eq!(level_for(16_385, 8192), 2);
        assert_eq!(level_for(u64::MAX, 0), 64);
    }

    #[test]
    fn one_in_two_to_the_level_random_tokens_is_kept() {
        // A Weyl sequence is spread evenly over all residues.
        let tokens = (0..1u64 << 16).map(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 7);
        let kept = tokens.filter(|token| keep(*token, 4)).count();
        assert!(kept.abs_diff(1 << 12) < 64, "{kept}");
    }

    proptest! {
        #[test]
        fn levels_are_nested(token in any::<u64>(), level in 0..=70u8) {
            prop_assert!(!keep(token, level + 1) || keep(token, level));
            let aligned = token << level.min(63);
            prop_assert!(keep(aligned, level.min(63)));
        }

        #[test]
        fn the_level_is_the_lowest_that_fits(rate in any::<u64>(), budget in 1..100_000u64) {
            let level = level_for(rate, budget);
            prop_assert!(u128::from(rate) <= u128::from(budget) << level);
            prop_assert!(level == 0 || u128::from(rate) > u128::from(budget) << (level - 1));
        }
    }
}

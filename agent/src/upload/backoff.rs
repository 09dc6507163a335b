//! How long to wait before the next attempt: pure, a random number goes in as a value.
//!
//! All agents of a fleet lose the same collector at the same moment. Full jitter spreads their
//! return over the whole wait instead of bringing them back together.

use std::time::Duration;

/// Shortest wait.
const FLOOR: Duration = Duration::from_secs(1);
/// Longest wait of the agent's own choice.
const CEILING: Duration = Duration::from_secs(300);
/// Shortest wait where only a person can change the answer.
const SLOW_FLOOR: Duration = Duration::from_secs(60);
/// Longest wait a collector can ask for; it must not be able to silence its agents.
const ASKED_MAX: Duration = Duration::from_secs(3600);

/// Wait after the given number of failures in a row: between one second and twice as much for each
/// further failure, five minutes at most.
pub(super) fn jittered(failures: u32, random: u64) -> Duration {
    let factor = 1_u32.checked_shl(failures.max(1)).unwrap_or(u32::MAX);
    between(FLOOR, FLOOR.saturating_mul(factor).min(CEILING), random)
}

/// Wait after an answer that is no collector's: as without one, but at least as long as it asks within
/// the longest wait of the agent's own choice. Nobody but the collector may silence its agents.
pub(super) fn stranger(failures: u32, retry_after: Duration, random: u64) -> Duration {
    jittered(failures, random).max(retry_after.min(CEILING))
}

/// Wait after an answer that more attempts do not change, such as 401.
pub(super) fn slow(random: u64) -> Duration {
    between(SLOW_FLOOR, CEILING, random)
}

/// Wait that the collector asked for, and a little more: agents that were told the same number
/// spread over an eighth of it.
pub(super) fn asked(retry_after: Duration, random: u64) -> Duration {
    let asked = retry_after.min(ASKED_MAX);
    between(asked.max(FLOOR), asked + FLOOR + asked / 8, random)
}

/// A duration in `low..=high`, for a random number of all 64 bits.
fn between(low: Duration, high: Duration, random: u64) -> Duration {
    let span = high.saturating_sub(low).as_nanos();
    let part = u64::try_from((span * u128::from(random)) >> 64).unwrap_or(0);
    low + Duration::from_nanos(part)
}

/// A random number for jitter; the middle where the system has none.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    let filled = rustls::crypto::ring::default_provider()
        .secure_random
        .fill(&mut bytes);
    filled.map_or(u64::MAX / 2, |()| u64::from_ne_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_double_up_to_five_minutes() {
        let longest = |failures| jittered(failures, u64::MAX).as_secs_f64().round();
        let waits: Vec<f64> = (1..=10).map(longest).collect();
        assert_eq!(
            waits,
            [2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 300.0, 300.0]
        );
    }

    #[test]
    fn the_least_random_number_gives_the_shortest_wait() {
        assert_eq!(jittered(7, 0), Duration::from_secs(1));
        assert_eq!(slow(0), Duration::from_secs(60));
        assert_eq!(asked(Duration::from_secs(17), 0), Duration::from_secs(17));
        assert_eq!(asked(Duration::ZERO, 0), Duration::from_secs(1));
    }

    #[test]
    fn half_the_random_numbers_wait_less_than_half_the_span() {
        assert_eq!(jittered(4, 1 << 63), Duration::from_millis(8_500));
    }

    #[test]
    fn a_collector_cannot_silence_its_agents() {
        assert!(asked(Duration::MAX, u64::MAX) < Duration::from_secs(2 * 3600));
    }

    proptest! {
        #[test]
        fn every_wait_is_within_its_bounds(failures: u32, random: u64, asked_s in 0_u64..3600) {
            let own = jittered(failures, random);
            prop_assert!((FLOOR..=CEILING).contains(&own));
            prop_assert!((SLOW_FLOOR..=CEILING).contains(&slow(random)));
            let strange = stranger(failures, Duration::from_secs(asked_s), random);
            prop_assert!((own..=CEILING).contains(&strange));
            let wanted = Duration::from_secs(asked_s);
            prop_assert!(asked(wanted, random) >= wanted);
            prop_assert!(asked(wanted, random) <= wanted + wanted / 8 + FLOOR);
        }
    }
}

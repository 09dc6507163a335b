//! How sure an edge is, from 0 to 1, by formula.
//!
//! | evidence | confidence | measured precision |
//! |---|---|---|
//! | token | `0.90 + 0.09 * coverage + 0.01 * n / (n + 1)` | 1 (27,657 edges) |
//! | sequence | `0.80 + 0.09 * coverage + 0.005 * n / (n + 1)` | 1 (11,286 edges) |
//! | conntrack | `0.60 + 0.20 * coverage` | 0.974 (24,303 edges, 544 wrong) |
//! | address, two hosts or namespaces | `0.50 + 0.20 * agreement` | 0.987 (4,169 edges, 16 wrong) |
//! | address, one namespace | `0.80 + 0.10 * agreement` | |
//! | none (one side only) | `0.30` | |
//!
//! `n` is the number of joined connections and `coverage` the part of the edge's connections they
//! account for, at most 1. A single token already leaves no reasonable doubt that the two services
//! talk (64 random bits under a MAC), so it begins at 0.90; what coverage adds is that the numbers
//! are about nothing else. Two initial sequence numbers are 64 bits as well, but without a MAC:
//! whoever can see them can report them. Gateways and addresses know no connection, only who might
//! have had it: ranges that exist several times, hosts without an agent and lost rows mislead them.
//! `agreement` is the smaller count of connections divided by the larger one: addresses can be
//! reused and rewritten unseen, but then the counts differ. With several kinds the strongest
//! counts.
//!
//! A side whose process is not known leaves [`UNKNOWN_OWNER`] of the confidence: its node is all of
//! its host that nobody knows, and of such edges 0.76 were those of one service.
//!
//! The precision is that of `cargo xtask bench join`, the least of its three tables: 1,000 fleets
//! each, with gateways of every kind, boxes that strip options and rewrite sequence numbers, the
//! same private addresses at all sites of 40 % of them, 15 % of the hosts without an agent and 15 %
//! that only count. Each formula claims less than was measured, because real fleets are worse. The
//! same command prints claims against the truth by tenths of confidence, in histories made to
//! mislead: no edge at or above 0.9 is wrong there.

/// By so much an edge is less sure for each side whose process is not known.
pub const UNKNOWN_OWNER: f64 = 0.65;
/// One side only: it knows its own process and an address.
pub const ONE_SIDED: f64 = 0.30;

/// By tokens: `joined` connections that account for `covered` of `connections`.
#[must_use]
pub fn token(joined: u64, covered: u64, connections: u64) -> f64 {
    let n = real(joined);
    round(0.90 + 0.09 * part(covered, connections) + 0.01 * n / (n + 1.0))
}

/// By sequence numbers: `joined` connections that account for `covered` of `connections`.
#[must_use]
pub fn sequence(joined: u64, covered: u64, connections: u64) -> f64 {
    let n = real(joined);
    round(0.80 + 0.09 * part(covered, connections) + 0.005 * n / (n + 1.0))
}

/// By what gateways translated: `covered` of `connections`.
#[must_use]
pub fn conntrack(covered: u64, connections: u64) -> f64 {
    round(0.60 + 0.20 * part(covered, connections))
}

/// By addresses: both sides' counts of connections, and whether they share a namespace.
#[must_use]
pub fn address(one: u64, other: u64, same_namespace: bool) -> f64 {
    let agreement = part(one.min(other), one.max(other));
    round(if same_namespace {
        0.80 + 0.10 * agreement
    } else {
        0.50 + 0.20 * agreement
    })
}

/// The same edge where the processes of so many of its sides are not known.
#[must_use]
pub fn with_unknown_owners(confidence: f64, sides: usize) -> f64 {
    (0..sides).fold(confidence, |known, _| round(known * UNKNOWN_OWNER))
}

/// `part / whole`, at most 1; 1 for nothing of nothing.
fn part(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        return 1.0;
    }
    (real(part) / real(whole)).min(1.0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a ratio needs no more than 53 bits"
)]
fn real(n: u64) -> f64 {
    n as f64
}

/// Three decimals: more would be false precision, and the same everywhere is testable.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::{ONE_SIDED, address, conntrack, sequence, token, with_unknown_owners};
    use proptest::prelude::{any, proptest};

    #[test]
    #[expect(clippy::float_cmp, reason = "rounded to three decimals")]
    fn the_formula_is_the_documented_one() {
        assert_eq!(token(1, 1, 1), 0.995);
        assert_eq!(token(100, 100, 100), 1.0);
        assert_eq!(token(1, 1, 10), 0.914);
        assert_eq!(sequence(1, 1, 1), 0.893);
        assert_eq!(sequence(1, 1, 10), 0.812);
        assert_eq!(conntrack(5, 10), 0.7);
        assert_eq!(address(10, 10, false), 0.7);
        assert_eq!(address(5, 10, true), 0.85);
        assert_eq!(with_unknown_owners(0.9, 0), 0.9);
        assert_eq!(with_unknown_owners(1.0, 1), 0.65);
    }

    proptest! {
        #[test]
        fn a_stronger_kind_beats_a_weaker_one_and_any_beats_none(
            n in 1..u64::MAX, m in any::<u64>(), a in any::<u64>(), b in any::<u64>(), same: bool,
        ) {
            assert!(token(n, n, m) >= 0.9 && token(n, n, m) <= 1.0);
            assert!(sequence(n, n, m) >= 0.8 && sequence(n, n, m) < 0.9);
            assert!(conntrack(a, b) >= 0.6 && conntrack(a, b) <= 0.8);
            assert!(address(a, b, false) <= 0.7);
            assert!(address(a, b, same) <= 0.9 && address(a, b, same) > ONE_SIDED);
        }
    }
}

use std::collections::BTreeSet;

use super::{Day, Maintenance, Matcher, Mutes, NewMaintenance, NewSilence, Silence};
use crate::alert::labels::Labels;

const HOUR: i64 = 3_600_000;

fn labels(pairs: &[(&'static str, &str)]) -> Labels {
    let mut labels = Labels::new();
    for (label, value) in pairs {
        let values: &mut BTreeSet<String> = labels.entry(label).or_default();
        values.insert((*value).to_owned());
    }
    labels
}

fn matcher(label: &str, value: &str, not: bool) -> Matcher {
    Matcher {
        label: label.to_owned(),
        value: value.to_owned(),
        not,
    }
}

#[test]
fn a_star_stands_for_any_text_and_nothing_else_does() {
    let meets = |pattern: &str, value: &str| {
        matcher("host", pattern, false).meets(&labels(&[("host", value)]))
    };
    for (pattern, value) in [
        ("db-1", "db-1"),
        ("db-*", "db-1"),
        ("*-1", "db-1"),
        ("d*1", "db-1"),
        ("*", "anything"),
        ("*b*b*", "abab"),
        ("a**", "a"),
    ] {
        assert!(meets(pattern, value), "{pattern} {value}");
    }
    for (pattern, value) in [
        ("db-1", "db-12"),
        ("d.-1", "db-1"),
        ("*x", "db-1"),
        ("", "a"),
    ] {
        assert!(!meets(pattern, value), "{pattern} {value}");
    }
    // Hostile: no exponential time.
    assert!(!meets(
        &format!("{}b", "a*".repeat(100)),
        &"a".repeat(20_000)
    ));
}

#[test]
fn all_conditions_must_be_met_and_one_of_several_values_is_enough() {
    let edge = labels(&[("host", "a"), ("host", "b"), ("rule", "edge-failing")]);
    let silence = |matchers: Vec<Matcher>| Mutes {
        silences: vec![Silence {
            id: 1,
            matchers,
            from_ms: 10,
            until_ms: 20,
            why: String::from("move"),
            who: String::from("ann"),
            made_ms: 5,
        }],
        windows: Vec::new(),
    };
    let both = silence(vec![
        matcher("host", "b", false),
        matcher("rule", "edge-*", false),
    ]);
    assert_eq!(both.of(&edge, 10).expect("muted").until_ms, 20);
    assert!(both.of(&edge, 9).is_none() && both.of(&edge, 20).is_none());
    let other = silence(vec![
        matcher("host", "b", false),
        matcher("rule", "edge-*", true),
    ]);
    assert!(other.of(&edge, 15).is_none());
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let new = |matchers, until_ms, why: &str| NewSilence {
        matchers,
        from_ms: None,
        until_ms,
        why: why.to_owned(),
    };
    let good = vec![matcher("host", "a", false)];
    assert_eq!(new(good.clone(), 2 * HOUR, "x").check(HOUR), Ok(HOUR));
    for (matchers, until_ms, why, says) in [
        (vec![], 2 * HOUR, "x", "matchers"),
        (
            vec![matcher("colour", "a", false)],
            2 * HOUR,
            "x",
            "rule, severity",
        ),
        (vec![matcher("host", "a", true)], 2 * HOUR, "x", "negated"),
        (vec![matcher("host", "", false)], 2 * HOUR, "x", "value"),
        (good.clone(), HOUR, "x", "until_ms"),
        (good.clone(), i64::MAX, "x", "90 days"),
        (good.clone(), 2 * HOUR, " ", "why"),
    ] {
        let refused = new(matchers, until_ms, why).check(HOUR).unwrap_err();
        assert!(refused.contains(says), "{refused}");
    }
}

#[test]
fn a_window_comes_again_every_week_also_over_midnight_and_in_another_zone() {
    // Thursday, 1970-01-01 00:00 UTC is 0.
    let window = NewMaintenance {
        name: String::from("patches"),
        matchers: vec![matcher("host", "a", false)],
        days: vec![Day::Wed],
        at_minute: 23 * 60,
        minutes: 120,
        utc_offset_minutes: 0,
    };
    assert_eq!(window.check(), Ok(()));
    assert_eq!(window.until(0), Some(HOUR));
    assert_eq!(window.until(HOUR), None);
    let week = 7 * 24 * HOUR;
    assert_eq!(window.until(52 * week - HOUR), Some(52 * week + HOUR));
    assert_eq!(window.until(52 * week - HOUR - 1), None);
    let there = NewMaintenance {
        utc_offset_minutes: 480,
        ..window.clone()
    };
    // 23:00 of a Wednesday at UTC+8 is 15:00 UTC.
    assert_eq!(there.until(week - 9 * HOUR), Some(week - 7 * HOUR));
    assert_eq!(there.until(0), None);
    let bad = [
        NewMaintenance {
            days: vec![],
            ..window.clone()
        },
        NewMaintenance {
            at_minute: 1440,
            ..window.clone()
        },
        NewMaintenance {
            minutes: 0,
            ..window.clone()
        },
        NewMaintenance {
            utc_offset_minutes: 9999,
            ..window.clone()
        },
    ];
    assert!(bad.iter().all(|one| one.check().is_err()));
    let mutes = Mutes {
        silences: Vec::new(),
        windows: vec![Maintenance {
            id: 7,
            window,
            who: String::from("ann"),
            made_ms: 0,
        }],
    };
    assert_eq!(mutes.of(&labels(&[("host", "a")]), 0).expect("muted").id, 7);
}

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Bounds, Changes, Phase, State, What, step};
use crate::alert::finding::{
    Evaluated, Finding, RuleName, Said, Severity, Span, Subject, Terms, Unjudged,
};

const MINUTE: i64 = 60_000;

fn rule(name: &str) -> RuleName {
    RuleName::new(name).expect("a name")
}

fn host(id: &str) -> Subject {
    Subject::Host {
        host: id.to_owned(),
        name: id.to_owned(),
    }
}

fn finding(id: &str, for_minutes: i64, keep_minutes: i64) -> Finding {
    Finding {
        rule: rule("r"),
        subject: host(id),
        severity: Severity::Warning,
        value: 1.0,
        unit: String::new(),
        usual: None,
        numbers: Default::default(),
        window: Span::default(),
        terms: Terms {
            for_ms: for_minutes * MINUTE,
            keep_for_ms: keep_minutes * MINUTE,
        },
        evidence: Vec::new(),
        confidence: None,
        through: Vec::new(),
        declared: false,
        summary: Said::default(),
    }
}

/// What a pass says of one host.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Says {
    Found,
    Clear,
    Silent,
    NoJudgement,
    /// There was no pass.
    Nothing,
}

use Says::{Clear, Found, NoJudgement, Nothing, Silent};

fn pass(minute: i64, says: &[(&str, Says)], terms: (i64, i64)) -> Evaluated {
    let mut evaluated = Evaluated {
        at_ms: minute * MINUTE,
        ..Evaluated::default()
    };
    for (id, says) in says {
        match says {
            Found => evaluated.findings.push(finding(id, terms.0, terms.1)),
            Silent => drop(evaluated.silent.insert((*id).to_owned())),
            NoJudgement => evaluated.unjudged.push(Unjudged {
                rule: rule("r"),
                subject: Some(host(id)),
                why: String::from("no data"),
            }),
            Clear | Nothing => {}
        }
    }
    evaluated
}

fn rules() -> BTreeSet<RuleName> {
    BTreeSet::from([rule("r")])
}

fn take(state: State, evaluated: &Evaluated) -> (State, Changes) {
    step(state, evaluated, &rules(), &Bounds::default())
}

/// What became of one host, minute by minute.
fn told(says: &[Says], terms: (i64, i64)) -> Vec<(i64, What)> {
    let (mut state, mut told) = (State::default(), Vec::new());
    for (minute, says) in (1..).zip(says) {
        if *says == Nothing {
            continue;
        }
        let (next, changes) = take(state, &pass(minute, &[("h", *says)], terms));
        state = next;
        let each = changes.transitions.iter();
        told.extend(each.map(|one| (one.at_ms / MINUTE, one.what)));
    }
    told
}

#[test]
fn it_is_pending_for_so_long_then_fires_once_and_resolves_after_it_was_clear() {
    let says = [Found, Found, Found, Found, Clear, Clear, Clear];
    let expected = [(1, What::Pending), (3, What::Firing), (6, What::Resolved)];
    assert_eq!(told(&says, (2, 2)), expected);
    let at_once = [(1, What::Pending), (1, What::Firing), (2, What::Resolved)];
    assert_eq!(told(&[Found, Clear], (0, 0)), at_once);
}

#[test]
fn what_goes_away_before_it_fires_is_dropped_and_begins_anew() {
    let says = [Found, Found, Clear, Found, Found, Found];
    let expected = [
        (1, What::Pending),
        (3, What::Dropped),
        (4, What::Pending),
        (6, What::Firing),
    ];
    assert_eq!(told(&says, (2, 0)), expected);
}

#[test]
fn a_short_pause_within_keep_for_is_no_end() {
    let says = [Found, Clear, Found, Clear, Clear];
    let expected = [(1, What::Pending), (1, What::Firing), (5, What::Resolved)];
    assert_eq!(told(&says, (0, 2)), expected);
}

#[test]
fn an_absent_answer_neither_resolves_nor_fires() {
    let says = [Found, Silent, NoJudgement, Silent, Clear];
    let expected = [
        (1, What::Pending),
        (1, What::Firing),
        (2, What::Unknown),
        (5, What::Known),
        (5, What::Resolved),
    ];
    assert_eq!(told(&says, (0, 0)), expected);
    // Pending: what nobody saw is no time for which it held.
    let says = [Found, Silent, Silent, Found, Found];
    let expected = [
        (1, What::Pending),
        (2, What::Unknown),
        (4, What::Known),
        (5, What::Firing),
    ];
    assert_eq!(told(&says, (2, 0)), expected);
}

#[test]
fn a_rule_that_was_cut_or_not_judged_at_all_resolves_nothing() {
    for case in [0, 1] {
        let (state, _) = take(State::default(), &pass(1, &[("h", Found)], (0, 0)));
        let mut evaluated = pass(2, &[], (0, 0));
        if case == 0 {
            evaluated.cut.insert(rule("r"));
        } else {
            evaluated.unjudged.push(Unjudged {
                rule: rule("r"),
                subject: None,
                why: String::from("the store did not answer"),
            });
        }
        let (state, changes) = take(state, &evaluated);
        assert_eq!(changes.transitions[0].what, What::Unknown);
        assert!(changes.transitions[0].why.is_some());
        assert!(state.alerts.values().all(|one| one.phase == Phase::Firing));
    }
}

#[test]
fn a_gap_of_the_collector_counts_for_no_more_than_two_minutes() {
    let mut says = vec![Found];
    says.extend([Nothing; 30]);
    says.push(Found);
    assert_eq!(told(&says, (5, 0)), [(1, What::Pending)]);
    // Nor does it resolve what it did not see.
    let mut says = vec![Found];
    says.extend([Nothing; 30]);
    says.extend([Clear, Clear, Clear, Clear]);
    let expected = [(1, What::Pending), (1, What::Firing), (35, What::Resolved)];
    assert_eq!(told(&says, (0, 5)), expected);
}

#[test]
fn what_cannot_be_judged_for_too_long_ends_and_says_so() {
    let mut says = vec![Found];
    says.extend(vec![Silent; 7 * 24 * 60 + 2]);
    let told = told(&says, (0, 0));
    assert_eq!(told[3].1, What::Resolved, "{told:?}");
    assert_eq!(told.len(), 4);
    assert_eq!(told[3].0 - told[2].0, 7 * 24 * 60);
}

#[test]
fn a_rule_that_is_gone_takes_its_alerts_along() {
    let (state, _) = take(State::default(), &pass(1, &[("h", Found)], (0, 9)));
    let none = BTreeSet::new();
    let (_, changes) = step(state, &pass(2, &[], (0, 9)), &none, &Bounds::default());
    assert_eq!(changes.transitions[0].what, What::Resolved);
    let why = changes.transitions[0].why.as_deref().expect("why");
    assert!(why.contains("not in force"), "{why}");
}

#[test]
fn one_that_flaps_goes_on_until_it_was_quiet_for_longer() {
    let mut says = Vec::new();
    for _ in 0..6 {
        says.extend([Found, Clear]);
    }
    says.extend([Clear; 12]);
    let told = told(&says, (0, 0));
    let count = |what| told.iter().filter(|(_, one)| *one == what).count();
    assert_eq!(count(What::Firing), 3, "{told:?}");
    assert_eq!(count(What::Flapping), 1, "{told:?}");
    // Found last in minute 11.
    assert_eq!(told.last(), Some(&(21, What::Resolved)));
}

#[test]
fn severity_that_changes_is_told_while_it_fires() {
    let mut worse = pass(2, &[("h", Found)], (0, 0));
    worse.findings[0].severity = Severity::Critical;
    let (state, _) = take(State::default(), &pass(1, &[("h", Found)], (0, 0)));
    let (state, changes) = take(state, &worse);
    assert_eq!(changes.transitions[0].what, What::Escalated);
    let (_, changes) = take(state, &pass(3, &[("h", Found)], (0, 0)));
    assert_eq!(changes.transitions[0].what, What::Eased);
}

#[test]
fn there_are_no_more_than_there_may_be_and_the_worst_come_first() {
    let bounds = Bounds {
        alerts: 2,
        ..Bounds::default()
    };
    let all = [("a", Found), ("b", Found), ("c", Found), ("d", Found)];
    let mut evaluated = pass(1, &all, (0, 0));
    evaluated.findings[3].severity = Severity::Critical;
    let (state, changes) = step(State::default(), &evaluated, &rules(), &bounds);
    assert_eq!((state.alerts.len(), changes.cut), (2, 2));
    let kept = state.alerts.values();
    assert!(kept.clone().any(|one| one.finding.subject == host("d")));
    // Those that are there stay, and one that ends makes room.
    evaluated.at_ms += MINUTE;
    let (state, changes) = step(state, &evaluated, &rules(), &bounds);
    assert_eq!((state.alerts.len(), changes.cut), (2, 2));
    let (state, _) = step(state, &pass(3, &[("d", Found)], (0, 0)), &rules(), &bounds);
    let (_, changes) = step(state, &pass(4, &all, (0, 0)), &rules(), &bounds);
    assert_eq!(changes.cut, 2);
}

#[test]
fn what_resolved_long_ago_is_not_kept() {
    let (state, _) = take(State::default(), &pass(1, &[("h", Found)], (0, 0)));
    let (state, changes) = take(state, &pass(2, &[], (0, 0)));
    assert!(changes.gone.is_empty() && state.alerts.len() == 1);
    let (state, changes) = take(state, &pass(62, &[], (0, 0)));
    assert!(changes.gone.len() == 1 && state.alerts.is_empty());
}

fn says() -> impl Strategy<Value = Says> {
    prop_oneof![
        4 => Just(Found),
        3 => Just(Clear),
        1 => Just(Silent),
        1 => Just(NoJudgement),
        1 => Just(Nothing),
    ]
}

proptest! {
    /// A collector that is killed takes a pass again or goes on: its alerts are the same as if it had
    /// not been, whatever the order of what was found.
    #[test]
    fn killed_in_the_middle_is_as_not_killed(
        minutes in prop::collection::vec(prop::collection::vec(says(), 3), 1..60),
        kills in prop::collection::vec(any::<(bool, bool)>(), 60),
        terms in (0_i64..4, 0_i64..4),
    ) {
        let ids = ["a", "b", "c"];
        let (mut whole, mut killed) = (State::default(), State::default());
        let (mut all, mut again) = (Vec::new(), Vec::new());
        for (minute, says) in (1..).zip(&minutes) {
            if says.contains(&Nothing) {
                continue;
            }
            let says: Vec<_> = ids.into_iter().zip(says.iter().copied()).collect();
            let evaluated = pass(minute, &says, terms);
            let (next, changes) = take(whole, &evaluated);
            whole = next;
            all.extend(changes.transitions);
            let mut turned = evaluated.clone();
            turned.findings.reverse();
            let (before, after) = kills[usize::try_from(minute).unwrap() - 1];
            // Killed before it was stored: the pass is taken again from what was stored.
            if before {
                let _lost = take(killed.clone(), &turned);
            }
            let text = serde_json::to_string(&killed).expect("text");
            killed = serde_json::from_str(&text).expect("back");
            let (next, changes) = take(killed, &turned);
            again.extend(changes.transitions);
            killed = next;
            // Killed after it was stored: the pass is there already.
            if after {
                let (same, changes) = take(killed.clone(), &turned);
                prop_assert_eq!(&same, &killed);
                prop_assert!(changes.transitions.is_empty());
            }
        }
        prop_assert_eq!(whole, killed);
        prop_assert_eq!(all, again);
    }

    /// Whatever is found, each alert fires and resolves in turn, and never resolves in a pass that
    /// could not judge it.
    #[test]
    fn firing_and_resolved_take_turns(
        says in prop::collection::vec(says(), 1..120),
        terms in (0_i64..4, 0_i64..4),
    ) {
        let mut fires = false;
        for (minute, what) in told(&says, terms) {
            let said = says[usize::try_from(minute).unwrap() - 1];
            match what {
                What::Firing => {
                    prop_assert!(!fires && said == Found);
                    fires = true;
                }
                What::Resolved => {
                    prop_assert!(fires && said == Clear);
                    fires = false;
                }
                What::Dropped => prop_assert!(!fires && said == Clear),
                _ => {}
            }
        }
    }
}

use std::collections::BTreeSet;

use super::{Memory, Notice, notices};
use crate::alert::finding::{Evaluated, Finding, RuleName, Said, Severity, Span, Subject, Terms};
use crate::alert::group::{Context, converge};
use crate::alert::mute::{Matcher, Mutes, Silence};
use crate::alert::state::{Alert, Bounds, Phase, State, step};

const MINUTE: i64 = 60_000;

/// Alerts of some hosts, minute by minute, and what is told.
#[derive(Default)]
struct Scene {
    state: State,
    memory: Memory,
    mutes: Mutes,
}

impl Scene {
    fn minute(&mut self, minute: i64, found: &[(&str, Severity)]) -> Vec<Notice> {
        let findings = found.iter().map(|(host, severity)| Finding {
            rule: RuleName::new("r").expect("a name"),
            subject: Subject::Series {
                // All on one host: one group.
                host: String::from("h"),
                name: String::from("h"),
                table: String::from("t"),
                labels: [(String::from("disk"), (*host).to_owned())].into(),
            },
            severity: *severity,
            value: 1.0,
            unit: String::new(),
            usual: None,
            numbers: Default::default(),
            window: Span::default(),
            terms: Terms::default(),
            evidence: Vec::new(),
            confidence: None,
            through: Vec::new(),
            declared: false,
            summary: Said {
                en: format!("{host} is full"),
                zh: format!("{host} 满"),
            },
        });
        let evaluated = Evaluated {
            at_ms: minute * MINUTE,
            findings: findings.collect(),
            ..Evaluated::default()
        };
        let rules = BTreeSet::from([RuleName::new("r").expect("a name")]);
        let state = std::mem::take(&mut self.state);
        let (state, _) = step(state, &evaluated, &rules, &Bounds::default());
        let firing: Vec<&Alert> = state.alerts.values().collect();
        let firing: Vec<&Alert> = firing
            .into_iter()
            .filter(|one| one.phase == Phase::Firing)
            .collect();
        let groups = converge(&firing, &Context::default());
        let now = minute * MINUTE;
        let (told, memory) = notices(&state, &groups, &self.mutes, &self.memory, now);
        self.state = state;
        self.memory = memory;
        told
    }
}

const WARN: Severity = Severity::Warning;
const CRIT: Severity = Severity::Critical;

fn counts(notices: &[Notice]) -> Vec<(usize, usize, usize)> {
    let count = |one: &Notice| (one.firing.len(), one.escalated.len(), one.resolved.len());
    notices.iter().map(count).collect()
}

#[test]
fn each_alert_is_told_once_when_it_fires_and_once_when_it_is_over() {
    let mut scene = Scene::default();
    assert_eq!(
        counts(&scene.minute(1, &[("a", WARN), ("b", WARN)])),
        [(2, 0, 0)]
    );
    for minute in 2..20 {
        assert!(scene.minute(minute, &[("a", WARN), ("b", WARN)]).is_empty());
    }
    let over = scene.minute(20, &[]);
    assert_eq!(counts(&over), [(0, 0, 2)]);
    assert!(
        over[0].headline.en.starts_with("Over"),
        "{}",
        over[0].headline.en
    );
    for minute in 21..30 {
        assert!(scene.minute(minute, &[]).is_empty());
    }
    assert_eq!(counts(&scene.minute(31, &[("a", WARN)])), [(1, 0, 0)]);
}

#[test]
fn what_comes_soon_after_waits_for_its_group() {
    let mut scene = Scene::default();
    assert_eq!(counts(&scene.minute(1, &[("a", WARN)])), [(1, 0, 0)]);
    assert!(scene.minute(2, &[("a", WARN), ("b", WARN)]).is_empty());
    assert!(scene.minute(3, &[("b", WARN), ("c", WARN)]).is_empty());
    let later = scene.minute(6, &[("b", WARN), ("c", WARN)]);
    assert_eq!(counts(&later), [(2, 0, 1)]);
    assert_eq!(later[0].still_firing, 2);
}

#[test]
fn what_gets_worse_does_not_wait() {
    let mut scene = Scene::default();
    assert_eq!(counts(&scene.minute(1, &[("a", WARN)])), [(1, 0, 0)]);
    assert_eq!(counts(&scene.minute(2, &[("a", CRIT)])), [(0, 1, 0)]);
    assert!(scene.minute(3, &[("a", CRIT)]).is_empty());
}

#[test]
fn what_is_silenced_is_told_when_the_silence_ends_and_not_at_all_if_it_is_over_then() {
    let mut scene = Scene::default();
    scene.mutes.silences.push(Silence {
        id: 1,
        matchers: vec![Matcher {
            label: String::from("host"),
            value: String::from("h"),
            not: false,
        }],
        from_ms: 0,
        until_ms: 5 * MINUTE,
        why: String::from("move"),
        who: String::from("ann"),
        made_ms: 0,
    });
    assert!(scene.minute(1, &[("a", WARN), ("b", WARN)]).is_empty());
    assert!(scene.minute(2, &[("a", WARN)]).is_empty());
    assert_eq!(counts(&scene.minute(5, &[("a", WARN)])), [(1, 0, 0)]);
}

#[test]
fn an_output_gets_what_is_bad_enough_for_it() {
    let mut scene = Scene::default();
    let told = scene.minute(1, &[("a", WARN), ("b", CRIT)]);
    let least = told[0].least(CRIT).expect("one");
    assert_eq!((least.firing.len(), least.firing[0].severity), (1, CRIT));
    let mut scene = Scene::default();
    assert_eq!(scene.minute(1, &[("a", WARN)])[0].least(CRIT), None);
}

#[test]
fn a_long_list_is_cut_and_counted() {
    let mut scene = Scene::default();
    let names: Vec<String> = (0..120).map(|n| format!("d{n}")).collect();
    let found: Vec<(&str, Severity)> = names.iter().map(|name| (name.as_str(), WARN)).collect();
    let told = scene.minute(1, &found);
    assert_eq!(
        (told.len(), told[0].firing.len(), told[0].left_out),
        (1, 50, 70)
    );
    assert_eq!(told[0].still_firing, 120);
}

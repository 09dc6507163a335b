use std::collections::BTreeSet;
use std::time::Duration;

use super::{AlertStore, Asked, By, MOST_WAITING, NotDone, Step};
use crate::access::{Access, Actor, AuditQuery};
use crate::alert::finding::{
    End, Evaluated, Finding, RuleName, Said, Severity, Span, Subject, Terms,
};
use crate::alert::group::{Context, converge};
use crate::alert::mute::{Day, Matcher, NewMaintenance, NewSilence};
use crate::alert::notify::{Memory, Notice};
use crate::alert::state::{Alert, Bounds, Phase, State, step};

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;
const NOW: i64 = 1_800_000_000_000;

struct Scene {
    place: tempfile::TempDir,
    store: AlertStore,
    log: Access,
    state: State,
}

impl Scene {
    fn new() -> Self {
        let place = tempfile::tempdir().expect("a place");
        let log = Access::open(&place.path().join("access.db"), Duration::from_secs(86_400));
        Self {
            store: open(&place),
            log: log.expect("the log"),
            place,
            state: State::default(),
        }
    }

    /// What is found at a time, after the first.
    fn pass(&mut self, at_ms: i64, hosts: &[&str]) {
        let evaluated = Evaluated {
            at_ms: NOW + at_ms,
            findings: hosts.iter().map(|host| finding(host)).collect(),
            ..Evaluated::default()
        };
        let rules = BTreeSet::from([RuleName::new("edge-failing").expect("a name")]);
        let before = self.state.clone();
        let (after, changes) = step(before.clone(), &evaluated, &rules, &Bounds::default());
        let firing: Vec<&Alert> = after
            .alerts
            .values()
            .filter(|one| one.phase == Phase::Firing)
            .collect();
        let groups = converge(&firing, &Context::default());
        let memory = Memory::default();
        let kept = self.store.keep(&Step {
            before: &before,
            after: &after,
            changes: &changes,
            groups: &groups,
            memory: (&memory, &memory),
            notices: &[],
        });
        kept.expect("kept");
        self.state = after;
    }

    fn page(&self, asked: Asked) -> Vec<String> {
        let page = self.store.page(&asked).expect("a page");
        let names = page
            .alerts
            .into_iter()
            .map(|one| match one.alert.finding.subject {
                Subject::Edge { server, .. } => server.service,
                other => panic!("{other:?}"),
            });
        names.collect()
    }

    fn by<'a>(&'a self, actor: &'a Actor) -> By<'a> {
        By {
            actor,
            log: &self.log,
            now_ms: NOW,
        }
    }

    fn records(&self) -> Vec<String> {
        let records = self.log.audit(&AuditQuery::default()).expect("records");
        records.into_iter().map(|one| one.action).collect()
    }
}

fn open(place: &tempfile::TempDir) -> AlertStore {
    let path = place.path().join("alerts.db");
    AlertStore::open(&path, Duration::from_secs(7 * 86_400)).expect("open")
}

fn finding(host: &str) -> Finding {
    let end = |host: &str, service: &str| End {
        name: format!("{host}/{service}"),
        host: Some(host.to_owned()),
        service: service.to_owned(),
    };
    Finding {
        rule: RuleName::new("edge-failing").expect("a name"),
        subject: Subject::Edge {
            client: end("web", "nginx"),
            server: end(host, host),
            endpoint: String::from("10.0.0.1:80"),
        },
        severity: Severity::Warning,
        value: 2.0,
        unit: String::from("%"),
        usual: None,
        numbers: Default::default(),
        window: Span::default(),
        terms: Terms::default(),
        evidence: Vec::new(),
        confidence: Some(0.9),
        through: Vec::new(),
        declared: false,
        summary: Said::default(),
    }
}

fn all(limit: usize) -> Asked {
    Asked {
        limit,
        ..Asked::default()
    }
}

#[test]
fn what_was_kept_is_there_after_a_restart() {
    let mut scene = Scene::new();
    scene.pass(MINUTE, &["a", "b"]);
    scene.pass(2 * MINUTE, &["b"]);
    let again = open(&scene.place);
    assert_eq!(again.state().expect("a state"), scene.state);
    let resolved = Asked {
        phases: vec![Phase::Resolved],
        ..all(10)
    };
    assert_eq!(again.page(&resolved).expect("a page").alerts.len(), 1);
    let (counts, through_ms) = again.counts().expect("counts");
    assert_eq!((counts.warning, through_ms), (1, NOW + 2 * MINUTE));
}

#[test]
fn a_step_that_was_not_kept_whole_is_not_there_at_all() {
    let mut scene = Scene::new();
    scene.pass(MINUTE, &["a"]);
    let before = scene.state.clone();
    // A transition of an alert that is not there breaks the transaction in its middle.
    let mut after = before.clone();
    after.through_ms += MINUTE;
    let mut changes = crate::alert::state::Changes::default();
    changes.transitions.push(crate::alert::state::Transition {
        id: String::from("a-nothing"),
        at_ms: 1,
        what: crate::alert::state::What::Firing,
        value: 1.0,
        severity: Severity::Warning,
        why: None,
    });
    let memory = Memory::default();
    let kept = scene.store.keep(&Step {
        before: &before,
        after: &after,
        changes: &changes,
        groups: &[],
        memory: (&memory, &memory),
        notices: &[],
    });
    assert!(kept.is_err());
    assert_eq!(scene.store.state().expect("a state"), before);
}

#[test]
fn alerts_are_found_by_host_service_and_rule_a_page_after_the_other() {
    let mut scene = Scene::new();
    let names = ["a", "b", "c", "d", "e"];
    scene.pass(MINUTE, &names);
    let by = |label, value: &str| Asked {
        labels: vec![(label, value.to_owned())],
        ..all(10)
    };
    assert_eq!(scene.page(by("service", "b")), ["b"]);
    assert_eq!(scene.page(by("host", "web")).len(), 5);
    assert_eq!(scene.page(by("rule", "other")).len(), 0);
    let critical = Asked {
        severity: Some(Severity::Critical),
        ..all(10)
    };
    assert_eq!(scene.page(critical).len(), 0);
    let (mut seen, mut asked) = (Vec::new(), all(2));
    loop {
        let page = scene.store.page(&asked).expect("a page");
        assert!(page.alerts.len() <= 2);
        seen.extend(page.alerts.into_iter().map(|one| one.alert.id));
        match page.next {
            Some(place) => asked.after = Some(place),
            None => break,
        }
    }
    assert_eq!(seen.len(), 5);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>().len(), 5);
}

#[test]
fn an_acknowledgement_counts_until_the_alert_is_over_and_is_written_down() {
    let mut scene = Scene::new();
    scene.pass(MINUTE, &["a"]);
    let id = scene.state.alerts.keys().next().expect("one").clone();
    let ann = Actor::remote("user", "ann", None);
    let known = scene.store.acknowledge(&id, "looking", scene.by(&ann));
    assert_eq!(known.expect("known").who, "user:ann");
    let shown = |scene: &Scene| {
        let (kept, _) = scene.store.one(&id).expect("read").expect("one");
        kept.acknowledged.map(|known| known.why)
    };
    assert_eq!(shown(&scene).as_deref(), Some("looking"));
    scene.pass(2 * MINUTE, &[]);
    let over = scene.store.acknowledge(&id, "", scene.by(&ann));
    assert!(matches!(over, Err(NotDone::Conflict(_))));
    scene.pass(3 * MINUTE, &["a"]);
    assert_eq!(
        shown(&scene),
        None,
        "it fires again, and nobody knows of it"
    );
    let nobody = scene.store.acknowledge("a-0", "", scene.by(&ann));
    assert!(matches!(nobody, Err(NotDone::Unknown(_))));
    scene
        .store
        .acknowledge(&id, "again", scene.by(&ann))
        .expect("known");
    scene
        .store
        .unacknowledge(&id, scene.by(&ann))
        .expect("done");
    assert_eq!(shown(&scene), None);
    let expected = [
        "alert.unacknowledged",
        "alert.acknowledged",
        "alert.acknowledged",
    ];
    assert_eq!(scene.records(), expected);
    let (_, history) = scene.store.one(&id).expect("read").expect("one");
    let words: Vec<_> = history.iter().map(|one| one.what.name()).collect();
    assert_eq!(
        words,
        ["firing", "pending", "resolved", "firing", "pending"]
    );
}

#[test]
fn silences_and_windows_are_made_changed_ended_and_written_down() {
    let scene = Scene::new();
    let ann = Actor::remote("user", "ann", None);
    let matchers = vec![Matcher {
        label: String::from("host"),
        value: String::from("a"),
        not: false,
    }];
    let mut new = NewSilence {
        matchers: matchers.clone(),
        from_ms: None,
        until_ms: NOW + DAY,
        why: String::from("move"),
    };
    let made = scene.store.add_silence(&new, scene.by(&ann)).expect("made");
    new.until_ms = NOW + 2 * DAY;
    let changed = scene.store.change_silence(made.id, &new, scene.by(&ann));
    assert_eq!(changed.expect("changed").from_ms, made.from_ms);
    assert_eq!(
        scene.store.mutes().expect("all").silences[0].until_ms,
        NOW + 2 * DAY
    );
    new.until_ms = NOW - 1;
    let past = scene.store.change_silence(made.id, &new, scene.by(&ann));
    assert!(matches!(past, Err(NotDone::Wrong(_))));
    scene
        .store
        .end_silence(made.id, scene.by(&ann))
        .expect("ended");
    let gone = scene.store.end_silence(made.id, scene.by(&ann));
    assert!(matches!(gone, Err(NotDone::Unknown(_))));
    let window = NewMaintenance {
        name: String::from("patches"),
        matchers,
        days: vec![Day::Sun],
        at_minute: 60,
        minutes: 60,
        utc_offset_minutes: 0,
    };
    let made = scene.store.add_maintenance(window.clone(), scene.by(&ann));
    let made = made.expect("made");
    let longer = NewMaintenance {
        minutes: 90,
        ..window
    };
    let changed = scene
        .store
        .change_maintenance(made.id, longer, scene.by(&ann));
    assert_eq!(changed.expect("changed").window.minutes, 90);
    scene
        .store
        .remove_maintenance(made.id, scene.by(&ann))
        .expect("removed");
    assert_eq!(scene.store.mutes().expect("all"), Default::default());
    let expected = [
        "maintenance.removed",
        "maintenance.changed",
        "maintenance.made",
        "silence.ended",
        "silence.changed",
        "silence.made",
    ];
    assert_eq!(scene.records(), expected);
}

#[test]
fn what_is_over_is_deleted_by_its_age() {
    let mut scene = Scene::new();
    scene.pass(MINUTE, &["a"]);
    scene.pass(2 * MINUTE, &[]);
    // Not followed any more, and still to be looked at.
    scene.pass(3 * 60 * MINUTE, &[]);
    assert!(scene.state.alerts.is_empty());
    assert_eq!(scene.page(all(10)), ["a"]);
    scene.pass(6 * DAY, &[]);
    assert_eq!(scene.page(all(10)), ["a"]);
    scene.pass(8 * DAY, &[]);
    assert!(scene.page(all(10)).is_empty());
    let left = "SELECT (SELECT count(*) FROM transition) + (SELECT count(*) FROM label)";
    let left: i64 = scene
        .store
        .reading()
        .query_row(left, (), |row| row.get(0))
        .expect("read");
    assert_eq!(left, 0);
}

#[test]
fn what_waits_is_bounded_and_the_oldest_make_room() {
    let scene = Scene::new();
    let state = State::default();
    let memory = Memory::default();
    let notice = |at_ms| Notice {
        version: 1,
        at_ms,
        group: String::new(),
        headline: Said::default(),
        severity: Severity::Warning,
        firing: Vec::new(),
        escalated: Vec::new(),
        resolved: Vec::new(),
        left_out: 0,
        still_firing: 0,
        candidates: Vec::new(),
    };
    let notices: Vec<(String, Notice)> = (0..i64::from(MOST_WAITING) + 3)
        .map(|at| (String::from("mail"), notice(at)))
        .collect();
    let dropped = scene.store.keep(&Step {
        before: &state,
        after: &state,
        changes: &Default::default(),
        groups: &[],
        memory: (&memory, &memory),
        notices: &notices,
    });
    assert_eq!(dropped.expect("kept"), 3);
    let first = scene.store.next_notice("mail").expect("read").expect("one");
    assert_eq!(first.notice.at_ms, 3);
    scene.store.done_notice(first.id).expect("done");
    let second = scene.store.next_notice("mail").expect("read").expect("one");
    assert_eq!(second.notice.at_ms, 4);
    assert!(scene.store.next_notice("other").expect("read").is_none());
    let dropped = scene
        .store
        .drop_others(&[String::from("other")])
        .expect("done");
    assert_eq!(dropped, u64::from(MOST_WAITING) - 1);
}

#[test]
fn a_file_of_somebody_else_is_left_alone() {
    let place = tempfile::tempdir().expect("a place");
    let path = place.path().join("alerts.db");
    let db = rusqlite::Connection::open(&path).expect("a file");
    db.execute_batch("CREATE TABLE mine (n)").expect("a table");
    let opened = AlertStore::open(&path, Duration::from_secs(1));
    assert!(matches!(opened, Err(super::Error::Foreign)));
}

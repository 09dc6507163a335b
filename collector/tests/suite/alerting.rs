//! Alerts over the network and by commands: what is asked, who changes what, and where it is told.

mod judged;
mod life;
mod told;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use collector::alert::finding::{
    End, Evaluated, Finding, RuleName, Said, Severity, Span, Subject, Terms,
};
use collector::alert::group::Surroundings;
use collector::alert::keeper::{Keeper, Look, Wants};
use collector::alert::store::AlertStore;
use collector::metrics::Metrics;
use serde_json::{Value, json};

/// Somebody who cannot look.
struct Blind;

impl Look for Blind {
    fn around(&mut self, _: i64, _: i64) -> Option<Surroundings> {
        None
    }
}

/// What a pass of the rules finds: edges to these services fail.
pub(crate) fn found(at_ms: i64, services: &[&str]) -> Evaluated {
    let end = |host: &str, service: &str| End {
        name: format!("{host}/{service}"),
        host: Some(host.repeat(32).chars().take(32).collect()),
        service: service.to_owned(),
    };
    let findings = services.iter().map(|service| Finding {
        rule: RuleName::new("edge-failing").expect("a name"),
        subject: Subject::Edge {
            client: end("web", "nginx"),
            server: end("app", service),
            endpoint: String::from("10.2.0.9:80"),
        },
        severity: Severity::Warning,
        value: 2.5,
        unit: String::from("%"),
        usual: None,
        numbers: BTreeMap::new(),
        window: Span::default(),
        terms: Terms::default(),
        evidence: Vec::new(),
        confidence: Some(0.999),
        through: Vec::new(),
        declared: false,
        summary: Said {
            en: format!("2.5 % of connections to {service} fail, usual 0."),
            zh: format!("到 {service} 的连接有 2.5 % 失败,通常为 0。"),
        },
    });
    Evaluated {
        at_ms,
        findings: findings.collect(),
        ..Evaluated::default()
    }
}

/// Takes a pass into a database, beside a collector that runs on it.
pub(crate) fn take(database: &Path, evaluated: &Evaluated, outputs: &[&str]) {
    let store = AlertStore::open(database, Duration::from_secs(86_400 * 90)).expect("open");
    let wants = outputs.iter().map(|output| Wants {
        output: (*output).to_owned(),
        least: Severity::Warning,
    });
    let opened = Keeper::open(
        Arc::new(store),
        Arc::new(Metrics::default()),
        wants.collect(),
    );
    let rules = BTreeSet::from([RuleName::new("edge-failing").expect("a name")]);
    let mut keeper = opened.expect("open");
    let taken = keeper.take(evaluated, &rules, BTreeMap::new(), &mut Blind);
    taken.expect("taken");
}

/// An alert that fires; its id.
pub(crate) fn fires(database: &Path) -> String {
    take(database, &found(collector::time::now_ms(), &["api"]), &[]);
    let store = AlertStore::open(database, Duration::from_secs(1)).expect("open");
    let state = store.state().expect("a state");
    state.alerts.keys().next().expect("an alert").clone()
}

/// A silence to make.
pub(crate) fn silence() -> Value {
    json!({
        "matchers": [{ "label": "service", "value": "api" }],
        "until_ms": collector::time::now_ms() + 3_600_000,
        "why": "it is moved",
    })
}

/// A maintenance window to make.
pub(crate) fn window() -> Value {
    json!({
        "name": "patches",
        "matchers": [{ "label": "host", "value": "app*" }],
        "days": ["sun"],
        "at_minute": 120,
        "minutes": 60,
        "utc_offset_minutes": 480,
    })
}

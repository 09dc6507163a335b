use std::collections::BTreeSet;

use proptest::prelude::*;

use super::{Cause, Context, Group, converge};
use crate::alert::finding::{
    End, Evaluated, Finding, RuleName, Said, Severity, Span, Subject, Terms,
};
use crate::alert::state::{Alert, Bounds, State, step};

pub(super) fn end(host: &str, service: &str) -> End {
    End {
        name: format!("{host}/{service}"),
        host: Some(host.to_owned()),
        service: service.to_owned(),
    }
}

pub(super) fn edge(client: (&str, &str), server: (&str, &str)) -> Subject {
    Subject::Edge {
        client: end(client.0, client.1),
        server: end(server.0, server.1),
        endpoint: format!("10.0.0.{}:80", server.0.len()),
    }
}

pub(super) fn host(id: &str) -> Subject {
    Subject::Host {
        host: id.to_owned(),
        name: format!("{id}.example"),
    }
}

fn finding(rule: &str, subject: Subject, through: &[&str]) -> Finding {
    Finding {
        rule: RuleName::new(rule).expect("a name"),
        subject,
        severity: Severity::Warning,
        value: 1.0,
        unit: String::new(),
        usual: None,
        numbers: Default::default(),
        window: Span::default(),
        terms: Terms::default(),
        evidence: Vec::new(),
        confidence: Some(0.99),
        through: through.iter().map(|one| (*one).to_owned()).collect(),
        declared: false,
        summary: Said {
            en: format!("{rule} is so."),
            zh: format!("{rule}。"),
        },
    }
}

fn firing(findings: Vec<Finding>) -> Vec<Alert> {
    let rules: BTreeSet<_> = findings.iter().map(|one| one.rule.clone()).collect();
    let evaluated = Evaluated {
        at_ms: 60_000,
        findings,
        ..Evaluated::default()
    };
    let (state, _) = step(State::default(), &evaluated, &rules, &Bounds::default());
    state.alerts.into_values().collect()
}

fn groups(alerts: &[Alert], silent: &[&str]) -> Vec<Group> {
    let context = Context {
        silent: silent.iter().map(|one| (*one).to_owned()).collect(),
        ..Context::default()
    };
    converge(&alerts.iter().collect::<Vec<_>>(), &context)
}

#[test]
fn a_host_that_is_down_covers_its_processes_and_edges() {
    let alerts = firing(vec![
        finding("agent-silent", host("db"), &[]),
        finding("edge-refused", edge(("a", "web"), ("db", "pg")), &[]),
        finding("edge-refused", edge(("b", "web"), ("db", "pg")), &["gw"]),
        finding(
            "listener-gone",
            Subject::Node {
                node: end("db", "pg"),
            },
            &[],
        ),
        finding("edge-refused", edge(("a", "web"), ("c", "cache")), &[]),
    ]);
    let found = groups(&alerts, &["db"]);
    assert_eq!(found.len(), 2);
    let down = found.iter().find(|one| one.alerts.len() == 4).expect("one");
    assert!(matches!(&down.cause, Cause::Down { host, .. } if host == "db"));
    assert!(down.proven && down.lead.is_some());
    assert!(
        down.headline.en.contains("db.example reports nothing"),
        "{}",
        down.headline.en
    );
    assert!(
        down.headline.en.contains("3 more alerts"),
        "{}",
        down.headline.en
    );
    assert!(down.headline.zh.contains('3'), "{}", down.headline.zh);
    // A host that reports is not down, whatever is wrong with it.
    assert_eq!(groups(&alerts, &[]).len(), 3);
}

#[test]
fn what_is_not_declared_is_a_group_of_its_own() {
    let broken = edge(("a", "web"), ("db", "pg"));
    let flow = Subject::Flow {
        id: String::from("7"),
        source: String::from("web"),
        destination: String::from("pg"),
        port: String::from("5432"),
        owner: String::from("ann"),
    };
    let declared = |rule, subject| Finding {
        declared: true,
        ..finding(rule, subject, &["gw"])
    };
    let alerts = firing(vec![
        finding("agent-silent", host("db"), &[]),
        finding("edge-failing", broken.clone(), &[]),
        declared("edge-undeclared", broken),
        declared("flow-ends-soon", flow),
    ]);
    for silent in [&["db"][..], &[]] {
        let found = groups(&alerts, silent);
        let matrix = found.iter().find(|one| one.cause == Cause::Matrix);
        let matrix = matrix.expect("the group");
        assert_eq!(matrix.alerts.len(), 2, "{found:#?}");
        assert!(matrix.headline.en.contains("2 alerts"), "{matrix:?}");
        let others = found.iter().filter(|one| one.cause != Cause::Matrix);
        assert_eq!(others.map(|one| one.alerts.len()).sum::<usize>(), 2);
    }
}

#[test]
fn an_address_of_a_host_that_is_down_is_its_own() {
    let unjoined = Subject::Edge {
        client: end("a", "web"),
        server: End {
            name: String::from("10.0.0.9"),
            ..End::default()
        },
        endpoint: String::from("10.0.0.9:5432"),
    };
    let alerts = firing(vec![
        finding("agent-silent", host("db"), &[]),
        finding("edge-failing", unjoined, &[]),
    ]);
    let context = Context {
        silent: BTreeSet::from([String::from("db")]),
        homes: [(String::from("10.0.0.9"), String::from("db"))].into(),
    };
    let found = converge(&alerts.iter().collect::<Vec<_>>(), &context);
    assert_eq!(found.len(), 1);
}

#[test]
fn a_failure_of_a_gateway_is_one_group_of_two_hundred_edges() {
    let mut findings = Vec::new();
    for client in 0..20 {
        for server in 0..10 {
            let (client, server) = (format!("c{client}"), format!("s{server}"));
            let edge = edge((&client, "web"), (&server, "api"));
            findings.push(finding("edge-failing", edge, &["gw-1"]));
        }
    }
    findings.push(finding(
        "edge-failing",
        edge(("x", "web"), ("y", "api")),
        &["gw-2"],
    ));
    let alerts = firing(findings.clone());
    let found = groups(&alerts, &[]);
    assert_eq!(found.len(), 2);
    let gateway = found
        .iter()
        .find(|one| one.alerts.len() == 200)
        .expect("one");
    assert!(!gateway.proven && gateway.lead.is_none());
    let text = &gateway.headline.en;
    assert!(
        text.contains("200 edges from 20 clients to 10 servers"),
        "{text}"
    );
    assert!(
        text.contains("gw-1") && text.contains("not proven"),
        "{text}"
    );
    // With an alert of its own it is.
    findings.push(finding(
        "gateway-failing",
        Subject::Gateway {
            host: Some(String::from("g")),
            address: String::from("gw-1"),
        },
        &[],
    ));
    let alerts = firing(findings);
    let found = groups(&alerts, &[]);
    let gateway = found
        .iter()
        .find(|one| one.alerts.len() == 201)
        .expect("one");
    assert!(gateway.proven && gateway.headline.en.starts_with("gateway-failing is so."));
}

#[test]
fn the_server_side_comes_before_the_client_side() {
    let to = |client, server| finding("edge-failing", edge((client, "web"), (server, "api")), &[]);
    // Two clients of one server: the server.
    let found = groups(&firing(vec![to("a", "s"), to("b", "s")]), &[]);
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].cause,
        Cause::Server {
            name: String::from("s/api")
        }
    );
    assert!(
        found[0]
            .headline
            .en
            .contains("2 clients have trouble with s/api")
    );
    // One client of three servers, each of which nobody else complains about: the client.
    let found = groups(
        &firing(vec![to("a", "s1"), to("a", "s2"), to("a", "s3")]),
        &[],
    );
    assert_eq!(found.len(), 1);
    assert_eq!(
        found[0].cause,
        Cause::Client {
            name: String::from("a/web")
        }
    );
    // An alert at the server takes the edges to it along.
    let node = finding(
        "listener-gone",
        Subject::Node {
            node: end("s", "api"),
        },
        &[],
    );
    let found = groups(&firing(vec![to("a", "s"), node]), &[]);
    assert_eq!(found.len(), 1);
    assert!(found[0].proven && found[0].lead.is_some());
    // Two rules about one edge are one trouble.
    let other = finding("edge-slow", edge(("a", "web"), ("s", "api")), &[]);
    assert_eq!(groups(&firing(vec![to("a", "s"), other]), &[]).len(), 1);
}

#[test]
fn little_confidence_is_said_and_the_worst_group_is_first() {
    let mut weak = finding("edge-failing", edge(("a", "web"), ("s", "api")), &[]);
    weak.confidence = Some(0.4);
    let mut grave = finding("edge-failing", edge(("b", "web"), ("t", "api")), &[]);
    grave.severity = Severity::Critical;
    let found = groups(&firing(vec![weak, grave]), &[]);
    assert_eq!(found[0].severity, Severity::Critical);
    assert_eq!(
        (found[0].low_confidence, found[1].low_confidence),
        (false, true)
    );
}

fn subjects() -> impl Strategy<Value = Finding> {
    let names = prop::sample::select(vec!["a", "b", "c", "d"]);
    let through = prop::sample::subsequence(vec!["g1", "g2"], 0..=2);
    (0..5_usize, names.clone(), names, through, any::<bool>()).prop_map(
        |(kind, one, two, through, grave)| {
            let subject = match kind {
                0 => host(one),
                1 => Subject::Node {
                    node: end(one, "s"),
                },
                2 => Subject::Gateway {
                    host: None,
                    address: String::from("g1"),
                },
                _ => edge((one, "c"), (two, "s")),
            };
            let mut finding = finding("r", subject, &through);
            if grave {
                finding.severity = Severity::Critical;
            }
            finding
        },
    )
}

proptest! {
    /// Every alert is in one group, and the order in which they come does not matter.
    #[test]
    fn the_order_of_arrival_does_not_matter(
        findings in prop::collection::vec(subjects(), 0..40),
        silent in prop::sample::subsequence(vec!["a", "b", "c"], 0..=3),
        turn in any::<prop::sample::Index>(),
    ) {
        let alerts = firing(findings);
        let found = groups(&alerts, &silent);
        let mut turned = alerts.clone();
        if !turned.is_empty() {
            let by = turn.index(turned.len());
            turned.rotate_left(by);
        }
        turned.reverse();
        prop_assert_eq!(&found, &groups(&turned, &silent));
        let mut ids: Vec<_> = found.iter().flat_map(|one| one.alerts.clone()).collect();
        ids.sort();
        let mut all: Vec<_> = alerts.iter().map(|one| one.id.clone()).collect();
        all.sort();
        prop_assert_eq!(ids, all);
        let distinct: BTreeSet<_> = found.iter().map(|one| &one.id).collect();
        prop_assert_eq!(distinct.len(), found.len());
    }
}

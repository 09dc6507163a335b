use super::*;
use crate::topology::{Edge, EdgeCounters, Percentiles, Reason};

/// A side on which nothing is wrong.
fn well() -> EdgeCounters {
    EdgeCounters {
        opened: 1000,
        closed: 1000,
        reset_local: Some(0),
        reset_remote: Some(0),
        segments_sent: Some(10_000),
        segments_received: Some(10_000),
        retransmits: Some(0),
        out_of_order: Some(0),
        zero_windows: Some(0),
        connect_latency_us: Some(percentiles(900)),
        rtt_us: Some(percentiles(800)),
        ..EdgeCounters::default()
    }
}

pub(super) fn percentiles(us: u64) -> Percentiles {
    Percentiles {
        p50: Some(us / 2),
        p95: Some(us),
        p99: Some(us),
    }
}

fn edge(client: Option<EdgeCounters>, server: Option<EdgeCounters>) -> Edge {
    Edge {
        client: "a/app".to_owned(),
        server: "b/db".to_owned(),
        server_endpoint: "10.0.0.2:5432".to_owned(),
        via: Vec::new(),
        evidence: Vec::new(),
        confidence: 1.0,
        unknown_owners: Vec::new(),
        connections: 1000,
        open_before: 0,
        interval: None,
        sampled: false,
        client_counters: client,
        server_counters: server,
        first_seen_ms: 0,
        last_seen_ms: 0,
        reason: None,
        candidates: Vec::new(),
        attempts: None,
    }
}

fn place(name: &str, host: &str) -> Place {
    Place {
        name: name.to_owned(),
        host: host.to_owned(),
        unseen: None,
        agent: Some(Agent::default()),
    }
}

/// A scene in which nothing is wrong.
pub(super) fn scene() -> Scene {
    let usual = edge(Some(well()), Some(well()));
    Scene {
        edge: usual.clone(),
        usual: Some(usual),
        ends: [place("a/app", "A"), place("b/db", "B")],
        flows: Vec::new(),
        siblings: Vec::new(),
        listening: Some(Listening {
            sockets: 1,
            backlog: 128,
            queue_most: Some(3),
            drops: Some(0),
        }),
        middles: Vec::new(),
        gateways: Vec::new(),
        unseen_hop: false,
    }
}

pub(super) fn with(
    client: impl FnOnce(&mut EdgeCounters),
    server: impl FnOnce(&mut EdgeCounters),
) -> Scene {
    let mut scene = scene();
    client(scene.edge.client_counters.as_mut().expect("a side"));
    server(scene.edge.server_counters.as_mut().expect("a side"));
    scene
}

/// The edge's own server and two others, with what was opened to each.
pub(super) fn siblings(opened: [u64; 3]) -> Vec<Sibling> {
    let names = [
        ("b/db", "10.0.0.2:5432"),
        ("c/db", "10.0.0.3:5432"),
        ("d/db", "10.0.0.4:5432"),
    ];
    let one = |((server, endpoint), opened): ((&str, &str), u64)| Sibling {
        edge: format!("e-{server}"),
        server: server.to_owned(),
        endpoint: endpoint.to_owned(),
        opened,
        before: None,
        resets: Some(0),
    };
    names.into_iter().zip(opened).map(one).collect()
}

fn verdicts(scene: &Scene) -> Vec<(Cause, Verdict)> {
    let all = diagnose(scene, Language::English).statements;
    all.iter().map(|one| (one.cause, one.verdict)).collect()
}

pub(super) fn verdict(scene: &Scene, cause: Cause) -> Option<Verdict> {
    let all = verdicts(scene);
    all.iter().find(|(of, _)| *of == cause).map(|(_, v)| *v)
}

fn likely(scene: &Scene) -> Vec<Cause> {
    let all = verdicts(scene).into_iter();
    let all = all.filter(|(_, verdict)| *verdict == Verdict::Likely);
    all.map(|(cause, _)| cause).collect()
}

fn flow(from: &str, to: &str, middle: Option<&str>, again: u64) -> Flow {
    Flow {
        from: from.to_owned(),
        to: to.to_owned(),
        middles: middle.into_iter().map(str::to_owned).collect(),
        sent: 10_000,
        again,
    }
}

#[test]
fn where_all_is_well_and_measured_everything_is_ruled_out() {
    let all = verdicts(&scene());
    assert!(all.len() >= 14, "{all:?}");
    let other: Vec<_> = all
        .iter()
        .filter(|(_, verdict)| *verdict != Verdict::RuledOut)
        .collect();
    assert!(other.is_empty(), "{other:?}");
    assert_eq!(
        diagnose(&scene(), Language::English).headline,
        "Nothing is wrong."
    );
}

#[test]
fn what_nobody_measured_is_neither_ruled_out_nor_likely() {
    let mut scene = scene();
    scene.edge.client_counters = Some(EdgeCounters {
        opened: 5,
        ..EdgeCounters::default()
    });
    scene.edge.server_counters = None;
    scene.usual = None;
    scene.listening = None;
    for (cause, verdict) in verdicts(&scene) {
        // Attempts are counted everywhere.
        let counted = matches!(cause, Cause::Refused | Cause::NoAnswer);
        let expected = match counted {
            true => Verdict::RuledOut,
            false => Verdict::Unknown,
        };
        assert_eq!(verdict, expected, "{cause:?}");
    }
    scene.edge.client_counters = None;
    let all = verdicts(&scene);
    assert!(
        all.iter().all(|(_, verdict)| *verdict == Verdict::Unknown),
        "{all:?}"
    );
}

#[test]
fn attempts_that_fail_are_told_apart() {
    let fails = |failed, refused| {
        with(
            |client| (client.failed, client.refused, client.opened) = (failed, refused, 10),
            |server| server.opened = 10,
        )
    };
    assert_eq!(likely(&fails(5, 5)), [Cause::Refused]);
    assert_eq!(likely(&fails(5, 0)), [Cause::NoAnswer]);
    assert_eq!(likely(&fails(9, 4)), [Cause::NoAnswer, Cause::Refused]);
    let mut gone = fails(5, 5);
    gone.listening = Some(Listening::default());
    assert_eq!(likely(&gone), [Cause::NobodyListens, Cause::Refused]);
    let said = diagnose(&gone, Language::English).headline;
    assert_eq!(said, "Nobody listens at 10.0.0.2:5432 any more.");
}

#[test]
fn a_queue_is_full_where_it_turned_something_away_or_held_more_than_it_may() {
    let queue = |queue_most, drops| {
        let mut scene = scene();
        scene.listening = Some(Listening {
            sockets: 1,
            backlog: 128,
            queue_most,
            drops,
        });
        verdict(&scene, Cause::QueueFull)
    };
    assert_eq!(queue(Some(3), Some(7)), Some(Verdict::Likely));
    // The kernel lets one more in than the backlog says (sk_acceptq_is_full: `>`).
    assert_eq!(queue(Some(129), None), Some(Verdict::Likely));
    assert_eq!(queue(Some(128), Some(0)), Some(Verdict::RuledOut));
    assert_eq!(queue(None, None), Some(Verdict::Unknown));
}

#[test]
fn openings_that_the_round_trip_time_does_not_explain_are_slow() {
    let opening = |us, rtt| {
        let scene = with(
            |client| {
                client.connect_latency_us = Some(percentiles(us));
                client.rtt_us = Some(percentiles(rtt));
            },
            |_| {},
        );
        verdict(&scene, Cause::SlowOpening)
    };
    assert_eq!(opening(1_048_576, 800), Some(Verdict::Likely));
    assert_eq!(opening(1_048_576, 700_000), Some(Verdict::RuledOut));
    assert_eq!(opening(4000, 800), Some(Verdict::Possible));
    assert_eq!(opening(950, 200), Some(Verdict::RuledOut));
}

#[test]
fn resets_belong_to_who_sent_them() {
    let by_server = with(
        |client| client.reset_remote = Some(30),
        |server| server.reset_local = Some(30),
    );
    assert_eq!(likely(&by_server), [Cause::ResetByServer]);
    let by_client = with(
        |client| client.reset_local = Some(4),
        |server| server.reset_remote = Some(4),
    );
    assert_eq!(likely(&by_client), [Cause::ResetByClient]);
    let between = with(
        |client| client.reset_remote = Some(9),
        |server| server.reset_remote = Some(9),
    );
    assert_eq!(likely(&between), [Cause::ResetBetween]);
    assert_eq!(
        verdict(&between, Cause::ResetByServer),
        Some(Verdict::RuledOut)
    );
    // Seen from one side alone, it may have been something between.
    let mut one_side = by_server;
    one_side.edge.server_counters = None;
    assert_eq!(likely(&one_side), []);
    assert_eq!(
        verdict(&one_side, Cause::ResetByServer),
        Some(Verdict::Possible)
    );
    assert_eq!(
        verdict(&one_side, Cause::ResetBetween),
        None,
        "nothing to compare with"
    );
}

#[test]
fn loss_has_a_direction_and_a_place() {
    let lossy = || with(|client| client.retransmits = Some(300), |_| {});
    let said = |scene: &Scene| diagnose(scene, Language::English).headline;
    let scene = lossy();
    assert_eq!(likely(&scene), [Cause::LossToServer]);
    assert!(said(&scene).contains("too little else is sent"));
    let place = |flows: Vec<Flow>, middles: &[&str]| {
        let mut scene = lossy();
        scene.flows = flows;
        scene.middles = middles.iter().map(|name| (*name).to_owned()).collect();
        said(&scene)
    };
    let own = || flow("A", "B", Some("gw"), 300);
    let to_others = |again| flow("A", "C", None, again);
    let from_others = |again| flow("C", "B", None, again);
    let text = place(vec![own(), to_others(400), from_others(0)], &[]);
    assert!(text.contains("near a/app"), "{text}");
    let text = place(vec![own(), to_others(0), from_others(400)], &[]);
    assert!(text.contains("near b/db"), "{text}");
    let text = place(vec![own(), to_others(400), from_others(400)], &[]);
    assert!(text.contains("network that they share"), "{text}");
    let text = place(vec![own(), to_others(0), from_others(0)], &[]);
    assert!(text.contains("between these two"), "{text}");
    let through = flow("A", "D", Some("gw"), 500);
    let text = place(vec![own(), to_others(0), through.clone()], &["gw"]);
    assert!(text.contains("passes gw for others"), "{text}");
    // What loses everywhere loses not in the gateway.
    let text = place(vec![own(), to_others(400), through], &["gw"]);
    assert!(text.contains("near a/app"), "{text}");
}

#[test]
fn loss_that_was_there_before_is_no_news_and_chance_is_no_loss() {
    let mut scene = with(|client| client.retransmits = Some(300), |_| {});
    let usual = scene.usual.as_mut().expect("an edge before");
    usual.client_counters.as_mut().expect("a side").retransmits = Some(250);
    assert_eq!(likely(&scene), []);
    assert_eq!(
        verdict(&scene, Cause::LossToServer),
        Some(Verdict::Possible)
    );
    let few = with(
        |client| (client.segments_sent, client.retransmits) = (Some(60), Some(2)),
        |_| {},
    );
    assert_eq!(likely(&few), []);
}

#[test]
fn who_does_not_read_is_told_by_the_other_side() {
    let scene = with(|client| client.zero_windows = Some(50), |_| {});
    assert_eq!(likely(&scene), [Cause::ServerDoesNotRead]);
    let said = diagnose(&scene, Language::English).headline;
    assert_eq!(
        said,
        "b/db does not read what it is sent: it closed its window 50 (before: 0) times."
    );
}

#[test]
fn round_trips_are_held_against_those_before() {
    let scene = with(|client| client.rtt_us = Some(percentiles(1600)), |_| {});
    assert_eq!(likely(&scene), [Cause::SlowPath]);
    let mut first = scene;
    first.usual = None;
    assert_eq!(verdict(&first, Cause::SlowPath), Some(Verdict::Unknown));
}

#[test]
fn hosts_that_fell_silent_come_first_and_unseen_ends_are_named() {
    let mut scene = with(|client| client.failed = 5, |_| {});
    scene.ends[1].agent = Some(Agent {
        silent_ms: 90_000,
        lost: 3,
    });
    assert_eq!(likely(&scene), [Cause::HostSilent, Cause::NoAnswer]);
    assert_eq!(verdict(&scene, Cause::DataLost), Some(Verdict::Possible));
    scene.gateways = vec![Gateway {
        name: "gw".to_owned(),
        agent: Agent {
            silent_ms: 61_000,
            lost: 0,
        },
    }];
    let silent = likely(&scene).into_iter();
    let silent = silent.filter(|cause| *cause == Cause::HostSilent);
    assert_eq!(silent.count(), 2);
    scene.ends[1].unseen = Some(Reason::NoAgent.describe().to_owned());
    assert_eq!(verdict(&scene, Cause::EndUnseen), Some(Verdict::Unknown));
    scene.unseen_hop = true;
    scene.edge.confidence = 0.5;
    assert_eq!(verdict(&scene, Cause::HopUnseen), Some(Verdict::Unknown));
    assert_eq!(verdict(&scene, Cause::WeakEvidence), Some(Verdict::Unknown));
}

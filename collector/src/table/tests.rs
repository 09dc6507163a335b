use proptest::prelude::{any, prop, proptest};

use super::line::WIDTH;
use super::{duration, hosts, path, size, topology};
use crate::fleet::{Fleet, Host, Report};
use crate::topology::{
    Attempts, Count, Edge, EdgeCounters, Evidence, EvidenceKind, Interval, Percentiles, Reason,
    ReasonCount, Seer, Topology, Via, ViaKind,
};

fn counters(apportioned: bool) -> EdgeCounters {
    EdgeCounters {
        opened: 100,
        refused: 2,
        failed: 3,
        bytes_sent: Some(12_345),
        bytes_received: Some(9_876_543_210),
        retransmits: Some(7),
        rtt_us: Some(Percentiles {
            p50: Some(310),
            p95: Some(12_400),
            p99: Some(99_000),
        }),
        apportioned,
        ..EdgeCounters::default()
    }
}

fn edge(client: &str, server: &str) -> Edge {
    let via = |seen_by, kind, address: &str| Via {
        seen_by,
        kind,
        address: address.to_owned(),
    };
    Edge {
        client: client.to_owned(),
        server: server.to_owned(),
        server_endpoint: String::from("[fd02::1234:5678:9abc:def0]:8080"),
        via: vec![
            via(
                Seer::Client,
                ViaKind::Vip,
                "[fd01::1234:5678:9abc:def0]:443",
            ),
            via(Seer::Server, ViaKind::Nat, "fd02::1234:5678:9abc:1"),
        ],
        evidence: vec![Evidence {
            kind: EvidenceKind::Token,
            connections: 100,
        }],
        confidence: 0.9999,
        unknown_owners: Vec::new(),
        connections: 100,
        open_before: 0,
        interval: None,
        sampled: false,
        client_counters: Some(counters(true)),
        server_counters: Some(counters(false)),
        first_seen_ms: 0,
        last_seen_ms: 1,
        reason: None,
        candidates: Vec::new(),
        attempts: None,
    }
}

fn shown(edges: Vec<Edge>) -> String {
    let document = Topology {
        evicted_before_ms: Some(1_700_000_000_000),
        whole_from_ms: Some(1_700_000_000_000),
        from_ms: 0,
        to_ms: 1_700_000_000_000,
        nodes: Vec::new(),
        edges,
        unjoined: Vec::new(),
        ambiguous_tokens: 0,
        ambiguous_sequences: 0,
        unjoined_reasons: vec![ReasonCount {
            reason: Reason::NoAgent,
            edges: 3,
            connections: 5,
        }],
        unknown_owners: Count {
            edges: 2,
            connections: 40,
        },
    };
    let mut out = Vec::new();
    topology(&mut out, &document).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn an_edge_reads_like_this() {
    let expected = "\
CLIENT -> SERVER                                      CONNS  SENT/RECEIVED   RETR   RTT P50/P95 CONF
web-1/curl -> db-1/postgres                             100    9.1G/12K    ~14  310us/12ms 0.99
    at [fd02::1234:5678:9abc:def0]:8080, via vip [fd01::1234:5678:9abc:def0]:443,
    via nat fd02::1234:5678:9abc:1, token 100, 2 failed, 4 refused

joined: 1, known by one side only: 0, ambiguous tokens: 0, sequence numbers: 0
    3: no agent reported the other side
    2 edges with 40 connections: process of a side not known
from 1970-01-01T00:00:00.000Z to 2023-11-14T22:13:20.000Z
the store was full: data up to 2023-11-14T22:13:20.000Z may be missing
whole from 2023-11-14T22:13:20.000Z on: what is older was deleted
~ divided in proportion, or estimated
";
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = shown(vec![edge("web-1/curl", "db-1/postgres")]);
    assert_eq!(squeeze(&text), squeeze(expected));
    assert_eq!(text.lines().nth(2), expected.lines().nth(2));
}

#[test]
fn an_edge_whose_process_is_not_known_says_so() {
    let mut unknown = edge("web-1/(unknown)", "db-1/postgres");
    unknown.unknown_owners = vec![Seer::Client];
    let text = shown(vec![unknown]);
    assert!(text.contains("process of the client not known"), "{text}");
}

#[test]
fn an_unknown_side_is_a_dash_and_not_a_zero() {
    let mut one_sided = edge("web-1/curl", "10.9.9.9");
    (one_sided.client_counters, one_sided.server_counters) = (None, None);
    let text = shown(vec![one_sided]);
    let numbers: Vec<_> = text
        .lines()
        .nth(1)
        .unwrap()
        .split_whitespace()
        .skip(3)
        .collect();
    assert_eq!(numbers, ["100", "-", "-", "-", "0.99"]);
}

#[test]
fn what_a_host_cannot_measure_is_a_dash_and_makes_a_sum_one() {
    let mut half = edge("web-1/curl", "db-1/postgres");
    for side in [&mut half.client_counters, &mut half.server_counters] {
        side.as_mut().unwrap().apportioned = false;
    }
    let client = half.client_counters.as_mut().unwrap();
    (client.bytes_sent, client.retransmits, client.rtt_us) = (None, None, None);
    let text = shown(vec![half]);
    let line = text.lines().nth(1).unwrap();
    let numbers: Vec<_> = line.split_whitespace().skip(3).collect();
    // Bytes and round trips are the server's.
    assert_eq!(numbers, ["100", "9.1G/12K", "-", "310us/12ms", "0.99"]);
}

#[test]
fn an_estimate_says_its_interval_and_an_open_side_who_it_may_be() {
    let mut estimated = edge("web-1/curl", "db-1/postgres");
    estimated.interval = Some(Interval { low: 83, high: 120 });
    estimated.candidates = vec![String::from("db-1/postgres"), String::from("db-2/postgres")];
    let text = shown(vec![estimated]);
    assert!(
        text.contains(" ~100 ") && text.contains("83 to 120 connections"),
        "{text}"
    );
    assert!(
        text.contains("perhaps db-1/postgres,") && text.contains("perhaps db-2/postgres"),
        "{text}"
    );
    assert!(
        text.ends_with("~ divided in proportion, or estimated\n"),
        "{text}"
    );
}

#[test]
fn why_an_edge_is_not_joined_is_said() {
    let mut one_sided = edge("web-1/curl", "10.9.9.9");
    one_sided.reason = Some(Reason::SequenceOneEnd);
    let text = shown(vec![one_sided]);
    assert!(text.contains("sequence numbers of one end only"), "{text}");
}

#[test]
fn a_scan_reads_like_this() {
    let mut scan = edge("web-1/nmap", "10.9.9.9");
    scan.reason = Some(Reason::NotEstablished);
    (scan.via, scan.evidence, scan.server_counters) = (Vec::new(), Vec::new(), None);
    scan.attempts = Some(Attempts {
        endpoints: 2000,
        addresses: 1,
        ports: vec![String::from("1-79"), String::from("443")],
        ports_left_out: 7,
    });
    let text = shown(vec![scan]);
    let lines: Vec<_> = text.lines().skip(2).take(2).map(str::trim).collect();
    assert_eq!(
        lines,
        [
            "2000 endpoints, 1 address, ports 1-79, 443, and 7 more, no connection was established, \
             1 failed,",
            "2 refused",
        ]
    );
}

#[test]
fn numbers_have_two_digits_and_a_unit() {
    let sizes: Vec<_> = [0, 999, 1024, 1536, 10_240, 1 << 20, u64::MAX]
        .map(size)
        .into();
    assert_eq!(sizes, ["0", "999", "1.0K", "1.5K", "10K", "1.0M", "15E"]);
    let times: Vec<_> = [0, 999, 1000, 25_500, 3_000_000]
        .map(|us| duration(Some(us)))
        .into();
    assert_eq!(times, ["0us", "999us", "1.0ms", "25ms", "3.0s"]);
    assert_eq!(duration(None), "-");
}

#[test]
fn a_short_name_leaves_its_room_to_the_other() {
    let long = "x".repeat(80);
    assert!(path("a", &long).starts_with("a -> xxxx") && path("a", &long).ends_with('~'));
    assert!(path(&long, "b").ends_with("~ -> b"));
    assert_eq!(path("a", "b"), "a -> b");
}

#[test]
fn a_host_shows_why_it_is_as_it_is() {
    let pair = |k: &str, v: &str| (k.to_owned(), v.to_owned());
    let fleet = Fleet {
        credentials_refused: Vec::new(),
        evicted: None,
        hosts: vec![Host {
            left_out: false,
            host: "0".repeat(32),
            hostname: String::from("web-1"),
            report: Report {
                agent: String::from("0.1.0"),
                kernel: String::from("5.10.0-30-amd64"),
                mode: String::from("observe"),
                plan: vec![pair("connection", "observe: no header-option helpers")],
                paths_off: vec![pair("10.2.0.0/16", "drops the option")],
                ..Report::default()
            },
            drops: vec![(String::from("spool_evicted_size_total"), 12)],
            spool_depth: Some(3),
            batches_missing: 2,
            clock_ahead_ms: 61_000,
            copied_ms: Some(1_700_000_000_000),
            first_seen_ms: 0,
            last_seen_ms: 1_700_000_000_000,
        }],
    };
    let mut out = Vec::new();
    hosts(&mut out, &fleet).unwrap();
    let text = String::from_utf8(out).unwrap();
    for part in [
        "web-1",
        "5.10.0-30-amd64",
        "observe",
        "2023-11-14 22:13",
        "why: connection: observe: no header-option helpers",
        "off: 10.2.0.0/16: drops the option",
        "lost: spool_evicted_size_total 12",
        "2 batches of this run have not arrived",
        "its clock is 61 s ahead",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= WIDTH),
        "{text}"
    );
}

proptest! {
    #[test]
    fn whatever_the_names_the_table_stays_a_table(
        client in "\\PC*|[\\x00-\\xff]*", server in "\\PC{0,200}", endpoint in any::<String>(),
        vias in prop::collection::vec(any::<String>(), 0..20),
    ) {
        let mut edge = edge(&client, &server);
        edge.server_endpoint = endpoint;
        edge.via = vias
            .into_iter()
            .map(|address| Via { seen_by: Seer::Server, kind: ViaKind::Nat, address })
            .collect();
        let text = shown(vec![edge]);
        assert!(!text.chars().any(|c| c.is_control() && c != '\n'));
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
        }
    }
}

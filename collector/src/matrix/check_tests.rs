//! A small fleet, declared flows, and what becomes of them.

use std::net::IpAddr;

use super::{Bounds, check};
use crate::matrix::{
    EdgeState, Line, Report, Seen, SeenEdge, SeenHost, SeenNode, Verdict, Why, learn, read,
};
use crate::topology::ProcessNode;

const NOW: i64 = 1_800_000_000_000;

fn process(hostname: &str, service: &str) -> ProcessNode {
    ProcessNode {
        host: format!("{hostname:0<32}"),
        hostname: String::from(hostname),
        service: String::from(service),
        ..ProcessNode::default()
    }
}

fn ips(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn service(hostname: &str, name: &str, own: &[&str]) -> SeenNode {
    SeenNode {
        id: format!("{hostname}/{name}"),
        process: Some(process(hostname, name)),
        addresses: ips(own),
    }
}

fn address(ip: &str) -> SeenNode {
    SeenNode {
        id: String::from(ip),
        process: None,
        addresses: ips(&[ip]),
    }
}

fn line(ends: [usize; 2], called: &[&str], connections: u64) -> Line {
    Line {
        ends,
        unknown: [false; 2],
        nat: Vec::new(),
        called: called.iter().map(|at| at.parse().unwrap()).collect(),
        tried: Vec::new(),
        only_attempts: false,
        told: SeenEdge {
            key: format!("e-{}-{}", ends[0], ends[1]),
            client: ends[0].to_string(),
            server: ends[1].to_string(),
            endpoint: String::from(*called.first().unwrap_or(&"")),
            via: Vec::new(),
            connections,
            failed: 0,
            confidence: 0.99,
            evidence: Vec::new(),
            first_seen_ms: NOW - 60_000,
            last_seen_ms: NOW - 1_000,
        },
    }
}

/// nginx on web-1 calls postgres on db-1 through a VIP, and an address calls nginx.
fn fleet() -> Seen {
    Seen {
        nodes: vec![
            service("web-1", "nginx", &["10.0.0.1"]),
            service("db-1", "postgres", &["10.0.1.1"]),
            address("172.16.0.9"),
        ],
        edges: vec![
            line([0, 1], &["10.0.1.1:5432", "10.9.9.9:15432"], 7),
            line([2, 0], &["10.0.0.1:80"], 30),
        ],
        hosts: vec![SeenHost {
            process: process("idle-1", ""),
            addresses: Vec::new(),
        }],
    }
}

fn checked(rows: &str, seen: &Seen) -> Report {
    let text = format!("source,destination,port,action,valid_until,protocol\n{rows}");
    let declared = read(text.as_bytes()).expect(rows);
    let bounds = Bounds {
        least_confidence: 0.8,
        limit: 100,
        now_ms: NOW,
    };
    check(&declared.flows, seen, bounds)
}

fn verdicts(report: &Report) -> Vec<Verdict> {
    report.flows.iter().map(|flow| flow.verdict).collect()
}

fn states(report: &Report) -> Vec<(EdgeState, &str)> {
    let edges = report.edges.iter();
    edges
        .map(|one| (one.state, one.edge.key.as_str()))
        .collect()
}

#[test]
fn what_is_declared_and_seen_is_used_whichever_way_it_is_written() {
    let seen = fleet();
    for row in [
        "nginx,postgres,5432,,,",
        "web-1/nginx,10.0.1.0/24,5000-6000,,,",
        "10.0.0.1,10.9.9.9,15432,,,",
        "host=web-*,any,,,,",
    ] {
        let report = checked(&format!("{row}\n172.16.0.0/16,nginx,80,,,\n"), &seen);
        assert_eq!(verdicts(&report), [Verdict::Used, Verdict::Used], "{row}");
        assert_eq!(states(&report), [], "{row}");
        assert_eq!(report.flows[0].connections, 7);
        assert!(!report.summary.is_broken());
    }
    // The port of the VIP does not go with the address of the server.
    let report = checked("nginx,10.0.1.1,15432,,,\n172.16.0.9,nginx,80,,,\n", &seen);
    assert_eq!(verdicts(&report), [Verdict::Unused, Verdict::Used]);
    assert_eq!(states(&report), [(EdgeState::Undeclared, "e-0-1")]);
}

#[test]
fn what_nobody_declared_is_told_with_its_evidence() {
    let report = checked("nginx,postgres,5432,,,\n", &fleet());
    assert_eq!(states(&report), [(EdgeState::Undeclared, "e-2-0")]);
    assert_eq!(report.edges[0].edge.connections, 30);
    assert!(report.summary.is_broken());
    let mut unsure = fleet();
    unsure.edges[1].told.confidence = 0.4;
    let report = checked("nginx,postgres,5432,,,\n", &unsure);
    assert_eq!(report.edges[0].why, [Why::LowConfidence]);
}

#[test]
fn a_service_whose_host_does_not_report_may_be_anybody() {
    let report = checked("nginx,postgres,5432,,,\nbrowser,nginx,80,,,\n", &fleet());
    assert_eq!(verdicts(&report), [Verdict::Used, Verdict::Undecided]);
    assert_eq!(states(&report), [(EdgeState::Undecided, "e-2-0")]);
    assert_eq!(report.edges[0].flows, ["3"]);
    assert!(!report.summary.is_broken());
    // An address rules it out.
    let report = checked(
        "nginx,postgres,5432,,,\nbrowser 10.0.0.0/8,nginx,80,,,\n",
        &fleet(),
    );
    assert_eq!(verdicts(&report), [Verdict::Used, Verdict::Unused]);
    assert_eq!(states(&report), [(EdgeState::Undeclared, "e-2-0")]);
    // So does a process that is not known.
    let mut unknown = fleet();
    unknown.edges[0].unknown = [false, true];
    let report = checked("nginx,postgres,5432,,,\nany,nginx,80,,,\n", &unknown);
    assert_eq!(verdicts(&report), [Verdict::Undecided, Verdict::Used]);
}

#[test]
fn what_no_agent_would_see_is_neither_used_nor_unused() {
    let rows = "mail,ldap,389,,,\nnginx,ldap,389,,,\nhost=idle-1 cron,ldap,389,,,\n\
                192.0.2.0/24,198.51.100.1,443,,,\nnginx,dns,53,,,udp\n";
    let report = checked(rows, &fleet());
    let expected = [
        Verdict::NotObservable,
        Verdict::Unused,
        Verdict::Unused,
        Verdict::NotObservable,
        Verdict::NotObservable,
    ];
    assert_eq!(verdicts(&report), expected);
    assert_eq!(report.flows[0].why, [Why::NoAgent]);
    assert_eq!(report.flows[4].why, [Why::Protocol]);
}

#[test]
fn what_is_denied_is_violated_or_kept_and_goes_before_what_is_allowed() {
    let rows = "any,any,,,,\nany,postgres,,deny,,\nany,nginx,22,deny,,\n";
    let report = checked(rows, &fleet());
    assert_eq!(
        verdicts(&report),
        [Verdict::Used, Verdict::Violated, Verdict::Kept]
    );
    assert_eq!(states(&report), [(EdgeState::Violating, "e-0-1")]);
    assert_eq!(report.edges[0].flows, ["3"]);
}

#[test]
fn what_goes_on_after_its_time_breaks_the_matrix() {
    let rows = "nginx,postgres,5432,,2020-01-01,\nany,nginx,80,,2099-01-01,\n";
    let report = checked(rows, &fleet());
    assert_eq!(verdicts(&report), [Verdict::Expired, Verdict::Used]);
    assert_eq!(report.flows[0].why, [Why::UsedAfterEnd]);
    assert_eq!(states(&report), [(EdgeState::Violating, "e-0-1")]);
    // What ended before its time did is no breach.
    let rows = "nginx,postgres,5432,,2020-01-01,\nnginx,postgres,5432,,,\nany,nginx,80,,,\n";
    let report = checked(rows, &fleet());
    assert_eq!(states(&report), []);
}

#[test]
fn attempts_are_no_use_and_ports_that_were_tried_are_held_against_ranges() {
    let mut seen = fleet();
    let mut scan = line([2, 1], &[], 0);
    (scan.tried, scan.only_attempts, scan.told.failed) = (vec![(1, 1024)], true, 900);
    seen.edges.push(scan);
    let rows = "nginx,postgres,5432,,,\nany,nginx,80,,,\nany,postgres,1-2000,,,\n";
    let report = checked(rows, &seen);
    assert_eq!(report.flows[2].verdict, Verdict::Used);
    assert_eq!(report.flows[2].why, [Why::OnlyAttempts]);
    let rows = "nginx,postgres,5432,,,\nany,nginx,80,,,\nany,postgres,22,,,\n";
    let report = checked(rows, &seen);
    assert_eq!(report.flows[2].verdict, Verdict::Undecided);
    assert_eq!(states(&report), [(EdgeState::Undecided, "e-2-1")]);
    let rows = "nginx,postgres,5432,,,\nany,nginx,80,,,\n";
    let report = checked(rows, &seen);
    assert_eq!(states(&report), [(EdgeState::Undeclared, "e-2-1")]);
    assert_eq!(report.edges[0].why, [Why::OnlyAttempts]);
}

#[test]
fn what_is_learned_is_declared_and_names_services_and_networks() {
    let mut seen = fleet();
    seen.nodes.push(address("172.16.0.10"));
    seen.edges.push(line([3, 0], &["10.0.0.1:443"], 2));
    let learned = learn(&seen, 0.8);
    let text = |at: usize| {
        let flow = &learned.flows[at];
        (
            flow.source.as_str(),
            flow.destination.as_str(),
            flow.port.as_str(),
        )
    };
    assert_eq!(text(0), ("172.16.0.0/24", "service=nginx", "80, 443"));
    assert_eq!(text(1), ("service=nginx", "service=postgres", "5432"));
    let mut file = Vec::new();
    crate::matrix::write_flows(&mut file, crate::matrix::Form::Csv, &learned.flows).unwrap();
    let declared = read(&file).expect("what is learned can be read");
    let bounds = Bounds {
        least_confidence: 0.8,
        limit: 100,
        now_ms: NOW,
    };
    let report = check(&declared.flows, &seen, bounds);
    assert_eq!(report.summary.edges_declared, 3);
    assert_eq!(verdicts(&report), [Verdict::Used, Verdict::Used]);
}

#[test]
fn the_worst_edges_are_told_first_and_the_others_counted() {
    let mut seen = fleet();
    for port in 1..50_u16 {
        let called = format!("10.0.0.1:{port}");
        seen.edges.push(line([2, 0], &[&called], u64::from(port)));
    }
    let declared = read(b"source,destination\nnobody,nothing\n").unwrap();
    let bounds = Bounds {
        least_confidence: 0.8,
        limit: 10,
        now_ms: NOW,
    };
    let report = check(&declared.flows, &seen, bounds);
    assert_eq!((report.edges.len(), report.edges_left_out), (10, 41));
    let many: Vec<u64> = report
        .edges
        .iter()
        .map(|one| one.edge.connections)
        .collect();
    assert!(many.is_sorted_by(|a, b| a >= b), "{many:?}");
}

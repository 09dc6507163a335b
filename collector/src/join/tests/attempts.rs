//! Attempts that led to no connection are grouped, with exact counts.

use wire::Role;

use super::super::{Flow, HostId, Input, Run, topology};
use super::model::endpoint;
use crate::counters::Counters;
use crate::packed::Packed;
use crate::topology::{Attempts, NodeKind, Topology};

const OTHER: u64 = 2;

/// What a service tried in vain, or had tried on it, at these own and other endpoints: the first is
/// refused, all others are not answered.
fn tried(role: Role, endpoints: impl Iterator<Item = (String, String)>) -> Topology {
    let flow = |(at, (local, remote)): (usize, (String, String))| {
        let mut counters = Counters::default();
        (counters.plain[2], counters.plain[3]) = (1, u64::from(at == 0));
        counters.plain[8] = 3;
        Flow {
            host: HostId([1; 16]),
            process: None,
            role,
            netns: 1,
            local: endpoint(&local),
            remote: endpoint(&remote),
            counters: Some(Packed::from(&counters)),
            open_before: 0,
            run: Run::default(),
            first_ms: 5,
            last_ms: 9,
        }
    };
    let input = Input {
        flows: endpoints.enumerate().map(flow).collect(),
        hosts: vec![(HostId([1; 16]), String::from("one"))],
        ..Input::default()
    };
    let joined = topology(&input, 0, 10);
    assert!(joined.edges.is_empty());
    // Whatever the grouping, nothing is lost.
    let sides = joined
        .unjoined
        .iter()
        .flat_map(|edge| [&edge.client_counters, &edge.server_counters]);
    let sum = sides.flatten().fold((0, 0, 0), |sum, side| {
        (
            sum.0 + side.failed,
            sum.1 + side.refused,
            sum.2 + side.segments_sent.unwrap(),
        )
    });
    let n = input.flows.len() as u64;
    assert_eq!(sum, (n, 1, 3 * n));
    joined
}

fn client(at: &str) -> (String, String) {
    (String::from("10.0.0.1:0"), at.to_owned())
}

#[test]
fn a_scan_of_ports_is_one_edge() {
    let ports = (1..=2000).filter(|port| *port != 80);
    let joined = tried(
        Role::Client,
        ports.map(|port| client(&format!("10.9.9.9:{port}"))),
    );
    let [edge] = &joined.unjoined[..] else {
        panic!("{:#?}", joined.unjoined)
    };
    assert_eq!(
        (edge.client.as_str(), edge.server.as_str()),
        ("one/(unknown)", "10.9.9.9")
    );
    assert_eq!(edge.server_endpoint, "10.9.9.9:0");
    assert_eq!(edge.connections, 0);
    let attempts = Attempts {
        endpoints: 1999,
        addresses: 1,
        ports: vec![String::from("1-79"), String::from("81-2000")],
        ports_left_out: 0,
    };
    assert_eq!(edge.attempts.as_ref(), Some(&attempts));
    assert_eq!(joined.nodes.len(), 2);
    let text = serde_json::to_string(&joined).unwrap();
    assert!(text.len() < 3_000, "{} bytes", text.len());
}

#[test]
fn a_scan_of_addresses_is_one_edge_to_their_network() {
    let addresses = (0..2000).map(|n| client(&format!("10.9.{}.{}:22", n / 250, n % 250)));
    let joined = tried(Role::Client, addresses);
    let [edge] = &joined.unjoined[..] else {
        panic!("{:#?}", joined.unjoined)
    };
    assert_eq!(
        (edge.server.as_str(), edge.server_endpoint.as_str()),
        ("10.9.0.0/21", "10.9.0.0:22")
    );
    let attempts = edge.attempts.as_ref().unwrap();
    assert_eq!((attempts.endpoints, attempts.addresses), (2000, 2000));
    assert_eq!(attempts.ports, ["22"]);
    let kinds: Vec<_> = joined
        .nodes
        .iter()
        .map(|node| (node.id.as_str(), node.kind))
        .collect();
    assert_eq!(
        kinds,
        [
            ("10.9.0.0/21", NodeKind::Network),
            ("one/(unknown)", NodeKind::Process)
        ]
    );
}

#[test]
fn many_sources_that_establish_nothing_are_one_edge() {
    let sources = (0..3000).map(|n| {
        let remote = format!("[2001:db8::{n:x}]:0");
        (String::from("[fd01::1]:443"), remote)
    });
    let joined = tried(Role::Server, sources);
    let [edge] = &joined.unjoined[..] else {
        panic!("{:#?}", joined.unjoined)
    };
    assert_eq!(
        (edge.client.as_str(), edge.server.as_str()),
        ("2001:db8::/116", "one/(unknown)")
    );
    assert_eq!(edge.server_endpoint, "[fd01::1]:443");
    let attempts = edge.attempts.as_ref().unwrap();
    assert_eq!((attempts.endpoints, attempts.addresses), (1, 3000));
}

#[test]
fn a_few_failures_keep_their_endpoints() {
    let few = (0..256).map(|n| client(&format!("10.9.9.{}:{}", n / 16, 80 + n % 16)));
    let joined = tried(Role::Client, few);
    assert_eq!(joined.unjoined.len(), 256);
    for edge in &joined.unjoined {
        assert_eq!(edge.attempts, None);
        assert!(
            edge.server_endpoint
                .starts_with(&format!("{}:", edge.server))
        );
        assert!(!edge.server_endpoint.ends_with(":0"));
    }
}

#[test]
fn what_also_connects_is_no_scan() {
    let mut flows = Vec::new();
    for port in 80..100 {
        let mut counters = Counters::default();
        (counters.plain[0], counters.plain[2]) = (u64::from(port == 80) * OTHER, 1);
        flows.push(Flow {
            host: HostId([1; 16]),
            process: None,
            role: Role::Client,
            netns: 1,
            local: endpoint("10.0.0.1:0"),
            remote: endpoint(&format!("10.9.9.9:{port}")),
            counters: Some(Packed::from(&counters)),
            open_before: 0,
            run: Run::default(),
            first_ms: 5,
            last_ms: 9,
        });
    }
    let input = Input {
        flows,
        ..Input::default()
    };
    let joined = topology(&input, 0, 10);
    let edges = joined.unjoined.iter().map(|edge| {
        let failed = edge.client_counters.as_ref().unwrap().failed;
        (edge.server_endpoint.as_str(), edge.connections, failed)
    });
    let edges: Vec<_> = edges.collect();
    assert_eq!(edges, [("10.9.9.9:0", 0, 19), ("10.9.9.9:80", OTHER, 1)]);
}

//! Golden scenarios: what a simulated fleet reports, and the topology that must come out.

mod other_evidence;
mod windows;

use collector::accept::{self, BatchKey};
use collector::query::{self, Asked};
use collector::store::{Outcome, Store};
use collector::topology::{Edge, EvidenceKind, Topology};
use tempfile::TempDir;
use wire::{Batch, Limits};

use crate::support::site::{ROOM, rows};
use crate::support::world::{BEGIN_MS, Carry, RECEIVED, SENT, Talk, World};

/// A store that batches are put into as they would come from the network.
pub(crate) struct Collector {
    dir: TempDir,
    store: Store,
}

impl Collector {
    pub(crate) fn new() -> Self {
        let dir = TempDir::new().expect("directory");
        let store = Store::open(&dir.path().join("collector.db"), ROOM).expect("store");
        Self { dir, store }
    }

    fn take(&mut self, batch: &Batch) -> Outcome {
        let bytes = wire::encode(batch);
        let key = BatchKey::from(&batch.header);
        let opened = accept::open(&bytes, &key, &Limits::default()).expect("a good batch");
        let now_ms = i64::try_from(batch.header.end_ms).expect("in range");
        self.store
            .put(&[&opened], now_ms)
            .remove(0)
            .expect("stored")
    }

    pub(crate) fn take_all(&mut self, batches: &[Batch]) {
        for batch in batches {
            self.take(batch);
        }
    }

    pub(crate) fn topology(&self) -> Topology {
        self.topology_since(0)
    }

    /// Of the time after so many milliseconds from the begin.
    pub(crate) fn topology_since(&self, after_ms: u64) -> Topology {
        let begin = if after_ms == 0 {
            0
        } else {
            BEGIN_MS + after_ms
        };
        let asked = Asked {
            from_ms: i64::try_from(begin).ok(),
            to_ms: None,
        };
        let now_ms = i64::try_from(BEGIN_MS).expect("in range") + 3_600_000;
        let store = self.dir.path().join("collector.db");
        query::topology(&store, asked, now_ms, rows(1_000_000))
            .expect("topology")
            .document()
    }
}

/// The numbers of an edge that every scenario knows.
fn assert_exact(edge: &Edge, n: u64) {
    let client = edge.client_counters.as_ref().expect("the client reports");
    let server = edge.server_counters.as_ref().expect("the server reports");
    assert_eq!(edge.connections, n);
    assert_eq!((client.opened, server.opened), (n, n));
    assert_eq!(
        (client.bytes_sent, client.bytes_received),
        (Some(n * SENT), Some(n * RECEIVED))
    );
    assert_eq!(
        (server.bytes_sent, server.bytes_received),
        (Some(n * RECEIVED), Some(n * SENT))
    );
    assert_eq!((client.retransmits, server.retransmits), (Some(0), Some(n)));
    let (rtt, latency) = (
        client.rtt_us.expect("measured"),
        client.connect_latency_us.expect("measured"),
    );
    assert!(rtt.p50.is_some_and(|us| (128..256).contains(&us)));
    assert!(latency.p99.is_some_and(|us| (256..512).contains(&us)));
    assert_eq!(server.connect_latency_us.and_then(|us| us.p50), None);
    assert!(!edge.sampled);
}

fn assert_token(edge: &Edge, n: u64) {
    let evidence: Vec<_> = edge
        .evidence
        .iter()
        .map(|e| (e.kind, e.connections))
        .collect();
    assert_eq!(evidence, [(EvidenceKind::Token, n)]);
    assert!(edge.confidence >= 0.99, "{}", edge.confidence);
}

fn ends(edge: &Edge) -> (&str, &str, &str) {
    (&edge.client, &edge.server, &edge.server_endpoint)
}

fn via(edge: &Edge) -> Vec<String> {
    let name = |via| serde_json::to_value(via).expect("JSON");
    edge.via
        .iter()
        .map(|via| {
            let json = name(via);
            let word = |key: &str| json[key].as_str().expect("text").to_owned();
            format!("{} {} {}", word("seen_by"), word("kind"), word("address"))
        })
        .collect()
}

#[test]
fn behind_snat_two_clients_are_told_apart() {
    for (a, b, server, gateway) in [
        ("10.1.0.2", "10.1.0.3", "10.2.0.2:8080", "10.2.0.1"),
        ("fd01::2", "fd01::3", "[fd02::2]:8080", "fd02::1"),
    ] {
        let (mut world, mut collector) = (World::new(), Collector::new());
        let (one, two, web) = (world.host("one"), world.host("two"), world.host("web"));
        let talk = Talk {
            client: (one, "curl", a),
            server: (web, "nginx", server),
            vip: None,
            nat: Some(gateway),
            carry: Carry::Client,
        };
        world.connect(&talk, 30);
        world.connect(
            &Talk {
                client: (two, "curl", b),
                ..talk.clone()
            },
            10,
        );
        collector.take_all(&world.tick());

        let topology = collector.topology();
        assert_eq!(topology.edges.len(), 2);
        for (edge, (client, n)) in topology
            .edges
            .iter()
            .zip([("one/curl", 30), ("two/curl", 10)])
        {
            assert_eq!(ends(edge), (client, "web/nginx", server));
            assert_eq!(via(edge), [format!("server nat {gateway}")]);
            assert_exact(edge, n);
            assert_token(edge, n);
            assert!(edge.server_counters.as_ref().expect("set").apportioned);
            assert!(!edge.client_counters.as_ref().expect("set").apportioned);
        }
        assert!(topology.unjoined.is_empty());
    }
}

#[test]
fn behind_dnat_the_client_sees_a_vip() {
    for (client, server, vip) in [
        ("10.1.0.2", "10.2.0.2:8080", "10.1.0.100:80"),
        ("fd01::2", "[fd02::2]:8080", "[fd01::100]:80"),
    ] {
        let (mut world, mut collector) = (World::new(), Collector::new());
        let (one, web) = (world.host("one"), world.host("web"));
        let talk = Talk {
            client: (one, "curl", client),
            server: (web, "nginx", server),
            vip: Some(vip),
            nat: None,
            carry: Carry::Client,
        };
        world.connect(&talk, 7);
        collector.take_all(&world.tick());
        let topology = collector.topology();
        assert_eq!(topology.edges.len(), 1);
        let edge = &topology.edges[0];
        assert_eq!(ends(edge), ("one/curl", "web/nginx", server));
        assert_eq!(via(edge), [format!("client vip {vip}")]);
        assert_exact(edge, 7);
        assert_token(edge, 7);
        let sides = [&edge.client_counters, &edge.server_counters];
        assert!(sides.into_iter().flatten().all(|side| !side.apportioned));
    }
}

fn full_nat<'a>(hosts: [usize; 3], v6: bool, carry: Carry) -> [Talk<'a>; 2] {
    let [client, first, second] = hosts;
    let (own, vip, gateway) = if v6 {
        ("fd01::2", "[fd01::100]:80", "fd02::1")
    } else {
        ("10.1.0.2", "10.1.0.100:80", "10.2.0.1")
    };
    let backends = if v6 {
        ["[fd02::2]:8080", "[fd02::3]:8080"]
    } else {
        ["10.2.0.2:8080", "10.2.0.3:8080"]
    };
    let talk = |host, endpoint| Talk {
        client: (client, "curl", own),
        server: (host, "python3", endpoint),
        vip: Some(vip),
        nat: Some(gateway),
        carry,
    };
    [talk(first, backends[0]), talk(second, backends[1])]
}

/// A client, a gateway before two backends: the demo.
fn full_nat_world() -> (World, [usize; 3]) {
    let mut world = World::new();
    let hosts = ["client", "backend-1", "backend-2"].map(|name| world.host(name));
    (world, hosts)
}

#[test]
fn behind_fullnat_each_backend_has_its_edge_in_both_directions_of_evidence() {
    for (v6, carry) in [
        (false, Carry::Client),
        (true, Carry::Client),
        (false, Carry::Answer),
        (true, Carry::Answer),
    ] {
        let ((mut world, hosts), mut collector) = (full_nat_world(), Collector::new());
        let [first, second] = full_nat(hosts, v6, carry);
        world.connect(&first, 61);
        world.connect(&second, 39);
        collector.take_all(&world.tick());
        let topology = collector.topology();
        assert_eq!(topology.edges.len(), 2);
        for (edge, (talk, name, n)) in topology.edges.iter().zip([
            (&first, "backend-1/python3", 61),
            (&second, "backend-2/python3", 39),
        ]) {
            assert_eq!(ends(edge), ("client/curl", name, talk.server.2));
            let vip = format!("client vip {}", talk.vip.expect("set"));
            let nat = format!("server nat {}", talk.nat.expect("set"));
            assert_eq!(via(edge), [vip, nat]);
            assert_exact(edge, n);
            assert_token(edge, n);
            assert!(edge.client_counters.as_ref().expect("set").apportioned);
            assert!(!edge.server_counters.as_ref().expect("set").apportioned);
        }
        assert!(topology.unjoined.is_empty());
        assert_eq!(topology.ambiguous_tokens, 0);
        assert_eq!(topology.nodes.len(), 3);
        let node = topology.nodes[0].process.as_ref().expect("a process");
        assert_eq!(
            (node.exe.as_str(), node.unit.as_str()),
            ("/usr/bin/python3", "python3.service")
        );
        assert_eq!(node.tags["team"], "lab");
    }
}

#[test]
fn a_late_half_waits_and_is_joined_when_it_comes() {
    let ((mut world, hosts), mut collector) = (full_nat_world(), Collector::new());
    let [first, second] = full_nat(hosts, false, Carry::Client);
    world.connect(&first, 6);
    world.connect(&second, 4);
    let batches = world.tick();

    collector.take(&batches[0]);
    let topology = collector.topology();
    assert!(topology.edges.is_empty());
    assert_eq!(
        ends(&topology.unjoined[0]),
        ("client/curl", "10.1.0.100", "10.1.0.100:80")
    );
    assert_eq!(topology.unjoined[0].connections, 10);
    assert!((topology.unjoined[0].confidence - 0.3).abs() < 1e-9);

    collector.take(&batches[1]);
    let topology = collector.topology();
    assert_eq!(topology.edges.len(), 1);
    assert_exact(&topology.edges[0], 6);
    assert_eq!(topology.unjoined.len(), 1);
    assert_eq!(topology.unjoined[0].connections, 4);

    collector.take(&batches[2]);
    let topology = collector.topology();
    let counts: Vec<_> = topology.edges.iter().map(|edge| edge.connections).collect();
    assert_eq!(counts, [6, 4]);
    assert!(topology.unjoined.is_empty());
}

#[test]
fn only_the_server_reports_and_is_shown_with_the_address_it_saw() {
    let ((mut world, hosts), mut collector) = (full_nat_world(), Collector::new());
    let [first, _] = full_nat(hosts, false, Carry::Nothing);
    world.connect(&first, 5);
    collector.take(&world.tick()[1]);
    let topology = collector.topology();
    assert_eq!(
        ends(&topology.unjoined[0]),
        ("10.2.0.1", "backend-1/python3", "10.2.0.2:8080")
    );
    assert!(topology.unjoined[0].client_counters.is_none());
    assert_eq!(topology.nodes.len(), 2);
}

#[test]
fn a_replayed_batch_changes_nothing_and_a_forged_one_is_a_conflict() {
    let ((mut world, hosts), mut collector) = (full_nat_world(), Collector::new());
    let [first, _] = full_nat(hosts, false, Carry::Client);
    world.connect(&first, 5);
    let batches = world.tick();
    collector.take_all(&batches);
    let before = collector.topology();
    for batch in &batches {
        assert_eq!(collector.take(batch), Outcome::Duplicate);
        let mut forged = batch.clone();
        forged.hosts[0].hostname = String::from("evil");
        assert_eq!(collector.take(&forged), Outcome::Conflict);
    }
    assert_eq!(collector.topology(), before);
}

#[test]
fn hostile_names_are_data() {
    let (mut world, mut collector) = (World::new(), Collector::new());
    let name = "a\x1b[31m/\u{202e}'; DROP TABLE flow; --";
    let (one, web) = (world.host(name), world.host(name));
    let talk = Talk {
        client: (one, "\x07bell", "10.1.0.2"),
        server: (web, "", "10.2.0.2:80"),
        vip: None,
        nat: Some("10.2.0.1"),
        carry: Carry::Client,
    };
    world.connect(&talk, 2);
    collector.take_all(&world.tick());
    let topology = collector.topology();
    assert_eq!(topology.edges.len(), 1);
    assert_eq!(
        topology.edges[0].client,
        format!("{name}#01010101/\x07bell")
    );
    let mut table = Vec::new();
    collector::table::topology(&mut table, &topology).expect("written");
    let table = String::from_utf8(table).expect("text");
    assert!(!table.contains(['\x1b', '\x07', '\u{202e}']));
}

//! Questions over HTTPS.

use collector::topology::Topology;

use crate::support::site::{READER, Site, Who};
use crate::support::world::{Carry, Talk, World};

/// Sends what a fleet with one edge of 12 connections reports.
pub(crate) fn fill(site: &Site, at: std::net::SocketAddr) {
    let mut world = World::new();
    let (one, web) = (world.host("one"), world.host("web"));
    let talk = Talk {
        client: (one, "curl", "10.1.0.2"),
        server: (web, "nginx", "10.2.0.2:8080"),
        vip: Some("10.1.0.100:80"),
        nat: Some("10.2.0.1"),
        carry: Carry::Client,
    };
    world.connect(&talk, 12);
    for batch in world.tick() {
        assert_eq!(site.send(at, &batch).word(), "stored");
    }
}

#[test]
fn the_topology_has_the_documented_form() {
    let site = Site::new();
    let running = site.start("");
    fill(&site, running.address());
    let answer = site.get(
        running.address(),
        "/api/v1/topology?from_ms=0",
        Who::Token(READER),
    );
    assert_eq!(answer.status, 200);
    let edge = &answer.json["edges"][0];
    assert_eq!(edge["client"], "one/curl");
    assert_eq!(edge["server"], "web/nginx");
    assert_eq!(edge["server_endpoint"], "10.2.0.2:8080");
    let via = serde_json::json!([
        {"seen_by": "client", "kind": "vip", "address": "10.1.0.100:80"},
        {"seen_by": "server", "kind": "nat", "address": "10.2.0.1"},
    ]);
    assert_eq!(edge["via"], via);
    assert_eq!(
        edge["evidence"],
        serde_json::json!([{"kind": "token", "connections": 12}])
    );
    assert_eq!(edge["connections"], 12);
    assert_eq!(edge["sampled"], false);
    for side in ["client_counters", "server_counters"] {
        let counters = edge[side].as_object().expect("an object");
        let names = [
            "opened",
            "closed",
            "failed",
            "refused",
            "reset_local",
            "reset_remote",
            "bytes_sent",
            "bytes_received",
            "segments_sent",
            "segments_received",
            "retransmits",
            "out_of_order",
            "zero_windows",
            "connect_latency_us",
            "rtt_us",
            "apportioned",
        ];
        assert!(
            names.iter().all(|name| counters.contains_key(*name)),
            "{counters:?}"
        );
        assert!(counters["rtt_us"]["p95"].is_u64());
    }
    let node = &answer.json["nodes"][0];
    for name in [
        "id",
        "host",
        "hostname",
        "service",
        "exe",
        "comm",
        "cgroup",
        "container",
        "unit",
        "tags",
    ] {
        assert!(node.get(name).is_some(), "{name}: {node}");
    }
    assert_eq!(node["kind"], "process");
    assert_eq!(answer.json["unjoined"], serde_json::json!([]));
    assert_eq!(answer.json["ambiguous_tokens"], 0);
    assert_eq!(answer.json["from_ms"], 0);
    // What is written can be read back; keys are added to it.
    let topology: Topology = serde_json::from_value(answer.json.clone()).expect("a topology");
    let mut document = answer.json.clone();
    for list in ["nodes", "edges"] {
        for one in document[list].as_array_mut().expect("a list") {
            let key = one.as_object_mut().expect("an object").remove("key");
            assert!(key.is_some_and(|key| key.is_string()));
        }
    }
    assert_eq!(serde_json::to_value(topology).expect("JSON"), document);
}

#[test]
fn without_a_window_the_last_hour_is_meant() {
    let site = Site::new();
    let running = site.start("");
    fill(&site, running.address());
    // The simulated fleet lived years ago.
    let answer = site.get(running.address(), "/api/v1/topology", Who::Token(READER));
    assert_eq!(answer.json["edges"], serde_json::json!([]));
    let window = |name: &str| answer.json[name].as_i64().expect("a time");
    assert_eq!(window("to_ms") - window("from_ms"), 3_600_000);
}

#[test]
fn a_question_that_makes_no_sense_is_refused() {
    let site = Site::new();
    let running = site.start("query_rows = 3");
    let at = running.address();
    fill(&site, at);
    let ask = |query: &str| site.get(at, &format!("/api/v1/topology?{query}"), Who::Token(READER));
    for query in [
        "from_ms=yesterday",
        "from=1",
        "from_ms=1&from_ms=2",
        "to_ms=9999999999999999999",
        // Seconds, microseconds, and the end before the begin.
        "from_ms=1764430000",
        "to_ms=1764430000000000",
        "from_ms=1764430000001&to_ms=1764430000000",
    ] {
        let answer = ask(query);
        assert_eq!((answer.status, answer.word()), (400, "query"), "{query}");
    }
    let answer = ask("from_ms=0");
    assert_eq!((answer.status, answer.word()), (422, "rows"));
    assert!(answer.text.contains("limits.query_rows"));
}

#[test]
fn hosts_say_what_they_run_and_what_they_lost() {
    let site = Site::new();
    let running = site.start("");
    fill(&site, running.address());
    let answer = site.get(running.address(), "/api/v1/hosts", Who::Token(READER));
    let host = &answer.json["hosts"][0];
    assert_eq!(host["hostname"], "one");
    assert_eq!(host["agent"], "0.1.0");
    assert_eq!(host["mode"], "sockops");
    assert_eq!(
        host["plan"],
        serde_json::json!([["connection", "sockops: header options"]])
    );
    assert_eq!(
        host["drops"],
        serde_json::json!([["batch_dropped_full_total", 2]])
    );
    assert_eq!(host["spool_depth"], 4);
    assert_eq!(host["batches_missing"], 0);
    assert_eq!(answer.json["hosts"].as_array().expect("a list").len(), 2);
}

#[test]
fn metrics_count_what_happened() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    fill(&site, at);
    site.get(at, "/api/v1/hosts", Who::Nobody);
    let text = site.get(at, "/metrics", Who::Token(READER)).text;
    for line in [
        "waybill_collector_ingest_batches_stored_total 2",
        "waybill_collector_ingest_refused_total{reason=\"unauthorized\"} 1",
        "# TYPE waybill_collector_connections_open gauge",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} in {text}");
    }
}

//! Answers that may be older than the question.

use std::net::SocketAddr;

use super::ask;
use super::scene::{ALL, DATA, ONE, TWO, fleet};
use crate::support::site::{READER, Site, Who};

/// How often a topology was given that had been made before.
fn given_again(site: &Site, at: SocketAddr) -> u64 {
    let text = site.get(at, "/metrics", Who::Token(READER)).text;
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix("waybill_collector_query_topologies_again_total "));
    value
        .and_then(|value| value.parse().ok())
        .expect("a number")
}

#[test]
fn a_topology_that_may_be_older_is_made_once_and_only_for_those_who_say_so() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    let path = |query: &str| format!("/api/v1/topology?{ALL}{query}");
    // Nothing is there yet, and who lets it be old is told so later as well.
    let empty = ask(&site, at, &path("&max_age=10m"));
    assert_eq!(empty.json()["edges"], serde_json::json!([]));
    fleet(&site, at);
    assert_eq!(ask(&site, at, &path("&max_age=10m")).body, empty.body);
    assert_eq!(given_again(&site, at), 1);
    let now = ask(&site, at, &path("")).json();
    let names = |edge: &serde_json::Value| {
        let name = |side| edge[side].as_str().map(String::from);
        name("client").zip(name("server"))
    };
    let edges = now["edges"].as_array().expect("edges").iter();
    let edges: Vec<_> = edges.filter_map(names).collect();
    for (client, server) in [ONE, TWO, DATA] {
        assert!(edges.contains(&(client.into(), server.into())), "{edges:?}");
    }
    // Another window is made for it, and other questions about that have it then.
    let hour = "from=2023-11-14T22:00:00Z&to=2023-11-14T23:30:00Z&max_age=10m";
    for path in [
        "topology?limit=1&",
        "topology?group=host&",
        "search?q=nginx&",
        "nodes/web%2Fnginx?",
    ] {
        let reply = ask(&site, at, &format!("/api/v1/{path}{hour}"));
        assert_eq!(reply.status, 200, "{path}");
    }
    assert_eq!(given_again(&site, at), 1 + 3);
    let none = ask(
        &site,
        at,
        &format!("/api/v1/search?q=nginx&{ALL}&max_age=soon"),
    );
    assert_eq!(none.status, 400);
}

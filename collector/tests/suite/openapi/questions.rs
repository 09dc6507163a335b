//! Each operation is asked with each of its parameters, and answers what it says.

use std::collections::BTreeSet;
use std::io::Read as _;

use serde_json::{Value, json};

use super::asked::{asked, of_matrix, of_tables, of_things};
use super::scene::{ALL, DATA, ONE, TWO, edge, fleet};
use super::{Document, Reply, ask, send, send_with};
use crate::support::site::{ADMIN, READER, Site, Who};

#[test]
fn every_operation_and_parameter_answers_as_the_document_says() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    fleet(&site, at);
    let document = Document::of(&site, at);
    let matrix = b"source,destination,port\ncurl,nginx,80\n";
    let put = ("PUT", "/api/v1/matrix?note=first&base=0");
    let declared = send_with(&site, at, put, Who::Token(ADMIN), matrix);
    assert_eq!(declared.status, 200, "{}", text(&declared));
    document.hold(&document.operation("declareMatrix"), &declared, "declare");
    let mut tried = BTreeSet::new();
    let all = asked().into_iter().chain(of_things(&edge(&site, at, DATA)));
    for (id, path, status) in all
        .chain(super::people::asked(&site, at))
        .chain(super::alerts::asked(&site))
        .chain(of_matrix())
        .chain(of_tables())
    {
        let operation = document.operation(id);
        let reply = ask(&site, at, &path);
        assert_eq!(reply.status, status, "{path}: {}", text(&reply));
        document.hold(&operation, &reply, &path);
        tried.insert((id.to_owned(), String::new()));
        let query = path.split_once('?').map_or("", |(_, query)| query);
        for part in query.split('&').filter(|_| status == 200) {
            let name = part.split('=').next().unwrap_or_default();
            tried.insert((id.to_owned(), name.to_owned()));
        }
        let Some(tag) = reply.headers.get("etag").filter(|_| status == 200) else {
            continue;
        };
        // The same question, for a window that does not move, has the same tag.
        if path.contains("from=2023") {
            let tag = tag.to_str().expect("text");
            let known = [("If-None-Match", tag)];
            let again = send(&site, at, ("GET", &path), Who::Token(ADMIN), &known);
            assert_eq!(again.status, 304, "{path}");
            document.hold(&operation, &again, &path);
        }
    }
    for (path, method, operation) in document.operations() {
        let id = operation["operationId"]
            .as_str()
            .expect("a name")
            .to_owned();
        if method != "GET" {
            continue;
        }
        assert!(
            tried.contains(&(id.clone(), String::new())),
            "{path} was not asked"
        );
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let name = parameter["name"].as_str().expect("a name").to_owned();
            let was = parameter["in"] == "path" || tried.contains(&(id.clone(), name.clone()));
            // Cursors are tried by turning pages.
            assert!(was || name == "cursor", "{path}: {name} was not asked");
        }
    }
}

fn text(reply: &Reply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

fn edges(answer: &Value) -> Vec<(String, String)> {
    let edges = answer["edges"].as_array().expect("a list").iter();
    let name = |edge: &Value, side: &str| edge[side].as_str().expect("an id").to_owned();
    let mut edges: Vec<_> = edges
        .map(|edge| (name(edge, "client"), name(edge, "server")))
        .collect();
    edges.sort();
    edges
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(a, b): &(&str, &str)| (String::from(*a), String::from(*b));
    pairs.iter().map(owned).collect()
}

#[test]
fn a_topology_is_narrowed_by_what_is_asked() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    fleet(&site, at);
    let of = |query: &str| {
        let reply = ask(&site, at, &format!("/api/v1/topology?{ALL}&{query}"));
        assert_eq!(reply.status, 200, "{query}: {}", text(&reply));
        reply.json()
    };
    let id = "03".repeat(16);
    for (query, found) in [
        ("limit=100", &[ONE, TWO, DATA][..]),
        ("service=db", &[DATA]),
        ("service=curl", &[ONE, TWO]),
        ("service=curl&host=two", &[TWO]),
        (&format!("host={id}"), &[ONE, TWO, DATA]),
        ("host=nobody", &[]),
        ("ip=10.1.0.2", &[ONE]),
        ("ip=10.1.0.0/24", &[ONE, TWO]),
        ("ip=10.1.0.100", &[ONE, TWO]),
        ("ip=::ffff:10.3.0.9", &[DATA]),
        ("ip=10.9.0.0/16", &[]),
        ("focus=one/curl&depth=1", &[ONE]),
        ("focus=one/curl&depth=2", &[ONE, TWO, DATA]),
        ("focus=data/db&depth=0", &[]),
        ("wrong=true", &[]),
    ] {
        let mut found = pairs(found);
        found.sort();
        assert_eq!(edges(&of(query)), found, "{query}");
    }
    // What does not fit is counted.
    let few = of("focus=one/curl&depth=2&limit=2");
    assert_eq!(edges(&few), pairs(&[ONE]));
    let left = json!({ "nodes": 2, "edges": 2, "connections": 12 });
    assert_eq!(few["left_out"], left);
    let web = few["nodes"].as_array().expect("nodes").iter();
    let web = web
        .clone()
        .find(|node| node["id"] == "web/nginx")
        .expect("it");
    assert_eq!(web["more"], 2);
    // A key names a node as well as an id does.
    let key = web["key"].as_str().expect("a key");
    assert_eq!(edges(&of(&format!("focus={key}&depth=1"))).len(), 3);
}

#[test]
fn groups_stand_for_their_nodes_and_add_up() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    fleet(&site, at);
    let of = |query: &str| {
        let reply = ask(&site, at, &format!("/api/v1/topology?{ALL}&group={query}"));
        assert_eq!(reply.status, 200, "{query}: {}", text(&reply));
        reply.json()["grouped"].clone()
    };
    let labels = |grouped: &Value| {
        let groups = grouped["groups"].as_array().expect("groups").iter();
        groups
            .map(|group| group["label"].clone())
            .collect::<Vec<_>>()
    };
    let services = of("service");
    assert_eq!(labels(&services), ["nginx", "curl", "db"]);
    let key = |label: &str| {
        let groups = services["groups"].as_array().expect("groups");
        let group = groups.iter().find(|group| group["label"] == label);
        group.expect("a group")["key"].clone()
    };
    let edges = services["edges"].as_array().expect("edges");
    let outer = edges.iter().find(|edge| edge["client"] == key("curl"));
    let outer = outer.expect("an edge");
    assert_eq!(outer["server"], key("nginx"));
    assert_eq!(
        (&outer["edges"], &outer["connections"]),
        (&json!(2), &json!(17))
    );
    assert_eq!(outer["bytes_sent"], 17 * crate::support::world::SENT);
    assert_eq!(
        labels(&of("site")),
        ["10.2.0.0/24", "10.1.0.0/24", "10.3.0.0/24"]
    );
    assert_eq!(labels(&of("host")), ["web", "one", "data", "two"]);
    let few = of("service&limit=2");
    assert_eq!(labels(&few), ["nginx", "curl"]);
    let left = json!({ "nodes": 1, "edges": 1, "connections": 7 });
    assert_eq!(few["left_out"], left);
    assert_eq!(labels(&of("tag:team")), ["lab"]);
    // Nobody has such a tag.
    assert_eq!(labels(&of("tag:colour")), [Value::Null]);
    let refused = ask(&site, at, "/api/v1/topology?group=colour");
    assert_eq!(refused.status, 400);
    assert!(
        text(&refused).contains("namespace or tag:"),
        "{}",
        text(&refused)
    );
}

#[test]
fn pages_of_the_fleet_follow_one_another() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    fleet(&site, at);
    let document = Document::of(&site, at);
    let (mut names, mut path) = (Vec::new(), String::from("/api/v1/fleet?limit=3"));
    let mut pages = 0;
    loop {
        let reply = ask(&site, at, &path);
        document.hold(&document.operation("fleet"), &reply, &path);
        let page = reply.json();
        pages += 1;
        for host in page["hosts"].as_array().expect("hosts") {
            names.push(host["hostname"].as_str().expect("a name").to_owned());
        }
        let Some(next) = page["next"].as_str() else {
            break;
        };
        path = format!("/api/v1/fleet?limit=3&cursor={next}");
    }
    assert_eq!(names, ["data", "gw", "one", "two", "web"]);
    assert_eq!(pages, 2);
}

#[test]
fn times_are_read_in_any_zone_and_form() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    let from = |text: &str| {
        let reply = ask(&site, at, &format!("/api/v1/topology?from={text}&to=now"));
        assert_eq!(reply.status, 200, "{text}: {:?}", reply.json());
        reply.json()["from_ms"].as_i64().expect("a time")
    };
    let utc = 1_767_323_045_000;
    for text in [
        "2026-01-02T03:04:05Z",
        "2026-01-02T05:04:05%2B02:00",
        // As people type it.
        "2026-01-02T05:04:05+02:00",
        "2026-01-01T19:34:05-07:30",
        "1767323045",
        "1767323045000",
    ] {
        assert_eq!(from(text), utc, "{text}");
    }
    let now_ms = collector::time::now_ms();
    assert!((from("-1h") - now_ms + 3_600_000).abs() < 60_000);
    for text in [
        "yesterday",
        "1e9",
        "NaN",
        "2026-01-02T03:04:05",
        "99999999999999999999",
        "",
    ] {
        let reply = ask(&site, at, &format!("/api/v1/topology?from={text}"));
        assert_eq!(reply.status, 400, "{text}");
    }
}

#[test]
fn answers_are_packed_as_asked_and_head_is_the_head_of_get() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    fleet(&site, at);
    let path = format!("/api/v1/topology?{ALL}");
    let with = |method: &str, headers: &[(&str, &str)]| {
        send(&site, at, (method, &path), Who::Token(READER), headers)
    };
    let plain = with("GET", &[("Accept-Encoding", "identity")]);
    assert_eq!(plain.header("content-encoding"), "");
    let zstd = with("GET", &[("Accept-Encoding", "gzip, zstd")]);
    assert_eq!(zstd.header("content-encoding"), "zstd");
    assert_eq!(unpacked(&zstd.body), plain.body);
    let gzip = with("GET", &[("Accept-Encoding", "gzip")]);
    assert_eq!(gzip.header("content-encoding"), "gzip");
    let mut read = Vec::new();
    let mut decoder = flate2::read::GzDecoder::new(&gzip.body[..]);
    decoder.read_to_end(&mut read).expect("gzip");
    assert_eq!(read, plain.body);
    assert!(zstd.body.len() < plain.body.len() / 2);
    let tag = plain.header("etag").to_owned();
    assert_eq!((zstd.header("etag"), gzip.header("etag")), (&*tag, &*tag));
    let head = with("HEAD", &[]);
    assert_eq!((head.status, head.header("etag")), (200, &*tag));
    assert!(head.body.is_empty());
    assert_eq!(with("GET", &[("If-None-Match", "\"x\", *")]).status, 304);
    assert_eq!(with("GET", &[("If-None-Match", "\"x\"")]).status, 200);
    let put = with("PUT", &[]);
    assert_eq!(
        (put.status, put.header("allow")),
        (405, "GET, HEAD, OPTIONS")
    );
    assert_eq!(put.header("content-type"), "application/problem+json");
}

fn unpacked(zstd: &[u8]) -> Vec<u8> {
    let mut read = Vec::new();
    let decoder = zstd::Decoder::new(zstd).expect("zstd");
    decoder.take(1 << 20).read_to_end(&mut read).expect("zstd");
    read
}

//! Series and events of tables by their descriptions.

use serde_json::{Value, json};

use super::ask;
use super::scene::{ALL, fleet};
use crate::support::site::Site;

/// Labels and value of each series, and of its points.
fn values(answer: &Value) -> Vec<(Value, Value, Vec<Value>)> {
    let series = answer["series"].as_array().expect("series").iter();
    let points = |one: &Value| {
        let points = one["points"].as_array().into_iter().flatten();
        points.map(|point| point["value"].clone()).collect()
    };
    series
        .map(|one| (one["labels"].clone(), one["value"].clone(), points(one)))
        .collect()
}

#[test]
fn a_column_is_added_up_by_group_and_step() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    fleet(&site, at);
    let of = |table: &str, query: &str| {
        let reply = ask(&site, at, &format!("/api/v1/series/{table}?{query}"));
        assert_eq!(
            reply.status,
            200,
            "{query}: {:?}",
            String::from_utf8_lossy(&reply.body)
        );
        reply.json()
    };
    let all = of("probe", &format!("{ALL}&value=opened&host=web&group=role"));
    assert_eq!(all["function"], "sum");
    assert_eq!(all["unit"], "{connection}");
    let by_role = [
        (json!({ "role": "server" }), json!(17.0), vec![]),
        (json!({ "role": "client" }), json!(7.0), vec![]),
    ];
    assert_eq!(values(&all), by_role);
    let few = of(
        "probe",
        &format!("{ALL}&value=opened&group=hostname,service&limit=1"),
    );
    let web = json!({ "hostname": "web", "service": "nginx" });
    assert_eq!(values(&few), [(web, json!(24.0), vec![])]);
    assert_eq!(few["left_out"], 3);
    // Two intervals of ten seconds.
    let exact = "from=1700000000000&to=1700000030000&step=10s";
    let steps = of(
        "probe",
        &format!("{exact}&value=opened&where=role=client,hostname=web"),
    );
    assert_eq!(values(&steps)[0].2, [json!(3.0), json!(4.0)]);
    let rate = of(
        "probe",
        &format!("{exact}&value=opened&function=rate&where=role=client,hostname=web"),
    );
    assert_eq!(values(&rate)[0].2, [json!(0.3), json!(0.4)]);
    let rtt = of(
        "probe",
        &format!("{ALL}&value=rtt&percentile=50&where=hostname=data"),
    );
    let bounds = &rtt["series"][0]["bounds"];
    assert_eq!(
        (&bounds["low_us"], &bounds["high_us"]),
        (&json!(128), &json!(256))
    );
    let queue = of(
        "listener",
        &format!("{ALL}&value=queue_most&group=local_port"),
    );
    assert_eq!(
        values(&queue),
        [(json!({ "local_port": 8080 }), json!(9.0), vec![])]
    );
    // Who asks for what is not there is told what there is.
    let refused = ask(
        &site,
        at,
        &format!("/api/v1/series/probe?{ALL}&value=colour"),
    );
    let detail = refused.json()["detail"]
        .as_str()
        .expect("a sentence")
        .to_owned();
    assert!(
        detail.contains("retransmits") && detail.contains("hostname"),
        "{detail}"
    );
    let refused = ask(
        &site,
        at,
        "/api/v1/series/probe?value=opened&function=percentile",
    );
    assert_eq!(refused.status, 400, "a counter has no percentiles");
}

#[test]
fn a_histogram_is_told_step_by_step_and_adds_up() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    fleet(&site, at);
    let exact = "from=1700000000000&to=1700000030000&step=10s";
    let path = format!("/api/v1/series/probe?{exact}&value=rtt&function=distribution");
    let answer = ask(&site, at, &path).json();
    assert_eq!(answer["function"], "distribution");
    let series = &answer["series"][0];
    let whole = &series["distribution"];
    assert_eq!(series["value"].as_f64(), whole["count"].as_f64());
    let points = series["points"].as_array().expect("points");
    assert!(points.len() > 1, "{points:?}");
    let sum = |what: fn(&Value) -> Option<u64>| -> u64 {
        let told = points.iter().map(|point| what(&point["distribution"]));
        told.map(|n| n.expect("a number")).sum()
    };
    assert!(sum(|one| one["count"].as_u64()) > 0, "{points:?}");
    assert_eq!(
        Some(sum(|one| one["count"].as_u64())),
        whole["count"].as_u64()
    );
    assert_eq!(
        Some(sum(|one| one["sum_us"].as_u64())),
        whole["sum_us"].as_u64()
    );
    let path = format!("/api/v1/series/probe?{exact}&value=opened&function=distribution");
    assert_eq!(ask(&site, at, &path).status, 400, "a counter has none");
}

#[test]
fn pages_of_events_have_each_row_once() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    fleet(&site, at);
    let mut batch = crate::ingest::batch();
    batch.header.host = [0xaa; 16];
    let row = batch.events[0].clone();
    batch.events = (0..25)
        .map(|errno| wire::EventRow {
            errno,
            ..row.clone()
        })
        .collect();
    assert_eq!(site.send(at, &batch).word(), "stored");
    let walk = |query: &str| {
        let question = format!("/api/v1/events/event?from=1970-01-01T00:00:01Z&{query}");
        let (mut found, mut path) = (Vec::new(), question.clone());
        loop {
            let reply = ask(&site, at, &path);
            assert_eq!(
                reply.status,
                200,
                "{path}: {:?}",
                String::from_utf8_lossy(&reply.body)
            );
            let page = reply.json();
            for row in page["rows"].as_array().expect("rows") {
                found.push(row["values"]["errno"].as_u64().expect("a number"));
            }
            let Some(next) = page["next"].as_str() else {
                break;
            };
            path = format!("{question}&cursor={next}");
            assert!(found.len() < 100, "it does not end");
        }
        found.sort_unstable();
        found
    };
    // Two of the fleet have errno 104.
    let all: Vec<u64> = (0..25).chain([104, 104]).collect();
    assert_eq!(walk("limit=4"), all);
    assert_eq!(walk("limit=1000"), all);
    assert_eq!(walk("limit=1&where=errno=104"), [104, 104]);
    assert_eq!(walk("limit=2&where=errno=7"), [7]);
    // A cursor is of one question.
    let first = ask(
        &site,
        at,
        "/api/v1/events/event?from=1970-01-01T00:00:01Z&limit=4",
    )
    .json();
    let next = first["next"].as_str().expect("more");
    let other = ask(
        &site,
        at,
        &format!("/api/v1/events/event?where=errno=7&cursor={next}"),
    );
    assert_eq!(other.status, 400);
}

//! `GET /metrics` and the log: what is said of requests, and in the form that others read.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::crash::{Serve, batch};
use crate::outputs::skipped;
use crate::support::raw::Raw;
use crate::support::site::{READER, Site, TOKEN, Who, key};
use crate::support::until;

fn scrape(site: &Site, at: std::net::SocketAddr) -> String {
    site.get(at, "/metrics", Who::Token(READER)).text
}

/// Series and their values.
pub(crate) fn series(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut all = BTreeMap::new();
    for line in lines {
        let (name, value) = line.rsplit_once(' ').expect("a value");
        let twice = all.insert(name, value.parse().expect("a number"));
        assert!(twice.is_none(), "{name} is there twice");
    }
    all
}

#[test]
fn times_of_batches_and_questions_are_counted_by_operation() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    for sequence in 1..=7 {
        assert_eq!(site.send(at, &batch(1, sequence)).word(), "stored");
    }
    for _ in 0..3 {
        let asked = site.get(at, "/api/v1/topology", Who::Token(READER));
        assert_eq!(asked.status, 200);
    }
    // One that is refused takes time as well, and a stranger's none of any operation.
    assert_eq!(
        site.get(at, "/api/v1/topology?x=1", Who::Token(READER))
            .status,
        400
    );
    assert_eq!(site.get(at, "/api/v1/topology", Who::Nobody).status, 401);
    let text = scrape(&site, at);
    let series = series(&text);
    let of = |name: &str| series[&*format!("waybill_collector_{name}")];
    assert_eq!(of("ingest_seconds_count"), 7.0);
    assert_eq!(of("ingest_seconds_bucket{le=\"+Inf\"}"), 7.0);
    assert!(of("ingest_seconds_sum") > 0.0);
    assert_eq!(of("store_queue_seconds_count"), 7.0);
    assert!(of("store_commit_seconds_count") >= 1.0);
    assert_eq!(of("request_seconds_count{operation=\"batches\"}"), 7.0);
    assert_eq!(of("request_seconds_count{operation=\"topology\"}"), 4.0);
    assert_eq!(of("store_queue_batches"), 0.0);
    assert_eq!(of("slots{of=\"batch\"}"), 16.0);
    assert_eq!(of("slots_used{of=\"batch\"}"), 0.0);
    assert_eq!(of("slots_refused_total{of=\"question\"}"), 0.0);
    assert_eq!(of("memory_used_bytes{of=\"bodies\"}"), 0.0);
    assert!(series["process_open_fds"] > 3.0);
}

#[test]
fn a_scrape_changes_nothing_but_what_it_counts_of_itself() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    site.send(at, &batch(1, 1));
    let (one, other) = (scrape(&site, at), scrape(&site, at));
    let (one, other) = (series(&one), series(&other));
    let names = |all: &BTreeMap<&str, f64>| {
        let names = all.keys().map(|name| (*name).to_owned());
        names.collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&one), names(&other));
    for (name, before) in &one {
        let is_counter = ["_total", "_count", "_sum", "_bucket"];
        let is_counter = is_counter.iter().any(|end| {
            let bare = name.split('{').next().expect("a name");
            bare.ends_with(end)
        });
        let after = other[name];
        assert!(
            !is_counter || after >= *before,
            "{name}: {before}, then {after}"
        );
        let of_ingest = name.contains("ingest_") || name.contains("slots");
        assert!(
            !of_ingest || after == *before,
            "{name}: {before}, then {after}"
        );
    }
}

#[test]
fn the_checker_of_prometheus_has_nothing_to_say() {
    let site = Site::new();
    let text = format!(
        "[outputs.archive]\nkind = \"file\"\npath = \"{}\"\n",
        site.path("archive").display()
    );
    let serve = Serve::start(&site, &text);
    site.send(serve.at, &batch(1, 1));
    let text = scrape(&site, serve.at);
    let mut command = Command::new("promtool");
    let command = command.args(["check", "metrics"]).stdin(Stdio::piped());
    let Ok(mut child) = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        skipped("promtool is not installed (ci/deps)");
        return;
    };
    let mut input = child.stdin.take().expect("piped");
    input.write_all(text.as_bytes()).expect("written");
    drop(input);
    let output = child.wait_with_output().expect("ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn each_refused_batch_is_in_the_log_with_its_reason_up_to_a_bound() {
    let site = Site::new();
    let serve = Serve::start(&site, "");
    let batch = batch(1, 1);
    for _ in 0..25 {
        let answer = site.post(
            serve.at,
            Who::Token(TOKEN),
            &key(&batch),
            wire::CONTENT_TYPE,
            b"no batch",
        );
        assert_eq!(answer.expect("an answer").word(), "malformed");
    }
    let (code, log) = serve.end("TERM");
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<_> = log
        .lines()
        .filter(|l| l.contains(" msg=\"request refused\" "))
        .collect();
    // A busy machine may take more than one window of time for it.
    assert!((10..25).contains(&lines.len()), "{log}");
    for line in lines {
        for part in [
            format!(" batch={} ", key(&batch)),
            String::from(" reason=malformed "),
            String::from(" credential="),
            String::from(" peer=127.0.0.1:"),
            String::from(" suppressed="),
        ] {
            assert!(line.contains(&part), "{part}: {line}");
        }
        assert!(!line.contains(TOKEN), "{line}");
    }
}

/// Whoever says nothing, or little at a time, or nothing more, holds a connection for a while and no
/// longer, whether others want it or not.
#[test]
fn the_time_that_a_connection_may_take_is_bounded() {
    let site = Site::new();
    let running = site.start("body_timeout = \"2s\"");
    let (at, metrics) = (running.address(), running.metrics());
    let mut silent = std::net::TcpStream::connect(at).expect("connect");
    let mut shaken = Raw::connect(&site, at).shake_hands();
    let mut idle = Raw::connect(&site, at);
    let body = wire::encode(&batch(1, 1));
    idle.post(TOKEN, &batch(1, 1), body.len(), "keep-alive");
    idle.send(&body);
    assert!(idle.one_answer().starts_with("HTTP/1.1 200 "));
    let mut head = Raw::connect(&site, at);
    head.send(b"POST /api/v1/batches HTTP/1.1\r\nHost: a\r\nX-Slow: ");
    let mut slow = Raw::connect(&site, at);
    slow.post(TOKEN, &batch(1, 2), 100_000, "keep-alive");
    until("the body is under way", || {
        (metrics.ingest_batches_in_flight.get() == 1).then_some(())
    });
    // One byte after the other.
    until("the body is given up", || {
        slow.drip(0);
        (metrics.ingest_batches_in_flight.get() == 0).then_some(())
    });
    assert_eq!(metrics.refusals(collector::accept::Reason::Slow), 1);
    until("all are closed", || {
        head.drip(b'x');
        slow.drip(0);
        let open = metrics.connections_open.get();
        (open == 0).then_some(())
    });
    assert!(shaken.is_closed() && idle.is_closed() && head.is_closed());
    let mut rest = Vec::new();
    let read = std::io::Read::read_to_end(&mut silent, &mut rest);
    assert!(read.is_err() || rest.is_empty());
    let text = scrape(&site, at);
    assert_eq!(
        series(&text)["waybill_collector_memory_used_bytes{of=\"bodies\"}"],
        0.0
    );
}

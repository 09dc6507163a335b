//! Series of the fleet at `/metrics`, as Prometheus reads them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use wire::ProcessRow;

use super::programs::{Program, Wanted};
use super::{Fleet, all_sent, arrives, counted, skipped};
use crate::crash::Serve;
use crate::support::site::{READER, Site, Who};

/// What a process may call itself.
const HOSTILE: &str = "x\"} 1\nwaybill_made_up{a=\"\\\u{202e}é\t,b=~\"";

/// A fleet whose first host has a process of that name.
fn named(fleet: &mut Fleet, site: &Site, at: std::net::SocketAddr) {
    let mut batch = fleet.next(1);
    batch.processes = vec![ProcessRow {
        process_id: 1,
        service: HOSTILE.into(),
        ..ProcessRow::default()
    }];
    assert_eq!(site.send(at, &batch).status, 200);
}

#[test]
fn prometheus_scrapes_the_fleet_whatever_its_processes_are_called() {
    let Some(program) = Program::start(Wanted::Prometheus) else {
        return;
    };
    let site = Site::new();
    let output = "[outputs.scrape]\nkind = \"prometheus\"\ntables = [\"edge\"]\n\
                  labels = [\"host\", \"service\", \"role\"]\n";
    let serve = Serve::start(&site, output);
    let mut fleet = Fleet::new();
    named(&mut fleet, &site, serve.at);
    for _ in 0..3 {
        fleet.send(&site, serve.at);
    }
    all_sent(&site, serve.at, "scrape");
    program.scrape(serve.at, &site.path("ca.crt"), READER);
    arrives(&program, "sum(waybill_edge_opened_total)", fleet.opened);
    let until_half_a_ms = "sum(waybill_edge_rtt_seconds_bucket{le=\"0.000512\",role=\"client\"})";
    arrives(&program, until_half_a_ms, fleet.opened);
    arrives(
        &program,
        "sum(waybill_edge_rtt_seconds_count)",
        fleet.opened,
    );
    arrives(&program, "count(waybill_edge_opened_total)", 3);
    let names = program.labels("service");
    assert_eq!(names, [HOSTILE]);
    assert_eq!(program.query("waybill_made_up"), None);
    // It goes on counting, and the collector's own series are there as well.
    fleet.send(&site, serve.at);
    arrives(&program, "sum(waybill_edge_opened_total)", fleet.opened);
    arrives(
        &program,
        "waybill_collector_output_sent_total",
        fleet.batches,
    );
    let (code, log) = serve.end("TERM");
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn victoria_metrics_scrapes_the_fleet() {
    let site = Site::new();
    let serve = Serve::start(&site, "[outputs.scrape]\nkind = \"prometheus\"\n");
    let job = site.path("scrape.yml");
    let text = super::programs::job(serve.at, &site.path("ca.crt"), READER);
    std::fs::write(&job, text).expect("write");
    let Some(program) = Program::start_with(
        Wanted::VictoriaMetrics,
        &[&format!("-promscrape.config={}", job.display())],
    ) else {
        return;
    };
    let mut fleet = Fleet::new();
    named(&mut fleet, &site, serve.at);
    fleet.send(&site, serve.at);
    arrives(&program, "sum(waybill_edge_opened_total)", fleet.opened);
    assert_eq!(program.labels("service"), [HOSTILE]);
}

#[test]
fn series_beyond_the_bound_are_in_other_and_the_checker_has_nothing_to_say() {
    let site = Site::new();
    let output = "[outputs.scrape]\nkind = \"prometheus\"\nlabels = [\"host\"]\nmax_series = 2\n\
                  tables = [\"edge\"]\n";
    let serve = Serve::start(&site, output);
    let mut fleet = Fleet::new();
    named(&mut fleet, &site, serve.at);
    fleet.send(&site, serve.at);
    fleet.send(&site, serve.at);
    all_sent(&site, serve.at, "scrape");
    let scrape = || site.get(serve.at, "/metrics", Who::Token(READER)).text;
    let text = scrape();
    let lines = |text: &str| {
        let lines = text
            .lines()
            .filter(|line| line.starts_with("waybill_edge_"));
        lines.map(String::from).collect::<Vec<_>>()
    };
    assert_eq!(lines(&text), lines(&scrape()));
    let opened = text.lines().filter_map(|line| {
        let (labels, value) = line
            .strip_prefix("waybill_edge_opened_total")?
            .split_once("} ")?;
        Some((labels.to_owned(), value.parse::<u64>().ok()?))
    });
    let opened: Vec<_> = opened.collect();
    assert_eq!(opened.len(), 3, "{opened:?}");
    assert_eq!(opened.iter().map(|(_, n)| n).sum::<u64>(), fleet.opened);
    assert!(
        opened.contains(&("{host=\"other\"".into(), 2 * 3 + 3 * 3)),
        "{opened:?}"
    );
    let counts = counted(&site, serve.at, "scrape");
    assert_eq!(counts["rows_in_other_total"], 2);
    checked(&text);
    // Who may not read may not see the fleet.
    assert_eq!(site.get(serve.at, "/metrics", Who::Nobody).status, 401);
    let (code, log) = serve.end("TERM");
    assert_eq!(code, Some(0), "{log}");
}

/// Lets promtool look at a text.
fn checked(text: &str) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped());
    let Ok(mut child) = command.stderr(Stdio::piped()).spawn() else {
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

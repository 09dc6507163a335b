//! Outputs: what a collector accepted arrives elsewhere, also when it is killed in between, and is
//! taken by the programs that it is meant for.

mod kafka;
mod otlp;
mod programs;
mod scrape;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use wire::{Batch, BatchHeader, EdgeRow, Endpoint, Role};

use crate::crash::Serve;
use crate::support::site::{READER, Site, Who};
use crate::support::until;
use programs::{Program, Wanted};
pub(crate) use programs::{free, skipped};

/// A fleet of small hosts that began two minutes ago, and what it counted.
struct Fleet {
    begin_ms: u64,
    sequence: u64,
    opened: u64,
    batches: u64,
}

impl Fleet {
    fn new() -> Self {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        Self {
            begin_ms: u64::try_from(now.as_millis()).expect("milliseconds") - 120_000,
            sequence: 0,
            opened: 0,
            batches: 0,
        }
    }

    /// The next interval of each host; what is answered is counted.
    fn send(&mut self, site: &Site, at: SocketAddr) {
        self.sequence += 1;
        for host in 1..=3 {
            let batch = self.batch(host);
            let answer = site.send(at, &batch);
            assert_eq!(answer.status, 200, "{}", answer.text);
            self.counted(&batch);
        }
    }

    /// The next interval of one host alone, which is to be sent.
    fn next(&mut self, host: u8) -> Batch {
        self.sequence += 1;
        let batch = self.batch(host);
        self.counted(&batch);
        batch
    }

    fn counted(&mut self, batch: &Batch) {
        self.opened += batch.edges[0].opened;
        self.batches += 1;
    }

    fn batch(&self, host: u8) -> Batch {
        let endpoint = |text: &str| Endpoint::from(text.parse::<SocketAddr>().expect("address"));
        let ends = (endpoint("10.0.0.1:0"), endpoint("10.0.0.2:80"));
        let start_ms = self.begin_ms + (self.sequence - 1) * 1000;
        let mut row = EdgeRow::new((1, Role::Client, ends.0, ends.1), 1, self.begin_ms);
        row.total = false;
        row.opened = self.sequence * u64::from(host);
        for _ in 0..row.opened {
            row.rtt.record(300);
        }
        Batch {
            header: BatchHeader {
                host: [host; 16],
                boot: [2; 16],
                sequence: self.sequence,
                start_ms,
                end_ms: start_ms + 1000,
            },
            edges: vec![row],
            ..Batch::default()
        }
    }
}

/// The numbers of one output by the names of their metrics.
fn counted(site: &Site, at: SocketAddr, output: &str) -> HashMap<String, u64> {
    let text = site.get(at, "/metrics", Who::Token(READER)).text;
    let label = format!("{{output=\"{output}\"}} ");
    let number = |line: &str| {
        let (name, value) = line.split_once(&label)?;
        let name = name.strip_prefix("waybill_collector_output_")?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(number).collect()
}

/// Waits until everything has arrived, and that the sums hold.
fn all_sent(site: &Site, at: SocketAddr, output: &str) -> HashMap<String, u64> {
    until("everything is sent", || {
        let counted = counted(site, at, output);
        let of = |name: &str| counted[name];
        let parts = ["sent_total", "refused_total", "dropped_total", "waiting"];
        assert_eq!(of("accepted_total"), parts.map(of).iter().sum::<u64>());
        (of("waiting") == 0).then_some(counted.clone())
    })
}

#[test]
fn files_have_every_answered_batch_also_after_kills() {
    let site = Site::new();
    let folder = site.path("archive");
    let limits = format!(
        "[outputs.archive]\nkind = \"file\"\npath = \"{}\"\nmax_bytes = \"1KiB\"\nmax_age = \"1h\"\n",
        folder.display()
    );
    let mut fleet = Fleet::new();
    for _ in 0..4 {
        let mut serve = Serve::start(&site, &limits);
        for _ in 0..3 {
            fleet.send(&site, serve.at);
        }
        serve.child.kill().expect("kill");
    }
    let serve = Serve::start(&site, &limits);
    fleet.send(&site, serve.at);
    let (code, log) = serve.end("TERM");
    assert_eq!(code, Some(0), "{log}");
    let mut seen = HashMap::new();
    for entry in std::fs::read_dir(&folder).expect("files") {
        let path = entry.expect("entry").path();
        assert!(
            path.extension().is_some_and(|end| end == "jsonl"),
            "{path:?}"
        );
        for line in std::fs::read_to_string(&path).expect("text").lines() {
            let line: Value = serde_json::from_str(line).expect("JSON");
            let key = (
                line["host"].to_string(),
                line["sequence"].as_u64().expect("number"),
            );
            seen.insert(key, line["row"]["opened"].as_u64().expect("number"));
        }
    }
    assert_eq!(seen.len() as u64, fleet.batches);
    assert_eq!(seen.values().sum::<u64>(), fleet.opened);
}

/// Asks until the sum of a query is what was counted.
fn arrives(program: &Program, query: &str, expected: u64) {
    let mut last = None;
    until(&format!("{query} is {expected}"), || {
        last = Some(program.query(query));
        (last == Some(Some(expected as f64))).then_some(())
    });
}

fn written_to(program: &Program) {
    let site = Site::new();
    let right = format!(
        "[outputs.tsdb]\nkind = \"remote_write\"\nurl = \"{}\"\ntables = [\"edge\"]\n{}",
        program.url("/api/v1/write"),
        program.trust()
    );
    let mut fleet = Fleet::new();
    // Nobody is there at first; then it comes, and the collector is killed in between.
    let nobody = format!(
        "[outputs.tsdb]\nkind = \"remote_write\"\nurl = \"http://{}/write\"\n",
        free()
    );
    let mut serve = Serve::start(&site, &nobody);
    fleet.send(&site, serve.at);
    until("it fails", || {
        (counted(&site, serve.at, "tsdb")["failing"] == 1).then_some(())
    });
    serve.child.kill().expect("kill");
    drop(serve);
    let serve = Serve::start(&site, &right);
    for _ in 0..5 {
        fleet.send(&site, serve.at);
    }
    let counts = all_sent(&site, serve.at, "tsdb");
    assert_eq!(counts["sent_total"], fleet.batches);
    let sum = "sum(waybill_edge_opened_total)";
    arrives(program, sum, fleet.opened);
    arrives(program, "sum(waybill_edge_rtt_seconds_count)", fleet.opened);
    arrives(
        program,
        "sum(waybill_edge_rtt_seconds_bucket{le=\"0.000512\"})",
        fleet.opened,
    );
    arrives(
        program,
        "sum(waybill_edge_rtt_seconds_bucket{le=\"0.000256\"})",
        0,
    );
    let labels = "count(waybill_edge_opened_total{role=\"client\",remote_address=\"10.0.0.2\"})";
    arrives(program, labels, 3);
    let (code, log) = serve.end("TERM");
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn prometheus_takes_what_is_written_to_it() {
    if let Some(program) = Program::start(Wanted::Prometheus) {
        written_to(&program);
    }
}

#[test]
fn victoria_metrics_takes_what_is_written_to_it() {
    if let Some(program) = Program::start(Wanted::VictoriaMetrics) {
        written_to(&program);
    }
}

#[test]
fn victoria_metrics_takes_otlp() {
    let Some(program) = Program::start(Wanted::VictoriaMetrics) else {
        return;
    };
    if !program.takes_otlp() {
        skipped("victoria-metrics is older than 1.92 and takes no OTLP");
        return;
    }
    let site = Site::new();
    let limits = format!(
        "[outputs.otel]\nkind = \"otlp\"\nurl = \"{}\"\ntables = [\"edge\"]\n\
         temporality = \"cumulative\"\n",
        program.url("/opentelemetry")
    );
    let serve = Serve::start(&site, &limits);
    let mut fleet = Fleet::new();
    for _ in 0..5 {
        fleet.send(&site, serve.at);
    }
    let counts = all_sent(&site, serve.at, "otel");
    assert_eq!(counts["sent_total"], fleet.batches);
    let sum = |name: &str| format!("sum({{__name__=\"waybill.edge.{name}\"}})");
    arrives(&program, &sum("opened"), fleet.opened);
    arrives(&program, &sum("rtt_count"), fleet.opened);
}

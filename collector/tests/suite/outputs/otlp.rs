//! OTLP: a receiver that others wrote (Rotel) takes metrics and log records, and says what it got.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::programs::free;
use super::{Fleet, all_sent, skipped};
use crate::crash::{Serve, batch};
use crate::support::site::Site;
use crate::support::until;

/// One that runs and writes down what it gets; killed when dropped.
struct Receiver {
    child: Child,
    dir: TempDir,
    at: String,
}

impl Receiver {
    /// `None` where it is not there.
    fn start() -> Option<Self> {
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python");
        let program = packages.join("rotel/rotel-agent");
        if !program.is_file() {
            skipped("rotel is not in target/python (ci/deps)");
            return None;
        }
        let dir = TempDir::new().expect("directory");
        let (at, grpc) = (free(), free());
        let got = File::create(dir.path().join("got")).expect("file");
        let child = Command::new(program)
            .args(["start", "--exporter", "blackhole"])
            .args(["--otlp-http-endpoint", &at, "--otlp-grpc-endpoint", &grpc])
            .args(["--debug-log", "logs", "--debug-log", "metrics"])
            .args(["--debug-log-verbosity", "detailed"])
            .stdout(got)
            .stderr(Stdio::null())
            .spawn()
            .expect("start");
        let receiver = Self { child, dir, at };
        until("it listens", || {
            std::net::TcpStream::connect(&receiver.at).ok()
        });
        Some(receiver)
    }

    fn got(&self) -> String {
        fs::read_to_string(self.dir.path().join("got")).expect("text")
    }

    /// Waits until it wrote all of these down.
    fn has(&self, texts: &[&str]) {
        let mut got = String::new();
        until(&format!("{texts:?} came"), || {
            got = self.got();
            texts.iter().all(|text| got.contains(text)).then_some(())
        });
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn a_receiver_of_others_takes_what_intervals_added_and_events_as_log_records() {
    let Some(receiver) = Receiver::start() else {
        return;
    };
    let site = Site::new();
    let output = format!(
        "[outputs.otel]\nkind = \"otlp\"\nurl = \"http://{}\"\ntables = [\"edge\", \"event\"]\n",
        receiver.at
    );
    let serve = Serve::start(&site, &output);
    let mut fleet = Fleet::new();
    for _ in 0..3 {
        fleet.send(&site, serve.at);
    }
    let event = batch(9, 1);
    assert_eq!(site.send(serve.at, &event).word(), "stored");
    let counts = all_sent(&site, serve.at, "otel");
    assert_eq!(counts["sent_total"], fleet.batches + 1);
    let host = |n: &str| format!("host.id: Str({})", n.repeat(16));
    receiver.has(&[
        &host("01"),
        &host("03"),
        "Name: waybill.edge.opened",
        "AGGREGATION_TEMPORALITY_DELTA",
        "EventName: waybill.event",
    ]);
    // What each of nine intervals added, and no sums.
    let got = receiver.got();
    let points = points(&got, "waybill.edge.opened");
    let mut expected: Vec<i64> = (1..=3).flat_map(|i| [i, 2 * i, 3 * i]).collect();
    expected.sort_unstable();
    assert_eq!(points, expected, "{got}");
    let (_, records) = got
        .split_once("EventName: waybill.event")
        .expect("a record");
    let row = &event.events[0];
    for attribute in [
        format!("waybill.event.process_id: Int({})", row.process_id),
        format!("waybill.event.bytes_sent: Int({})", row.bytes_sent),
    ] {
        assert!(records.contains(&attribute), "{attribute}: {got}");
    }
}

/// The values of all points of a metric that come from the small fleet's edges, sorted.
fn points(got: &str, metric: &str) -> Vec<i64> {
    let parts = got.split("Metric #");
    let parts = parts.filter(|part| part.contains(&format!("Name: {metric}\n")));
    let values = parts.flat_map(str::lines).filter_map(|line| {
        let value = line.trim().strip_prefix("Value: ")?;
        value.trim().parse().ok()
    });
    let mut values: Vec<i64> = values.collect();
    values.sort_unstable();
    values
}

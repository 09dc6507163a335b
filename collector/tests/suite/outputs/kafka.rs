//! Kafka: records arrive at a broker that speaks its protocol, whoever is killed or silent meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::Value;

use super::{Fleet, all_sent, counted, skipped};
use crate::crash::Serve;
use crate::support::pki::Authority;
use crate::support::site::Site;
use crate::support::until;

/// The broker, in a process of its own; killed when dropped.
struct Broker {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    brokers: Vec<String>,
}

impl Broker {
    /// Behind TLS, with what is in a directory; `None` where its library is not there.
    fn start(tls: Option<&Path>) -> Option<Self> {
        let packages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/python");
        if !packages.join("confluent_kafka").is_dir() {
            skipped("confluent-kafka is not in target/python (ci/deps)");
            return None;
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/outputs/kafka.py");
        let mut child = Command::new("python3")
            .arg(script)
            .args(tls)
            .env("PYTHONPATH", packages)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("python3");
        let input = child.stdin.take().expect("piped");
        let mut output = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("a line");
        let brokers = serde_json::from_str(&line).expect("addresses");
        Some(Self {
            child,
            input,
            output,
            brokers,
        })
    }

    fn records(&mut self) -> Vec<Value> {
        self.input.write_all(b"all\n").expect("written");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("a line");
        serde_json::from_str(&line).expect("records")
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", signal, &pid]).status();
        assert!(sent.expect("kill").success());
    }

    /// The configuration of an output.
    fn output(&self, topic: &str) -> String {
        format!(
            "[outputs.bus]\nkind = \"kafka\"\nbrokers = {:?}\ntopic = \"{topic}\"\n\
             tables = [\"edge\"]\ntimeout = \"3s\"\n",
            self.brokers
        )
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Connections by the key of the record: what came twice is there once.
fn opened(records: &[Value]) -> BTreeMap<String, u64> {
    let of = |record: &Value| {
        let headers = &record["headers"];
        let key = format!(
            "{}/{}/{}",
            headers["idempotency-key"], headers["table"], headers["row"]
        );
        let value = &record["value"];
        let opened = value["row"]["opened"].as_u64().expect("a number");
        assert_eq!(record["key"], value["host"]);
        assert_eq!(record["topic"], "waybill-edge");
        (key, opened)
    };
    records.iter().map(of).collect()
}

/// Every batch that was answered, once or more.
fn has_all(records: &[Value], fleet: &Fleet) {
    let opened = opened(records);
    assert_eq!(opened.len() as u64, fleet.batches);
    assert_eq!(opened.values().sum::<u64>(), fleet.opened);
}

#[test]
fn a_broker_gets_every_answered_batch_also_after_kills_and_while_it_is_silent() {
    let Some(mut broker) = Broker::start(None) else {
        return;
    };
    let site = Site::new();
    let mut fleet = Fleet::new();
    // Nobody is there at first.
    let nobody = format!(
        "[outputs.bus]\nkind = \"kafka\"\nbrokers = [\"{}\"]\ntopic = \"waybill-{{table}}\"\n\
         tables = [\"edge\"]\ntimeout = \"3s\"\n",
        super::programs::free()
    );
    let mut serve = Serve::start(&site, &nobody);
    fleet.send(&site, serve.at);
    until("it fails", || {
        (counted(&site, serve.at, "bus")["failing"] == 1).then_some(())
    });
    serve.child.kill().expect("kill");
    drop(serve);
    let output = broker.output("waybill-{table}");
    for _ in 0..3 {
        let mut serve = Serve::start(&site, &output);
        for _ in 0..3 {
            fleet.send(&site, serve.at);
        }
        serve.child.kill().expect("kill");
    }
    let serve = Serve::start(&site, &output);
    broker.signal("STOP");
    for _ in 0..3 {
        fleet.send(&site, serve.at);
    }
    until("it fails", || {
        (counted(&site, serve.at, "bus")["failing"] == 1).then_some(())
    });
    broker.signal("CONT");
    let counts = all_sent(&site, serve.at, "bus");
    assert_eq!(counts["refused_total"] + counts["dropped_total"], 0);
    assert_eq!(counts["sent_total"], fleet.batches);
    let records = broker.records();
    has_all(&records, &fleet);
    // One host has one partition.
    let mut places: BTreeMap<&str, BTreeSet<u64>> = BTreeMap::new();
    for record in &records {
        let partition = record["partition"].as_u64().expect("a number");
        let host = record["key"].as_str().expect("a host");
        places.entry(host).or_default().insert(partition);
    }
    assert_eq!(places.len(), 3);
    assert!(
        places.values().all(|partitions| partitions.len() == 1),
        "{places:?}"
    );
    let (code, log) = serve.end("TERM");
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn brokers_behind_tls_get_what_comes_with_a_certificate_that_they_know() {
    let site = Site::new();
    let folder = site.path("bus");
    std::fs::create_dir(&folder).expect("directory");
    let (ours, others) = (Authority::new("bus authority"), Authority::new("another"));
    let (server, client, stranger) = (ours.server(), ours.client(), others.client());
    for (name, text) in [
        ("ca.crt", &ours.pem),
        ("others.crt", &others.pem),
        ("server.crt", &server.certificate),
        ("server.key", &server.key),
        ("client.crt", &client.certificate),
        ("client.key", &client.key),
        ("stranger.crt", &stranger.certificate),
        ("stranger.key", &stranger.key),
    ] {
        std::fs::write(folder.join(name), text).expect("write");
    }
    let Some(mut broker) = Broker::start(Some(&folder)) else {
        return;
    };
    let plain = broker.output("waybill-{table}");
    let with = |ca: &str, client: &str| {
        let at = |name: &str| folder.join(name).display().to_string();
        format!(
            "{plain}ca_file = \"{}\"\nclient_cert_file = \"{}\"\nclient_key_file = \"{}\"\n",
            at(ca),
            at(&format!("{client}.crt")),
            at(&format!("{client}.key"))
        )
    };
    let mut fleet = Fleet::new();
    let unknown = [
        plain.clone(),
        with("others.crt", "client"),
        with("ca.crt", "stranger"),
    ];
    for output in unknown {
        let serve = Serve::start(&site, &output);
        fleet.send(&site, serve.at);
        until("it fails", || {
            (counted(&site, serve.at, "bus")["failing"] == 1).then_some(())
        });
        drop(serve);
        assert_eq!(broker.records(), [] as [Value; 0]);
    }
    let serve = Serve::start(&site, &with("ca.crt", "client"));
    fleet.send(&site, serve.at);
    let counts = all_sent(&site, serve.at, "bus");
    assert_eq!(counts["sent_total"], fleet.batches);
    has_all(&broker.records(), &fleet);
}

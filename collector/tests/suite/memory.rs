//! What hostile batches and large questions take: the peak of a collector's memory.
//!
//! `WAYBILL_SOAK=1` makes them as large as the defaults let through, and wants minutes.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::time::Duration;

use collector::accept::BatchKey;
use wire::{
    Batch, BatchHeader, CONTENT_TYPE, EdgeRow, Endpoint, HostRow, Kept, Part, ProcessRow, Role,
    SightingRow,
};

use crate::crash::Serve;
use crate::ingest::seal;
use crate::support::site::{READER, Site, TOKEN, Who, key};
use crate::support::until_within;

const MIB: usize = 1 << 20;

/// How large the attacks are.
struct Size {
    limits: &'static str,
    /// Most that the process may have taken at any time.
    most: usize,
    /// Bytes of the rows that are too large.
    huge_row: usize,
    /// Hosts with the largest row that is let in.
    hosts: u32,
    /// Edges, and connections that two tokens join, for which a question has memory.
    fits: (u32, u32),
    /// Edges of each of five batches, for which it has none.
    edges: u32,
}

fn size() -> Size {
    if std::env::var_os("WAYBILL_SOAK").is_some() {
        // The defaults.
        return Size {
            limits: "",
            most: 512_000_000,
            huge_row: 58_000_000,
            hosts: 1500,
            fits: (50_000, 90_000),
            edges: 180_000,
        };
    }
    Size {
        limits: "query_memory = \"20MiB\"\njoin_memory = \"20MiB\"\nbatch_memory = \"24MiB\"\nbatch_raw_bytes = \"16MiB\"",
        // Measured: 171 to 203, for what is freed stays with threads.
        // Some 15 of them for what 50,000 edges have counted so far, and for their flows; 15 for
        // 18,000 connections that go on, which the store keeps in memory; 10 for the rules.
        most: 230 * MIB,
        huge_row: 12 * MIB,
        hosts: 40,
        fits: (7000, 9000),
        edges: 8_500,
    }
}

/// How long one waits for one's turn: at the defaults, others are sent hundreds of megabytes by a
/// program that is not optimized.
fn patience() -> Duration {
    match std::env::var_os("WAYBILL_SOAK") {
        Some(_) => Duration::from_secs(1800),
        None => Duration::from_secs(60),
    }
}

/// The most memory that a process had, bytes.
fn peak(serve: &Serve) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", serve.child.id()));
    let status = status.expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    kib.and_then(|kib| kib.parse::<usize>().ok())
        .expect("a number")
        << 10
}

fn header(host: u32, sequence: u64) -> BatchHeader {
    let now = collector::time::now_ms().unsigned_abs();
    let mut id = [7; 16];
    id[..4].copy_from_slice(&host.to_be_bytes());
    BatchHeader {
        host: id,
        boot: id,
        sequence,
        start_ms: now - 10_000,
        end_ms: now,
    }
}

/// Text of which little repeats, so that it stays as long wherever it is packed.
fn noise(bytes: usize, seed: u64) -> String {
    let mut state = seed | 1;
    let mut letter = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        char::from(b'a' + u8::try_from(state % 26).expect("a letter"))
    };
    (0..bytes).map(|_| letter()).collect()
}

/// A host row of about so many bytes, all in values of 16 KiB.
fn host_row(bytes: usize, text: &str) -> HostRow {
    let facts = (0..bytes / (16 << 10)).map(|n| (format!("fact {n}"), text.to_owned()));
    HostRow {
        hostname: String::from("hostile"),
        facts: facts.collect(),
        ..HostRow::default()
    }
}

/// Most edges of one batch: unpacked, a row takes its place for all that may be counted.
const EDGES_EACH: u32 = 20_000;

/// Those of a host from `first` on, up to `edges`, as many as one batch holds.
fn edges(batch: u32, first: u32, edges: u32) -> Batch {
    let address = |n: u32| {
        let ip = std::net::Ipv4Addr::from(0x0a00_0000 + n);
        Endpoint::from(SocketAddr::from((ip, 80)))
    };
    let rows = (first..edges.min(first + EDGES_EACH)).map(|n| {
        let mut local = address(batch);
        local.port = 0;
        let ends = (
            n % 50,
            Role::Client,
            local,
            address(batch * 200_000 + n + 100),
        );
        let mut row = EdgeRow::new(ends, 1, 1);
        (row.opened, row.closed, row.bytes_sent) = (3, 2, 1000);
        row.rtt.record(300);
        row
    });
    Batch {
        header: header(batch + 6000, u64::from(first / EDGES_EACH) + 1),
        edges: rows.collect(),
        processes: (0..50)
            .map(|n| ProcessRow {
                process_id: n,
                service: format!("service {n}"),
                exe: format!("/usr/bin/service{n}"),
                ..ProcessRow::default()
            })
            .collect(),
        ..Batch::default()
    }
}

/// Both ends of connections that carried a token each way, `ago_ms` before now.
fn sightings(server: bool, connections: u32, ago_ms: u64) -> Batch {
    let ends = ["10.9.0.1:0", "10.9.0.2:80"].map(|end| end.parse::<SocketAddr>().expect("an end"));
    let [client, server_end] = ends.map(Endpoint::from);
    let row = |n: u32, answer: bool| {
        let port = u16::try_from(n % 60_000 + 1).expect("a port");
        let mut client = client;
        client.port = port;
        let (role, local, remote) = match server {
            false => (Role::Client, client, server_end),
            true => (Role::Server, server_end, client),
        };
        let part = if answer == server {
            Part::Wrote
        } else {
            Part::Read
        };
        SightingRow {
            token: (u64::from(n) << 1 | u64::from(answer)).wrapping_mul(0x9e37_79b9_7f4a_7c15),
            part,
            answer,
            role,
            kept: Kept::Sampled,
            life: wire::Life::Ended,
            sample_level: 0,
            process_id: 1,
            local,
            remote,
            netns: 1,
            // Ports come again after a while.
            start_us: u64::from(n) * 1_000_000,
        }
    };
    let all = (0..connections).flat_map(|n| [row(n, false), row(n, true)]);
    let mut header = header(5000 + u32::from(server), 1);
    header.start_ms -= ago_ms;
    header.end_ms -= ago_ms;
    Batch {
        header,
        sightings: all.collect(),
        ..Batch::default()
    }
}

fn send(site: &Site, at: SocketAddr, key: &str, body: &[u8]) -> (u16, String) {
    // As agents do: what is told to come back comes back.
    until_within(patience(), "the batch is taken or refused", || {
        let answer = site.post(at, Who::Token(TOKEN), key, CONTENT_TYPE, body);
        let answer = answer.expect("an answer");
        let again = matches!(answer.status, 429 | 503);
        (!again).then_some((answer.status, answer.text))
    })
}

/// Status and length of an answer, which is not kept. Whoever is told to come back comes back.
fn ask(site: &Site, at: SocketAddr, path: &str) -> (u16, usize) {
    until_within(patience(), "the question has its turn", || {
        let (status, bytes) = ask_once(site, at, path);
        (!matches!(status, 429 | 503)).then_some((status, bytes))
    })
}

fn ask_once(site: &Site, at: SocketAddr, path: &str) -> (u16, usize) {
    let request = site.client(Who::Nobody).get(format!("https://{at}{path}"));
    let request = request.header("Authorization", format!("Bearer {READER}"));
    // Programs that are not optimized take their time for hundreds of megabytes.
    let request = request.config().timeout_global(None).build();
    let mut answer = request.call().expect("an answer");
    let status = answer.status().as_u16();
    let mut body = answer.body_mut().with_config().limit(1 << 40).reader();
    let (mut bytes, mut piece) = (0, [0; 1 << 16]);
    loop {
        match body.read(&mut piece).expect("a whole answer") {
            0 => return (status, bytes),
            n => bytes += n,
        }
    }
}

/// The statuses of the same question, four at once; of those that came, the lengths.
fn ask_four(site: &Site, at: SocketAddr, path: &str) -> BTreeMap<u16, Vec<usize>> {
    let mut all: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asked: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| ask(site, at, path)))
            .collect();
        asked
            .into_iter()
            .map(|one| one.join().expect("asked"))
            .collect()
    });
    for (status, bytes) in answers {
        all.entry(status).or_default().push(bytes);
    }
    all
}

/// For whoever runs it to see the numbers.
fn say(line: &str) {
    drop(writeln!(std::io::stdout(), "{line}"));
}

/// How far back the sightings lie, so that a question for them is one for nothing else.
const AGO_MS: u64 = 6 * 3_600_000;

/// A collector under attack.
struct Attack {
    size: Size,
    site: Site,
    serve: Serve,
}

impl Attack {
    fn report(&self, what: &str) {
        let peak = peak(&self.serve);
        say(&format!("{what}: peak {} MiB", peak / MIB));
        assert!(peak < self.size.most, "{what}: {peak}");
    }

    fn store(&self, batch: &Batch) {
        let body = wire::encode(batch);
        let (status, text) = send(&self.site, self.serve.at, &key(batch), &body);
        assert_eq!(status, 200, "{text}");
    }

    fn store_edges(&self, batch: u32, count: u32) {
        for first in (0..count).step_by(EDGES_EACH as usize) {
            self.store(&edges(batch, first, count));
        }
    }

    fn ask_four(&self, path: &str) -> BTreeMap<u16, Vec<usize>> {
        let answers = ask_four(&self.site, self.serve.at, path);
        say(&format!("{path}, four at once: {answers:?}"));
        answers
    }

    /// Rows that are too large, from many at once: little on the wire, much once unpacked.
    fn huge_rows(&self) {
        let huge = Batch {
            header: header(1, 1),
            hosts: vec![host_row(self.size.huge_row, &"x".repeat(16 << 10))],
            ..Batch::default()
        };
        let body = wire::encode(&huge);
        let row = self.size.huge_row;
        say(&format!(
            "a row of {row} bytes is {} on the wire",
            body.len()
        ));
        std::thread::scope(|scope| {
            for sequence in 1..=20_u64 {
                let (mut body, mut header) = (body.clone(), huge.header.clone());
                scope.spawn(move || {
                    header.sequence = sequence;
                    body[48..56].copy_from_slice(&sequence.to_le_bytes());
                    seal(&mut body);
                    let key = BatchKey::from(&header).to_string();
                    let (status, text) = send(&self.site, self.serve.at, &key, &body);
                    assert_eq!(status, 400, "{text}");
                    assert!(text.contains("host row"), "{text}");
                });
            }
        });
        self.report("rows that are too large");
    }

    /// The largest rows that are let in, of invented hosts, and questions for them.
    fn invented_hosts(&self) {
        for host in 0..self.size.hosts {
            let row = host_row(240 << 10, &noise(16 << 10, u64::from(host) + 99));
            self.store(&Batch {
                header: header(host + 10, 1),
                hosts: vec![row],
                ..Batch::default()
            });
        }
        self.report("invented hosts");
        let answers = self.ask_four("/api/v1/hosts");
        let whole = usize::try_from(self.size.hosts).expect("few") * (240 << 10);
        let least = whole.min(250 * MIB);
        assert!(answers[&200].iter().all(|bytes| *bytes > least));
        self.report("questions for hosts");
    }

    /// Questions for which there is memory, but not for four at once: they take turns.
    fn large_questions(&self) {
        for server in [false, true] {
            self.store(&sightings(server, self.size.fits.1, AGO_MS));
        }
        self.store_edges(100, self.size.fits.0);
        self.report("rows of large questions");
        let then = collector::time::now_ms().unsigned_abs() - AGO_MS + 1_800_000;
        for question in [format!("?to_ms={then}"), String::new()] {
            let answers = self.ask_four(&format!("/api/v1/topology{question}"));
            assert_eq!(answers.keys().copied().collect::<Vec<_>>(), [200]);
            assert!(answers[&200].iter().all(|bytes| *bytes > 1000));
            self.report("large questions");
        }
    }

    /// Edges to more addresses than a question has memory for.
    fn too_large_questions(&self) {
        for batch in 1..=5 {
            self.store_edges(batch, self.size.edges);
        }
        self.report("edges");
        let answers = self.ask_four("/api/v1/topology");
        assert_eq!(answers.keys().copied().collect::<Vec<_>>(), [422]);
        self.report("questions for the topology");
        // One that is small is answered beside them.
        let (status, bytes) = ask(
            &self.site,
            self.serve.at,
            "/api/v1/topology?to_ms=100000000000",
        );
        assert_eq!(status, 200);
        assert!(bytes < 1000, "{bytes}");
    }
}

#[test]
fn hostile_rows_and_large_questions_stay_within_the_memory_that_is_documented() {
    let (size, site) = (size(), Site::new());
    let serve = Serve::start(&site, size.limits);
    let attack = Attack { size, site, serve };
    attack.report("start");
    attack.huge_rows();
    attack.invented_hosts();
    attack.large_questions();
    attack.too_large_questions();
}

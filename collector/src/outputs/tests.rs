//! An output from the outbox to a server that answers as it is told.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use wire::{Batch, BatchHeader, EdgeRow, Endpoint, Role};

use super::{Outputs, Status};
use crate::accept::Opened;
use crate::config::{File, Format, Http, Kind, Output};
use crate::store::outbox::Outbox;
use crate::store::{Bounds, Store};

const ROOM: Bounds = Bounds {
    max_bytes: 1 << 30,
    hosts: 1000,
};

fn until(what: &str, mut ask: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !ask() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A server: what it got, and what it says to each request.
struct Server {
    url: String,
    got: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Server {
    /// `says` makes status and further headers from the number of the request and its body.
    fn start(says: impl Fn(usize, &[u8]) -> (u16, &'static str) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/write", listener.local_addr().unwrap());
        let got = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let seen = Arc::clone(&got);
        let serve = move || {
            for stream in listener.incoming() {
                let mut stream = BufReader::new(stream.unwrap());
                while let Some(body) = request(&mut stream) {
                    let mut seen = seen.lock().unwrap();
                    let (status, headers) = says(seen.len(), &body);
                    seen.push(body);
                    drop(seen);
                    let answer =
                        format!("HTTP/1.1 {status} x\r\n{headers}Content-Length: 2\r\n\r\nok");
                    if stream.get_mut().write_all(answer.as_bytes()).is_err() {
                        break;
                    }
                }
            }
        };
        std::thread::Builder::new()
            .name(String::from("receiver"))
            .spawn(serve)
            .unwrap();
        Self { url, got }
    }

    fn output(&self, name: &str) -> Output {
        Output {
            name: name.to_owned(),
            tables: Vec::new(),
            kind: Kind::RemoteWrite(Http {
                url: self.url.clone(),
                timeout: Duration::from_secs(10),
                ca_file: None,
                token_file: None,
                client: None,
                max_series: 1000,
            }),
        }
    }
}

fn request(stream: &mut BufReader<TcpStream>) -> Option<Vec<u8>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(snap::raw::Decoder::new().decompress_vec(&body).unwrap())
}

/// A store with outputs that run.
struct World {
    dir: TempDir,
    store: Store,
    outbox: Arc<Outbox>,
    status: Arc<Status>,
    outputs: Outputs,
}

impl World {
    fn start(outputs: &[Output], most: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("db");
        let mut store = Store::open(&path, ROOM).unwrap();
        let names: Vec<String> = outputs.iter().map(|output| output.name.clone()).collect();
        let outbox = store.keep_for(&names, most).unwrap();
        let status = Arc::new(Status::new(&outbox));
        let running = Outputs::start(outputs, &path, &outbox, &status).unwrap();
        Self {
            dir,
            store,
            outbox,
            status,
            outputs: running,
        }
    }

    /// Stores batches of these hosts at once.
    fn put(&mut self, hosts: &[u8], sequence: u64) {
        let opened: Vec<Opened> = hosts.iter().map(|host| opened(*host, sequence)).collect();
        let opened: Vec<&Opened> = opened.iter().collect();
        for outcome in self.store.put(&opened, 2_000_000_000_000) {
            outcome.unwrap();
        }
    }

    fn line(&self, line: &str) -> bool {
        self.status.prometheus(0).lines().any(|found| found == line)
    }
}

fn opened(host: u8, sequence: u64) -> Opened {
    let endpoint = |text: &str| Endpoint::from(text.parse::<std::net::SocketAddr>().unwrap());
    let (client, server) = (endpoint("10.0.0.1:0"), endpoint("10.0.0.2:80"));
    let start_ms = 1_900_000_000_000 + sequence * 10_000;
    let batch = Batch {
        header: BatchHeader {
            host: [host; 16],
            boot: [77; 16],
            sequence,
            start_ms,
            end_ms: start_ms + 10_000,
        },
        edges: vec![EdgeRow {
            opened: 3,
            total: false,
            ..EdgeRow::new((1, Role::Client, client, server), 1, 1_900_000_000_000)
        }],
        ..Batch::default()
    };
    let payload = wire::encode(&batch);
    Opened {
        digest: crate::digest::sha256(&payload),
        bytes: payload.len(),
        credential: None,
        payload: Some(payload),
        batch,
    }
}

fn names_host(body: &[u8], host: u8) -> bool {
    let id = crate::digest::hex(&[host; 16]);
    body.windows(id.len()).any(|part| part == id.as_bytes())
}

#[test]
fn a_server_that_is_busy_gets_the_same_again_after_the_time_it_asked_for() {
    let server = Server::start(|number, _| match number {
        0 => (503, "Retry-After: 1\r\n"),
        1 => (429, ""),
        _ => (204, ""),
    });
    let mut world = World::start(&[server.output("tsdb")], 1 << 20);
    let begin = Instant::now();
    world.put(&[1], 1);
    until("it is sent", || {
        world.line("waybill_collector_output_sent_total{output=\"tsdb\"} 1")
    });
    assert!(begin.elapsed() >= Duration::from_secs(1));
    let got = server.got.lock().unwrap();
    assert_eq!(got.len(), 3);
    assert!(got[0] == got[1] && got[1] == got[2] && names_host(&got[0], 1));
    assert!(world.line("waybill_collector_output_attempts_failed_total{output=\"tsdb\"} 2"));
    assert!(world.line("waybill_collector_output_failing{output=\"tsdb\"} 0"));
}

#[test]
fn what_a_server_never_takes_is_counted_and_keeps_no_other_batch_back() {
    let server = Server::start(|_, body| {
        if names_host(body, 2) {
            (400, "")
        } else {
            (200, "")
        }
    });
    let mut world = World::start(&[server.output("tsdb")], 1 << 20);
    world.put(&[1, 2, 3], 1);
    until("they are sent", || {
        world.line("waybill_collector_output_sent_total{output=\"tsdb\"} 2")
    });
    assert!(world.line("waybill_collector_output_refused_total{output=\"tsdb\"} 1"));
    assert!(world.line("waybill_collector_output_waiting{output=\"tsdb\"} 0"));
    let got = server.got.lock().unwrap();
    let alone = |host| {
        got.iter()
            .any(|body| (1..=3).all(|other| names_host(body, other) == (other == host)))
    };
    assert!(alone(1) && alone(2) && alone(3), "{}", got.len());
}

#[test]
fn a_dead_output_holds_up_no_other_and_what_it_lacks_is_counted() {
    let alive = Server::start(|_, _| (200, ""));
    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let mut dead = alive.output("dead");
    if let Kind::RemoteWrite(http) = &mut dead.kind {
        http.url = format!("http://{closed}/write");
    }
    let one = wire::encode(&opened(1, 1).batch).len() as u64;
    let mut world = World::start(&[alive.output("alive"), dead], 4 * one + 8);
    for sequence in 1..=12 {
        world.put(&[1], sequence);
        let sent = format!("waybill_collector_output_sent_total{{output=\"alive\"}} {sequence}");
        until("the one that is alive has it", || world.line(&sent));
    }
    let dead = Arc::clone(&world.outbox.outputs[1]);
    let (accepted, waiting) = world.outbox.accepted(&dead);
    let at = dead.at();
    assert_eq!((accepted, at.sent, at.refused), (12, 0, 0));
    assert_eq!(accepted, at.dropped + waiting);
    assert!(at.dropped >= 7 && waiting >= 3, "{at:?} {waiting}");
    until("its failure shows", || world.status.failing() == ["dead"]);
    let begin = Instant::now();
    world.outputs.stop(Duration::from_secs(10));
    assert!(begin.elapsed() < Duration::from_secs(5));
}

fn files(world: &World, format: Format) -> (PathBuf, Output) {
    let path = world.dir.path().join("files");
    let kind = Kind::File(File {
        path: path.clone(),
        format,
        max_bytes: 1 << 20,
        max_age: Duration::from_secs(3600),
    });
    let output = Output {
        name: String::from("archive"),
        tables: vec![String::from("edge")],
        kind,
    };
    (path, output)
}

#[test]
fn files_are_whole_and_hold_every_batch_once_they_have_their_name() {
    for (format, end) in [(Format::Json, ".jsonl"), (Format::Arrow, "-edge-0.arrow")] {
        let mut world = World::start(&[], 0);
        let (folder, output) = files(&world, format);
        std::fs::create_dir(&folder).unwrap();
        // What a run left that was killed, and what is somebody else's.
        let left = folder.join(".archive-00000000000000000001.partial");
        std::fs::write(&left, "half a li").unwrap();
        std::fs::write(folder.join(".archive-else.partial"), "").unwrap();
        world.outbox = world
            .store
            .keep_for(std::slice::from_ref(&output.name), 1 << 20)
            .unwrap();
        world.status = Arc::new(Status::new(&world.outbox));
        let path = world.dir.path().join("db");
        world.outputs = Outputs::start(&[output], &path, &world.outbox, &world.status).unwrap();
        for sequence in 1..=3 {
            world.put(&[1, 2], sequence);
        }
        let names = || -> Vec<String> {
            let entries = std::fs::read_dir(&folder).unwrap();
            let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
            names
                .filter(|name| name != ".archive-else.partial")
                .collect()
        };
        // Nothing counts as sent before the file is complete.
        until("it is being written", || {
            names().iter().any(|name| name.ends_with(".partial"))
        });
        assert!(world.line("waybill_collector_output_sent_total{output=\"archive\"} 0"));
        std::thread::park_timeout(Duration::from_millis(50));
        world.outputs.stop(Duration::from_secs(10));
        let sent = world.outbox.outputs[0].at().sent;
        assert!(sent > 0);
        let [name] = &names()[..] else {
            panic!("{:?}", names())
        };
        let span = format!("archive-{:020}-{sent:020}", 1);
        assert_eq!(*name, format!("{span}{end}"));
        let rows = match format {
            Format::Json => lines(&folder.join(name)),
            Format::Arrow => {
                let file = std::fs::File::open(folder.join(name)).unwrap();
                let reader = arrow_ipc::reader::FileReader::try_new(file, None).unwrap();
                reader.map(|rows| rows.unwrap().num_rows()).sum()
            }
        };
        assert_eq!(rows as u64, sent);
    }
}

fn lines(path: &std::path::Path) -> usize {
    let text = std::fs::read_to_string(path).unwrap();
    for line in text.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(line["table"], "edge");
        assert_eq!(line["row"]["role"], "client");
        assert_eq!(line["row"]["opened"], 3);
        assert_eq!(line["row"]["remote_address"], "10.0.0.2");
        assert_eq!(line["row"]["rtt"]["count"], 0);
    }
    text.lines().count()
}

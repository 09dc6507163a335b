//! What a service manager and a balancer see of a collector, and what agents see of its restarts.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use wire::CONTENT_TYPE;

use crate::crash::{PROGRAM, Serve, batch};
use crate::support::raw::Raw;
use crate::support::site::{Answer, Site, TOKEN, Who, count, key};
use crate::support::until;

fn ready(site: &Site, at: SocketAddr) -> Answer {
    site.get(at, "/readyz", Who::Nobody)
}

/// What is wrong by the names of the checks.
fn wrong(answer: &Answer) -> Vec<(&str, &str)> {
    let checks = answer.json["checks"].as_array().expect("checks").iter();
    let wrong = checks.filter(|check| check["ok"] == false);
    let text = |value: &'_ serde_json::Value| value.as_str().map(str::len);
    wrong
        .map(|check| {
            assert!(text(&check["why"]).is_some_and(|length| length > 5));
            (
                check["name"].as_str().expect("a name"),
                check["why"].as_str().expect("a reason"),
            )
        })
        .collect()
}

#[test]
fn readiness_says_what_is_wrong_and_comes_back_without_a_batch() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    let answer = ready(&site, at);
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.json["ready"], true);
    assert!(wrong(&answer).is_empty());
    // Somebody else writes, and does not end.
    let db = rusqlite::Connection::open(site.store()).expect("store");
    db.execute_batch("BEGIN IMMEDIATE").expect("a lock");
    assert_eq!(site.send(at, &batch(1, 1)).status, 503);
    let answer = ready(&site, at);
    assert_eq!(answer.status, 503, "{}", answer.text);
    assert_eq!(answer.json["ready"], false);
    let ("store", why) = wrong(&answer)[0] else {
        panic!("{}", answer.text);
    };
    assert!(why.contains("locked"), "{why}");
    assert_eq!(site.get(at, "/healthz", Who::Nobody).word(), "store");
    db.execute_batch("ROLLBACK").expect("no lock");
    // A balancer sends nothing until it says that it is ready.
    until("it is ready again", || {
        (ready(&site, at).status == 200).then_some(())
    });
    assert_eq!(site.get(at, "/healthz", Who::Nobody).status, 200);
}

#[test]
fn a_service_manager_hears_ready_alive_reloading_and_stopping() {
    let site = Site::new();
    let place = site.path("manager");
    let manager = UnixDatagram::bind(&place).expect("a socket");
    let most = Some(Duration::from_secs(60));
    manager.set_read_timeout(most).expect("a timeout");
    // Waits for a word; only heartbeats may come before.
    let expect = |begin: &str| loop {
        let mut text = [0; 256];
        let length = manager.recv(&mut text).expect(begin);
        let said = String::from_utf8_lossy(&text[..length]);
        if said.starts_with(begin) {
            break;
        }
        assert_eq!(said, "WATCHDOG=1", "instead of {begin}");
    };
    let mut command = Command::new(PROGRAM);
    command.arg("serve").arg("--config");
    command.arg(site.configure(true, false, ""));
    command.env("NOTIFY_SOCKET", &place);
    command.env("WATCHDOG_USEC", "500000");
    let serve = Serve::run(&mut command);
    expect("READY=1\nSTATUS=");
    expect("WATCHDOG=1");
    expect("WATCHDOG=1");
    serve.signal("HUP");
    expect("RELOADING=1");
    expect("READY=1");
    serve.signal("TERM");
    expect("STOPPING=1");
    let (code, log) = serve.ended();
    assert_eq!(code, Some(0), "{log}");
}

#[test]
fn a_collector_that_ends_answers_what_is_under_way_and_says_that_connections_end() {
    let site = Site::new();
    let serve = Serve::start(&site, "");
    let mut idle = Raw::connect(&site, serve.at).shake_hands();
    let mut post = |batch: &wire::Batch| {
        let body = wire::encode(batch);
        idle.post(TOKEN, batch, body.len(), "keep-alive");
        idle.send(&body);
        idle.one_answer()
    };
    let answer = post(&batch(1, 1));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(!answer.contains("connection: close"), "{answer}");
    let mut slow = Raw::connect(&site, serve.at);
    let last = slow.begin(TOKEN, &batch(2, 1));
    until("the body is under way", || {
        let text = site.get(
            serve.at,
            "/metrics",
            Who::Token(crate::support::site::READER),
        );
        let line = "waybill_collector_ingest_batches_in_flight 1\n";
        text.text.contains(line).then_some(())
    });
    serve.signal("TERM");
    until("nobody new is let in", || {
        std::net::TcpStream::connect(serve.at)
            .is_err()
            .then_some(())
    });
    // A request that was on its way when the collector began to end.
    let answer = post(&batch(1, 2));
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    slow.send(&[last]);
    let answer = slow.answer();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    let (code, log) = serve.ended();
    assert_eq!(code, Some(0), "{log}");
    assert_eq!(count(&site.store(), "batch"), 3);
}

/// A collector on a socket that somebody else has opened and keeps, as systemd does.
fn serve_on(site: &Site, listener: &TcpListener) -> Serve {
    let socket = listener.try_clone().expect("a socket");
    let config = site.configure(true, false, "");
    let mut command = Command::new("sh");
    let script = "LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" serve --config \"$1\" 3<&0 </dev/null";
    command.arg("-c").arg(script).arg(PROGRAM).arg(config);
    command.stdin(OwnedFd::from(socket));
    Serve::run(&mut command)
}

/// Agents send all the time while the collector ends by a signal and starts again, so often. Whatever
/// was answered is there once, and nothing else. Returns how often a connection was refused.
fn ends_under_load(signal: &str, rounds: u32) -> u64 {
    const AGENTS: u8 = 4;
    let site = Site::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let at = listener.local_addr().expect("an address");
    let serve = serve_on(&site, &listener);
    assert_eq!(serve.at, at);
    let (over, refused) = (AtomicBool::new(false), AtomicU64::new(0));
    let sent: Vec<AtomicU64> = (0..AGENTS).map(|_| AtomicU64::new(0)).collect();
    let serve = std::thread::scope(|scope| {
        let mut serve = serve;
        for agent in 0..AGENTS {
            let (site, over, refused) = (&site, &over, &refused);
            let sent = &sent[usize::from(agent)];
            scope.spawn(move || send_until(over, (site, at), agent, sent, refused));
        }
        let total = || sent.iter().map(|n| n.load(Ordering::Relaxed)).sum::<u64>();
        let loaded = || {
            let before = total();
            until("there is load", || (total() > before + 20).then_some(()));
        };
        for _ in 0..rounds {
            loaded();
            serve.signal(signal);
            let (code, log) = serve.ended();
            assert_eq!(code, (signal == "TERM").then_some(0), "{log}");
            serve = serve_on(&site, &listener);
        }
        loaded();
        over.store(true, Ordering::Relaxed);
        serve
    });
    let (code, log) = serve.end("TERM");
    assert_eq!(code, Some(0), "{log}");
    // Each batch has one event.
    let sent: u64 = sent.iter().map(|n| n.load(Ordering::Relaxed)).sum();
    let sent = i64::try_from(sent).expect("few");
    assert_eq!(count(&site.store(), "batch"), sent);
    assert_eq!(count(&site.store(), "event"), sent);
    refused.load(Ordering::Relaxed)
}

/// One agent: each batch until it is answered, as agents do.
fn send_until(
    over: &AtomicBool,
    (site, at): (&Site, SocketAddr),
    agent: u8,
    sent: &AtomicU64,
    refused: &AtomicU64,
) {
    let client = site.client(Who::Nobody);
    let (mut sequence, mut answered) = (1, true);
    // What was sent and not answered may be there or not: it is sent to the end.
    while !over.load(Ordering::Relaxed) || !answered {
        let batch = batch(agent, sequence);
        let request = client
            .post(format!("https://{at}/api/v1/batches"))
            .header("Authorization", format!("Bearer {TOKEN}"))
            .header("Content-Type", CONTENT_TYPE)
            .header("Idempotency-Key", key(&batch));
        match request.send(wire::encode(&batch)) {
            Ok(answer) => {
                assert_eq!(answer.status(), 200, "{answer:?}");
                sent.store(sequence, Ordering::Relaxed);
                (sequence, answered) = (sequence + 1, true);
                continue;
            }
            Err(ureq::Error::Io(error))
                if error.kind() == std::io::ErrorKind::ConnectionRefused =>
            {
                refused.fetch_add(1, Ordering::Relaxed);
            }
            // An idle connection may end, and a killed collector says nothing.
            Err(_) => {}
        }
        answered = false;
    }
}

#[test]
fn on_a_socket_of_the_service_manager_restarts_under_load_refuse_nobody() {
    assert_eq!(ends_under_load("TERM", 3), 0);
}

#[test]
fn nothing_that_was_answered_is_lost_by_kills_under_load() {
    ends_under_load("KILL", 5);
}

#[test]
fn what_is_no_single_listening_socket_is_refused() {
    let site = Site::new();
    let config = site.configure(true, false, "");
    let run = |fds: &str, redirect: &str| {
        let script = format!(
            "LISTEN_FDS={fds} LISTEN_PID=$$ exec \"$0\" serve --config \"$1\" 3</dev/null {redirect}"
        );
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(PROGRAM).arg(&config);
        let output = command.output().expect("runs");
        assert!(!output.status.success());
        String::from_utf8(output.stderr).expect("text")
    };
    let said = run("1", "");
    assert!(said.contains("the socket of the service manager"), "{said}");
    let said = run("2", "4</dev/null");
    assert!(said.contains("passes 2 sockets"), "{said}");
}

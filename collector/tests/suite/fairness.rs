//! One peer never keeps another one out: slow bodies, idle connections, answers that nobody reads,
//! floods. Each time the other peer is answered while what should keep it out is still there.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};

use collector::accept::Reason;
use collector::server::Running;
use wire::{Batch, HostRow};

use crate::concurrency::batch;
use crate::support::raw::Raw;
use crate::support::site::{OTHER_READER, OWN, READER, Site, TOKEN, Who};
use crate::support::until;

/// A batch of another host than the others send.
fn of_another_host(sequence: u64) -> Batch {
    let mut batch = batch(sequence);
    batch.header.host = [0xee; 16];
    batch
}

/// Another peer sends a batch, and asks.
#[track_caller]
fn another_peer_gets_in(site: &Site, at: SocketAddr, sequence: u64) {
    let sent = site.send_as(at, Who::Token(OWN), &of_another_host(sequence));
    assert_eq!(sent.expect("an answer").word(), "stored");
    let asked = site.get(at, "/api/v1/topology", Who::Token(READER));
    assert_eq!(asked.status, 200, "{asked:?}");
}

fn in_flight(running: &Running, batches: u64) {
    let gauge = || running.metrics().ingest_batches_in_flight.get();
    until("the batches are in flight", || {
        (gauge() == batches).then_some(())
    });
}

#[test]
fn slow_bodies_of_one_peer_keep_nobody_out() {
    let site = Site::new();
    let running = site.start("concurrent_batches = 1\nconcurrent_queries = 1");
    let at = running.address();
    let mut slow: Vec<_> = (1..=40)
        .map(|sequence| {
            let mut raw = Raw::connect(&site, at);
            let last = raw.begin(TOKEN, &batch(sequence));
            (raw, last)
        })
        .collect();
    in_flight(&running, 40);
    another_peer_gets_in(&site, at, 1);
    // Not even this peer itself: bytes are scarce, places are taken by what has arrived.
    assert_eq!(site.send(at, &batch(99)).word(), "stored");
    in_flight(&running, 40);
    let (mut raw, last) = slow.remove(0);
    raw.send(&[last]);
    assert!(raw.answer().contains("\"stored\""));
}

#[test]
fn the_memory_for_bodies_is_bounded_and_only_who_fills_it_is_told_to_wait() {
    let site = Site::new();
    let running = site
        .start("batch_bytes = \"64KiB\"\nbatch_raw_bytes = \"64KiB\"\nbody_memory = \"256KiB\"");
    let at = running.address();
    let held: Vec<_> = (1..=2)
        .map(|sequence| {
            let mut raw = Raw::connect(&site, at);
            raw.post(TOKEN, &batch(sequence), 64 << 10, "close");
            raw.send(&[0; 60 << 10]);
            raw
        })
        .collect();
    in_flight(&running, 2);
    // Half of the memory is 128 KiB, and 120 are held.
    let refused = until("the memory is full", || {
        let mut raw = Raw::connect(&site, at);
        raw.post(TOKEN, &batch(3), 32 << 10, "close");
        raw.send(&[0; 32 << 10]);
        let answer = raw.answer();
        answer.starts_with("HTTP/1.1 429 ").then_some(answer)
    });
    assert!(refused.contains(r#""status":"kept""#), "{refused}");
    assert!(running.metrics().refusals(Reason::Busy) >= 1);
    another_peer_gets_in(&site, at, 1);
    in_flight(&running, 2);
    drop(held);
    in_flight(&running, 0);
    assert_eq!(site.send(at, &batch(3)).word(), "stored");
}

#[test]
fn connections_that_say_nothing_keep_nobody_out() {
    let site = Site::new();
    let running = site.start("connections = 32");
    let at = running.address();
    // Without a word of TLS, with a handshake, and with half a head.
    let tcp: Vec<_> = (0..10)
        .map(|_| TcpStream::connect(at).expect("connect"))
        .collect();
    let mut tls: Vec<_> = (0..22)
        .map(|_| Raw::connect(&site, at).shake_hands())
        .collect();
    for raw in &mut tls[..10] {
        raw.send(b"POST /api/v1/batches HTTP/1.1\r\nHo");
    }
    until("the table is full", || {
        (running.metrics().connections_open.get() == 32).then_some(())
    });
    another_peer_gets_in(&site, at, 1);
    assert!(running.metrics().connections_open.get() <= 32);
    let metrics = running.metrics();
    assert!(metrics.connections_closed_for_others_total.get() >= 1);
    assert_eq!(metrics.connections_dropped_full_total.get(), 0);
    drop((tcp, tls));
}

#[test]
fn bodies_that_fill_all_connections_keep_nobody_out() {
    let site = Site::new();
    let running = site.start("connections = 8");
    let at = running.address();
    let slow: Vec<_> = (1..=8)
        .map(|sequence| {
            let mut raw = Raw::connect(&site, at);
            raw.begin(TOKEN, &batch(sequence));
            raw
        })
        .collect();
    in_flight(&running, 8);
    another_peer_gets_in(&site, at, 1);
    let open = running.metrics().ingest_batches_in_flight.get();
    assert!(open >= 5, "{open} of 8 slow ones are left");
    drop(slow);
}

/// What an agent does between two intervals: nothing, on an open connection.
#[test]
fn one_more_agent_than_connections_gets_in() {
    let site = Site::new();
    let running = site.start("connections = 4");
    let at = running.address();
    let send = |raw: &mut Raw, host: u8| {
        let mut batch = batch(1);
        batch.header.host = [host; 16];
        let body = wire::encode(&batch);
        raw.post(TOKEN, &batch, body.len(), "keep-alive");
        raw.send(&body);
        let answer = raw.one_answer();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{host}: {answer}");
    };
    let mut agents = Vec::new();
    for host in 1..=4 {
        let mut raw = Raw::connect(&site, at);
        send(&mut raw, host);
        agents.push(raw);
    }
    let mut fifth = Raw::connect(&site, at);
    send(&mut fifth, 5);
    // The one that was idle longest made room, and no other.
    let closed: Vec<_> = agents.iter_mut().map(Raw::is_closed).collect();
    assert_eq!(closed, [true, false, false, false]);
    assert_eq!(running.metrics().connections_dropped_full_total.get(), 0);
    // It comes back.
    send(&mut Raw::connect(&site, at), 6);
}

/// Hosts that report some 190 KB each.
fn large(site: &Site, at: SocketAddr, hosts: u8) {
    for host in 0..hosts {
        let mut batch = batch(1);
        batch.header.host = [host; 16];
        batch.hosts = vec![HostRow {
            hostname: format!("host-{host}"),
            facts: (0..12)
                .map(|n| (format!("fact-{n}"), "x".repeat(16_000)))
                .collect(),
            ..HostRow::default()
        }];
        assert_eq!(site.send(at, &batch).word(), "stored");
    }
}

#[test]
fn an_answer_that_nobody_reads_keeps_nobody_out() {
    let site = Site::new();
    let running = site.start("concurrent_queries = 2");
    let at = running.address();
    // More than sockets hold.
    large(&site, at, 60);
    let answered = running.metrics().query_answers_total.get();
    let mut unread = Raw::connect(&site, at);
    unread.ask(READER, "/api/v1/hosts");
    until("it is answered", || {
        (running.metrics().query_answers_total.get() > answered).then_some(())
    });
    // Its place is taken until the answer is, so this peer waits in vain for a second one.
    let own = site.get(at, "/api/v1/topology", Who::Token(READER));
    assert_eq!((own.status, own.word()), (429, "busy"), "{}", own.text);
    assert!(own.retry_after.is_some());
    let other = site.get(at, "/api/v1/topology", Who::Token(OTHER_READER));
    assert_eq!(other.status, 200);
    assert_eq!(running.metrics().query_refused_busy_total.get(), 1);
    assert_eq!(running.metrics().connections_dropped_unread_total.get(), 0);
    // The other side is given up, though it keeps its connection open.
    until("the answer is given up", || {
        (running.metrics().connections_dropped_unread_total.get() == 1).then_some(())
    });
    until("the place is free", || {
        let again = site.get(at, "/api/v1/topology", Who::Token(READER));
        (again.status == 200).then_some(())
    });
    assert!(unread.is_closed());
}

#[test]
fn a_flood_of_questions_keeps_nobody_out() {
    let site = Site::new();
    let running = site.start("concurrent_queries = 2");
    let at = running.address();
    large(&site, at, 4);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _ends = Ends(&over);
        for thread in 0..6 {
            let (site, over) = (&site, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let mut raw = Raw::connect(site, at);
                    raw.ask(READER, "/api/v1/hosts");
                    // Half of them go away without having read anything.
                    if thread % 2 == 0 {
                        raw.one_answer();
                    }
                }
            });
        }
        let asked = || running.metrics().query_answers_total.get();
        let begun = asked();
        until("the flood runs", || (asked() > begun + 4).then_some(()));
        for sequence in 1..=5 {
            let other = site.get(at, "/api/v1/topology", Who::Token(OTHER_READER));
            let sent = site.send_as(at, Who::Token(OWN), &of_another_host(sequence));
            assert_eq!((other.status, sent.expect("an answer").status), (200, 200));
        }
    });
}

/// Ends the threads of a test, also when it fails.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

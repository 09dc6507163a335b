//! Slow, stuck and too many peers.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use collector::accept::Reason;
use collector::tls;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use wire::{Batch, CONTENT_TYPE};

use crate::support::site::{Site, TOKEN, Who, key};
use crate::support::until;
use crate::support::world::World;

fn batch(sequence: u64) -> Batch {
    let mut world = World::new();
    world.host("one");
    let mut batch = world.tick().remove(0);
    batch.header.sequence = sequence;
    batch
}

/// A connection whose bytes the test sends one by one.
struct Raw(StreamOwned<ClientConnection, TcpStream>);

impl Raw {
    fn connect(site: &Site, at: SocketAddr) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in tls::certificates(&site.path("ca.crt")).expect("certificates") {
            roots.add(certificate).expect("certificate");
        }
        let config = ClientConfig::builder_with_provider(tls::provider())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").expect("name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("connection");
        let socket = TcpStream::connect(at).expect("connect");
        socket
            .set_read_timeout(Some(Duration::from_secs(60)))
            .expect("timeout");
        Self(StreamOwned::new(connection, socket))
    }

    /// Sends the head of a request, and all but the last byte of its body.
    fn begin(&mut self, batch: &Batch) -> u8 {
        let body = wire::encode(batch);
        let (last, most) = body.split_last().expect("a body");
        let head = format!(
            "POST /api/v1/batches HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\
             Authorization: Bearer {TOKEN}\r\nContent-Type: {CONTENT_TYPE}\r\n\
             Idempotency-Key: {}\r\nContent-Length: {}\r\n\r\n",
            key(batch),
            body.len()
        );
        self.0.write_all(head.as_bytes()).expect("send");
        self.0.write_all(most).expect("send");
        self.0.flush().expect("send");
        *last
    }

    /// Everything the server says until it closes.
    fn answer(mut self) -> String {
        let mut text = Vec::new();
        match self.0.read_to_end(&mut text) {
            Ok(_) => {}
            // A server that hangs up on a broken request need not say good-bye in TLS.
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => {
                other.expect("an answer");
            }
        }
        String::from_utf8(text).expect("text")
    }
}

#[test]
fn when_all_places_are_taken_the_next_batch_is_told_to_come_back() {
    let site = Site::new();
    let running = site.start("concurrent_batches = 1");
    let at = running.address();
    let mut stuck = Raw::connect(&site, at);
    let last = stuck.begin(&batch(1));
    let in_flight = || running.metrics().ingest_batches_in_flight.get() == 1;
    until("the first batch is in flight", || in_flight().then_some(()));

    let busy = site.send(at, &batch(2));
    assert_eq!((busy.status, busy.word()), (429, "busy"));
    assert!(busy.retry_after.is_some_and(|seconds| seconds > 0));
    assert_eq!(running.metrics().refusals(Reason::Busy), 1);
    // Questions and health have places of their own.
    assert_eq!(site.get(at, "/healthz", Who::Nobody).status, 200);

    stuck.0.write_all(&[last]).expect("send");
    stuck.0.flush().expect("send");
    assert!(stuck.answer().contains("\"stored\""));
    until("the place is free", || (!in_flight()).then_some(()));
    assert_eq!(site.send(at, &batch(2)).word(), "stored");
}

#[test]
fn a_body_that_does_not_arrive_gives_its_place_back() {
    let site = Site::new();
    let running = site.start("concurrent_batches = 1\nbody_timeout = \"200ms\"");
    let mut slow = Raw::connect(&site, running.address());
    slow.begin(&batch(1));
    let answer = slow.answer();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.to_ascii_lowercase().contains("\r\nretry-after: "),
        "{answer}"
    );
    assert!(answer.contains("\"slow\""), "{answer}");
    assert_eq!(running.metrics().refusals(Reason::Slow), 1);
    assert_eq!(site.send(running.address(), &batch(1)).word(), "stored");
}

#[test]
fn a_connection_that_breaks_leaves_nothing_behind() {
    let site = Site::new();
    let running = site.start("concurrent_batches = 1");
    let mut broken = Raw::connect(&site, running.address());
    broken.begin(&batch(1));
    drop(broken);
    until("the break is noticed", || {
        (running.metrics().ingest_batches_in_flight.get() == 0).then_some(())
    });
    assert_eq!(site.send(running.address(), &batch(1)).word(), "stored");
}

#[test]
fn more_connections_than_configured_are_closed_and_counted() {
    let site = Site::new();
    let running = site.start("connections = 2");
    let at = running.address();
    let mut held: Vec<_> = (0..2).map(|_| Raw::connect(&site, at)).collect();
    for raw in &mut held {
        raw.begin(&batch(1));
    }
    until("both are open", || {
        (running.metrics().connections_open.get() == 2).then_some(())
    });
    let third = site.send_as(at, Who::Token(TOKEN), &batch(2));
    assert!(third.is_err());
    assert!(running.metrics().connections_dropped_full_total.get() >= 1);
    drop(held);
    until("they are closed", || {
        (running.metrics().connections_open.get() == 0).then_some(())
    });
    assert_eq!(site.send(at, &batch(2)).word(), "stored");
}

#[test]
fn many_agents_at_once_are_all_stored() {
    let site = Site::new();
    let running = site.start("concurrent_batches = 4");
    let at = running.address();
    std::thread::scope(|scope| {
        for agent in 0..8_u8 {
            let site = &site;
            scope.spawn(move || {
                for sequence in 1..=10 {
                    let mut batch = batch(sequence);
                    batch.header.host = [agent; 16];
                    // As agents do: what is told to come back comes back.
                    until("it is stored", || match site.send(at, &batch).status {
                        200 => Some(()),
                        429 => None,
                        other => panic!("{other}"),
                    });
                }
            });
        }
    });
    assert_eq!(running.metrics().ingest_batches_stored_total.get(), 80);
    running.stop().expect("stops");
    assert_eq!(crate::support::site::count(&site.store(), "batch"), 80);
}

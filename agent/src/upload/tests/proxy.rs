//! Through a proxy that really tunnels, and past ones that do not.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::thread::Builder;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};

use super::https::Agent;
use super::server::{Authority, STORED, Service};
use crate::upload::Settings;
use crate::upload::proxy::Proxy;

/// `me:secret` in base64.
const AUTHORIZATION: &str = "Proxy-Authorization: Basic bWU6c2VjcmV0";

/// Tunnels each connection whose head `judge` finds nothing to say against; tells each head. Ends
/// with the test's process.
fn proxy(judge: fn(&str) -> Option<&'static str>) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let (sender, heads) = unbounded();
    spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, sender) = (stream.expect("a connection"), sender.clone());
            spawn(move || {
                let head = read_head(&mut stream);
                let refusal = judge(&head);
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let _told = sender.send(head);
                if let Some(refusal) = refusal {
                    let _written = stream.write_all(refusal.as_bytes());
                    // Until the client goes away, so that it reads all of it.
                    let _gone = stream.read(&mut [0]);
                    return;
                }
                tunnel(stream, &target);
            });
        }
    });
    (port, heads)
}

/// A thread that ends with its connection, or with the tests.
fn spawn(work: impl FnOnce() + Send + 'static) {
    let thread = Builder::new().name("test-proxy".to_owned());
    thread.spawn(work).expect("start a thread");
}

fn read_head(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.extend(byte);
    }
    String::from_utf8(head).expect("a head is text")
}

fn tunnel(mut client: TcpStream, target: &str) {
    let mut server = TcpStream::connect(target).expect("the target");
    let interim = "HTTP/1.1 100 Continue\r\n\r\n";
    let opened = "HTTP/1.1 200 Connection established\r\nVia: 1.1 proxy\r\n\r\n";
    client
        .write_all([interim, opened].concat().as_bytes())
        .expect("the client");
    let (mut from, mut to) = (
        client.try_clone().expect("clone"),
        server.try_clone().expect("clone"),
    );
    spawn(move || {
        let _ended = std::io::copy(&mut from, &mut to);
        let _ended = to.shutdown(Shutdown::Write);
    });
    let _ended = std::io::copy(&mut server, &mut client);
    let _ended = client.shutdown(Shutdown::Write);
}

fn through(mut settings: Settings, port: u16, user: &str) -> Settings {
    settings.proxy =
        Some(Proxy::parse(&format!("http://{user}127.0.0.1:{port}")).expect("a proxy"));
    settings
}

#[test]
fn batches_go_through_a_tunnel_and_the_server_is_verified_behind_it() {
    let authority = Authority::new();
    let server = Service::new(&authority.issue("collector.example")).start(|_| STORED);
    let (port, heads) = proxy(|_| None);
    let mut settings = through(authority.settings(server.port), port, "");
    settings.server_name = Some("collector.example".to_owned());
    let agent = Agent::start(&settings);
    for sequence in 1..=3 {
        agent.put(sequence);
        assert_eq!(server.next().connection, 0, "the tunnel is kept");
        agent.eventually_acked(sequence);
    }
    let head = heads.recv().expect("it was asked");
    let target = format!("127.0.0.1:{}", server.port);
    let first = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    assert!(
        head.starts_with(&first),
        "the configured host, not the expected name: {head}"
    );
    assert!(!head.contains("uthorization"), "{head}");
    assert!(heads.is_empty());
}

#[test]
fn a_server_of_another_authority_sees_nothing_behind_a_tunnel() {
    let server = Service::new(&Authority::new().issue("127.0.0.1")).start(|_| STORED);
    let (port, _heads) = proxy(|_| None);
    let agent = Agent::start(&through(Authority::new().settings(server.port), port, ""));
    agent.put(1);
    agent.eventually_retried(1);
    assert!(server.seen.is_empty());
    assert_eq!(agent.metrics.upload_proxy_failed_total.get(), 0);
}

#[test]
fn a_proxy_that_wants_a_password_gets_it_and_nobody_else_does() {
    const WANTED: &str = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                          Proxy-Authenticate: Basic realm=\"x\"\r\ncontent-length: 0\r\n\r\n";
    let authority = Authority::new();
    let server = Service::new(&authority.issue("127.0.0.1")).start(|_| STORED);
    let (port, heads) = proxy(|head| (!head.contains(AUTHORIZATION)).then_some(WANTED));
    for (user, good) in [("", false), ("me:wrong@", false), ("me:secret@", true)] {
        let agent = Agent::start(&through(authority.settings(server.port), port, user));
        agent.put(1);
        if !good {
            agent.eventually_retried(1);
            assert_eq!(agent.metrics.upload_proxy_failed_total.get(), 1, "{user}");
            assert_eq!(agent.metrics.upload_unauthorized_total.get(), 0);
            assert_eq!(agent.metrics.spool_depth.get(), 1);
            continue;
        }
        let seen = server.next();
        assert_eq!(
            seen.header("proxy-authorization"),
            None,
            "it is for the proxy alone"
        );
        agent.eventually_acked(1);
    }
    assert_eq!(heads.len(), 3);
}

#[test]
fn a_proxy_that_opens_no_tunnel_keeps_the_batch() {
    let refusals: [fn(&str) -> Option<&'static str>; 5] = [
        |_| Some("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n"),
        |_| Some("HTTP/1.1 302 Found\r\nlocation: http://login/\r\n\r\n"),
        |_| Some("HTTP/1.1 503 Service Unavailable\r\n\r\n"),
        |_| Some("220 mail.example ESMTP\r\n\r\n"),
        |_| Some(""),
    ];
    let authority = Authority::new();
    let server = Service::new(&authority.issue("127.0.0.1")).start(|_| STORED);
    for refuse in refusals {
        let (port, _heads) = proxy(refuse);
        let mut settings = through(authority.settings(server.port), port, "");
        settings.timeout = Duration::from_millis(500);
        let agent = Agent::start(&settings);
        agent.put(1);
        agent.eventually_retried(1);
        assert_eq!(agent.metrics.spool_depth.get(), 1);
    }
    assert!(server.seen.is_empty(), "nothing goes past the proxy");
}

#[test]
fn an_endless_answer_of_a_proxy_is_cut() {
    let (listener, authority) = (
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen"),
        Authority::new(),
    );
    let port = listener.local_addr().expect("an address").port();
    spawn(move || {
        for (nth, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let words: &[u8] = match nth % 2 {
                0 => b"HTTP/1.1 100 Continue\r\n\r\n",
                _ => b"HTTP/1.1 200 OK\r\nx: y",
            };
            while stream.write_all(&words.repeat(50)).is_ok() {}
        }
    });
    let mut settings = through(authority.settings(1), port, "");
    settings.timeout = Duration::from_secs(300);
    let agent = Agent::start(&settings);
    agent.put(1);
    for times in 1..=2 {
        agent.eventually_retried(times);
        agent.handle.kick();
    }
}

//! The whole way over real HTTPS: event loop's handle, spool, upload, server.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::assert_sum;
use super::server::{Authority, Reply, STORED, Server, Service, TOKEN};
use crate::delivery::{Drained, Handle};
use crate::metrics::Metrics;
use crate::orders::{Mailbox, Signed};
use crate::spool::tests::{Place, batch, eventually, roomy};
use crate::upload::{Settings, Transport, thread};

pub(super) const LONG: Duration = Duration::from_secs(30);
const KEPT: &str = r#"{"status":"kept","batch":"KEY","error":"busy"}"#;
const REFUSED: &str = r#"{"status":"refused","batch":"KEY","error":"malformed","message":"no"}"#;
const BUSY: &str = "retry-after: 2\r\n";
const BUSY_UNTIL: &str = "date: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                          retry-after: Sun, 06 Nov 1994 08:49:39 GMT\r\n";

/// An agent's pair of threads, with its own spool and counters.
pub(super) struct Agent {
    pub(super) handle: Handle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) place: Place,
}

impl Agent {
    pub(super) fn start(settings: &Settings) -> Self {
        Self::start_with(settings, |transport| transport)
    }

    fn start_with(settings: &Settings, change: impl FnOnce(Transport) -> Transport) -> Self {
        let (place, metrics) = (Place::new(), Arc::<Metrics>::default());
        let transport = change(Transport::new(settings).expect("settings"));
        let handle = Handle::start_with(
            place.open_with(roomy()),
            Arc::clone(&metrics),
            |client, metrics| thread::start(transport, client, metrics),
        );
        Self {
            handle: handle.expect("start the threads"),
            metrics,
            place,
        }
    }

    pub(super) fn put(&self, sequence: u64) {
        self.handle.try_put(batch(sequence, 1000)).expect("room");
    }

    pub(super) fn eventually_acked(&self, batches: u64) {
        eventually("the acks", || {
            self.metrics.upload_acked_total.get() == batches
        });
    }

    pub(super) fn eventually_retried(&self, times: u64) {
        eventually("the failures", || {
            self.metrics.upload_retried_total.get() >= times
        });
    }
}

pub(super) fn serve(script: impl Fn(u64) -> Reply + Send + Sync + 'static) -> (Server, Settings) {
    let authority = Authority::new();
    let server = Service::new(&authority.issue("127.0.0.1")).start(script);
    let settings = authority.settings(server.port);
    (server, settings)
}

/// First `first`, then always `stored`.
pub(super) fn first(reply: Reply) -> impl Fn(u64) -> Reply {
    move |nth| if nth == 0 { reply.clone() } else { STORED }
}

#[test]
fn orders_are_asked_for_by_version_and_handed_over() {
    const ORDERS: &str =
        r#"{"status":"stored","batch":"KEY","orders":{"body":"b","signature":"s"}}"#;
    let (server, settings) = serve(first(Reply::Answer(200, "", ORDERS)));
    let mailbox = Arc::new(Mailbox::new(true));
    let given = Arc::clone(&mailbox);
    let agent = Agent::start_with(&settings, |transport| transport.with_mailbox(given));
    agent.put(1);
    assert_eq!(server.next().header("waybill-orders"), Some("0"));
    agent.eventually_acked(1);
    let (body, signature) = ("b".into(), "s".into());
    assert_eq!(mailbox.take(), Some(Signed { body, signature }));
    // Told what became of them, it names the version, and ends the connection.
    mailbox.tell(7, true);
    agent.put(2);
    let seen = server.next();
    assert_eq!(seen.header("waybill-orders"), Some("7"));
    assert_eq!(
        (seen.connection, seen.header("connection")),
        (0, Some("close"))
    );
    agent.put(3);
    assert_eq!(server.next().connection, 1);
    agent.eventually_acked(3);
    let progress = mailbox.progress();
    assert_eq!(
        (progress.begun, progress.answered, progress.unanswered),
        (3, 3, 0)
    );
    assert_eq!(mailbox.take(), None);
}

#[test]
fn who_wants_no_orders_does_not_ask() {
    let (server, settings) = serve(|_| STORED);
    let agent = Agent::start(&settings);
    agent.put(1);
    assert_eq!(server.next().header("waybill-orders"), None);
}

#[test]
fn a_batch_is_posted_as_agreed() {
    let (server, mut settings) = serve(|_| STORED);
    settings.url.push_str("/behind/a/prefix/");
    let agent = Agent::start(&settings);
    agent.put(7);
    let seen = server.next();
    assert_eq!(
        seen.request,
        "POST /behind/a/prefix/api/v1/batches HTTP/1.1"
    );
    assert_eq!(
        seen.header("content-type"),
        Some("application/vnd.waybill.batch")
    );
    assert_eq!(
        seen.header("idempotency-key"),
        Some(&*batch(7, 0).idempotency_key())
    );
    assert_eq!(
        seen.header("authorization"),
        Some(&*format!("Bearer {TOKEN}"))
    );
    assert_eq!(seen.header("content-length"), Some("1000"));
    assert_eq!(
        seen.header("host"),
        Some(&*format!("127.0.0.1:{}", server.port))
    );
    assert!(
        seen.header("user-agent")
            .is_some_and(|name| name.starts_with("waybill-agent/"))
    );
    assert_eq!(seen.header("accept-encoding"), None);
    assert_eq!(seen.body, batch(7, 1000).bytes);
    assert!(!seen.client_certificate);
    agent.eventually_acked(1);
}

#[test]
fn the_connection_is_kept_between_batches() {
    let (server, settings) = serve(|_| STORED);
    let agent = Agent::start(&settings);
    for sequence in 1..=5 {
        agent.put(sequence);
        assert_eq!(server.next().connection, 0);
        agent.eventually_acked(sequence);
    }
}

#[test]
fn a_connection_that_the_server_closed_meanwhile_costs_nothing() {
    let (server, settings) = serve(|_| Reply::Last);
    let agent = Agent::start(&settings);
    for sequence in 1..=3 {
        agent.put(sequence);
        assert_eq!(server.next().connection, sequence - 1);
        agent.eventually_acked(sequence);
    }
}

#[test]
fn a_duplicate_is_as_good_as_stored() {
    let (_server, settings) =
        serve(|_| Reply::Answer(200, "", r#"{"status":"duplicate","batch":"KEY"}"#));
    let agent = Agent::start(&settings);
    agent.put(1);
    agent.eventually_acked(1);
    assert_eq!(agent.metrics.upload_duplicate_total.get(), 1);
}

#[test]
fn a_busy_collector_is_given_the_time_it_asks_for() {
    for busy in [
        Reply::Answer(503, BUSY, KEPT),
        Reply::Answer(429, BUSY_UNTIL, KEPT),
    ] {
        let (server, settings) = serve(first(busy));
        let agent = Agent::start(&settings);
        agent.put(1);
        let key = server.next().header("idempotency-key").map(str::to_owned);
        agent.eventually_retried(1);
        let begun = Instant::now();
        agent.handle.kick();
        let again = server.next();
        let waited = begun.elapsed();
        assert!(waited > Duration::from_millis(1900), "{waited:?}");
        assert!(waited < LONG / 2, "{waited:?}");
        assert_eq!(again.header("idempotency-key").map(str::to_owned), key);
        agent.eventually_acked(1);
        assert_sum(1, &agent.metrics);
    }
}

#[test]
fn a_final_refusal_deletes_that_batch_and_goes_on() {
    let refused = |nth| match nth {
        0 => Reply::Answer(400, "", REFUSED),
        1 => Reply::Answer(413, "", REFUSED),
        2 => Reply::Answer(415, "", REFUSED),
        _ => STORED,
    };
    let (_server, settings) = serve(refused);
    let agent = Agent::start(&settings);
    for sequence in 1..=4 {
        agent.put(sequence);
    }
    agent.eventually_acked(1);
    assert_eq!(agent.metrics.upload_dropped_refused_total.get(), 3);
    assert_sum(4, &agent.metrics);
}

#[test]
fn an_unaccepted_credential_keeps_the_batches() {
    let (server, settings) = serve(first(Reply::Answer(401, "", KEPT)));
    let agent = Agent::start(&settings);
    agent.put(1);
    server.next();
    eventually("the refusal", || {
        agent.metrics.upload_unauthorized_total.get() == 1
    });
    assert_eq!(agent.metrics.spool_depth.get(), 1);
    // What an operator does after a new token was accepted.
    agent.handle.kick();
    server.next();
    agent.eventually_acked(1);
}

#[test]
fn a_collector_that_is_down_gets_everything_when_it_is_up() {
    let authority = Authority::new();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let port = free.local_addr().expect("an address").port();
    drop(free);
    let agent = Agent::start(&authority.settings(port));
    for sequence in 1..=3 {
        agent.put(sequence);
    }
    agent.eventually_retried(1);
    eventually("three batches", || agent.metrics.spool_depth.get() == 3);
    let server = Service::new(&authority.issue("127.0.0.1"))
        .on(port)
        .start(|_| STORED);
    for _ in 1..=3 {
        agent.handle.kick();
        server.next();
    }
    agent.eventually_acked(3);
    assert_sum(3, &agent.metrics);
}

#[test]
fn a_collector_that_never_answers_is_given_up_after_the_timeout() {
    let (server, mut settings) = serve(first(Reply::Silence));
    settings.timeout = Duration::from_millis(300);
    let agent = Agent::start(&settings);
    agent.put(1);
    let key = server.next().header("idempotency-key").map(str::to_owned);
    agent.eventually_retried(1);
    assert_eq!(agent.metrics.spool_depth.get(), 1);
    assert_eq!(
        server.next().header("idempotency-key").map(str::to_owned),
        key
    );
    agent.eventually_acked(1);
}

#[test]
fn a_port_that_accepts_and_says_nothing_is_given_up_too() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let mut settings = Authority::new().settings(port);
    settings.timeout = Duration::from_millis(300);
    let agent = Agent::start(&settings);
    agent.put(1);
    agent.eventually_retried(1);
    assert_eq!(agent.metrics.spool_depth.get(), 1);
}

#[test]
fn a_name_that_cannot_be_resolved_is_tried_again() {
    let mut settings = Authority::new().settings(1);
    settings.url = "https://collector.invalid:9443".to_owned();
    let agent = Agent::start(&settings);
    agent.put(1);
    agent.eventually_retried(1);
    assert_eq!(agent.metrics.spool_depth.get(), 1);
}

#[test]
fn a_drain_cuts_off_a_request_that_hangs() {
    let (server, settings) = serve(|_| Reply::Silence);
    let agent = Agent::start(&settings);
    agent.put(1);
    server.next();
    let begun = Instant::now();
    let drained = agent.handle.drain(Duration::from_millis(200));
    assert_eq!(
        drained,
        Drained {
            stored: true,
            upload_ended: true,
            left: 1
        }
    );
    assert!(
        begun.elapsed() < settings.timeout / 2,
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(agent.place.open().depth(), 1);
}

#[test]
fn a_drain_delivers_what_was_just_sealed() {
    let (server, settings) = serve(|_| STORED);
    let agent = Agent::start(&settings);
    for sequence in 1..=10 {
        agent.put(sequence);
    }
    let drained = agent.handle.drain(LONG);
    assert_eq!(
        drained,
        Drained {
            stored: true,
            upload_ended: true,
            left: 0
        }
    );
    assert_eq!(server.seen.len(), 10);
    assert_sum(10, &agent.metrics);
}

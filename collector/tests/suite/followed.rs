//! Certificates, keys and tokens that are replaced while the collector runs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use collector::metrics::Metrics;

use crate::crash::Serve;
use crate::support::pki::{Authority, Identity};
use crate::support::site::{self, OWN, READER, Site, TOKEN, Who};

/// Far longer than a change takes to be seen.
const PATIENCE: Duration = Duration::from_secs(20);

fn wait(what: &str, is: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < until, "{what}");
        std::thread::yield_now();
    }
}

fn status(site: &Site, at: SocketAddr, token: &str) -> u16 {
    site.get(at, "/api/v1/hosts", Who::Token(token)).status
}

fn counted(metrics: &Metrics) -> (u64, u64) {
    let all = [
        &metrics.secrets_read_again_total,
        &metrics.secrets_refused_total,
    ];
    (all[0].get(), all[1].get())
}

#[test]
fn a_new_token_works_and_a_removed_one_stops_and_a_broken_file_changes_nothing() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    let new = "a-reader-that-came-later";
    assert_eq!(
        (status(&site, at, READER), status(&site, at, new)),
        (200, 401)
    );
    // Renamed over, as programs that manage secrets do.
    site.write("readers.new", &format!("{new}\n"));
    std::fs::rename(site.path("readers.new"), site.path("readers")).expect("rename");
    wait("the new token", || status(&site, at, new) == 200);
    assert_eq!(status(&site, at, READER), 401, "removed");
    let before = counted(running.metrics());
    site.write("readers", "short\n");
    wait("the broken file", || {
        counted(running.metrics()).1 > before.1
    });
    std::fs::remove_file(site.path("tokens")).expect("remove");
    wait("the file that is gone", || {
        counted(running.metrics()).1 > before.1 + 1
    });
    assert_eq!(status(&site, at, new), 200, "what was read before stays");
    assert_eq!(counted(running.metrics()).0, before.0);
    site.write("readers", &format!("{READER}\n"));
    site.write("tokens", &format!("{TOKEN} shared\n{OWN}\n"));
    wait("mended files", || status(&site, at, READER) == 200);
    assert_eq!(status(&site, at, new), 401);
}

/// Each file that the configuration names, broken and mended.
#[test]
fn a_file_of_any_kind_that_breaks_changes_nothing_and_is_read_when_it_is_mended() {
    let (site, running) = crate::enrolment::enrolling("1h");
    let at = running.address();
    let agent = site.agents.client();
    let host = |number: u8| {
        let mut batch = crate::ingest::batch();
        batch.header.host = [number; 16];
        batch
    };
    // Everybody is let in, over new connections, and hosts are enrolled.
    let mut enrolled = 0;
    let mut works = |what: &str| {
        assert_eq!(status(&site, at, READER), 200, "{what}");
        for (number, who) in [(1, Who::Token(OWN)), (2, Who::Certificate(&agent))] {
            let sent = site.send_as(at, who, &host(number)).expect("an answer");
            assert_eq!(sent.status, 200, "{what}: {}", sent.text);
        }
        enrolled += 1;
        let token = crate::enrolment::token(&site, &format!("db{enrolled}"), &[]);
        let key = rcgen::KeyPair::generate().expect("a key");
        let answer = crate::enrolment::enroll(&site, at, &token, &key);
        assert_eq!(answer.status, 200, "{what}: {}", answer.text);
    };
    works("at first");
    let names = [
        "server.crt",
        "server.key",
        "agents.crt",
        "enroll.crt",
        "enroll.key",
        "tokens",
        "readers",
    ];
    for (at, name) in names.into_iter().enumerate() {
        let whole = std::fs::read_to_string(site.path(name)).expect("the file");
        let broken = ["", "nonsense\n", &whole[..whole.len() / 3]][at % 3];
        let (read, refused) = counted(running.metrics());
        site.write(name, broken);
        wait(name, || counted(running.metrics()) != (read, refused));
        let now = counted(running.metrics());
        assert_eq!(now, (read, refused + 1), "{name} {broken:?}");
        works(name);
        site.write(name, &whole);
        wait(name, || counted(running.metrics()).0 > read);
    }
    works("at last");
}

/// The authority of agents is another one: it signs, and the last one's certificates go with it.
#[test]
fn another_authority_signs_at_once_and_the_last_one_is_believed_while_it_is_in_the_file() {
    let (site, running) = crate::enrolment::enrolling("1h");
    let at = running.address();
    let enroll = |name: &str| {
        let token = crate::enrolment::token(&site, name, &[]);
        let key = rcgen::KeyPair::generate().expect("a key");
        crate::enrolment::identity(&crate::enrolment::enroll(&site, at, &token, &key), &key)
    };
    let sends = |identity: &Identity, sequence: u64| {
        let mut batch = crate::ingest::batch();
        batch.header.sequence = sequence;
        let sent = site.send_as(at, Who::Certificate(identity), &batch);
        sent.map(|answer| answer.status).ok()
    };
    let first = enroll("db1");
    assert_eq!(sends(&first, 1), Some(200));
    let (old, old_key) = (site.path("enroll.crt"), site.path("enroll.key"));
    let before = std::fs::read_to_string(&old).expect("the certificate");
    for file in [&old, &old_key] {
        std::fs::rename(file, file.with_extension("old")).expect("moved");
    }
    let (read, _) = counted(running.metrics());
    let config = site.path("collector.toml").display().to_string();
    site::waybill(&["ca", "init", "--name", "the next one", "--config", &config]);
    let next = std::fs::read_to_string(&old).expect("the certificate");
    site.write("enroll.crt", &format!("{next}{before}"));
    wait("the next authority", || counted(running.metrics()).0 > read);
    let second = enroll("db2");
    assert_eq!(sends(&first, 2), Some(200), "both are believed");
    let mut other = crate::ingest::batch();
    other.header.host = [2; 16];
    let sent = site.send_as(at, Who::Certificate(&second), &other);
    assert_eq!(sent.expect("an answer").status, 200);
    let (read, _) = counted(running.metrics());
    site.write("enroll.crt", &next);
    wait("the old one is gone", || {
        counted(running.metrics()).0 > read
    });
    // TLS refuses it now, or the collector does.
    assert_ne!(sends(&first, 3), Some(200));
    assert!(!enroll("db3").certificate.is_empty());
}

/// At once, with the signal by which an operator says so.
#[test]
fn a_signal_has_the_serving_program_read_files_and_say_what_it_cannot_use() {
    let site = Site::new();
    let serve = Serve::start(&site, "");
    let (at, new) = (serve.at, "a-reader-that-came-later");
    assert_eq!(status(&site, at, new), 401);
    site.write("readers", &format!("{new}\n"));
    serve.signal("HUP");
    wait("the new token", || status(&site, at, new) == 200);
    site.write("readers", "short\n");
    serve.signal("HUP");
    wait("the broken file", || {
        let text = site.get(at, "/metrics", Who::Token(new)).text;
        text.contains("waybill_collector_secrets_refused_total 1\n")
    });
    assert_eq!(status(&site, at, new), 200);
    let (code, log) = serve.end("TERM");
    assert_eq!(code, Some(0));
    let said = "changed files cannot be used, what was read before stays";
    assert!(
        log.contains(said) && log.contains("readers, line 1"),
        "{log}"
    );
}

#[test]
fn new_connections_are_met_with_the_new_certificate() {
    let mut site = Site::new();
    let running = site.start("");
    let at = running.address();
    let next = Authority::new("the next authority");
    let server = next.server();
    site.write("server.crt", &server.certificate);
    site.write("server.key", &server.key);
    site.authority = next;
    site.write("ca.crt", &site.authority.pem);
    let trusted = || {
        let path = format!("https://{at}/healthz");
        site.client(Who::Nobody).get(path).call().is_ok()
    };
    wait("the new certificate", trusted);
    // A key that does not belong to it: the old pair goes on.
    let refused = counted(running.metrics()).1;
    site.write("server.key", &site.agents.server().key);
    wait("the wrong key", || counted(running.metrics()).1 > refused);
    assert!(trusted());
}

/// A connection that was opened under the old CA outlives no trust.
#[test]
fn a_client_certificate_of_a_removed_ca_stops_working_on_open_connections_too() {
    let site = Site::new();
    let running = site::start(&site.config(true, true, ""));
    let at = running.address();
    let person = site.agents.client_named(site::READER_NAME);
    // One client, which keeps its connection.
    let client = site.client(Who::Certificate(&person));
    let ask = || {
        let mut answer = client
            .get(format!("https://{at}/api/v1/hosts"))
            .call()
            .ok()?;
        answer.body_mut().read_to_string().ok()?;
        Some(answer.status().as_u16())
    };
    assert_eq!(ask(), Some(200));
    let opened = running.metrics().connections_open.get();
    // Both for a while, as in a rotation: nobody notices.
    let next = Authority::new("the next authority of agents");
    let read = counted(running.metrics()).0;
    site.write("agents.crt", &format!("{}{}", site.agents.pem, next.pem));
    wait("both authorities", || counted(running.metrics()).0 > read);
    assert_eq!(ask(), Some(200));
    assert_eq!(
        running.metrics().connections_open.get(),
        opened,
        "the same connection"
    );
    site.write("agents.crt", &next.pem);
    wait("the old one removed", || {
        counted(running.metrics()).0 > read + 1
    });
    assert_eq!(ask(), Some(401));
}

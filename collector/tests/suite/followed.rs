//! Certificates, keys and tokens that are replaced while the collector runs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use collector::metrics::Metrics;

use crate::support::pki::Authority;
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

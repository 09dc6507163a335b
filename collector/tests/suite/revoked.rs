//! Credentials that are locked out while the collector runs.

use axum::http::Method;
use collector::accept::Reason;
use collector::server::{Scope, routes};
use serde_json::Value;
use wire::CONTENT_TYPE;

use crate::support::raw::Raw;
use crate::support::site::{self, OWN, READER, Site, TOKEN, Who, count, key, waybill};

/// The digits that name a token.
fn name(token: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    data_encoding::HEXLOWER.encode(&digest.as_ref()[..8])
}

fn command(site: &Site, words: &[&str]) -> String {
    let config = site.path("collector.toml").display().to_string();
    waybill(&[words, &["--config", &config]].concat())
}

fn json(site: &Site, words: &[&str]) -> Value {
    let text = command(site, &[words, &["--format", "json"]].concat());
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn a_revoked_credential_is_refused_on_open_connections_and_shown_with_who_and_why() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    // A client that keeps its connection.
    let client = site.client(Who::Token(READER));
    let ask = || {
        let mut answer = client
            .get(format!("https://{at}/api/v1/hosts"))
            .header("Authorization", format!("Bearer {READER}"))
            .call()
            .expect("an answer");
        let text = answer.body_mut().read_to_string().expect("text");
        (answer.status().as_u16(), text)
    };
    assert_eq!(ask().0, 200);
    let opened = running.metrics().connections_open.get();
    let id = name(READER);
    let said = command(&site, &["credential", "revoke", &id, "--why", "left us"]);
    assert!(said.contains(&id), "{said}");
    let (status, text) = ask();
    assert_eq!(status, 401, "{text}");
    assert!(text.contains("\"revoked\""), "{text}");
    assert_eq!(running.metrics().connections_open.get(), opened);
    assert_eq!(running.metrics().refusals(Reason::Revoked), 1);
    let list = json(&site, &["credential", "list"]);
    assert_eq!(list[0]["credential"], id.as_str(), "{list}");
    assert_eq!(list[0]["revoked"]["why"], "left us");
    assert!(list[0]["revoked"]["at_ms"].as_i64() > Some(0));
    let by = list[0]["revoked"]["by"].as_str().expect("who");
    assert!(by.starts_with("account:"), "{by}");
    let table = command(&site, &["credential", "list"]);
    assert!(table.contains("left us"), "{table}");
    // Others go on, and a mistake can be taken back.
    let other = site.get(at, "/api/v1/hosts", Who::Token(site::OTHER_READER));
    assert_eq!(other.status, 200);
    command(&site, &["credential", "reinstate", &id]);
    assert_eq!(ask().0, 200);
    let log = json(&site, &["audit", "--from", "1h"]);
    let done: Vec<_> = log.as_array().expect("a list").iter().collect();
    let actions: Vec<_> = done.iter().map(|one| one["action"].as_str()).collect();
    assert_eq!(
        actions,
        [
            Some("retention.changed"),
            Some("credential.revoked"),
            Some("credential.reinstated")
        ]
    );
    assert_eq!(done[1]["subject"], id.as_str());
    assert_eq!(done[1]["after"]["why"], "left us");
    assert_eq!(done[1]["source"], "command");
}

#[test]
fn a_host_is_revoked_with_every_credential_that_speaks_for_it() {
    let site = Site::new();
    let running = site::start(&site.config(true, true, ""));
    let at = running.address();
    let certificate = site.agents.client();
    let batch = |sequence| {
        let mut batch = crate::ingest::batch();
        (batch.header.host, batch.header.sequence) = ([1; 16], sequence);
        batch
    };
    let send = |who, sequence| {
        let answer = site.send_as(at, who, &batch(sequence));
        answer.expect("an answer")
    };
    let own = [Who::Token(OWN), Who::Certificate(&certificate)];
    for (sequence, who) in (1..).zip(own) {
        assert_eq!(send(who, sequence).word(), "stored");
    }
    let host = "01".repeat(16);
    command(&site, &["credential", "revoke", "--host", &host]);
    for (sequence, who) in (3..).zip(own) {
        let answer = send(who, sequence);
        assert_eq!((answer.status, answer.word()), (401, "revoked"));
        // The agent keeps it, for the credential it will have next.
        assert_eq!(answer.json["status"], "kept");
        assert!(!answer.ends(&key(&batch(sequence))));
    }
    assert_eq!(count(&site.store(), "batch"), 2);
    let list = json(&site, &["credential", "list"]);
    assert_eq!(list.as_array().map(Vec::len), Some(2));
    for one in list.as_array().expect("a list") {
        assert_eq!(one["host"], host.as_str());
        assert!(one["revoked"].is_object(), "{one}");
    }
}

#[test]
fn what_comes_while_its_credential_is_revoked_is_not_stored() {
    let site = Site::new();
    let running = site.start("");
    let mut batch = crate::ingest::batch();
    batch.header.host = [1; 16];
    let mut raw = Raw::connect(&site, running.address());
    let last = raw.begin(OWN, &batch);
    // Let in by now.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while running.metrics().ingest_batches_in_flight.get() == 0 {
        assert!(std::time::Instant::now() < until, "not received");
        std::thread::yield_now();
    }
    command(&site, &["credential", "revoke", &name(OWN)]);
    raw.send(&[last]);
    let answer = raw.one_answer();
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert_eq!(count(&site.store(), "batch"), 0);
}

#[test]
fn no_route_lets_a_revoked_credential_in_and_none_while_nobody_can_tell() {
    let site = Site::new();
    let running = site::start(&site.config(true, true, ""));
    let at = running.address();
    let agent = site.agents.client();
    let person = site.agents.client_named(site::READER_NAME);
    let all = [
        Who::Token(TOKEN),
        Who::Token(READER),
        Who::Certificate(&agent),
        Who::Certificate(&person),
    ];
    let every = |expected: (u16, &str)| {
        for (method, path, scope) in routes() {
            if scope == Scope::Anybody {
                continue;
            }
            for who in all {
                let answer = match method {
                    Method::POST => site
                        .post_to(at, path, who, "", CONTENT_TYPE, b"")
                        .expect("an answer"),
                    _ => site.get(at, path, who),
                };
                let seen = (answer.status, answer.word());
                // Who is for something else is told so first, or the same.
                assert!(
                    seen == expected || seen == (403, "forbidden"),
                    "{path} as {who:?}: {answer:?}"
                );
            }
        }
    };
    for identity in [&agent, &person] {
        let der =
            rustls::pki_types::pem::PemObject::from_pem_slice(identity.certificate.as_bytes());
        let der: rustls::pki_types::CertificateDer<'_> = der.expect("PEM");
        let digest = ring::digest::digest(&ring::digest::SHA256, &der);
        let id = data_encoding::HEXLOWER.encode(&digest.as_ref()[..8]);
        command(&site, &["credential", "revoke", &id]);
    }
    for token in [TOKEN, READER] {
        command(&site, &["credential", "revoke", &name(token)]);
    }
    every((401, "revoked"));
    // A database that cannot be read lets nobody in, and costs no batch.
    let db = rusqlite::Connection::open(site.path("access.db")).expect("database");
    db.execute_batch("DROP TABLE revoked").expect("dropped");
    every((503, "store"));
    let answer = site.send(at, &crate::ingest::batch());
    assert_eq!(
        (answer.status, answer.json["status"].as_str()),
        (503, Some("kept"))
    );
}

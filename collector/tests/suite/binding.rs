//! A credential speaks for the host that used it first.

use collector::accept::Reason;
use collector::query;
use collector::server::Running;
use wire::Batch;

use crate::support::site::{
    self, Answer, OTHER, OWN, READER, ROOM, Site, TOKEN, Who, key, waybill,
};

/// A batch of one of several hosts.
fn batch(host: u8, sequence: u64) -> Batch {
    let mut batch = crate::ingest::batch();
    (batch.header.host, batch.header.sequence) = ([host; 16], sequence);
    batch
}

fn send(site: &Site, running: &Running, who: Who<'_>, batch: &Batch) -> Answer {
    let answer = site.send_as(running.address(), who, batch);
    answer.expect("an answer")
}

#[track_caller]
fn kept_from(answer: &Answer, batch: &Batch) {
    assert_eq!((answer.status, answer.word()), (403, "foreign"));
    assert_eq!(answer.json["status"], "kept");
    assert!(!answer.ends(&key(batch)));
}

#[test]
fn another_host_under_a_token_is_refused_and_shown() {
    let site = Site::new();
    let running = site.start("");
    let own = Who::Token(OWN);
    assert_eq!(send(&site, &running, own, &batch(1, 1)).word(), "stored");
    let stolen = batch(2, 1);
    for _ in 0..2 {
        kept_from(&send(&site, &running, own, &stolen), &stolen);
    }
    // Its own host goes on, and so does the other one by its own credential.
    assert_eq!(send(&site, &running, own, &batch(1, 2)).word(), "stored");
    assert_eq!(
        send(&site, &running, Who::Token(OTHER), &stolen).word(),
        "stored"
    );
    assert_eq!(running.metrics().refusals(Reason::Foreign), 2);

    let hosts = site.get(running.address(), "/api/v1/hosts", Who::Token(READER));
    let shown = &hosts.json["credentials_refused"];
    assert_eq!(shown.as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(shown[0]["host"], "01".repeat(16));
    assert_eq!(shown[0]["refused_host"], "02".repeat(16));
    assert_eq!(shown[0]["refused"], 2);
    assert!(shown[0]["refused_ms"].as_i64() > Some(0));
    assert!(!hosts.text.contains(OWN));
}

#[test]
fn it_is_the_first_batch_that_was_taken_which_binds() {
    let site = Site::new();
    let running = site.start("");
    let own = Who::Token(OWN);
    // Refused for another reason: of nobody yet.
    let mut bad = batch(1, 1);
    bad.header.sequence = 1;
    (bad.header.start_ms, bad.header.end_ms) = (5, 3);
    assert_eq!(send(&site, &running, own, &bad).word(), "malformed");
    assert_eq!(send(&site, &running, own, &batch(2, 1)).word(), "stored");
    let first = batch(1, 1);
    kept_from(&send(&site, &running, own, &first), &first);
}

#[test]
fn a_host_survives_a_restart_with_its_credential_until_that_is_released() {
    let site = Site::new();
    let own = Who::Token(OWN);
    let running = site.start("");
    assert_eq!(send(&site, &running, own, &batch(1, 1)).word(), "stored");
    running.stop().expect("stops");

    let running = site.start("");
    let anew = batch(2, 1);
    kept_from(&send(&site, &running, own, &anew), &anew);
    // Beside the running collector.
    let config = site.path("collector.toml").display().to_string();
    let list = waybill(&[
        "credential",
        "list",
        "--format",
        "json",
        "--config",
        &config,
    ]);
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
    assert_eq!(list[0]["refused"], 1);
    let name = list[0]["credential"].as_str().expect("a name");
    let table = waybill(&["credential", "list", "--config", &config]);
    assert!(table.contains(name), "{table}");
    let said = waybill(&["credential", "release", name, "--config", &config]);
    assert!(
        said.contains(name) && said.contains(&"01".repeat(16)),
        "{said}"
    );

    assert_eq!(send(&site, &running, own, &anew).word(), "stored");
    let old = batch(1, 2);
    kept_from(&send(&site, &running, own, &old), &old);
    // And by the id of the host.
    let said = waybill(&[
        "credential",
        "release",
        &"02".repeat(16),
        "--config",
        &config,
    ]);
    assert!(said.contains(name), "{said}");
    assert_eq!(send(&site, &running, own, &old).word(), "stored");
}

#[test]
fn a_certificate_is_of_one_host_and_a_shared_token_of_many() {
    let site = Site::new();
    let running = site::start(&site.config(true, true, ""));
    let (one, two) = (site.agents.client(), site.agents.client());
    for (who, host) in [(&one, 1), (&two, 2)] {
        let answer = send(&site, &running, Who::Certificate(who), &batch(host, 1));
        assert_eq!(answer.word(), "stored");
    }
    let foreign = batch(2, 2);
    kept_from(
        &send(&site, &running, Who::Certificate(&one), &foreign),
        &foreign,
    );
    for host in 1..=4 {
        let answer = send(&site, &running, Who::Token(TOKEN), &batch(host, 9));
        assert_eq!(answer.word(), "stored");
    }
    let fleet = query::fleet(&site.store()).expect("an answer");
    assert_eq!((fleet.hosts.len(), fleet.credentials_refused.len()), (4, 1));
    let mut text = Vec::new();
    collector::table::hosts(&mut text, &fleet).expect("written");
    let text = String::from_utf8(text).expect("text");
    assert!(text.contains("refused 1 batches of others"), "{text}");
}

#[test]
fn what_is_no_name_releases_nothing() {
    let site = Site::new();
    let running = site.start("");
    let own = Who::Token(OWN);
    assert_eq!(send(&site, &running, own, &batch(1, 1)).word(), "stored");
    let mut store = collector::store::Store::open(&site.store(), ROOM).expect("store");
    for name in ["", "0", "%", &"_".repeat(16), &"00".repeat(8)] {
        let released = store.release_credentials(name).expect("an answer");
        assert_eq!(released, [], "{name}");
    }
}

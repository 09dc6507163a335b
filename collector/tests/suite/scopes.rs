//! Agents write and people read: what each is told at the other's addresses.

use crate::support::site::{ADMIN, READER, Site, TOKEN, Who};

#[test]
fn another_method_or_path_tells_a_stranger_nothing() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    for path in [
        "/api/v1/batches",
        "/api/v1/users",
        "/api/v1/nothing",
        "/nothing",
    ] {
        assert_eq!(site.get(at, path, Who::Nobody).status, 401, "{path}");
    }
    let status = |path: &str, token| site.get(at, path, Who::Token(token)).status;
    assert_eq!(status("/api/v1/nothing", READER), 404);
    assert_eq!(status("/api/v1/batches", TOKEN), 405);
    // Nor one for people alone to an agent.
    assert_eq!(status("/api/v1/logout", READER), 405);
    assert_eq!(status("/api/v1/logout", TOKEN), 403);
}

#[test]
fn a_refusal_says_what_the_credential_is_for_and_keeps_the_batch() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    let read = site.get(at, "/api/v1/topology", Who::Token(TOKEN));
    assert!(read.text.contains("sends batches"), "{}", read.text);
    let batch = site.send_as(at, Who::Token(READER), &crate::ingest::batch());
    let batch = batch.expect("an answer");
    assert_eq!((batch.status, batch.word()), (403, "forbidden"));
    assert_eq!(batch.json["status"], "kept");
    assert!(batch.text.contains("does not send"), "{}", batch.text);
}

#[test]
fn health_says_nothing_about_the_fleet() {
    let site = Site::new();
    let running = site.start("");
    crate::api::fill(&site, running.address());
    let answer = site.get(running.address(), "/healthz", Who::Nobody);
    assert_eq!(answer.text, r#"{"status":"ok"}"#);
}

/// A token that was of everybody before there were two kinds goes on sending for any host.
#[test]
fn the_old_key_still_takes_batches_and_answers_nothing() {
    let site = Site::new();
    let file = site.configure(true, false, "");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let old: Vec<_> = text
        .replace("agent_token_file", "token_file")
        .lines()
        .filter(|line| !line.starts_with("reader_token_file"))
        .map(str::to_owned)
        .collect();
    site.write("collector.toml", &old.join("\n"));
    site.write("tokens", &format!("{TOKEN}\n"));
    let config = collector::config::load(&file).expect("valid");
    let running = crate::support::site::start(&config);
    // Two hosts.
    crate::api::fill(&site, running.address());
    for token in [TOKEN, READER] {
        let answer = site.get(running.address(), "/api/v1/hosts", Who::Token(token));
        assert!([401, 403].contains(&answer.status), "{answer:?}");
    }
}

#[test]
fn an_admin_reads_who_changed_what() {
    let site = Site::new();
    let running = site.start("");
    let ask = |path: &str, token| site.get(running.address(), path, Who::Token(token));
    let answer = ask("/api/v1/audit?from=-1h&limit=5", ADMIN);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let records = answer.json["records"].as_array().expect("a list");
    assert_eq!(records.len(), 1);
    assert_eq!(records[0]["action"], "retention.changed");
    let first = records[0]["id"].as_i64().expect("a number");
    let before = ask(&format!("/api/v1/audit?before_id={first}"), ADMIN);
    assert_eq!(before.json["records"].as_array().map(Vec::len), Some(0));
    let wrong = ask("/api/v1/audit?form=1h", ADMIN);
    assert_eq!((wrong.status, wrong.word()), (400, "query"));
    assert_eq!(ask("/api/v1/audit", READER).status, 403);
}

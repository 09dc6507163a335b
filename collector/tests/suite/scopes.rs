//! Agents write and people read: each credential on each route.

use axum::http::Method;
use collector::accept::Reason;
use collector::server::{Scope, routes};
use wire::CONTENT_TYPE;

use crate::support::pki::Identity;
use crate::support::site::{self, ADMIN, Answer, READER, READER_NAME, Site, TOKEN, Who};

const OPERATOR: &str = "an-operator-of-this-test";

/// Asks a route; a batch route gets a body that is no batch.
fn ask(site: &Site, at: std::net::SocketAddr, method: &Method, path: &str, who: Who<'_>) -> Answer {
    if method == Method::POST {
        let answer = site.post_to(at, path, who, "", CONTENT_TYPE, b"");
        return answer.expect("an answer");
    }
    assert_eq!(
        method,
        Method::GET,
        "the table has a method that is not tried"
    );
    site.get(at, path, who)
}

#[test]
fn every_route_lets_in_those_of_its_scope_and_nobody_else() {
    let site = Site::new();
    site.write(
        "readers",
        &format!("{READER}\n{OPERATOR} operator\n{ADMIN} admin\n"),
    );
    let running = site::start(&site.config(true, true, ""));
    let at = running.address();
    let agent: Identity = site.agents.client();
    let person = site.agents.client_named(READER_NAME);
    let agents = [Who::Token(TOKEN), Who::Certificate(&agent)];
    let readers = [
        Who::Token(READER),
        Who::Token(OPERATOR),
        Who::Certificate(&person),
    ];
    let admins = [Who::Token(ADMIN)];
    let strangers = [Who::Nobody, Who::Token("a-token-of-nobody"), Who::Token("")];
    let mut scopes = Vec::new();
    for (method, path, scope) in routes() {
        scopes.push(scope);
        let path = &crate::openapi::concrete(path);
        let ask = |who| ask(&site, at, &method, path, who);
        // (agent, reader, admin, stranger): whether the request gets past the check.
        let allowed = match scope {
            Scope::Anybody => [true, true, true, true],
            Scope::Agents => [true, false, false, false],
            Scope::Readers => [false, true, true, false],
            Scope::Admins => [false, false, true, false],
        };
        for (who, allowed, refusal) in [
            (&agents[..], allowed[0], (403, "forbidden")),
            (&readers[..], allowed[1], (403, "forbidden")),
            (&admins[..], allowed[2], (403, "forbidden")),
            (&strangers[..], allowed[3], (401, "unauthorized")),
        ] {
            for who in who {
                let answer = ask(*who);
                let refused = (answer.status, answer.word()) == refusal;
                assert_eq!(refused, !allowed, "{path} as {who:?}: {answer:?}");
                let nothing = answer.status == 404 && !path.contains("0000");
                assert!(!nothing && answer.status != 405, "{path}: {answer:?}");
            }
        }
    }
    for scope in [Scope::Anybody, Scope::Agents, Scope::Readers, Scope::Admins] {
        assert!(scopes.contains(&scope), "{scope:?} was not tried");
    }
    // Neither does another method, or another path, tell a stranger anything.
    for path in ["/api/v1/batches", "/api/v1/nothing", "/nothing"] {
        assert_eq!(site.get(at, path, Who::Nobody).status, 401, "{path}");
    }
    assert_eq!(
        site.get(at, "/api/v1/nothing", Who::Token(READER)).status,
        404
    );
    assert_eq!(
        site.get(at, "/api/v1/batches", Who::Token(TOKEN)).status,
        405
    );
    assert!(running.metrics().refusals(Reason::Forbidden) >= 8);
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
    let running = site::start(&config);
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

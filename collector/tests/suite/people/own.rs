//! What people do about themselves: their password, and tokens for their programs.

use collector::accept::Reason;
use serde_json::{Value, json};

use super::{Browser, PASSWORD, add, command, listed, word};
use crate::support::site::{self, Site, Who};

#[test]
fn one_changes_ones_own_password_and_stays_in_alone() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    add(&site, "ann", "viewer");
    let (mut here, there) = (Browser::of(&site, at, "ann"), Browser::of(&site, at, "ann"));
    let next = "another horse battery";
    let change = |browser: &Browser, old: &str, new: &str| {
        browser.post("/api/v1/password", json!({ "old": old, "new": new }))
    };
    assert_eq!(
        word(&change(&here, "wrong horse battery", next)),
        "password"
    );
    assert_eq!(word(&change(&here, PASSWORD, "short")), "password");
    assert!(here.is_in() && there.is_in());
    let changed = change(&here, PASSWORD, next);
    assert_eq!(
        (changed.status, &changed.json()["sessions"]),
        (200, &json!(2))
    );
    assert!(!there.is_in() && !here.is_in());
    here.keep(&changed);
    assert!(here.is_in(), "by the session that the answer began");
    let mut again = Browser::new(&site, at);
    assert_eq!(again.login("ann", PASSWORD).status, 401);
    assert_eq!(again.login("ann", next).status, 200);
    // What is of nobody has none.
    let reply = site.post_to(
        at,
        "/api/v1/password",
        Who::Token(site::ADMIN),
        "",
        "application/json",
        json!({ "old": next, "new": PASSWORD })
            .to_string()
            .as_bytes(),
    );
    assert_eq!(reply.expect("an answer").word(), "no_user");
}

fn whoami(site: &Site, at: std::net::SocketAddr, token: &str) -> (u16, Value) {
    let answer = site.get(at, "/api/v1/whoami", Who::Token(token));
    (answer.status, answer.json)
}

#[test]
fn a_token_may_at_most_what_its_user_may_until_it_expires_or_is_revoked() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    add(&site, "ann", "operator");
    let ann = Browser::of(&site, at, "ann");
    let make = |body| ann.post("/api/v1/tokens", body);
    let made = make(json!({ "name": "CI", "role": "operator", "lifetime": "1d" })).json();
    let token = made["token"].as_str().expect("shown once").to_owned();
    assert!(token.starts_with("wbu_"));
    let (status, who) = whoami(&site, at, &token);
    assert_eq!(status, 200);
    assert_eq!(
        (&who["name"], &who["role"]),
        (&json!("ann"), &json!("operator"))
    );
    assert_eq!(
        (&who["by"], &who["expires_ms"]),
        (&json!("user_token"), &made["expires_ms"])
    );
    for (body, expected) in [
        (json!({ "name": "CI" }), "exists"),
        (json!({ "name": "too much", "role": "admin" }), "beyond"),
        (json!({ "name": "" }), "request"),
        (json!({ "name": "long", "lifetime": "400d" }), "request"),
        (json!({ "name": "long", "lifetime": "0s" }), "request"),
    ] {
        assert_eq!(word(&make(body.clone())), expected, "{body}");
    }
    // A token makes none, and is no way to forget who one is: its user changes with it.
    let body = json!({ "name": "more" }).to_string();
    let path = "/api/v1/tokens";
    let more = site.post_to(
        at,
        path,
        Who::Token(&token),
        "",
        "application/json",
        body.as_bytes(),
    );
    assert_eq!(more.expect("an answer").word(), "no_user");
    command(&site, &["user", "set-role", "ann", "viewer"]);
    assert_eq!(whoami(&site, at, &token).1["role"], "viewer");
    command(&site, &["user", "disable", "ann"]);
    assert_eq!(whoami(&site, at, &token).0, 401);
    command(&site, &["user", "enable", "ann"]);
    assert_eq!(whoami(&site, at, &token).0, 200);
    // Its use is remembered.
    let list = listed(&site, &["token", "list", "ann"]);
    assert_eq!(list[0]["name"], "CI");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while listed(&site, &["token", "list"])[0]["used_ms"].is_null() {
        assert!(std::time::Instant::now() < until, "never used");
    }
    command(
        &site,
        &["token", "revoke", list[0]["id"].as_str().expect("digits")],
    );
    assert_eq!(whoami(&site, at, &token).0, 401);
    assert!(running.metrics().refusals(Reason::Unauthorized) >= 2);
    let short = command(
        &site,
        &["token", "add", "ann", "--name", "short", "--expires", "1ms"],
    );
    assert_eq!(whoami(&site, at, short.trim()).0, 401);
    let log = listed(&site, &["audit"]).to_string();
    assert!(log.contains("token.made") && log.contains("token.revoked"));
    assert!(!log.contains(&token));
}

#[test]
fn one_sees_and_revokes_ones_own_tokens_and_an_admin_all() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    for (name, role) in [("ann", "viewer"), ("bob", "viewer"), ("root", "admin")] {
        add(&site, name, role);
    }
    let of = |name| Browser::of(&site, at, name);
    let (ann, bob, root) = (of("ann"), of("bob"), of("root"));
    let made = ann.post("/api/v1/tokens", json!({ "name": "mine" })).json();
    let path = format!("/api/v1/tokens/{}", made["id"].as_str().expect("digits"));
    let count = |browser: &Browser, path: &str| {
        let list = browser.get(path).json();
        list["tokens"].as_array().map(Vec::len)
    };
    assert_eq!(count(&ann, "/api/v1/tokens"), Some(1));
    assert_eq!(count(&bob, "/api/v1/tokens"), Some(0));
    assert_eq!(count(&root, "/api/v1/tokens"), Some(0));
    assert_eq!(count(&root, "/api/v1/tokens?all=true"), Some(1));
    assert_eq!(bob.send("DELETE", &path, None).status, 404);
    assert_eq!(root.send("DELETE", &path, None).status, 200);
    assert_eq!(count(&ann, "/api/v1/tokens"), Some(0));
    // Sessions of others likewise.
    let id = ann.get("/api/v1/whoami").json()["session"]["id"].clone();
    let path = format!("/api/v1/sessions/{}", id.as_str().expect("digits"));
    assert_eq!(bob.send("DELETE", &path, None).status, 404);
    let seen = root.get("/api/v1/sessions?all=true").json();
    assert_eq!(seen["sessions"].as_array().map(Vec::len), Some(3));
    assert_eq!(root.send("DELETE", &path, None).status, 200);
    assert!(!ann.is_in() && bob.is_in());
    for bad in ["zz", "0", "0011223344556677889900"] {
        let path = format!("/api/v1/sessions/{bad}");
        assert_eq!(root.send("DELETE", &path, None).status, 404, "{bad}");
    }
}

//! What admins do with users, over the network and by commands.

use serde_json::json;

use super::{Browser, PASSWORD, add, command, listed, word};
use crate::support::site::Site;

#[test]
fn an_admin_adds_changes_and_removes_users_and_nobody_else_does() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    add(&site, "root", "admin");
    let admin = Browser::of(&site, at, "root");
    let made = admin.post("/api/v1/users", json!({ "name": "Ann", "role": "viewer" }));
    assert_eq!(made.status, 200);
    let made = made.json();
    assert_eq!(made["name"], "ann");
    let password = made["password"].as_str().expect("shown once").to_owned();
    assert!(
        !admin
            .get("/api/v1/users")
            .json()
            .to_string()
            .contains(&password)
    );
    let mut ann = Browser::new(&site, at);
    assert_eq!(ann.login("ann", &password).status, 200);
    for (method, path, body) in [
        ("GET", "/api/v1/users", None),
        (
            "POST",
            "/api/v1/users",
            Some(json!({ "name": "eve", "role": "admin" })),
        ),
        (
            "PATCH",
            "/api/v1/users/ann",
            Some(json!({ "role": "admin" })),
        ),
        ("DELETE", "/api/v1/users/root", None),
        ("GET", "/api/v1/sessions?all=true", None),
        ("GET", "/api/v1/tokens?all=true", None),
        ("GET", "/api/v1/audit", None),
    ] {
        let reply = ann.send(method, path, body);
        assert_eq!(
            (reply.status, &*word(&reply)),
            (403, "forbidden"),
            "{method} {path}"
        );
    }
    let gone = admin.send("DELETE", "/api/v1/users/ann", None).json();
    assert_eq!(gone["sessions"], 1);
    assert!(!ann.is_in());
    let list = admin.get("/api/v1/users").json();
    assert_eq!(list["users"].as_array().map(Vec::len), Some(1), "{list}");
    assert!(list["users"][0]["login_ms"].as_i64() > Some(0));
    let log = listed(&site, &["audit"]).to_string();
    assert!(!log.contains(&password) && log.contains("user:root"));
}

#[test]
fn an_admin_changes_what_a_user_may_and_its_password_and_never_oneself() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    add(&site, "root", "admin");
    add(&site, "ann", "viewer");
    let admin = Browser::of(&site, at, "root");
    let mut ann = Browser::of(&site, at, "ann");
    let change = |name: &str, body| {
        let reply = admin.send("PATCH", &format!("/api/v1/users/{name}"), Some(body));
        (reply.status, reply.json())
    };
    assert_eq!(
        change("ann", json!({ "role": "operator" })).1["sessions_ended"],
        1
    );
    assert!(!ann.is_in());
    assert_eq!(ann.login("ann", PASSWORD).json()["role"], "operator");
    assert_eq!(
        change("ann", json!({ "is_disabled": true })).1["sessions_ended"],
        1
    );
    assert_eq!(ann.login("ann", PASSWORD).status, 401);
    assert_eq!(change("ann", json!({ "is_disabled": false })).0, 200);
    let (_, renewed) = change("ann", json!({ "make_password": true }));
    let renewed = renewed["password"].as_str().expect("shown once").to_owned();
    assert_eq!(ann.login("ann", PASSWORD).status, 401);
    assert_eq!(ann.login("ann", &renewed).status, 200);
    let refused = |body| change("ann", body).1["error"].clone();
    assert_eq!(refused(json!({ "password": "short" })), "password");
    assert_eq!(refused(json!({ "role": "emperor" })), "request");
    assert_eq!(
        refused(json!({ "password": PASSWORD, "make_password": true })),
        "request"
    );
    assert_eq!(
        change("nobody", json!({ "role": "viewer" })).1["error"],
        "unknown"
    );
    let again = admin.post("/api/v1/users", json!({ "name": "ANN", "role": "viewer" }));
    assert_eq!((again.status, &*word(&again)), (409, "exists"));
    let bad = admin.post("/api/v1/users", json!({ "name": "a/b", "role": "viewer" }));
    assert_eq!(bad.status, 400);
    // The last one who may do it does not lock itself out.
    for body in [json!({ "role": "viewer" }), json!({ "is_disabled": true })] {
        assert_eq!(change("root", body).1["error"], "oneself");
    }
    assert_eq!(admin.send("DELETE", "/api/v1/users/root", None).status, 409);
    let log = listed(&site, &["audit"]).to_string();
    assert!(!log.contains(&renewed) && !log.contains(PASSWORD));
}

#[test]
fn commands_say_what_they_did_and_keep_passwords_to_themselves() {
    let site = Site::new();
    let _running = site.start("");
    let made = command(&site, &["user", "add", "ann", "--role", "admin"]);
    assert!(made.trim().len() >= 20, "{made}");
    let list = command(&site, &["user", "list"]);
    assert!(
        list.contains("admin") && list.contains("never") && list.contains("ann"),
        "{list}"
    );
    command(&site, &["user", "disable", "ann"]);
    assert!(command(&site, &["user", "list"]).contains("disabled"));
    command(&site, &["user", "remove", "ann"]);
    assert!(!command(&site, &["user", "list"]).contains("ann"));
    let log = listed(&site, &["audit"]).to_string();
    assert!(!log.contains(made.trim()));
    for action in ["user.added", "user.disabled", "user.removed"] {
        assert!(log.contains(action), "{action}");
    }
    // A password on the command line is no option: every process could read it.
    let refused = std::process::Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
        .args(["user", "add", "bob", "--password", "x"])
        .output()
        .expect("runs");
    assert!(!refused.status.success());
}

//! Links that log a user in once.

use serde_json::json;

use super::{Browser, add, command, listed, word};
use crate::support::site::Site;

#[test]
fn a_link_is_used_once_for_a_short_time_by_a_user_that_is_not_disabled() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    add(&site, "ann", "viewer");
    let follow = |link: &str| {
        let mut browser = Browser::new(&site, at);
        let reply = browser.post("/api/v1/login", json!({ "link": link }));
        browser.keep(&reply);
        (reply.status, browser)
    };
    let url = command(
        &site,
        &[
            "user",
            "login-link",
            "ann",
            "--url",
            "https://waybill.example/",
        ],
    );
    let link = url.trim().strip_prefix("https://waybill.example/#login=");
    let link = link
        .expect("behind the #, which no browser sends")
        .to_owned();
    let (status, browser) = follow(&link);
    assert_eq!(status, 200);
    assert_eq!(browser.get("/api/v1/whoami").json()["name"], "ann");
    let (status, again) = follow(&link);
    assert_eq!((status, again.cookie), (401, None));
    assert_eq!(running.metrics().logins_failed_total.get(), 1);
    let make = |words: &[&str]| {
        let made = listed(&site, &[&["user", "login-link", "ann"], words].concat());
        made["link"].as_str().expect("a link").to_owned()
    };
    assert_eq!(follow(&make(&["--expires", "1ms"])).0, 401);
    // A change of the user takes links with it.
    let before = make(&[]);
    command(&site, &["user", "set-role", "ann", "operator"]);
    assert_eq!(follow(&before).0, 401);
    let log = listed(&site, &["audit"]).to_string();
    for secret in [&link, &before] {
        assert!(!log.contains(secret.as_str()));
    }
    assert!(log.contains("login_link.made"));
}

#[test]
fn a_request_to_log_in_is_one_thing() {
    let site = Site::new();
    let running = site.start("");
    let browser = Browser::new(&site, running.address());
    for body in [
        json!({}),
        json!({ "user": "ann" }),
        json!({ "password": "x" }),
        json!({ "user": "ann", "password": "x", "link": "y" }),
        json!({ "name": "ann" }),
        json!([]),
        json!({ "user": 1, "password": 2 }),
    ] {
        let reply = browser.post("/api/v1/login", body.clone());
        assert_eq!((reply.status, &*word(&reply)), (400, "request"), "{body}");
    }
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let reply = browser.send_with("POST", "/api/v1/login", None, &form);
    assert_eq!(reply.status, 415);
}

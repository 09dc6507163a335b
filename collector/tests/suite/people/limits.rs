//! Attempts to log in: what is told, how often one may try, and what is written down.

use std::collections::BTreeSet;

use serde_json::json;

use super::{Browser, PASSWORD, add, command, listed, word};
use crate::support::site::Site;

#[test]
fn whoever_guesses_learns_nothing_and_is_stopped() {
    let site = Site::new();
    let running = site.start("");
    add(&site, "ann", "viewer");
    add(&site, "gone", "viewer");
    command(&site, &["user", "disable", "gone"]);
    let mut browser = Browser::new(&site, running.address());
    let wrong = "wrong horse battery";
    let mut answers = BTreeSet::new();
    for (user, password) in [
        ("ann", wrong),
        ("ann", ""),
        ("nobody-of-that-name", wrong),
        ("gone", PASSWORD),
        ("a user with spaces", wrong),
        ("", ""),
    ] {
        let reply = browser.login(user, password);
        assert_eq!((reply.status, &*word(&reply)), (401, "login"), "{user}");
        assert_eq!(reply.header("set-cookie"), "");
        answers.insert(String::from_utf8(reply.body).expect("text"));
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert_eq!(running.metrics().logins_failed_total.get(), 6);
    let log = listed(&site, &["audit"]);
    let failed: Vec<_> = log.as_array().expect("a list").iter().collect();
    let failed: Vec<_> = failed
        .iter()
        .filter(|one| one["action"] == "login.failed")
        .map(|one| {
            (
                one["subject"].as_str().expect("whom"),
                one["after"]["why"].as_str().expect("why"),
            )
        })
        .collect();
    let unknown = ("unknown", "no such user");
    let expected = [
        ("ann", "password"),
        ("ann", "password"),
        unknown,
        ("gone", "disabled"),
        unknown,
        unknown,
    ];
    assert_eq!(failed, expected);
    for secret in [wrong, PASSWORD, "nobody-of-that-name", "a user with spaces"] {
        assert!(!log.to_string().contains(secret), "{secret}");
    }
    assert!(log.to_string().contains("127.0.0.1"));
    // Ten for a user, of which two are gone; one more where the machine is slow.
    let mut tried = 0;
    let last = loop {
        let reply = browser.login("ann", wrong);
        if reply.status != 401 {
            break reply;
        }
        tried += 1;
    };
    assert!((8..=9).contains(&tried), "{tried}");
    assert_eq!((last.status, &*word(&last)), (429, "attempts"));
    let wait: u64 = last.header("retry-after").parse().expect("seconds");
    assert!((1..=31).contains(&wait), "{wait}");
    // Also with the right one, so that a guess in the flood tells nothing; as for who is nobody.
    assert_eq!(browser.login("ann", PASSWORD).status, 429);
    assert!(running.metrics().logins_refused_limited_total.get() >= 2);
    // The address has its own bound, whoever is named.
    let all: Vec<_> = (0..20)
        .map(|n| browser.login(&format!("user{n}"), wrong).status)
        .collect();
    assert_eq!(all.last(), Some(&429), "{all:?}");
    assert!(!log.to_string().contains(wrong));
}

#[test]
fn a_link_of_the_machine_lets_in_who_is_locked_out_by_a_guesser() {
    let site = Site::new();
    let running = site.start("");
    add(&site, "ann", "admin");
    let mut browser = Browser::new(&site, running.address());
    while browser.login("ann", "wrong horse battery").status == 401 {}
    let made = listed(&site, &["user", "login-link", "ann"]);
    let reply = browser.post("/api/v1/login", json!({ "link": made["link"] }));
    browser.keep(&reply);
    assert_eq!(
        (reply.status, &reply.json()["session"]["begun_by"]),
        (200, &json!("link"))
    );
    assert!(browser.is_in());
}

#[test]
fn many_at_once_are_tried_a_few_at_a_time_and_the_server_goes_on() {
    let site = Site::new();
    let running = site.start("");
    add(&site, "ann", "viewer");
    let at = running.address();
    let before = running.metrics().logins_failed_total.get();
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let tries: Vec<_> = (0..16)
            .map(|n| {
                let site = &site;
                scope.spawn(move || {
                    let mut browser = Browser::new(site, at);
                    browser
                        .login(&format!("user{n}"), "wrong horse battery")
                        .status
                })
            })
            .collect();
        // Health is answered meanwhile.
        assert_eq!(Browser::new(&site, at).get("/healthz").status, 200);
        tries
            .into_iter()
            .map(|one| one.join().expect("ends"))
            .collect()
    });
    assert!(
        statuses
            .iter()
            .all(|status| [401, 429, 503].contains(status)),
        "{statuses:?}"
    );
    let metrics = running.metrics();
    let tried = metrics.logins_failed_total.get() - before;
    let busy = metrics.logins_refused_busy_total.get();
    assert_eq!(tried + busy, 16, "each is tried or counted");
    assert!(tried >= 1);
}

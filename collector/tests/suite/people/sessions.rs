//! Sessions: how one begins, what it is good for, and when it ends.

use serde_json::json;

use super::{Browser, PASSWORD, add, command, listed, word};
use crate::support::site::{self, Site};

/// A site whose configuration has these lines in `[auth]`.
pub(super) fn with_auth(lines: &str) -> Site {
    let site = Site::new();
    let file = site.configure(true, false, "");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let text = text.replace("[auth]\n", &format!("[auth]\n{lines}\n"));
    site.write("collector.toml", &text);
    site
}

/// Starts what [`with_auth`] made.
pub(super) fn start(site: &Site) -> collector::server::Running {
    let file = site.path("collector.toml");
    site::start(&collector::config::load(&file).expect("valid"))
}

#[test]
fn somebody_logs_in_is_known_and_logs_out() {
    let site = Site::new();
    let running = site.start("");
    add(&site, "Ann", "operator");
    let mut browser = Browser::new(&site, running.address());
    assert_eq!(browser.get("/api/v1/whoami").status, 401);
    let reply = browser.login("ANN", PASSWORD);
    let who = reply.json();
    assert_eq!(reply.status, 200, "{who}");
    let set = reply.header("set-cookie");
    assert!(set.starts_with("__Host-waybill="), "{set}");
    for word in [
        "Secure",
        "HttpOnly",
        "SameSite=Strict",
        "Path=/",
        "Max-Age=43200",
    ] {
        assert!(set.split("; ").any(|part| part == word), "{word}: {set}");
    }
    assert_eq!(reply.header("cache-control"), "no-store");
    assert_eq!(
        (&who["name"], &who["role"]),
        (&json!("ann"), &json!("operator"))
    );
    assert_eq!(
        (&who["by"], &who["is_user"]),
        (&json!("session"), &json!(true))
    );
    assert_eq!(
        browser.get("/api/v1/whoami").json()["session"]["id"],
        who["session"]["id"]
    );
    assert!(browser.is_in());
    // What is kept is no cookie.
    let secret = browser.cookie.clone().expect("a cookie");
    let (_, secret) = secret.split_once('=').expect("a value");
    let kept = std::fs::read(site.path("access.db-wal")).expect("the log of the database");
    assert!(
        !kept
            .windows(secret.len())
            .any(|part| part == secret.as_bytes())
    );
    let opened = running.metrics().connections_open.get();
    let reply = browser.send("POST", "/api/v1/logout", None);
    assert_eq!((reply.status, &reply.json()["sessions"]), (200, &json!(1)));
    assert!(reply.header("set-cookie").contains("Max-Age=0"));
    assert!(!browser.is_in(), "the cookie is kept by somebody else");
    assert_eq!(running.metrics().connections_open.get(), opened);
    assert_eq!(running.metrics().logins_total.get(), 1);
    let log = listed(&site, &["audit"]);
    let said: Vec<_> = log
        .as_array()
        .expect("a list")
        .iter()
        .map(|one| {
            (
                one["action"].as_str().expect("a word"),
                one["actor"].as_str().expect("who"),
            )
        })
        .filter(|(action, _)| *action != "retention.changed")
        .collect();
    assert_eq!(said[0].0, "user.added");
    assert_eq!(
        said[1..],
        [("session.begun", "user:ann"), ("session.ended", "user:ann")]
    );
    assert!(!log.to_string().contains(PASSWORD) && !log.to_string().contains(secret));
}

#[test]
fn sessions_end_at_once_with_whatever_changes_who_one_is() {
    let site = Site::new();
    let running = site.start("");
    add(&site, "ann", "viewer");
    add(&site, "bob", "viewer");
    let bob = Browser::of(&site, running.address(), "bob");
    for change in [
        &["user", "set-role", "ann", "admin"][..],
        &["user", "disable", "ann"],
        &["user", "passwd", "ann"],
        &["user", "remove", "ann"],
    ] {
        let ann = Browser::of(&site, running.address(), "ann");
        let again = Browser::of(&site, running.address(), "ann");
        assert!(ann.is_in() && again.is_in());
        let said = listed(&site, change);
        assert_eq!(said["sessions_ended"], 2, "{change:?}: {said}");
        // On connections that were open before.
        assert!(!ann.is_in() && !again.is_in(), "{change:?}");
        let mut again = again;
        match change[1] {
            "disable" => {
                assert_eq!(word(&again.login("ann", PASSWORD)), "login");
                command(&site, &["user", "enable", "ann"]);
            }
            "passwd" => {
                assert_eq!(word(&again.login("ann", PASSWORD)), "login");
                let made = said["password"].as_str().expect("it is shown once");
                assert_eq!(again.login("ann", made).status, 200);
                let to = json!({ "old": made, "new": PASSWORD });
                let changed = again.post("/api/v1/password", to);
                again.keep(&changed);
                assert_eq!(again.send("POST", "/api/v1/logout", None).status, 200);
            }
            _ => {}
        }
    }
    assert!(bob.is_in(), "others go on");
    // What changes nothing ends nothing.
    let said = listed(&site, &["user", "set-role", "bob", "viewer"]);
    assert_eq!(said["sessions_ended"], 0);
    assert!(bob.is_in());
}

#[test]
fn a_session_ends_by_itself_idle_or_not() {
    let site = with_auth("session_lifetime = \"1s\"");
    let running = start(&site);
    add(&site, "ann", "viewer");
    let browser = Browser::of(&site, running.address(), "ann");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while browser.is_in() {
        assert!(std::time::Instant::now() < until, "it goes on");
        std::thread::yield_now();
    }
    drop(running);
    // An hour that nobody used it: the database says so.
    let site = Site::new();
    let running = site.start("");
    add(&site, "ann", "viewer");
    let (idle, used) = (
        Browser::of(&site, running.address(), "ann"),
        Browser::of(&site, running.address(), "ann"),
    );
    let id = |browser: &Browser| browser.get("/api/v1/whoami").json()["session"]["id"].clone();
    let db = rusqlite::Connection::open(site.path("access.db")).expect("the database");
    let back = |browser: &Browser, minutes: i64| {
        let id = id(browser);
        let changed = db.execute(
            "UPDATE session SET used_ms = used_ms - ?1 WHERE hex(substr(id, 1, 8)) = upper(?2)",
            (minutes * 60_000, id.as_str().expect("digits")),
        );
        assert_eq!(changed.expect("changed"), 1);
    };
    back(&idle, 61);
    back(&used, 59);
    assert!(!idle.is_in() && used.is_in());
    // That is remembered: it would have ended by now otherwise.
    let fresh = "SELECT count(*) FROM session WHERE used_ms > begun_ms - 60000";
    while db
        .query_row(fresh, (), |row| row.get::<_, i64>(0))
        .expect("read")
        == 0
    {
        assert!(
            std::time::Instant::now() < until,
            "its use is not remembered"
        );
        std::thread::yield_now();
    }
}

#[test]
fn one_user_has_so_many_sessions_and_the_one_used_longest_ago_goes() {
    let site = Site::new();
    let running = site.start("");
    add(&site, "ann", "viewer");
    let first = Browser::of(&site, running.address(), "ann");
    let all: Vec<_> = (0..20)
        .map(|_| Browser::of(&site, running.address(), "ann"))
        .collect();
    assert!(!first.is_in());
    assert!(all.iter().all(Browser::is_in));
    let list = all[0].get("/api/v1/sessions").json();
    let list = list["sessions"].as_array().expect("a list");
    assert_eq!(list.len(), 20);
    let own: Vec<_> = list.iter().filter(|one| one["is_this"] == true).collect();
    assert_eq!(own.len(), 1);
    // Others can be ended one by one.
    let other = list
        .iter()
        .find(|one| one["is_this"] == false)
        .expect("another");
    let path = format!("/api/v1/sessions/{}", other["id"].as_str().expect("digits"));
    assert_eq!(all[0].send("DELETE", &path, None).status, 200);
    assert_eq!(all[0].send("DELETE", &path, None).status, 404);
    assert_eq!(all.iter().filter(|one| one.is_in()).count(), 19);
}

#[test]
fn pages_of_others_change_nothing_and_programs_without_a_cookie_need_not_say() {
    let site = Site::new();
    let running = site.start("");
    add(&site, "ann", "admin");
    let at = running.address();
    let browser = Browser::of(&site, at, "ann");
    let own = format!("https://{at}");
    let try_with = |headers: &[(&str, &str)]| {
        let body = Some(json!({ "name": "eve", "role": "admin" }));
        let reply = browser.send_with("POST", "/api/v1/users", body, headers);
        (reply.status, word(&reply))
    };
    for foreign in [
        &[][..],
        &[("Sec-Fetch-Site", "cross-site")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", &own)],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
    ] {
        let refused = (403, String::from("cross_site"));
        assert_eq!(try_with(foreign), refused, "{foreign:?}");
    }
    assert!(
        listed(&site, &["user", "list"])
            .as_array()
            .is_some_and(|all| all.len() == 1)
    );
    assert_eq!(try_with(&[("Origin", &own)]).0, 200);
    // To read is no change, and a page of others does not get the answer: there is no CORS here.
    let read = browser.send_with(
        "GET",
        "/api/v1/users",
        None,
        &[("Origin", "https://evil.example")],
    );
    assert_eq!(read.status, 200);
    assert_eq!(read.header("access-control-allow-origin"), "");
    // Nobody is logged in by a page of others either.
    let body = json!({ "user": "ann", "password": PASSWORD });
    let mut stranger = Browser::new(&site, at);
    stranger.site = "cross-site";
    assert_eq!(word(&stranger.post("/api/v1/login", body)), "cross_site");
    // A token is sent by programs alone.
    let bearer = format!("Bearer {}", site::ADMIN);
    let reply = Browser::new(&site, at).send_with(
        "DELETE",
        "/api/v1/users/eve",
        None,
        &[("Authorization", &bearer), ("Sec-Fetch-Site", "cross-site")],
    );
    assert_eq!(reply.status, 200);
}

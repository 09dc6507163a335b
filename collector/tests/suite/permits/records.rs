//! Every route that changes something writes it into the audit log.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::alerting;
use crate::enrolment::{self, enrolling};
use crate::openapi::{Document, send_with};
use crate::people::{Browser, add, command, listed};
use crate::support::pki::Identity;
use crate::support::site::{Site, Who};

/// Does one change, as an admin or as the user whose it is.
type Does = fn(&World) -> u16;

/// What a change is done with.
struct World {
    site: Site,
    at: SocketAddr,
    admin: Browser,
    ann: Browser,
    /// A token.
    operator: String,
}

impl World {
    fn change(&self, method: &str, path: &str, body: Option<Value>) -> u16 {
        self.admin.send(method, path, body).status
    }

    fn enroll(&self) -> (u16, Identity) {
        let key = KeyPair::generate().expect("a key");
        let invited = enrolment::token(&self.site, "db1", &[]);
        let answer = enrolment::enroll(&self.site, self.at, &invited, &key);
        (answer.status, enrolment::identity(&answer, &key))
    }
}

/// Every route that may change something, how, and the record of it.
const CHANGES: &[(&str, &str, &str, Does)] = &[
    ("POST", "/api/v1/login", "session.begun", |w| {
        Browser::new(&w.site, w.at)
            .login("ann", crate::people::PASSWORD)
            .status
    }),
    ("POST", "/api/v1/users", "user.added", |w| {
        let body = json!({ "name": "eve", "role": "viewer" });
        w.change("POST", "/api/v1/users", Some(body))
    }),
    ("PATCH", "/api/v1/users/{name}", "user.role_changed", |w| {
        w.change(
            "PATCH",
            "/api/v1/users/eve",
            Some(json!({ "role": "operator" })),
        )
    }),
    ("PATCH", "/api/v1/users/{name}", "user.disabled", |w| {
        w.change(
            "PATCH",
            "/api/v1/users/eve",
            Some(json!({ "is_disabled": true })),
        )
    }),
    ("PATCH", "/api/v1/users/{name}", "user.enabled", |w| {
        w.change(
            "PATCH",
            "/api/v1/users/eve",
            Some(json!({ "is_disabled": false })),
        )
    }),
    (
        "PATCH",
        "/api/v1/users/{name}",
        "user.password_changed",
        |w| {
            w.change(
                "PATCH",
                "/api/v1/users/eve",
                Some(json!({ "make_password": true })),
            )
        },
    ),
    ("DELETE", "/api/v1/users/{name}", "user.removed", |w| {
        w.change("DELETE", "/api/v1/users/eve", None)
    }),
    ("POST", "/api/v1/tokens", "token.made", |w| {
        w.ann.post("/api/v1/tokens", json!({ "name": "CI" })).status
    }),
    ("DELETE", "/api/v1/tokens/{id}", "token.revoked", |w| {
        let list = w.ann.get("/api/v1/tokens").json();
        let id = list["tokens"][0]["id"].as_str().expect("digits").to_owned();
        w.ann
            .send("DELETE", &format!("/api/v1/tokens/{id}"), None)
            .status
    }),
    ("DELETE", "/api/v1/sessions/{id}", "session.ended", |w| {
        let other = Browser::of(&w.site, w.at, "ann");
        let id = other.get("/api/v1/whoami").json()["session"]["id"].clone();
        let path = format!("/api/v1/sessions/{}", id.as_str().expect("digits"));
        w.ann.send("DELETE", &path, None).status
    }),
    ("POST", "/api/v1/logout", "session.ended", |w| {
        Browser::of(&w.site, w.at, "ann")
            .send("POST", "/api/v1/logout", None)
            .status
    }),
    ("POST", "/api/v1/password", "user.password_changed", |w| {
        let body = json!({ "old": crate::people::PASSWORD, "new": "another horse battery" });
        w.ann.post("/api/v1/password", body).status
    }),
    (
        "POST",
        "/api/v1/alerts/{id}/ack",
        "alert.acknowledged",
        |w| {
            let id = alerting::fires(&w.site.path("alerts.db"));
            let path = format!("/api/v1/alerts/{id}/ack");
            w.change("POST", &path, Some(json!({ "why": "looking" })))
        },
    ),
    (
        "DELETE",
        "/api/v1/alerts/{id}/ack",
        "alert.unacknowledged",
        |w| {
            let list = w.admin.get("/api/v1/alerts").json();
            let id = list["alerts"][0]["id"].as_str().expect("an id").to_owned();
            w.change("DELETE", &format!("/api/v1/alerts/{id}/ack"), None)
        },
    ),
    ("POST", "/api/v1/silences", "silence.made", |w| {
        w.change("POST", "/api/v1/silences", Some(alerting::silence()))
    }),
    ("PUT", "/api/v1/silences/{id}", "silence.changed", |w| {
        w.change("PUT", "/api/v1/silences/1", Some(alerting::silence()))
    }),
    ("DELETE", "/api/v1/silences/{id}", "silence.ended", |w| {
        w.change("DELETE", "/api/v1/silences/1", None)
    }),
    ("POST", "/api/v1/maintenance", "maintenance.made", |w| {
        w.change("POST", "/api/v1/maintenance", Some(alerting::window()))
    }),
    (
        "PUT",
        "/api/v1/maintenance/{id}",
        "maintenance.changed",
        |w| w.change("PUT", "/api/v1/maintenance/1", Some(alerting::window())),
    ),
    (
        "DELETE",
        "/api/v1/maintenance/{id}",
        "maintenance.removed",
        |w| w.change("DELETE", "/api/v1/maintenance/1", None),
    ),
    ("PUT", "/api/v1/matrix", "matrix.declared", |w| {
        let matrix = b"source,destination\nweb,db\n";
        let who = Who::Token(&w.operator);
        send_with(&w.site, w.at, ("PUT", "/api/v1/matrix"), who, matrix).status
    }),
    ("POST", "/api/v1/enrolments", "enrolment.invited", |w| {
        let body = json!({ "name": "db7", "lifetime": "1d" });
        w.change("POST", "/api/v1/enrolments", Some(body))
    }),
    (
        "DELETE",
        "/api/v1/enrolments/{id}",
        "enrolment.withdrawn",
        |w| {
            let list = w.admin.get("/api/v1/enrolments").json();
            let id = list["invited"][0]["id"]
                .as_str()
                .expect("digits")
                .to_owned();
            w.change("DELETE", &format!("/api/v1/enrolments/{id}"), None)
        },
    ),
    ("POST", "/api/v1/enroll", "enrolment.done", |w| w.enroll().0),
    ("POST", "/api/v1/renew", "enrolment.renewed", |w| {
        let (_, identity) = w.enroll();
        let key = KeyPair::generate().expect("a key");
        enrolment::renew(&w.site, w.at, Who::Certificate(&identity), &key).status
    }),
];

/// Routes that change nothing of who may do what, whatever their method: what they take is data or a question.
const DATA: &[(&str, &str)] = &[
    ("POST", "/api/v1/batches"),
    ("POST", "/api/v1/matrix/check"),
    ("POST", "/api/v1/matrix/report"),
];

#[test]
fn every_route_that_changes_something_writes_it_down() {
    let (site, running) = enrolling("1h");
    let at = running.address();
    add(&site, "admin", "admin");
    add(&site, "ann", "viewer");
    add(&site, "oz", "operator");
    let words = ["token", "add", "oz", "--name", "t", "--role", "operator"];
    let operator = command(&site, &words).trim().to_owned();
    let (admin, ann) = (
        Browser::of(&site, at, "admin"),
        Browser::of(&site, at, "ann"),
    );
    let document = Document::of(&site, at);
    let world = World {
        site,
        at,
        admin,
        ann,
        operator,
    };
    for (path, method, _) in document.operations() {
        let is = |known: &(&str, &str)| *known == (method.as_str(), path.as_str());
        let is_known = CHANGES.iter().any(|(m, p, ..)| is(&(m, p)));
        let is_none = method == "GET" || DATA.iter().any(is);
        assert!(
            is_known != is_none,
            "{method} {path}: what is the record of its change?"
        );
    }
    let records = || {
        let mut count = BTreeMap::new();
        for one in listed(&world.site, &["audit"]).as_array().expect("a list") {
            let action = one["action"].as_str().expect("a word").to_owned();
            assert_ne!(one["actor"], "", "{one}");
            *count.entry(action).or_insert(0) += 1;
        }
        count
    };
    for (method, path, action, does) in CHANGES {
        let before = records();
        assert_eq!(does(&world), 200, "{method} {path}: {action}");
        let after = records();
        let of = |count: &BTreeMap<String, i32>| count.get(*action).copied().unwrap_or(0);
        assert_eq!(of(&after), of(&before) + 1, "{method} {path}: {action}");
    }
    // What does not happen is no change.
    let before = records();
    let nobody = json!({ "role": "viewer" });
    assert_eq!(
        world.change("PATCH", "/api/v1/users/nobody", Some(nobody)),
        404
    );
    assert_eq!(world.change("DELETE", "/api/v1/users/admin", None), 409);
    assert_eq!(records(), before);
}

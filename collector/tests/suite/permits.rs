//! Every route with every kind of credential: who is let in, and that every change is written down.
//!
//! The routes are those of the OpenAPI document. Who may use each stands here once more, so that a
//! route that is let go by mistake, or a new one that nobody has thought of, fails.

mod records;

use std::net::SocketAddr;

use collector::accept::Reason;
use rcgen::KeyPair;

use crate::enrolment::{self, enrolling};
use crate::openapi::{Document, Reply, concrete, send};
use crate::people::{Browser, add, command, listed, word};
use crate::support::pki::Identity;
use crate::support::site::{self, ADMIN, OWN, READER, Site, Who};

/// A token of the configuration.
const OPERATOR: &str = "an-operator-of-this-test";

/// Who may use a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    Anybody,
    Agents,
    People,
    Operators,
    Admins,
}

/// Every route there is.
const ROUTES: &[(&str, &str, May)] = &[
    ("GET", "/healthz", May::Anybody),
    ("GET", "/readyz", May::Anybody),
    ("POST", "/api/v1/enroll", May::Anybody),
    ("POST", "/api/v1/login", May::Anybody),
    ("POST", "/api/v1/batches", May::Agents),
    ("POST", "/api/v1/renew", May::Agents),
    ("GET", "/metrics", May::People),
    ("GET", "/api/v1/openapi.json", May::People),
    ("GET", "/api/v1/topology", May::People),
    ("GET", "/api/v1/nodes/{id}", May::People),
    ("GET", "/api/v1/edges/{id}", May::People),
    ("GET", "/api/v1/search", May::People),
    ("GET", "/api/v1/chain", May::People),
    ("GET", "/api/v1/diagnosis", May::People),
    ("GET", "/api/v1/hosts", May::People),
    ("GET", "/api/v1/fleet", May::People),
    ("GET", "/api/v1/tables", May::People),
    ("GET", "/api/v1/rows/{table}", May::People),
    ("GET", "/api/v1/series/{table}", May::People),
    ("GET", "/api/v1/events/{table}", May::People),
    ("POST", "/api/v1/matrix/check", May::People),
    ("GET", "/api/v1/matrix/learned", May::People),
    ("POST", "/api/v1/matrix/report", May::People),
    ("GET", "/api/v1/matrix/file", May::People),
    ("GET", "/api/v1/matrix", May::People),
    ("PUT", "/api/v1/matrix", May::Operators),
    ("GET", "/api/v1/settings", May::People),
    ("GET", "/api/v1/whoami", May::People),
    ("POST", "/api/v1/password", May::People),
    ("GET", "/api/v1/sessions", May::People),
    ("DELETE", "/api/v1/sessions/{id}", May::People),
    ("GET", "/api/v1/tokens", May::People),
    ("POST", "/api/v1/tokens", May::People),
    ("DELETE", "/api/v1/tokens/{id}", May::People),
    ("GET", "/api/v1/alerts", May::People),
    ("GET", "/api/v1/alerts/{id}", May::People),
    ("POST", "/api/v1/alerts/{id}/ack", May::Operators),
    ("DELETE", "/api/v1/alerts/{id}/ack", May::Operators),
    ("GET", "/api/v1/rules", May::People),
    ("GET", "/api/v1/silences", May::People),
    ("POST", "/api/v1/silences", May::Operators),
    ("PUT", "/api/v1/silences/{id}", May::Operators),
    ("DELETE", "/api/v1/silences/{id}", May::Operators),
    ("GET", "/api/v1/maintenance", May::People),
    ("POST", "/api/v1/maintenance", May::Operators),
    ("PUT", "/api/v1/maintenance/{id}", May::Operators),
    ("DELETE", "/api/v1/maintenance/{id}", May::Operators),
    ("GET", "/api/v1/audit", May::Admins),
    ("GET", "/api/v1/users", May::Admins),
    ("POST", "/api/v1/users", May::Admins),
    ("PATCH", "/api/v1/users/{name}", May::Admins),
    ("DELETE", "/api/v1/users/{name}", May::Admins),
    ("GET", "/api/v1/enrolments", May::Admins),
    ("POST", "/api/v1/enrolments", May::Admins),
    ("DELETE", "/api/v1/enrolments/{id}", May::Admins),
    // Last, for it ends a session.
    ("POST", "/api/v1/logout", May::People),
];

/// What a credential is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Is {
    /// None that is valid any more, or ever.
    Nothing,
    Agent,
    Person,
    Operator,
    Admin,
}

impl Is {
    fn may(self, route: May) -> bool {
        match route {
            May::Anybody => true,
            May::Agents => self == Self::Agent,
            May::People => matches!(self, Self::Person | Self::Operator | Self::Admin),
            May::Operators => matches!(self, Self::Operator | Self::Admin),
            May::Admins => self == Self::Admin,
        }
    }
}

/// How a credential is shown.
enum Shows {
    Nothing,
    Token(String),
    Certificate(Identity),
    Cookie(String),
    Header,
}

/// A token of a user.
fn user_token(site: &Site, user: &str, role: &str, name: &str, expires: &str) -> Shows {
    let words = [
        "token",
        "add",
        user,
        "--role",
        role,
        "--name",
        name,
        "--expires",
        expires,
    ];
    Shows::Token(command(site, &words).trim().to_owned())
}

fn session(site: &Site, at: SocketAddr, user: &str) -> Shows {
    let browser = Browser::of(site, at, user);
    Shows::Cookie(browser.cookie.expect("a cookie"))
}

type Credentials = Vec<(&'static str, Is, Shows)>;

/// Those that are valid, with a name for messages.
fn valid(site: &Site, at: SocketAddr) -> Credentials {
    for (name, role) in [
        ("viewer", "viewer"),
        ("operator", "operator"),
        ("admin", "admin"),
    ] {
        add(site, name, role);
    }
    let token = |text: &str| Shows::Token(text.to_owned());
    let of = |user: &str, role: &str, name: &str| user_token(site, user, role, name, "1d");
    let person = site.agents.client_named(site::READER_NAME);
    let agent = Shows::Certificate(site.agents.client());
    vec![
        ("an agent's token", Is::Agent, token(OWN)),
        ("a token of many agents", Is::Agent, token(site::TOKEN)),
        ("an agent's certificate", Is::Agent, agent),
        ("a configured viewer's token", Is::Person, token(READER)),
        (
            "a configured operator's token",
            Is::Operator,
            token(OPERATOR),
        ),
        ("a configured admin's token", Is::Admin, token(ADMIN)),
        ("a certificate", Is::Person, Shows::Certificate(person)),
        (
            "a viewer's session",
            Is::Person,
            session(site, at, "viewer"),
        ),
        (
            "an operator's session",
            Is::Operator,
            session(site, at, "operator"),
        ),
        ("an admin's session", Is::Admin, session(site, at, "admin")),
        ("a viewer's token", Is::Person, of("viewer", "viewer", "t")),
        (
            "an operator's token",
            Is::Operator,
            of("operator", "operator", "t"),
        ),
        (
            "an admin's token to read",
            Is::Person,
            of("admin", "viewer", "r"),
        ),
        ("an admin's token", Is::Admin, of("admin", "admin", "t")),
    ]
}

/// Those that are not, or not any more, each of an admin.
fn invalid(site: &Site, at: SocketAddr) -> Credentials {
    let revoked = user_token(site, "admin", "admin", "revoked", "1d");
    let list = listed(site, &["token", "list", "admin"]);
    let mut list = list.as_array().expect("a list").iter();
    let id = list
        .find(|one| one["name"] == "revoked")
        .expect("the token")["id"]
        .clone();
    command(site, &["token", "revoke", id.as_str().expect("digits")]);
    add(site, "gone", "admin");
    let gone_token = user_token(site, "gone", "admin", "t", "1d");
    let gone_session = session(site, at, "gone");
    command(site, &["user", "disable", "gone"]);
    let ended = Browser::of(site, at, "admin");
    assert_eq!(ended.send("POST", "/api/v1/logout", None).status, 200);
    let old = Browser::of(site, at, "admin");
    let id = old.get("/api/v1/whoami").json()["session"]["id"].clone();
    let db = rusqlite::Connection::open(site.path("access.db")).expect("the database");
    let sql = "UPDATE session SET expires_ms = 1 WHERE hex(substr(id, 1, 8)) = upper(?1)";
    assert_eq!(db.execute(sql, [id.as_str()]).expect("changed"), 1);
    let expired = user_token(site, "admin", "admin", "e", "1ms");
    let kept = |browser: Browser| Shows::Cookie(browser.cookie.expect("kept"));
    let unknown = Shows::Token(String::from("no-token-of-anybody"));
    [
        ("nobody", Shows::Nothing),
        ("a token of nobody", unknown),
        ("an expired token", expired),
        ("a revoked token", revoked),
        ("a token of a disabled admin", gone_token),
        ("a session of a disabled admin", gone_session),
        ("a session that was ended", kept(ended)),
        ("a session that is too old", kept(old)),
        ("a proxy's header from elsewhere", Shows::Header),
    ]
    .map(|(name, shows)| (name, Is::Nothing, shows))
    .into()
}

fn ask(site: &Site, at: SocketAddr, request: (&str, &str), shows: &Shows) -> Reply {
    let same = ("Sec-Fetch-Site", "same-origin");
    let with =
        |who, header: &[(&str, &str)]| send(site, at, request, who, &[&[same], header].concat());
    match shows {
        Shows::Nothing => with(Who::Nobody, &[]),
        Shows::Token(token) => with(Who::Token(token), &[]),
        Shows::Certificate(identity) => with(Who::Certificate(identity), &[]),
        Shows::Cookie(cookie) => with(Who::Nobody, &[("Cookie", cookie)]),
        Shows::Header => with(Who::Nobody, &[("X-Remote-User", "admin")]),
    }
}

/// A site that takes every kind of credential.
fn open_to_all() -> (Site, collector::server::Running) {
    let site = Site::new();
    let file = site.configure(true, true, "");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let proxy = "[auth.proxy]\nnetworks = [\"192.0.2.1\"]\nuser_header = \"X-Remote-User\"\n\
                 default_role = \"admin\"\n";
    site.write("collector.toml", &format!("{proxy}{text}"));
    let readers = format!("{READER}\n{OPERATOR} operator\n{ADMIN} admin\n");
    site.write("readers", &readers);
    let running = site::start(&collector::config::load(&file).expect("valid"));
    (site, running)
}

#[test]
fn each_route_lets_in_whom_it_is_for_and_nobody_else() {
    let (site, running) = open_to_all();
    let at = running.address();
    let mut credentials = valid(&site, at);
    credentials.extend(invalid(&site, at));
    let described = Document::of(&site, at);
    let mut described: Vec<_> = described
        .operations()
        .into_iter()
        .map(|(path, method, _)| (method, path))
        .collect();
    let mut listed: Vec<_> = ROUTES
        .iter()
        .map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned()))
        .collect();
    described.sort();
    listed.sort();
    assert_eq!(described, listed, "who may use a route stands in this file");
    for (method, path, route) in ROUTES {
        for (name, is, shows) in &credentials {
            let reply = ask(&site, at, (method, &concrete(path)), shows);
            let said = (
                reply.status,
                if reply.status < 400 {
                    String::new()
                } else {
                    word(&reply)
                },
            );
            let refusals = ["unauthorized", "revoked", "forbidden", "cross_site"];
            let is_refused = refusals.contains(&said.1.as_str());
            assert_eq!(
                !is_refused,
                is.may(*route),
                "{method} {path} as {name}: {said:?}"
            );
            let expected = match is {
                Is::Nothing => 401,
                _ => 403,
            };
            if is_refused {
                assert_eq!(
                    reply.status, expected,
                    "{method} {path} as {name}: {said:?}"
                );
                let text = String::from_utf8_lossy(&reply.body);
                assert!(text.len() < 600, "{method} {path} as {name}: {text}");
            }
            assert!(reply.status < 500, "{method} {path} as {name}: {said:?}");
            assert_ne!(reply.status, 405, "{method} {path} as {name}: {said:?}");
        }
    }
    assert!(running.metrics().refusals(Reason::Forbidden) >= 8);
}

#[test]
fn a_stolen_credential_of_a_host_writes_for_no_other() {
    let (site, running) = enrolling("1h");
    let at = running.address();
    let key = KeyPair::generate().expect("a key");
    let invited = enrolment::token(&site, "db1", &[]);
    let enrolled = enrolment::identity(&enrolment::enroll(&site, at, &invited, &key), &key);
    let certificate = site.agents.client();
    let batch = |host: u8, sequence| {
        let mut batch = crate::ingest::batch();
        (batch.header.host, batch.header.sequence) = ([host; 16], sequence);
        batch
    };
    let all = [
        Who::Token(OWN),
        Who::Certificate(&certificate),
        Who::Certificate(&enrolled),
    ];
    for (host, who) in (1..).zip(all) {
        let sent = |host, sequence| {
            let answer = site.send_as(at, who, &batch(host, sequence));
            answer.expect("an answer").word().to_owned()
        };
        assert_eq!(sent(host, 1), "stored");
        for other in (1..=4).filter(|other| *other != host) {
            assert_eq!(sent(other, 9), "foreign", "host {host} for {other}");
        }
        assert_eq!(sent(host, 2), "stored", "it still speaks for its own");
    }
    assert_eq!(site::count(&site.store(), "batch"), 6);
}

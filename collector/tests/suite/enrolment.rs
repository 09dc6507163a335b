//! Hosts that get their certificates by themselves: real TLS, real commands.

use std::net::SocketAddr;

use collector::server::{Running, Scope, routes};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::support::pki::Identity;
use crate::support::site::{self, Answer, READER, READER_NAME, Site, Who, waybill};

pub(crate) fn command(site: &Site, words: &[&str]) -> String {
    let config = site.path("collector.toml").display().to_string();
    waybill(&[words, &["--config", &config]].concat())
}

fn listed(site: &Site, words: &[&str]) -> Value {
    let text = command(site, &[words, &["--format", "json"]].concat());
    serde_json::from_str(&text).expect("JSON")
}

/// A site with an authority of its own, whose certificates are valid for so long.
pub(crate) fn enrolling(lifetime: &str) -> (Site, Running) {
    let site = Site::new();
    let file = site.configure(true, true, "");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let dir = site.dir.path().display();
    let enroll = format!(
        "[enroll]\nca_cert_file = \"{dir}/enroll.crt\"\nca_key_file = \"{dir}/enroll.key\"\n\
         lifetime = \"{lifetime}\"\n"
    );
    site.write("collector.toml", &format!("{enroll}{text}"));
    command(&site, &["ca", "init"]);
    let running = site::start(&collector::config::load(&file).expect("valid"));
    (site, running)
}

pub(crate) fn token(site: &Site, name: &str, more: &[&str]) -> String {
    let text = command(site, &[&["enroll", "token", "--for", name], more].concat());
    text.trim().to_owned()
}

fn request(key: &KeyPair) -> String {
    let params = CertificateParams::new(vec![READER_NAME.to_owned()]).expect("parameters");
    let request = params.serialize_request(key).expect("a request");
    request.pem().expect("PEM")
}

pub(crate) fn enroll(site: &Site, at: SocketAddr, token: &str, key: &KeyPair) -> Answer {
    let body = json!({ "token": token, "csr": request(key) }).to_string();
    let path = "/api/v1/enroll";
    site.post_to(
        at,
        path,
        Who::Nobody,
        "",
        "application/json",
        body.as_bytes(),
    )
    .expect("an answer")
}

pub(crate) fn renew(site: &Site, at: SocketAddr, who: Who<'_>, key: &KeyPair) -> Answer {
    let body = json!({ "csr": request(key) }).to_string();
    let path = "/api/v1/renew";
    site.post_to(at, path, who, "", "application/json", body.as_bytes())
        .expect("an answer")
}

pub(crate) fn identity(answer: &Answer, key: &KeyPair) -> Identity {
    assert_eq!(answer.status, 200, "{}", answer.text);
    Identity {
        certificate: answer.json["certificate"].as_str().expect("PEM").to_owned(),
        key: key.serialize_pem(),
    }
}

fn batch(host: u8, sequence: u64) -> wire::Batch {
    let mut batch = crate::ingest::batch();
    (batch.header.host, batch.header.sequence) = ([host; 16], sequence);
    batch
}

#[test]
fn a_host_enrolls_once_writes_for_itself_alone_and_renews() {
    let (site, running) = enrolling("90d");
    let at = running.address();
    let invited = token(&site, "DB1.example", &["--expires", "10m"]);
    let key = KeyPair::generate().expect("a key");
    let answer = enroll(&site, at, &invited, &key);
    assert_eq!(answer.json["name"], "db1.example");
    let days = 90 * 86_400_000;
    let lives = answer.json["expires_ms"].as_i64().expect("a time")
        - answer.json["issued_ms"].as_i64().expect("a time");
    assert!((days - 1000..=days).contains(&lives), "{lives}");
    let first = identity(&answer, &key);
    let send = |who: &Identity, host, sequence| {
        let sent = site.send_as(at, Who::Certificate(who), &batch(host, sequence));
        sent.expect("an answer").word().to_owned()
    };
    assert_eq!(send(&first, 1, 1), "stored");
    assert_eq!(send(&first, 2, 1), "foreign");
    // A used token is refused, counted and written down.
    let again = enroll(&site, at, &invited, &key);
    assert_eq!((again.status, again.word()), (403, "token_used"));
    assert!(again.text.contains("db1.example"), "{}", again.text);
    assert_eq!(running.metrics().enroll_refused_used_total.get(), 1);
    // The next certificate speaks for the same host, and the last one until it ends.
    let next_key = KeyPair::generate().expect("a key");
    let next = identity(
        &renew(&site, at, Who::Certificate(&first), &next_key),
        &next_key,
    );
    assert_eq!(send(&next, 1, 2), "stored");
    assert_eq!(send(&next, 2, 2), "foreign");
    assert_eq!(send(&first, 1, 3), "stored");
    let list = listed(&site, &["enroll", "list"]);
    assert_eq!(list.as_array().map(Vec::len), Some(2), "{list}");
    let bound = listed(&site, &["credential", "list"]);
    assert_eq!(bound[0]["name"], "db1.example");
    assert_eq!(bound[0]["host"], "01".repeat(16));
    assert_eq!(bound[0]["refused"], 2);
    // Installed anew it is another host.
    command(&site, &["credential", "release", "db1.example"]);
    assert_eq!(send(&next, 2, 3), "stored");
    let log = listed(&site, &["audit"]);
    let done: Vec<_> = log.as_array().expect("a list").iter().collect();
    let done: Vec<_> = done
        .iter()
        .filter_map(|one| one["action"].as_str())
        .collect();
    for action in [
        "authority.made",
        "enrolment.invited",
        "enrolment.done",
        "enrolment.refused",
        "enrolment.renewed",
        "credential.released",
    ] {
        assert!(done.contains(&action), "{action}: {done:?}");
    }
    assert!(!log.to_string().contains(&invited));
}

#[test]
fn what_is_no_token_for_it_or_too_old_or_no_request_gets_nothing() {
    let (site, running) = enrolling("1h");
    let at = running.address();
    let key = KeyPair::generate().expect("a key");
    for token in ["", "wbe_unknown", READER, site::OWN] {
        let answer = enroll(&site, at, token, &key);
        assert_eq!((answer.status, answer.word()), (403, "token_unknown"));
    }
    assert_eq!(running.metrics().enroll_refused_unknown_total.get(), 4);
    let short = token(&site, "a", &["--expires", "1ms"]);
    let answer = enroll(&site, at, &short, &key);
    assert_eq!((answer.status, answer.word()), (403, "token_expired"));
    let good = token(&site, "a", &[]);
    let post = |body: &str| {
        let path = "/api/v1/enroll";
        site.post_to(
            at,
            path,
            Who::Nobody,
            "",
            "application/json",
            body.as_bytes(),
        )
    };
    let bad = post(&json!({ "token": good, "csr": "nonsense" }).to_string()).expect("an answer");
    assert_eq!((bad.status, bad.word()), (400, "csr"), "{}", bad.text);
    for body in ["", "{}", "[]"] {
        assert_eq!(post(body).expect("an answer").status, 400, "{body}");
    }
    // The connection may end before all of it was sent.
    if let Ok(answer) = post(&"x".repeat(100_000)) {
        assert_eq!(answer.status, 400);
    }
    // None of that used the token up.
    assert_eq!(enroll(&site, at, &good, &key).status, 200);
    // A site without an authority says so.
    let plain = Site::new();
    let running = plain.start("");
    let answer = enroll(&plain, running.address(), &good, &key);
    assert_eq!((answer.status, answer.word()), (404, "no_authority"));
}

#[test]
fn a_stolen_certificate_of_a_host_reads_nothing_and_renews_no_others() {
    let (site, running) = enrolling("1h");
    let at = running.address();
    // Named as a person's certificate would be, and asking for it.
    let key = KeyPair::generate().expect("a key");
    let invited = token(&site, READER_NAME, &[]);
    let stolen = identity(&enroll(&site, at, &invited, &key), &key);
    for (method, path, scope) in routes() {
        if scope == Scope::Readers && method == axum::http::Method::GET {
            let path = crate::openapi::concrete(path);
            let answer = site.get(at, &path, Who::Certificate(&stolen));
            assert_eq!((answer.status, answer.word()), (403, "forbidden"), "{path}");
        }
    }
    // What the authority has not written down is nobody's, whoever has made it.
    let pem = std::fs::read_to_string(site.path("enroll.crt")).expect("certificate");
    let its_key = std::fs::read_to_string(site.path("enroll.key")).expect("key");
    let lifetime = std::time::Duration::from_secs(3600);
    let authority = collector::authority::Authority::load(&pem, &its_key, lifetime).expect("ours");
    let forged = authority.sign(&request(&key), "db9", collector::time::now_ms());
    let forged = Identity {
        certificate: forged.expect("signed").pem,
        key: key.serialize_pem(),
    };
    let sent = site.send_as(at, Who::Certificate(&forged), &batch(9, 1));
    assert_eq!(sent.expect("an answer").status, 401);
    // Credentials of other kinds are not renewed.
    let other = site.agents.client();
    for who in [Who::Certificate(&other), Who::Token(site::OWN)] {
        let answer = renew(&site, at, who, &key);
        assert_eq!((answer.status, answer.word()), (403, "not_enrolled"));
    }
    assert_eq!(renew(&site, at, Who::Nobody, &key).status, 401);
    assert_eq!(renew(&site, at, Who::Token(READER), &key).status, 403);
}

#[test]
fn a_name_is_revoked_with_all_its_certificates_and_tokens_and_enrolls_anew() {
    let (site, running) = enrolling("1h");
    let at = running.address();
    let key = KeyPair::generate().expect("a key");
    let first = identity(&enroll(&site, at, &token(&site, "web", &[]), &key), &key);
    let next = identity(&renew(&site, at, Who::Certificate(&first), &key), &key);
    let left = token(&site, "web", &["--uses", "3"]);
    let said = command(
        &site,
        &["credential", "revoke", "--host", "web", "--why", "lost"],
    );
    assert_eq!(said.lines().count(), 2, "{said}");
    for (sequence, who) in (1..).zip([&first, &next]) {
        let sent = site.send_as(at, Who::Certificate(who), &batch(1, sequence));
        assert_eq!(sent.expect("an answer").word(), "revoked");
        let answer = renew(&site, at, Who::Certificate(who), &key);
        assert_eq!((answer.status, answer.word()), (401, "revoked"));
    }
    assert_eq!(enroll(&site, at, &left, &key).word(), "token_used");
    let anew = identity(&enroll(&site, at, &token(&site, "web", &[]), &key), &key);
    let sent = site.send_as(at, Who::Certificate(&anew), &batch(1, 9));
    assert_eq!(sent.expect("an answer").word(), "stored");
}

/// Its connection stays open; only the time goes on.
#[test]
fn a_certificate_that_expires_stops_working_on_an_open_connection() {
    let (site, running) = enrolling("5s");
    let at = running.address();
    let key = KeyPair::generate().expect("a key");
    let short = identity(&enroll(&site, at, &token(&site, "web", &[]), &key), &key);
    let client = site.client(Who::Certificate(&short));
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut seen = Vec::new();
    while !seen.contains(&401) {
        assert!(std::time::Instant::now() < until, "{seen:?}");
        let mut answer = client
            .post(format!("https://{at}/api/v1/renew"))
            .header("Content-Type", "application/json")
            .send("{}")
            .expect("an answer on the same connection");
        answer.body_mut().read_to_string().expect("text");
        seen.push(answer.status().as_u16());
        seen.dedup();
        std::thread::yield_now();
    }
    assert_eq!(seen[0], 400, "it was let in");
}

#[test]
fn an_authority_is_made_once_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let (site, _running) = enrolling("1h");
    let mode = std::fs::metadata(site.path("enroll.key")).expect("key");
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    let config = site.path("collector.toml");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
        .args(["ca", "init", "--config"])
        .arg(config)
        .output()
        .expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("is there already"),
        "{said}"
    );
}

//! Proxies that say who asks.

use std::net::SocketAddr;

use collector::server::Running;

use super::{Browser, add, command, listed, sessions, word};
use crate::openapi::{Reply, send};
use crate::support::site::{self, Site, Who};

const HEADERS: &str = "user_header = \"X-Remote-User\"\ngroups_header = \"X-Remote-Groups\"\n\
                       roles = { noc = \"viewer\", sre = \"operator\", root = \"admin\" }\n";

/// A site that believes proxies in these networks.
fn behind(networks: &str, more: &str) -> (Site, Running) {
    let site = sessions::with_auth("");
    let file = site.path("collector.toml");
    let text = std::fs::read_to_string(file).expect("the configuration");
    let proxy = format!("[auth.proxy]\n{networks}\n{HEADERS}{more}\n");
    site.write("collector.toml", &format!("{proxy}{text}"));
    let running = sessions::start(&site);
    (site, running)
}

fn whoami(site: &Site, at: SocketAddr, who: Who<'_>, headers: &[(&str, &str)]) -> Reply {
    send(site, at, ("GET", "/api/v1/whoami"), who, headers)
}

#[test]
fn a_proxy_is_believed_and_says_by_groups_what_its_client_may() {
    let (site, running) = behind("networks = [\"127.0.0.0/8\"]", "");
    let at = running.address();
    let ask = |headers: &[(&str, &str)]| whoami(&site, at, Who::Nobody, headers);
    let user = ("X-Remote-User", "Ann@Corp.example");
    let reply = ask(&[user, ("X-Remote-Groups", "staff, noc,sre")]).json();
    assert_eq!(reply["name"], "ann@corp.example");
    assert_eq!(
        (&reply["role"], &reply["by"]),
        (&"operator".into(), &"proxy".into())
    );
    assert_eq!(reply["is_user"], false);
    let lines = [
        user,
        ("X-Remote-Groups", "staff"),
        ("X-Remote-Groups", "root"),
    ];
    assert_eq!(ask(&lines).json()["role"], "admin");
    for bad in [
        &[user][..],
        &[user, ("X-Remote-Groups", "staff")],
        &[("X-Remote-Groups", "noc")],
        &[("X-Remote-User", ""), ("X-Remote-Groups", "noc")],
        &[("X-Remote-User", "a b"), ("X-Remote-Groups", "noc")],
        // What a client has sent and the proxy has added to.
        &[user, ("X-Remote-User", "eve"), ("X-Remote-Groups", "noc")],
        &[("X-Remote-User", "eve, ann"), ("X-Remote-Groups", "noc")],
    ] {
        let reply = ask(bad);
        assert_eq!(
            (reply.status, &*word(&reply)),
            (403, "forbidden"),
            "{bad:?}"
        );
    }
    assert_eq!(running.metrics().proxy_headers_refused_total.get(), 7);
    // Without its headers a proxy is nobody.
    assert_eq!(ask(&[]).status, 401);
    // Who is disabled here stays so.
    add(&site, "ann@corp.example", "viewer");
    command(&site, &["user", "disable", "ann@corp.example"]);
    let reply = ask(&[user, ("X-Remote-Groups", "noc")]);
    assert_eq!((reply.status, &*word(&reply)), (401, "revoked"));
}

#[test]
fn what_comes_with_the_header_does_not_count_and_a_header_from_elsewhere_neither() {
    let (site, running) = behind("networks = [\"127.0.0.0/8\"]", "default_role = \"viewer\"");
    let at = running.address();
    let user = ("X-Remote-User", "ann");
    // A client of the proxy has stolen an admin's token, or forged its groups' header as a cookie.
    let reply = whoami(&site, at, Who::Token(site::ADMIN), &[user]).json();
    assert_eq!(
        (&reply["name"], &reply["role"]),
        (&"ann".into(), &"viewer".into())
    );
    add(&site, "root", "admin");
    let browser = Browser::of(&site, at, "root");
    let reply = browser.send_with("GET", "/api/v1/users", None, &[user]);
    assert_eq!(reply.status, 403);
    // A page of somebody else is not let to act for whom the proxy knows.
    let post = |headers: &[(&str, &str)]| {
        let reply = send(&site, at, ("POST", "/api/v1/logout"), Who::Nobody, headers);
        (reply.status, word(&reply))
    };
    assert_eq!(post(&[user]).1, "cross_site");
    assert_eq!(
        post(&[user, ("Sec-Fetch-Site", "cross-site")]).1,
        "cross_site"
    );
    assert_eq!(post(&[user, ("Sec-Fetch-Site", "same-origin")]).0, 200);
    // From elsewhere the header is as if it were not there.
    let (site, running) = behind("networks = [\"192.0.2.0/24\"]", "default_role = \"admin\"");
    let at = running.address();
    assert_eq!(whoami(&site, at, Who::Nobody, &[user]).status, 401);
    let reply = whoami(&site, at, Who::Token(site::READER), &[user]).json();
    assert_eq!(
        (&reply["role"], &reply["by"]),
        (&"viewer".into(), &"token".into())
    );
    assert_eq!(running.metrics().proxy_headers_ignored_total.get(), 2);
}

#[test]
fn a_proxy_with_a_certificate_is_known_by_it_and_is_nobody_itself() {
    let site = Site::new();
    let file = site.configure(true, true, "");
    let text = std::fs::read_to_string(&file).expect("the configuration");
    let proxy = format!(
        "[auth.proxy]\ncertificate_names = [\"proxy.example\"]\n{HEADERS}default_role = \"viewer\"\n"
    );
    site.write("collector.toml", &format!("{proxy}{text}"));
    let running = sessions::start(&site);
    let at = running.address();
    let (own, other) = (
        site.agents.client_named("proxy.example"),
        site.agents.client_named("db.example"),
    );
    let user = [("X-Remote-User", "ann")];
    let ask = |who, headers: &[(&str, &str)]| whoami(&site, at, who, headers);
    assert_eq!(ask(Who::Certificate(&own), &user).json()["name"], "ann");
    assert_eq!(ask(Who::Certificate(&own), &[]).status, 401);
    let sent = site.send_as(at, Who::Certificate(&own), &crate::ingest::batch());
    assert_eq!(sent.expect("an answer").status, 401, "it is no agent");
    assert_eq!(ask(Who::Certificate(&other), &user).status, 403, "an agent");
    assert_eq!(ask(Who::Nobody, &user).status, 401);
    assert_eq!(running.metrics().proxy_headers_ignored_total.get(), 2);
    // Locked out, it is believed no more.
    let der = rustls::pki_types::pem::PemObject::from_pem_slice(own.certificate.as_bytes());
    let der: rustls::pki_types::CertificateDer<'_> = der.expect("PEM");
    let digest = ring::digest::digest(&ring::digest::SHA256, &der);
    let id = data_encoding::HEXLOWER.encode(&digest.as_ref()[..8]);
    command(&site, &["credential", "revoke", &id]);
    assert_eq!(ask(Who::Certificate(&own), &user).status, 401);
}

#[test]
fn behind_a_proxy_each_client_is_its_own_address() {
    let (site, running) = behind("networks = [\"127.0.0.0/8\"]", "default_role = \"viewer\"");
    let at = running.address();
    add(&site, "ann", "viewer");
    let browser = Browser::new(&site, at);
    let login = |password: &str, client: &str| {
        let body = serde_json::json!({ "user": "ann", "password": password });
        let headers = [("X-Forwarded-For", client)];
        browser
            .send_with("POST", "/api/v1/login", Some(body), &headers)
            .status
    };
    assert_eq!(login(super::PASSWORD, "198.51.100.9, 192.0.2.7"), 200);
    assert_eq!(login("wrong horse battery", "192.0.2.8"), 401);
    let log = listed(&site, &["audit"]);
    let source = |action: &str| {
        let log = log.as_array().expect("a list");
        let one = log.iter().find(|one| one["action"] == action);
        one.expect("a record")["source"].clone()
    };
    assert_eq!(source("session.begun"), "192.0.2.7");
    assert_eq!(source("login.failed"), "192.0.2.8");
}

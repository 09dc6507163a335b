//! People who log in: sessions, passwords, users, tokens; over real TLS, and by real commands.

mod limits;
mod links;
mod own;
mod proxies;
mod sessions;
mod users;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::openapi::Reply;
use crate::support::site::{Site, Who, waybill};

/// A password of a test.
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Runs a command of the collector on this site.
pub(crate) fn command(site: &Site, words: &[&str]) -> String {
    let config = site.path("collector.toml").display().to_string();
    waybill(&[words, &["--config", &config]].concat())
}

/// The same, for programs.
pub(crate) fn listed(site: &Site, words: &[&str]) -> Value {
    let text = command(site, &[words, &["--format", "json"]].concat());
    serde_json::from_str(&text).expect("JSON")
}

/// Adds a user with [`PASSWORD`], which goes through a pipe.
pub(crate) fn add(site: &Site, name: &str, role: &str) {
    let config = site.path("collector.toml");
    let mut child = Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
        .args(["user", "add", name, "--role", role, "--password-stdin"])
        .arg("--config")
        .arg(config)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("runs");
    let mut input = child.stdin.take().expect("a pipe");
    writeln!(input, "{PASSWORD}").expect("written");
    drop(input);
    let output = child.wait_with_output().expect("ends");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(!said.contains(PASSWORD), "{said}");
}

/// A browser with a page of the collector: it keeps its connection and its cookie.
pub(crate) struct Browser {
    client: ureq::Agent,
    at: SocketAddr,
    pub(crate) cookie: Option<String>,
    /// What it says about the page.
    pub(crate) site: &'static str,
}

impl Browser {
    pub(crate) fn new(site: &Site, at: SocketAddr) -> Self {
        Self {
            client: site.client(Who::Nobody),
            at,
            cookie: None,
            site: "same-origin",
        }
    }

    /// One that has logged in.
    pub(crate) fn of(site: &Site, at: SocketAddr, user: &str) -> Self {
        let mut browser = Self::new(site, at);
        let reply = browser.login(user, PASSWORD);
        assert_eq!(reply.status, 200, "{}", reply.json());
        browser
    }

    pub(crate) fn send(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        let headers = [("Sec-Fetch-Site", self.site)];
        self.send_with(method, path, body, &headers)
    }

    pub(crate) fn send_with(
        &self,
        method: &str,
        path: &str,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> Reply {
        let at = self.at;
        let mut request = ureq::http::Request::builder()
            .method(method)
            .uri(format!("https://{at}{path}"));
        if let Some(cookie) = &self.cookie {
            request = request.header("Cookie", format!("theme=dark; {cookie}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = match body {
            Some(body) => {
                let request = request.header("Content-Type", "application/json");
                let request = request.body(body.to_string()).expect("a request");
                self.client.run(request)
            }
            None => self.client.run(request.body(()).expect("a request")),
        }
        .expect("an answer");
        let body = response.body_mut().read_to_vec().expect("a body");
        Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            body,
        }
    }

    pub(crate) fn get(&self, path: &str) -> Reply {
        self.send("GET", path, None)
    }

    /// Whether a question is answered.
    pub(crate) fn is_in(&self) -> bool {
        let status = self.get("/api/v1/tables").status;
        assert!(status == 200 || status == 401, "{status}");
        status == 200
    }

    pub(crate) fn post(&self, path: &str, body: Value) -> Reply {
        self.send("POST", path, Some(body))
    }

    /// Logs in, and keeps the cookie where one is set.
    pub(crate) fn login(&mut self, user: &str, password: &str) -> Reply {
        let reply = self.post(
            "/api/v1/login",
            json!({ "user": user, "password": password }),
        );
        self.keep(&reply);
        reply
    }

    pub(crate) fn keep(&mut self, reply: &Reply) {
        let set = reply.header("set-cookie");
        if let Some((cookie, _)) = set.split_once(';') {
            self.cookie = Some(cookie.to_owned());
        }
    }
}

/// The word of a refusal.
pub(crate) fn word(reply: &Reply) -> String {
    reply.json()["error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

//! The server is held to its OpenAPI document: every operation, parameter, status and body.

mod alerts;
mod asked;
mod examples;
mod families;
mod hostile;
mod older;
mod people;
mod questions;
pub(crate) mod scene;
mod things;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use collector::server::routes;
use jsonschema::Validator;
use serde_json::{Value, json};

use crate::support::site::{ADMIN, READER, Site, TOKEN, Who};

/// An answer with its head.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: ureq::http::HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self
            .headers
            .get(name)
            .map(|value| value.to_str().expect("text"));
        value.unwrap_or_default()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// Sends a request with these headers.
pub(crate) fn send(
    site: &Site,
    at: SocketAddr,
    (method, path): (&str, &str),
    who: Who<'_>,
    headers: &[(&str, &str)],
) -> Reply {
    exchange(site, at, (method, path), who, (headers, &[]))
}

/// Sends a request with this body.
pub(crate) fn send_with(
    site: &Site,
    at: SocketAddr,
    request: (&str, &str),
    who: Who<'_>,
    body: &[u8],
) -> Reply {
    exchange(site, at, request, who, (&[], body))
}

fn exchange(
    site: &Site,
    at: SocketAddr,
    (method, path): (&str, &str),
    who: Who<'_>,
    (headers, body): (&[(&str, &str)], &[u8]),
) -> Reply {
    let mut request = ureq::http::Request::builder()
        .method(method)
        .uri(format!("https://{at}{path}"));
    if let Who::Token(token) = who {
        request = request.header("Authorization", format!("Bearer {token}"));
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(body).expect("a request");
    let client = site.client(who);
    let mut response = client.run(request).expect("an answer");
    let body = response.body_mut().read_to_vec().expect("a body");
    Reply {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body,
    }
}

/// A question of somebody who may ask everything.
pub(crate) fn ask(site: &Site, at: SocketAddr, path: &str) -> Reply {
    send(site, at, ("GET", path), Who::Token(ADMIN), &[])
}

/// The document, as the server answers it.
pub(crate) struct Document(Value);

impl Document {
    pub(crate) fn of(site: &Site, at: SocketAddr) -> Self {
        let reply = ask(site, at, "/api/v1/openapi.json");
        assert_eq!(reply.status, 200);
        Self(reply.json())
    }

    /// Path, method and operation.
    pub(crate) fn operations(&self) -> Vec<(String, String, Value)> {
        let mut all = Vec::new();
        for (path, methods) in self.0["paths"].as_object().expect("paths") {
            for (method, operation) in methods.as_object().expect("methods") {
                all.push((path.clone(), method.to_uppercase(), operation.clone()));
            }
        }
        all
    }

    /// The operation of this name.
    pub(crate) fn operation(&self, id: &str) -> Value {
        let mut all = self.operations().into_iter();
        let found = all.find(|(_, _, operation)| operation["operationId"] == id);
        found.expect("an operation of this name").2
    }

    fn validator(&self, schema: &Value) -> Validator {
        let mut whole = schema.clone();
        whole["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
        whole["components"] = self.0["components"].clone();
        jsonschema::validator_for(&whole).expect("a schema")
    }

    /// Holds a reply to the operation: its status, media type and body are in the document.
    #[track_caller]
    pub(crate) fn hold(&self, operation: &Value, reply: &Reply, what: &str) {
        let answer = &operation["responses"][reply.status.to_string()];
        assert!(
            answer.is_object(),
            "{what}: status {} is not in the document",
            reply.status
        );
        let Some(content) = answer["content"].as_object() else {
            assert!(reply.body.is_empty(), "{what}: a body");
            return;
        };
        let media = reply
            .header("content-type")
            .split(';')
            .next()
            .unwrap_or_default();
        assert!(content.contains_key(media), "{what}: media type {media:?}");
        let schema = &content[media];
        if media.ends_with("json") {
            let validator = self.validator(&schema["schema"]);
            let body = reply.json();
            let wrong: Vec<_> = validator
                .iter_errors(&body)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert!(wrong.is_empty(), "{what}: {wrong:#?}\n{body:#}");
        }
    }
}

impl Document {
    /// The same, for addresses that are none because of what stands in them.
    #[track_caller]
    pub(crate) fn hold_or_nothing(&self, operation: &Value, reply: &Reply, what: &str) {
        if reply.status == 404 {
            assert_eq!(
                reply.header("content-type"),
                "application/problem+json",
                "{what}"
            );
        } else {
            self.hold(operation, reply, what);
        }
    }
}

#[test]
fn the_router_has_what_the_document_has_and_nothing_else() {
    let site = Site::new();
    let running = site.start("");
    let document = Document::of(&site, running.address());
    assert_eq!(document.0["openapi"], "3.1.0");
    let described: BTreeSet<_> = document
        .operations()
        .into_iter()
        .map(|(path, method, _)| (method, path))
        .collect();
    let routed: BTreeSet<_> = routes()
        .map(|(method, path, _)| (method.to_string(), path.to_owned()))
        .collect();
    assert_eq!(described, routed);
    let mut names = BTreeSet::new();
    for (path, method, operation) in document.operations() {
        let name = operation["operationId"]
            .as_str()
            .expect("a name")
            .to_owned();
        assert!(names.insert(name), "{path}");
        // The router has it: whoever may ask is not told that it is nothing.
        let concrete = concrete(&path);
        let agent = operation["x-credentials"] == "agents";
        let who = Who::Token(if agent { TOKEN } else { READER });
        let reply = send(&site, running.address(), ("OPTIONS", &concrete), who, &[]);
        assert_eq!(reply.status, 204, "{path}");
        assert!(reply.header("allow").contains(&method), "{path}: {reply:?}");
        let in_path = path.matches('{').count();
        let of_path = operation["parameters"].as_array().into_iter().flatten();
        let of_path = of_path.filter(|parameter| parameter["in"] == "path");
        assert_eq!(of_path.count(), in_path, "{path}");
    }
}

/// A path with something in the place of its parameters.
pub(crate) fn concrete(path: &str) -> String {
    let mut text = String::new();
    for part in path.split('/').skip(1) {
        text.push('/');
        text.push_str(match part {
            "{table}" => "event",
            part if part.starts_with('{') => "e-0000000000000000",
            part => part,
        });
    }
    text
}

#[test]
fn a_credential_of_an_agent_reads_nothing_at_any_address() {
    let site = Site::new();
    let config = site.config(true, true, "");
    let running = crate::support::site::start(&config);
    let at = running.address();
    crate::api::fill(&site, at);
    let certificate = site.agents.client();
    let document = Document::of(&site, at);
    let mut refused = 0;
    for (path, own, operation) in document.operations() {
        let is_open = operation["security"] == json!([]);
        for who in [Who::Token(TOKEN), Who::Certificate(&certificate)] {
            for method in [own.as_str(), "GET", "HEAD", "OPTIONS", "PUT", "DELETE"] {
                let reply = send(&site, at, (method, &concrete(&path)), who, &[]);
                let text = String::from_utf8_lossy(&reply.body);
                for secret in ["nginx", "10.1.0", "10.2.0", "hosts", "columns", "waybill_"] {
                    let said = text.contains(secret);
                    assert!(!said, "{method} {path} tells an agent: {text}");
                }
                if method == own && !is_open && operation["x-credentials"] != "agents" {
                    assert_eq!(reply.status, 403, "{path}: {text}");
                    document.hold(&operation, &reply, &path);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused >= 20, "{refused}");
}

#[test]
fn whoever_is_nobody_is_refused_as_the_document_says() {
    let site = Site::new();
    let running = site.start("");
    let document = Document::of(&site, running.address());
    for (path, method, operation) in document.operations() {
        if operation["security"] == json!([]) {
            continue;
        }
        let request = (method.as_str(), &*concrete(&path));
        let reply = send(&site, running.address(), request, Who::Nobody, &[]);
        assert_eq!(reply.status, 401, "{path}");
        document.hold(&operation, &reply, &path);
    }
}

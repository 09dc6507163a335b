//! Operations whose answers are not questions to the store, or are sent as they are read.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::operation::{Form, Operation, form};
use crate::fleet::Fleet;

/// `GET /api/v1/hosts`
pub const HOSTS: Operation = Operation {
    method: "GET",
    path: "/api/v1/hosts",
    id: "hosts",
    summary: "All hosts at once",
    help: "Sent as it is read, neither packed nor tagged. `/api/v1/fleet` has pages.",
    parameters: &[],
    body: None,
    form: Form::Json(form::<Fleet>),
    refusals: &[
        (400, "It takes no parameters"),
        (422, "More time than one question is given"),
        (
            429,
            "This peer asks as much at once as may be left for all others",
        ),
    ],
    answer: None,
};

/// `GET /api/v1/openapi.json`
pub const DOCUMENT: Operation = Operation {
    method: "GET",
    path: "/api/v1/openapi.json",
    id: "openapi",
    summary: "This document",
    help: "",
    parameters: &[],
    body: None,
    form: Form::Json(any_object),
    refusals: &[],
    answer: None,
};

/// `POST /api/v1/batches`
pub const BATCHES: Operation = Operation {
    method: "POST",
    path: "/api/v1/batches",
    id: "batches",
    summary: "Store a batch of an agent",
    help: "The body is a batch as `wire/FORMAT.md` describes it, `Idempotency-Key` its host, run \
           and number. The answer says what the agent may do with the batch.",
    parameters: &[],
    body: None,
    form: Form::Always(form::<BatchAnswer>),
    refusals: &[],
    answer: None,
};

/// `GET /metrics`
pub const METRICS: Operation = Operation {
    method: "GET",
    path: "/metrics",
    id: "metrics",
    summary: "What this collector counted, for Prometheus",
    help: "",
    parameters: &[],
    body: None,
    form: Form::Text("text/plain"),
    refusals: &[],
    answer: None,
};

/// `GET /healthz`
pub const HEALTH: Operation = Operation {
    method: "GET",
    path: "/healthz",
    id: "health",
    summary: "Whether batches can be stored",
    help: "Says nothing else, and asks for no credential.",
    parameters: &[],
    body: None,
    form: Form::Json(form::<Health>),
    refusals: &[],
    answer: None,
};

/// `GET /readyz`
pub const READY: Operation = Operation {
    method: "GET",
    path: "/readyz",
    id: "ready",
    summary: "Whether batches should come here",
    help: "Not while the store cannot be written or takes long, nor while the collector stops. Asks \
           for no credential.",
    parameters: &[],
    body: None,
    form: Form::Always(form::<Readiness>),
    refusals: &[],
    answer: None,
};

/// Whether batches should come here.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Readiness {
    /// Whether all is as it should be.
    pub ready: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
}

impl Readiness {
    /// Ready where every check is good.
    #[must_use]
    pub fn of(checks: Vec<Check>) -> Self {
        let ready = checks.iter().all(|check| check.ok);
        Self { ready, checks }
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Check {
    /// `store`: it can be written; `writer`: the thread that does it answers; `serving`: the
    /// collector does not stop.
    pub name: &'static str,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    pub why: Option<String>,
}

impl Check {
    /// Good where nothing is wrong.
    #[must_use]
    pub fn new(name: &'static str, why: Option<String>) -> Self {
        let ok = why.is_none();
        Self { name, ok, why }
    }
}

/// Batches can be stored.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "its form is what counts")]
struct Health {
    /// `ok`.
    status: String,
}

/// What becomes of a batch: the form of [`wire::answer::Answer`], which stays free of what only
/// the API needs.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "its form is what counts")]
struct BatchAnswer {
    /// `stored` and `duplicate` end the batch; `refused` does too, for it will never be taken;
    /// `kept` is sent again.
    status: Status,
    /// Which batch, where the request named it.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    batch: Option<String>,
    /// Why it was refused, for programs.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Why it was refused, for people.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    /// Orders that the agent lacks.
    #[schemars(default, skip_serializing_if = "Option::is_none")]
    orders: Option<serde_json::Map<String, serde_json::Value>>,
}

/// What became of a batch.
#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
#[expect(dead_code, reason = "its form is what counts")]
enum Status {
    Stored,
    Duplicate,
    Refused,
    Kept,
}

fn any_object(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object" })
}

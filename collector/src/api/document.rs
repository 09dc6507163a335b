//! The OpenAPI document: written from the operations, so that it cannot lag behind them.

use std::collections::BTreeMap;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::failure::Problem;
use super::operation::{Form, Operation, form};
use super::parameter::{Kind, Need, Parameter};
use crate::matrix;

/// An operation, and who may ask it.
#[derive(Clone, Copy, Debug)]
pub struct Listed {
    /// The operation.
    pub operation: &'static Operation,
    /// Which credentials are let in, [`AGENTS`] or people; `None` where none is needed.
    pub who: Option<&'static str>,
}

/// The cookie by which a session is known. A browser takes one with this prefix from this very host
/// alone, over TLS, and sends it to no other.
pub const SESSION_COOKIE: &str = "__Host-waybill";

/// Those who send batches.
pub const AGENTS: &str = "agents";

const ABOUT: &str = "Times are Unix milliseconds in answers. Every `GET` answers `HEAD` and every \
                     address `OPTIONS`. Refusals are `application/problem+json`: `error` is a word \
                     for programs, `detail` says what is wrong and what to do. A question that \
                     would take more rows, memory or time than the collector gives one question is \
                     refused with status 422 and says which bound it is; a list that is cut counts \
                     what was left out.";

/// The document of these operations.
#[must_use]
pub fn document(listed: &[Listed]) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| {
            settings.definitions_path = "/components/schemas".into();
            settings.meta_schema = None;
        })
        .for_serialize()
        .into_generator();
    let problem = form::<Problem>(&mut generator).to_value();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for one in listed {
        let method = one.operation.method.to_lowercase();
        let described = operation(one, &problem, &mut generator);
        let path = paths.entry(one.operation.path).or_default();
        path.insert(method, described);
    }
    let mut schemas: Value = generator.take_definitions(true).into();
    close(&mut schemas);
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Waybill collector",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "token": { "type": "http", "scheme": "bearer" },
                "certificate": { "type": "mutualTLS" },
                "session": { "type": "apiKey", "in": "cookie", "name": SESSION_COOKIE },
            },
        },
    })
}

fn operation(listed: &Listed, problem: &Value, generator: &mut SchemaGenerator) -> Value {
    let Listed { operation, who } = listed;
    let json = |schema: Value| json!({ "application/json": { "schema": schema } });
    let problems = || json!({ "application/problem+json": { "schema": problem } });
    let (content, refused) = match operation.form {
        Form::Json(form) => (json(form(generator).to_value()), problems()),
        Form::Text(media) => {
            let schema = json!({ "type": "string" });
            let content = json!({ media: { "schema": schema } });
            (content, problems())
        }
        Form::File(words) => {
            let media = words.iter().filter_map(|word| matrix::Form::of_word(word));
            let content: Map<_, _> = media.map(|form| (form.media().into(), json!({}))).collect();
            (Value::Object(content), problems())
        }
        Form::Always(form) => {
            let schema = form(generator).to_value();
            (json(schema.clone()), json(schema))
        }
    };
    let mut answers = BTreeMap::new();
    let mut good = json!({ "description": operation.summary, "content": content });
    let text = json!({ "schema": { "type": "string" } });
    if operation.answer.is_some() {
        good["headers"] = json!({ "ETag": text });
        let same = json!({ "description": "What If-None-Match names is still the answer" });
        answers.insert(String::from("304"), same);
    }
    answers.insert(String::from("200"), good);
    let mut refuse = |status: u16, why: &str| {
        let answer = json!({ "description": why, "content": refused });
        answers.insert(status.to_string(), answer);
    };
    if who.is_some() {
        refuse(401, "No valid credential");
        refuse(403, "The credential is for something else");
    }
    if operation.answer.is_some() {
        refuse(400, "A parameter that is unknown or cannot be used");
        refuse(422, "More rows, memory or time than one question is given");
        refuse(
            429,
            "This peer asks as much at once as may be left for all others",
        );
    }
    for (status, why) in operation.refusals {
        refuse(*status, why);
    }
    refuse(503, "Not now");
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "responses": answers,
        "security": [],
    });
    if let Some(who) = who {
        described["security"] = json!([{ "token": [] }, { "certificate": [] }]);
        if *who != AGENTS {
            described["security"] =
                json!([{ "token": [] }, { "certificate": [] }, { "session": [] }]);
        }
        described["x-credentials"] = json!(who);
    }
    if !operation.help.is_empty() {
        described["description"] = json!(operation.help);
    }
    if let Some(sent) = sent(operation, generator) {
        described["requestBody"] = sent;
    }
    let parameters: Vec<Value> = operation.parameters().map(parameter).collect();
    if !parameters.is_empty() {
        described["parameters"] = json!(parameters);
    }
    described
}

/// What comes with a request.
fn sent(operation: &Operation, generator: &mut SchemaGenerator) -> Option<Value> {
    let (is_question, method) = (operation.answer.is_some(), operation.method);
    let content = match operation.body {
        Some(body) => {
            let schema = body(generator).to_value();
            json!({ "application/json": { "schema": schema } })
        }
        // A file.
        None if method == "PUT" || method == "POST" && is_question => {
            json!({ "application/octet-stream": {} })
        }
        None => return None,
    };
    // A question without a file is about what is declared.
    Some(json!({ "required": !is_question, "content": content }))
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter {
        name,
        kind,
        help,
        default,
        need,
    } = parameter;
    let mut schema = match kind {
        Kind::Time => json!({ "type": "string", "examples": ["-1h", "2026-01-02T03:04:05Z"] }),
        Kind::Milliseconds => json!({ "type": "integer", "format": "int64" }),
        Kind::Duration => json!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" }),
        Kind::Text(most) => json!({ "type": "string", "minLength": 1, "maxLength": most }),
        Kind::Number(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Flag => json!({ "type": "boolean" }),
    };
    if let Some(default) = default {
        schema["default"] = match kind {
            Kind::Number(..) | Kind::Flag => {
                serde_json::from_str(default).expect("a default is of its kind")
            }
            _ => json!(default),
        };
    }
    let place = if *need == Need::Path { "path" } else { "query" };
    let mut described = json!({
        "name": name,
        "in": place,
        "description": help,
        "schema": schema,
    });
    if matches!(need, Need::Path | Need::Required) {
        described["required"] = json!(true);
    }
    if *need == Need::Deprecated {
        described["deprecated"] = json!(true);
    }
    described
}

/// Says of every object with named members that it has no others: what an answer has and the
/// document does not say is then a mistake that a validator finds.
fn close(schema: &mut Value) {
    match schema {
        Value::Array(all) => all.iter_mut().for_each(close),
        Value::Object(map) => {
            map.values_mut().for_each(close);
            let is_object = map.get("type").is_some_and(|kind| kind == "object");
            let is_open = ["additionalProperties", "unevaluatedProperties"];
            let is_open = is_open.iter().all(|name| !map.contains_key(*name));
            let combined = ["$ref", "allOf", "anyOf", "oneOf"];
            let is_combined = combined.iter().any(|name| map.contains_key(*name));
            if is_object && is_open && map.contains_key("properties") {
                let word = if is_combined {
                    "unevaluatedProperties"
                } else {
                    "additionalProperties"
                };
                map.insert(word.into(), Value::Bool(false));
            }
        }
        _ => {}
    }
}

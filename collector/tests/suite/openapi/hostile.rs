//! Whatever is asked, it is answered or refused: never with an error of the server.

use proptest::prelude::{ProptestConfig, any, prop, proptest};
use serde_json::Value;

use super::{Document, ask, concrete};
use crate::support::site::Site;

/// Values that nobody means; some are encoded as no text can be.
fn values() -> Vec<String> {
    let mut values: Vec<String> = [
        "",
        "%00",
        "%ff%fe",
        "NaN",
        "inf",
        "-1",
        "0",
        "1e308",
        "18446744073709551616",
        "9223372036854775807",
        "-9223372036854775808",
        "%27%20OR%201=1--",
        "%3Cscript%3E",
        "%e2%80%ae%1b[31m",
        "../../etc/passwd",
        "true",
        "eyJvZiI6ImZsZWV0IiwiYXQiOlsiIiwiIl19",
        "%",
        "%zz",
    ]
    .map(String::from)
    .into();
    values.push("a".repeat(10_000));
    values.push("%f0%9f%92%a9".repeat(400));
    values
}

#[test]
fn no_parameter_of_any_operation_brings_the_server_down() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    super::scene::fleet(&site, at);
    let document = Document::of(&site, at);
    for (path, method, operation) in document.operations() {
        if method != "GET" || operation["security"] == serde_json::json!([]) {
            continue;
        }
        let parameters = operation["parameters"].as_array().cloned();
        let unknown = serde_json::json!({ "name": "no_such", "in": "query" });
        for parameter in parameters.into_iter().flatten().chain([unknown]) {
            let name = parameter["name"].as_str().expect("a name");
            for value in values() {
                let asked = of(&path, &operation, &parameter, &value);
                let reply = ask(&site, at, &asked);
                let short: String = asked.chars().take(120).collect();
                assert!(reply.status < 500, "{short}: {:?}", reply.status);
                document.hold_or_nothing(&operation, &reply, &short);
                if name == "no_such" && path != "/metrics" && path != "/api/v1/openapi.json" {
                    assert_eq!(reply.status, 400, "{short}");
                }
            }
        }
    }
}

/// A request with everything that is needed, and this value.
fn of(path: &str, operation: &Value, parameter: &Value, value: &str) -> String {
    let name = parameter["name"].as_str().expect("a name");
    let all = operation["parameters"].as_array().into_iter().flatten();
    let needed = all.filter(|one| one["required"] == true && one["in"] == "query");
    let needed = needed.filter(|one| one["name"] != parameter["name"]);
    let mut query: Vec<String> = needed
        .map(|one| format!("{}=x", one["name"].as_str().expect("a name")))
        .collect();
    if parameter["in"] == "path" {
        let value = value.replace('/', "%2F");
        let path = path.replace(&format!("{{{name}}}"), &value);
        return format!("{path}?{}", query.join("&"));
    }
    query.push(format!("{name}={value}"));
    format!("{}?{}", concrete(path), query.join("&"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_a_query_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(parts) = collector::api::parts(&text) {
            let given = collector::api::Given::of(collector::api::TOPOLOGY.parameters, parts, 1);
            drop(given);
        }
    }
}

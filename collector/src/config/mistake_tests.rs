//! Everything that is wrong in one file.

use super::tests::{GOOD, message};

#[test]
fn all_mistakes_are_told_at_once_and_none_that_only_follows() {
    let text = r#"
[listen]
adress = "0.0.0.0:1"
cert_file = "relative.crt"
[auth]
agent_token_file = "/t"
token_file = "/t"
[limits]
batch_bytes = "lots"
batch_raw_bytes = "1MiB"
connections = 0
query_rows = 2000000000
[store]
max_bytes = "1KiB"
[outputs.one]
kind = "file"
[outputs.two]
kind = "otlp"
url = "https://x"
colour = "red"
"#;
    let message = message(text);
    let mut lines: Vec<_> = message.lines().collect();
    lines.sort_unstable();
    let named = [
        ("", ": listen.key_file: missing"),
        ("", ": outputs.one.path: missing"),
        ("", ": outputs.two.ca_file: missing"),
        (":12", ": limits.query_rows: expected a whole number"),
        (":14", ": store.max_bytes: expected at least"),
        (":20", ": outputs.two.colour: unknown field"),
        (":3", ": listen.adress: unknown field"),
        (
            ":4",
            ": listen.cert_file: \"relative.crt\" is not an absolute path",
        ),
        (":7", ": auth.token_file: the old name"),
        (":9", ": limits.batch_bytes: \"lots\" is not"),
        (":11", ": limits.connections: 0 is not"),
    ];
    assert_eq!(lines.len(), named.len(), "{message}");
    for (line, begin) in named {
        let whole = format!("/etc/waybill/collector.toml{line}{begin}");
        let told = lines.iter().any(|line| line.starts_with(&whole));
        assert!(told, "{whole}\n{message}");
    }
}

#[test]
fn missing_required_keys_are_named() {
    for key in ["cert_file", "key_file"] {
        let text: String = GOOD
            .lines()
            .filter(|l| !l.starts_with(key))
            .collect::<Vec<_>>()
            .join("\n");
        let message = message(&text);
        assert!(message.contains(&format!("listen.{key}: missing, expected an absolute path")));
    }
}

#[test]
fn broken_toml_is_reported_with_its_line() {
    assert!(message("[listen\n").contains(":1: "));
    assert!(message("\n\n[listen]\naddress = \n").contains(":4: "));
}

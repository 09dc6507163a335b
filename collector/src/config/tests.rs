use std::path::Path;
use std::time::Duration;

use super::parse;
use crate::rank::Rank;

pub(super) const GOOD: &str = r#"
[listen]
cert_file = "/etc/waybill/collector.crt"
key_file = "/etc/waybill/collector.key"
[auth]
agent_token_file = "/etc/waybill/tokens"
"#;

pub(super) fn message(text: &str) -> String {
    parse(Path::new("/etc/waybill/collector.toml"), text)
        .expect_err("a mistake")
        .to_string()
}

#[test]
fn the_least_configuration_has_the_documented_defaults() {
    let config = parse(Path::new("x"), GOOD).expect("good");
    assert_eq!(config.listen.address.to_string(), "0.0.0.0:9443");
    assert_eq!(config.store.retention, Duration::from_secs(30 * 86_400));
    assert_eq!(
        config.store.retention_minutes,
        Duration::from_secs(7 * 86_400)
    );
    assert_eq!(
        config.store.retention_hours,
        Duration::from_secs(400 * 86_400)
    );
    assert_eq!(config.limits.batch_bytes, 8 << 20);
    assert_eq!(config.limits.batch_raw_bytes, 64 << 20);
    assert_eq!(config.limits.batch_rows, 200_000);
    assert_eq!(config.limits.concurrent_batches, 16);
    assert_eq!(config.limits.body_memory, 64 << 20);
    assert_eq!(config.log_level, log::LevelFilter::Info);
}

#[test]
fn the_packaged_example_says_what_the_defaults_are() {
    let example = include_str!("../../../packaging/config/collector.toml.example");
    let file = Path::new("collector.toml.example");
    let as_shipped = parse(file, example).expect("the example is valid as it is");
    // Its commented keys are the defaults: without the comment signs nothing changes.
    let spelled_out: String = example
        .lines()
        .map(|line| {
            let key = line
                .strip_prefix('#')
                .filter(|rest| !rest.starts_with([' ', '#']));
            key.unwrap_or(line).to_owned() + "\n"
        })
        .collect();
    let mut spelled_out = parse(file, &spelled_out).expect("the commented keys are valid");
    assert!(spelled_out.listen.client_ca_file.is_some());
    spelled_out.listen.client_ca_file = None;
    assert!(spelled_out.signing_key_file.is_some());
    spelled_out.signing_key_file = None;
    assert!(spelled_out.auth.reader_token_file.is_some());
    spelled_out.auth.reader_token_file = None;
    assert!(spelled_out.auth.proxy.take().is_some());
    let lifetime = spelled_out.enroll.take().map(|enroll| enroll.lifetime);
    assert_eq!(lifetime, Some(Duration::from_secs(90 * 86_400)));
    assert!(spelled_out.store.clickhouse.take().is_some());
    assert!(!std::mem::take(&mut spelled_out.outputs).is_empty());
    (spelled_out.alerts.outputs, spelled_out.alerts.page_url) = Default::default();
    assert!(spelled_out.alerts.rules.take().is_some());
    assert_eq!(spelled_out, as_shipped);
}

#[test]
fn the_packaged_example_shows_every_key() {
    let example = include_str!("../../../packaging/config/collector.toml.example");
    let tables = example.lines().filter_map(|line| {
        let line = line.trim_start_matches('#');
        line.starts_with('[').then(|| line.to_owned())
    });
    let mut keys = 0;
    for table in tables.chain([String::new()]) {
        let wrong = format!("{table}\nno_such_key = 1\n");
        let error = parse(Path::new("collector.toml"), &wrong).expect_err("an unknown key");
        let message = format!("{error:#}");
        let mut lines = message.lines();
        let line = lines.find(|line| line.contains("`no_such_key`"));
        let (_, expected) = line
            .and_then(|line| line.rsplit_once("expected "))
            .expect(&message);
        for key in expected.split('`').skip(1).step_by(2) {
            keys += 1;
            let shown = [
                format!("{key} = "),
                format!("[{key}]"),
                format!("[{key}."),
                format!(".{key}]"),
            ];
            assert!(
                shown.iter().any(|shown| example.contains(shown)),
                "packaging/config/collector.toml.example lacks {key}"
            );
        }
    }
    assert!(keys > 20, "only {keys} keys");
}

#[test]
fn each_wrong_key_is_named_with_what_was_expected() {
    let cases = [
        (
            format!("{GOOD}\n[lisen]\n"),
            "lisen",
            "unknown field `lisen`, expected one of",
        ),
        (
            GOOD.replace("[auth]", "port = 1\n[auth]"),
            "listen",
            "unknown field `port`",
        ),
        (
            GOOD.replace("agent_token_file", "tokens"),
            "auth",
            "expected one of `agent_token_file`",
        ),
        (
            format!("{GOOD}[store]\nretenton = \"1d\"\n"),
            "store",
            "`retenton`",
        ),
        (
            format!("{GOOD}[limits]\nrows = 1\n"),
            "limits",
            "`batch_rows`",
        ),
        (format!("{GOOD}[log]\nlvl = 1\n"), "log", "expected `level`"),
    ];
    for (text, key, expected) in cases {
        let message = message(&text);
        assert!(
            message.starts_with("/etc/waybill/collector.toml:"),
            "{message}"
        );
        assert!(
            message.contains(key) && message.contains(expected),
            "{message}"
        );
        let line = message
            .split(':')
            .nth(1)
            .and_then(|line| line.parse::<u32>().ok());
        assert!(line.is_some(), "{message}");
    }
}

#[test]
fn each_wrong_value_is_named_with_what_was_expected() {
    let table = |key: &str, value: &str| {
        let (section, name) = key.split_once('.').expect("section.key");
        let header = format!("[{section}]\n");
        if GOOD.contains(&header) {
            let old = GOOD.lines().find(|line| line.starts_with(name));
            let base = old.map_or(GOOD.to_owned(), |old| GOOD.replace(old, ""));
            base.replace(&header, &format!("{header}{name} = {value}\n"))
        } else {
            format!("{GOOD}{header}{name} = {value}\n")
        }
    };
    let cases = [
        ("listen.address", "\"localhost\"", "an IP address and port"),
        ("listen.address", "9443", "an IP address and port"),
        ("listen.cert_file", "\"relative.crt\"", "an absolute path"),
        ("listen.key_file", "true", "an absolute path"),
        ("listen.client_ca_file", "[]", "an absolute path"),
        ("auth.agent_token_file", "\"\"", "an absolute path"),
        ("auth.reader_token_file", "\"x\"", "an absolute path"),
        (
            "auth.reader_names",
            "[\"ops\"]",
            "client_ca_file is missing",
        ),
        ("auth.reader_names", "\"ops\"", "expected a sequence"),
        (
            "auth.token_file",
            "\"/etc/waybill/tokens\"",
            "the old name of auth.agent_token_file",
        ),
        ("store.path", "1.5", "an absolute path"),
        ("store.retention", "\"thirty days\"", "a duration such as"),
        ("store.retention", "\"0s\"", "a duration such as"),
        ("store.max_bytes", "\"1KiB\"", "at least \"16MiB\""),
        ("limits.batch_bytes", "8388608", "a size such as"),
        ("limits.batch_bytes", "\"8MB\"", "a size such as"),
        ("limits.batch_bytes", "\"99999999TiB\"", "a size such as"),
        ("limits.batch_bytes", "\"2GiB\"", "at most \"1024MiB\""),
        (
            "limits.batch_raw_bytes",
            "\"1MiB\"",
            "at least limits.batch_bytes",
        ),
        ("limits.batch_rows", "0", "a whole number from 1"),
        ("limits.batch_rows", "20000000", "from 1 to 10000000"),
        ("limits.batch_rows", "-1", "a whole number from 1"),
        (
            "limits.concurrent_batches",
            "\"many\"",
            "a whole number from 1",
        ),
        (
            "limits.body_memory",
            "\"15MiB\"",
            "at least twice limits.batch_bytes",
        ),
        ("limits.body_timeout", "30", "a duration such as"),
        ("limits.connections", "2000000", "from 1 to 1000000"),
        ("limits.concurrent_queries", "2000", "from 1 to 1024"),
        ("limits.query_rows", "0", "from 1"),
        ("log.level", "\"loud\"", "one of \"error\""),
    ];
    for (key, value, expected) in cases {
        let message = message(&table(key, value));
        assert!(
            message.starts_with("/etc/waybill/collector.toml:"),
            "{message}"
        );
        assert!(message.contains(key), "{key} = {value}: {message}");
        assert!(message.contains(expected), "{key} = {value}: {message}");
    }
}

#[test]
fn a_collector_that_knows_nobody_is_refused() {
    let message = message(&GOOD.replace("agent_token_file", "#"));
    assert!(message.contains("auth.agent_token_file"));
    assert!(message.contains("listen.client_ca_file"));
}

/// What a fleet's one token meant before there were two kinds keeps what an agent needs of it.
#[test]
fn the_old_key_is_taken_with_a_word_about_its_meaning() {
    let old = parse(
        Path::new("x"),
        &GOOD.replace("agent_token_file", "token_file"),
    )
    .expect("good");
    assert!(old.auth.token_file.is_some());
    let advice = old.auth.advice().join("\n");
    assert!(advice.contains("old name") && advice.contains("nobody may ask"));
    let new = format!("{GOOD}reader_token_file = \"/etc/waybill/readers\"\n");
    let new = parse(Path::new("x"), &new).expect("good");
    assert_eq!(new.auth.advice(), [""; 0]);
}

#[test]
fn names_of_certificates_are_names() {
    let with = |names: &str| {
        let text = GOOD.replace("[auth]", "client_ca_file = \"/ca\"\n[auth]");
        parse(Path::new("x"), &format!("{text}{names}\n"))
    };
    assert!(with("reader_names = [\"ops.example\"]").is_ok());
    for bad in [
        "reader_names = [\"*.example\"]",
        "shared_names = [\"\"]",
        "reader_names = [\"a\"]\nshared_names = [\"a\"]",
    ] {
        assert!(with(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_proxy_is_somewhere_or_has_a_certificate_and_says_what_people_may() {
    let with = |proxy: &str| {
        let text = GOOD.replace("[auth]", "client_ca_file = \"/ca\"\n[auth]");
        parse(Path::new("x"), &format!("{text}[auth.proxy]\n{proxy}\n"))
    };
    let says =
        "user_header = \"X-User\"\ngroups_header = \"X-Groups\"\nroles = { a = \"admin\" }\n";
    let good = with(&format!("networks = [\"10.0.0.5\"]\n{says}")).expect("good");
    let proxy = good.auth.proxy.expect("a proxy");
    assert!(proxy.is_at([10, 0, 0, 5].into()) && !proxy.is_at([10, 0, 0, 6].into()));
    let says_who = proxy.says.expect("it says who");
    assert_eq!(says_who.rank(["x", "a"]), Some(Rank::Admin));
    assert_eq!(says_who.rank(["x"]), None);
    assert!(
        with("networks = [\"10.0.0.0/8\"]")
            .expect("good")
            .auth
            .proxy
            .is_some()
    );
    assert!(with("").expect("good").auth.proxy.is_none());
    for (bad, key) in [
        (says, "auth.proxy.networks"),
        ("networks = [\"0.0.0.0/0\"]", "auth.proxy.networks"),
        ("networks = [\"::/0\"]", "auth.proxy.networks"),
        ("networks = [\"proxy.example\"]", "auth.proxy.networks"),
        (
            "networks = [\"10.0.0.5\"]\ndefault_role = \"viewer\"",
            "auth.proxy.user_header",
        ),
        (
            "networks = [\"10.0.0.5\"]\nuser_header = \"Cookie\"",
            "auth.proxy.user_header",
        ),
        (
            "networks = [\"10.0.0.5\"]\nuser_header = \"X User\"",
            "auth.proxy.user_header",
        ),
        (
            "networks = [\"10.0.0.5\"]\nuser_header = \"X\"",
            "auth.proxy.roles",
        ),
        (
            "networks = [\"10.0.0.5\"]\nuser_header = \"X\"\ndefault_role = \"king\"",
            "auth.proxy.default_role",
        ),
        (
            "networks = [\"10.0.0.5\"]\nuser_header = \"X\"\nroles = { a = \"admin\" }",
            "auth.proxy.groups_header",
        ),
        (
            "networks = [\"10.0.0.5\"]\nuser_header = \"X\"\ngroups_header = \"x\"\n\
             default_role = \"viewer\"",
            "auth.proxy.groups_header",
        ),
        (
            "certificate_names = [\"*.example\"]",
            "auth.proxy.certificate_names",
        ),
    ] {
        let found = with(bad).expect_err(bad).to_string();
        assert!(found.contains(key), "{bad}: {found}");
    }
    let twice = "certificate_names = [\"a\"]\n[auth]\nreader_names = [\"a\"]\n";
    let text = GOOD.replace("[auth]\n", "client_ca_file = \"/ca\"\n[auth.proxy]\n");
    let text = text.replace("agent_token_file", &format!("{twice}agent_token_file"));
    let found = message(&text);
    assert!(found.contains("auth.proxy.certificate_names"), "{found}");
}

#[test]
fn an_output_has_the_keys_of_its_kind_and_no_secret_goes_in_the_clear() {
    let with = |output: &str| message(&format!("{GOOD}[outputs.one]\n{output}\n"));
    let cases = [
        ("", "outputs.one.kind: expected"),
        ("kind = \"kaffka\"", "outputs.one.kind: expected"),
        ("kind = \"kafka\"", "outputs.one.brokers: expected"),
        (
            "kind = \"kafka\"\nbrokers = [\"x:1\"]\ntopic = \"a b\"",
            "outputs.one.topic: expected",
        ),
        (
            "kind = \"kafka\"\nbrokers = [\"x:1\"]\nclient_cert_file = \"/x\"\nclient_key_file = \"/y\"",
            "outputs.one.ca_file: missing",
        ),
        (
            "kind = \"prometheus\"\nlabels = [\"host\", \"le\"]",
            "outputs.one.labels: expected",
        ),
        (
            "kind = \"prometheus\"\nmax_series = 9\n[outputs.two]\nkind = \"prometheus\"",
            "outputs.two.kind: expected at most one",
        ),
        ("kind = \"file\"", "outputs.one.path: missing"),
        (
            "kind = \"file\"\npath = \"/x\"\nurl = \"http://x\"",
            "outputs.one.url: an output of kind \"file\" has no such key",
        ),
        ("kind = \"remote_write\"", "outputs.one.url: missing"),
        (
            "kind = \"remote_write\"\nurl = \"x\"",
            "outputs.one.url: expected https://",
        ),
        (
            "kind = \"remote_write\"\nurl = \"https://x\"",
            "outputs.one.ca_file: missing",
        ),
        (
            "kind = \"remote_write\"\nurl = \"http://x\"\ntoken_file = \"/x\"",
            "outputs.one.url: expected https://",
        ),
        (
            "kind = \"file\"\npath = \"/x\"\ntables = []",
            "outputs.one.tables: expected",
        ),
    ];
    for (output, expected) in cases {
        let found = with(output);
        assert!(found.contains(expected), "{output}: {found}");
    }
    let name = message(&format!("{GOOD}[outputs.\"a/b\"]\nkind = \"file\"\n"));
    assert!(name.contains("outputs.a/b: expected a name"), "{name}");
    let bound = message(&format!(
        "{GOOD}[store]\nmax_bytes = \"16MiB\"\n[outputs.one]\nkind = \"file\"\npath = \"/x\"\n"
    ));
    let half = "store.outbox_bytes: expected at most half";
    assert!(bound.contains(half), "{bound}");
}

use std::path::Path;

use super::{AlertKind, Tls, parse};

const GOOD: &str = "[listen]\ncert_file = \"/c\"\nkey_file = \"/k\"\n\
                    [auth]\nagent_token_file = \"/t\"\n[store]\npath = \"/var/collector.db\"\n";

fn read(output: &str) -> Result<AlertKind, String> {
    let text = format!("{GOOD}[alerts.outputs.x]\n{output}\n");
    let config = parse(Path::new("/c.toml"), &text).map_err(|error| format!("{error:#}"))?;
    Ok(config.alerts.outputs[0].kind.clone())
}

#[test]
fn each_kind_is_read_with_its_defaults() {
    let mail = "kind = \"smtp\"\nserver = \"mail\"\nfrom = \"W <w@example.com>\"\nto = [\"o@example.com\"]";
    let Ok(AlertKind::Smtp(smtp)) = read(mail) else {
        panic!("{:?}", read(mail));
    };
    assert_eq!((smtp.port, smtp.tls), (587, Tls::Starttls));
    let tls = format!("{mail}\ntls = \"tls\"\nserver = \"[::1]:2525\"")
        .replace("server = \"mail\"\n", "");
    let Ok(AlertKind::Smtp(smtp)) = read(&tls) else {
        panic!("{:?}", read(&tls));
    };
    assert_eq!((smtp.host.as_str(), smtp.port), ("::1", 2525));
    let manager = read("kind = \"alertmanager\"\nurl = \"http://localhost:9093\"");
    assert!(matches!(manager, Ok(AlertKind::Alertmanager(_, every)) if every.as_secs() == 60));
    let file = read("kind = \"file\"\npath = \"/a.jsonl\"");
    assert!(matches!(file, Ok(AlertKind::File(_, bytes)) if bytes == 16 << 20));
    let config = parse(Path::new("/c.toml"), GOOD).expect("valid");
    assert_eq!(config.alerts.database, Path::new("/var/alerts.db"));
}

#[test]
fn each_mistake_is_named_with_what_was_expected() {
    let smtp =
        "kind = \"smtp\"\nserver = \"mail\"\nfrom = \"w@example.com\"\nto = [\"o@example.com\"]\n";
    for (output, key, expected) in [
        ("kind = \"pager\"", "kind", "expected \"alertmanager\""),
        ("kind = \"webhook\"", "url", "missing"),
        (
            "kind = \"webhook\"\nurl = \"https://x\"",
            "ca_file",
            "missing",
        ),
        (
            "kind = \"webhook\"\nurl = \"http://x\"\npath = \"/x\"",
            "path",
            "has no such key",
        ),
        (
            "kind = \"webhook\"\nurl = \"http://x\"\ntoken_file = \"/x\"",
            "url",
            "not sent in the clear",
        ),
        (
            "kind = \"alertmanager\"\nurl = \"http://x\"\nevery = \"2h\"",
            "every",
            "\"1s\" to \"1h\"",
        ),
        ("kind = \"file\"", "path", "missing"),
        (
            "kind = \"file\"\npath = \"/x\"\nlanguage = \"fr\"",
            "language",
            "expected \"en\"",
        ),
        (
            "kind = \"file\"\npath = \"/x\"\nleast_severity = \"bad\"",
            "least_severity",
            "expected \"warning\"",
        ),
        ("kind = \"smtp\"", "server", "missing"),
        (
            &format!("{smtp}tls = \"yes\""),
            "tls",
            "expected \"starttls\"",
        ),
        (&format!("{smtp}user = \"u\""), "password_file", "missing"),
        (
            &format!("{smtp}tls = \"none\"\nuser = \"u\"\npassword_file = \"/p\""),
            "tls",
            "not sent in the clear",
        ),
        (&smtp.replace("o@example.com", "ops"), "to", "is no address"),
        (&smtp.replace("[\"o@example.com\"]", "[]"), "to", "1 to 50"),
        (
            &smtp.replace("w@example.com", "w@example.com\\r\\nBcc: x@y.z"),
            "from",
            "is no address",
        ),
    ] {
        let said = read(output).expect_err(output);
        assert!(
            said.contains(key) && said.contains(expected),
            "{output}: {said}"
        );
    }
    let more = format!(
        "{GOOD}[alerts]\ndatabase = \"/var/collector.db\"\npage_url = \"http://x\"\nsettle = \"1s\"\n"
    );
    let said = format!("{:#}", parse(Path::new("/c.toml"), &more).expect_err("two"));
    assert!(
        ["alerts.database", "alerts.page_url", "alerts.settle"]
            .iter()
            .all(|key| said.contains(key)),
        "{said}"
    );
}

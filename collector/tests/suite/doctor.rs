//! `doctor` beside a collector that runs and without one, and what it says of each thing that is
//! wrong.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use serde_json::Value;

use crate::crash::{PROGRAM, Serve, batch};
use crate::support::pki::Authority;
use crate::support::site::Site;

/// A site of which nothing is wrong: secrets are nobody else's.
fn site() -> Site {
    let site = Site::new();
    for name in ["server.key", "tokens", "readers"] {
        mode(&site, name, 0o600);
    }
    site
}

fn mode(site: &Site, name: &str, mode: u32) {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(site.path(name), mode).expect("a mode");
}

/// Exit code and report.
fn doctor(site: &Site) -> (i32, Value) {
    let mut command = Command::new(PROGRAM);
    command.args(["doctor", "--format", "json", "--config"]);
    let output = command.arg(site.path("collector.toml")).output();
    let output = output.expect("runs");
    let report = serde_json::from_slice(&output.stdout).expect("a report");
    (output.status.code().expect("a code"), report)
}

/// What is not as it should be: part, name and state; each says what to do.
fn wrong(report: &Value) -> Vec<(String, String, String)> {
    let findings = report["findings"].as_array().expect("findings").iter();
    let wrong = findings.filter(|finding| finding["state"] != "ok");
    wrong
        .map(|finding| {
            let advice = finding["advice"].as_str().expect("what to do");
            assert!(advice.len() > 10, "{finding}");
            let text = |name: &str| finding[name].as_str().expect("text").to_owned();
            (text("part"), text("name"), text("state"))
        })
        // How large this machine's disk and memory are is not the point.
        .filter(|(part, name, state)| {
            let of_machine = matches!(name.as_str(), "disk" | "memory" | "open files" | "time");
            !(of_machine && state == "warning" && part != "outputs")
        })
        .collect()
}

#[track_caller]
fn expect(site: &Site, code: i32, part: &str, name: &str, state: &str) -> Value {
    let (found, report) = doctor(site);
    let expected = (part.to_owned(), name.to_owned(), state.to_owned());
    assert!(wrong(&report).contains(&expected), "{report:#}");
    assert_eq!(found, code, "{report:#}");
    report
}

#[test]
fn a_collector_that_is_well_has_nothing_wrong_running_or_not() {
    let site = site();
    let serve = Serve::start(&site, "");
    for sequence in 1..=3 {
        assert_eq!(site.send(serve.at, &batch(1, sequence)).word(), "stored");
    }
    let (code, report) = doctor(&site);
    assert_eq!((code, wrong(&report)), (0, Vec::new()), "{report:#}");
    assert_eq!(report["running_pid"], serve.child.id());
    let parts = ["configuration", "store", "address", "certificate"];
    let parts = parts.iter().chain(&["credentials", "process", "clock"]);
    for part in parts {
        let findings = report["findings"].as_array().expect("findings");
        let found = findings.iter().any(|finding| finding["part"] == *part);
        assert!(found, "{part}: {report:#}");
    }
    let (code, log) = serve.end("TERM");
    assert_eq!(code, Some(0), "{log}");
    let (code, report) = doctor(&site);
    assert_eq!((code, wrong(&report)), (0, Vec::new()), "{report:#}");
    assert!(report["running_pid"].is_null());
    let table = crate::support::site::waybill(&[
        "doctor",
        "--config",
        site.path("collector.toml").to_str().expect("text"),
    ]);
    assert!(table.contains("\nstore\n"), "{table}");
    assert!(table.contains("ok       integrity: "), "{table}");
}

/// A configuration whose address is known before `serve` has it.
fn fixed(site: &Site) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address");
    let text = std::fs::read_to_string(site.configure(true, false, "")).expect("text");
    site.write(
        "collector.toml",
        &text.replace("127.0.0.1:0", &at.to_string()),
    );
    at
}

#[test]
fn the_address_is_free_answered_or_somebody_elses() {
    let site = site();
    let at = fixed(&site);
    let (code, report) = doctor(&site);
    assert_eq!(code, 0, "{report:#}");
    let taken = TcpListener::bind(at).expect("the port");
    // It is not answered, so it must not be waited for long.
    std::thread::scope(|scope| {
        scope.spawn(move || drop(taken.accept()));
        expect(&site, 1, "address", "listen.address", "failed");
    });
    let mut command = Command::new(PROGRAM);
    command.arg("serve").arg("--config");
    let serve = Serve::run(command.arg(site.path("collector.toml")));
    let (code, report) = doctor(&site);
    assert_eq!((code, wrong(&report)), (0, Vec::new()), "{report:#}");
    assert!(report.to_string().contains("answers and is ready"));
    // It still shows the old certificate, for the new one does not go with the key.
    site.write(
        "server.crt",
        &Authority::new("another").server().certificate,
    );
    let report = expect(&site, 1, "address", "listen.address", "failed");
    assert!(report.to_string().contains("another certificate"));
    expect(&site, 1, "certificate", "files", "failed");
    drop(serve);
}

#[test]
fn each_thing_that_is_wrong_is_named_with_its_exit_code() {
    let site = site();
    site.configure(true, false, "");
    expect(&site, 0, "store", "file", "warning");
    let config = std::fs::read_to_string(site.path("collector.toml")).expect("text");
    mode(&site, "tokens", 0o644);
    expect(&site, 1, "credentials", "auth.agent_token_file", "failed");
    mode(&site, "tokens", 0o600);
    let output = "[outputs.tsdb]\nkind = \"remote_write\"\nurl = \"http://127.0.0.1:9/write\"\n";
    site.write("collector.toml", &format!("{config}{output}"));
    expect(&site, 1, "outputs", "tsdb", "failed");
    let output = "[alerts.outputs.pager]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/hook\"\n";
    let key = format!(
        "{output}hmac_key_file = \"{}\"\n",
        site.path("key").display()
    );
    site.write("collector.toml", &format!("{config}{key}"));
    let report = expect(&site, 1, "alerts", "outputs.pager", "failed");
    let wrong = wrong(&report);
    for (part, name) in [
        ("alerts", "outputs.pager.hmac_key_file"),
        ("credentials", "alerts.outputs.pager.hmac_key_file"),
    ] {
        let failed = |one: &&(String, String, String)| one.0 == part && one.1 == name;
        assert!(wrong.iter().any(|one| failed(&one)), "{name}: {report:#}");
    }
    let smtp = "[alerts.outputs.mail]\nkind = \"smtp\"\nserver = \"127.0.0.1:9\"\ntls = \"none\"\n\
                from = \"a@example.com\"\nto = [\"b@example.com\"]\n";
    site.write("collector.toml", &format!("{config}{smtp}"));
    expect(&site, 1, "alerts", "outputs.mail", "failed");
    std::fs::create_dir(site.path("rules.d")).expect("a folder");
    site.write(
        "rules.d/own.toml",
        "[[rule]]\nname = \"One\"\nof = \"edge\"\n",
    );
    let rules = format!("[alerts]\nrules = \"{}\"\n", site.path("rules.d").display());
    site.write("collector.toml", &format!("{config}{rules}"));
    let report = expect(&site, 1, "alerts", "rules", "failed");
    assert!(report.to_string().contains("own.toml:"), "{report:#}");
    let folder = config.replace("collector.db", "no/such/folder.db");
    site.write("collector.toml", &folder);
    expect(&site, 5, "store", "directory", "failed");
    site.write("collector.toml", "[listen]\nport = 1\n");
    expect(&site, 2, "configuration", "file", "failed");
    site.write("collector.toml", &config);
    site.write("server.crt", "no certificate");
    expect(&site, 1, "certificate", "listen.cert_file", "failed");
    site.write(
        "collector.db",
        "no database, but a text that is long enough",
    );
    expect(&site, 5, "store", "file", "failed");
}

#[test]
fn a_damaged_store_is_named() {
    let site = site();
    let running = site.start("");
    for sequence in 1..=40 {
        let answer = site.send(running.address(), &batch(1, sequence));
        assert_eq!(answer.word(), "stored");
    }
    running.stop().expect("stops");
    let mut bytes = std::fs::read(site.store()).expect("the store");
    let length = bytes.len();
    // Everything behind the first pages, so that it can still be opened.
    bytes[length / 2..].fill(0xa5);
    std::fs::write(site.store(), bytes).expect("write");
    let (code, report) = doctor(&site);
    let wrong = wrong(&report);
    assert!(
        wrong
            .iter()
            .any(|(part, _, state)| part == "store" && state == "failed"),
        "{report:#}"
    );
    assert_eq!(code, 5);
}

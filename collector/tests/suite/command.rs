//! The command itself: what it prints and with which code it ends.

use std::path::Path;
use std::process::{Command, Output};

use crate::api::fill;
use crate::crash::Serve;
use crate::support::site::Site;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
        .args(arguments)
        .output()
        .expect("runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

fn path(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[test]
fn store_and_url_give_the_same_answers_while_it_serves() {
    let site = Site::new();
    let serve = Serve::start(&site, "");
    fill(&site, serve.at);
    let (store, url) = (site.store(), format!("https://{}", serve.at));
    let (ca, token) = (site.path("ca.crt"), site.path("readers"));
    let config = site.path("collector.toml");
    let at_store = ["--store", path(&store)];
    let at_url = [
        "--url",
        &url,
        "--ca-file",
        path(&ca),
        "--token-file",
        path(&token),
    ];
    let at_config = ["--config", path(&config)];
    for question in [
        &["topology", "--from", "0", "--to", "2030-01-01T00:00:00Z"][..],
        &[
            "topology",
            "--from",
            "0",
            "--to",
            "2030-01-01T00:00:00Z",
            "--format",
            "json",
        ],
        &["hosts"],
        &["hosts", "--format", "json"],
    ] {
        let answers: Vec<_> = [&at_store[..], &at_url, &at_config]
            .into_iter()
            .map(|source| run(&[question, source].concat()))
            .collect();
        for answer in &answers {
            assert!(answer.status.success(), "{}", text(&answer.stderr));
            assert_eq!(text(&answer.stdout), text(&answers[0].stdout));
        }
        let shown = text(&answers[0].stdout);
        assert!(shown.lines().all(|line| line.chars().count() <= 100) || shown.starts_with('{'));
        assert!(shown.contains("one"), "{shown}");
    }
    let wrong = site.path("ca.crt");
    let refused = run(&["hosts", "--url", &url, "--ca-file", path(&wrong)]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("401"),
        "{}",
        text(&refused.stderr)
    );
    let untrusted = site.path("agents.crt");
    let refused = run(&["hosts", "--url", &url, "--ca-file", path(&untrusted)]);
    assert_eq!(refused.status.code(), Some(1));
}

#[test]
fn check_config_checks_every_file_it_names() {
    let site = Site::new();
    let config = site.configure(true, true, "");
    let good = run(&["check-config", "--config", path(&config)]);
    assert!(good.status.success(), "{}", text(&good.stderr));
    assert!(text(&good.stdout).contains("valid"));
    let json = run(&[
        "check-config",
        "--config",
        path(&config),
        "--format",
        "json",
    ]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["valid"], true);

    for file in ["tokens", "server.crt", "server.key", "agents.crt"] {
        let kept = std::fs::read_to_string(site.path(file)).expect("read");
        site.write(file, "# nothing\n");
        let bad = run(&["check-config", "--config", path(&config)]);
        assert_eq!(bad.status.code(), Some(2), "{file}");
        assert!(text(&bad.stderr).contains(file), "{}", text(&bad.stderr));
        site.write(file, &kept);
    }
    let other_key = site.authority.server().key;
    site.write("server.key", &other_key);
    let bad = run(&["check-config", "--config", path(&config)]);
    assert_eq!(bad.status.code(), Some(2));
}

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    let site = Site::new();
    let nobody = site.configure(false, false, "");
    let missing = site.path("missing.db");
    site.write(
        "foreign.db",
        "this is not a database, and it is long enough to be looked at",
    );
    let foreign = site.path("foreign.db");
    for (arguments, code) in [
        (&["serve", "--config", path(&nobody)][..], 2),
        (&["serve", "--config", "/nowhere.toml"], 2),
        (&["topology", "--store", path(&missing)], 5),
        (&["topology", "--store", path(&foreign)], 5),
        (
            &["topology", "--store", path(&foreign), "--from", "yesterday"],
            2,
        ),
        (
            &["topology", "--store", path(&foreign), "--from", "1764430"],
            2,
        ),
        // The end before the begin.
        (
            &[
                "topology",
                "--store",
                path(&foreign),
                "--from",
                "5m",
                "--to",
                "6m",
            ],
            2,
        ),
        // Seconds are understood, so it is the store that is wrong.
        (
            &[
                "topology",
                "--store",
                path(&foreign),
                "--from",
                "1764430000",
            ],
            5,
        ),
        (&["topology", "--nonsense"], 2),
        (&["hosts", "--url", "https://127.0.0.1:1"], 2),
        (&["version"], 0),
        (&["version", "--format", "json"], 0),
        (&["--version"], 0),
    ] {
        let output = run(arguments);
        assert_eq!(
            output.status.code(),
            Some(code),
            "{arguments:?}: {}",
            text(&output.stderr)
        );
    }
    assert!(!missing.exists(), "asking does not create a store");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = taken.local_addr().expect("address").to_string();
    let config = site.configure(true, false, "");
    let busy = std::fs::read_to_string(&config)
        .expect("read")
        .replace("127.0.0.1:0", &address);
    std::fs::write(&config, busy).expect("write");
    assert_eq!(
        run(&["serve", "--config", path(&config)]).status.code(),
        Some(1)
    );
}

#[test]
fn tables_of_any_family_are_listed_and_shown() {
    let site = Site::new();
    let serve = Serve::start(&site, "");
    let mut batch = crate::ingest::batch();
    let mut probes = wire::DynamicTable::of(&batch.edges);
    let edges: u64 = batch.edges.iter().map(|row| row.opened).sum();
    "probe".clone_into(&mut probes.table.to_mut().name);
    batch.others.push(probes);
    let token = crate::support::site::Who::Token(crate::support::site::TOKEN);
    let body = wire::encode(&batch);
    let key = crate::support::site::key(&batch);
    let answer = site.post(serve.at, token, &key, wire::CONTENT_TYPE, &body);
    assert_eq!(answer.expect("an answer").word(), "stored");
    let store = site.store();
    let ask = |arguments: &[&str]| run(&[arguments, &["--store", path(&store)]].concat());
    let json = |arguments: &[&str]| -> serde_json::Value {
        let answer = ask(&[arguments, &["--format", "json"]].concat());
        assert!(answer.status.success(), "{}", text(&answer.stderr));
        serde_json::from_slice(&answer.stdout).expect("JSON")
    };
    let tables = json(&["tables"]);
    let tables = tables["tables"].as_array().expect("a list");
    let table = |name: &str| tables.iter().find(|table| table["name"] == name);
    let probe = table("probe").expect("it was stored");
    assert_eq!(probe["last_ms"], batch.header.end_ms);
    let columns = probe["columns"].as_array().expect("a list");
    assert!(
        columns.iter().any(|column| column["unit"] == "By"),
        "{probe}"
    );
    assert_eq!(table("edge").expect("it is known")["shown_by"], "topology");
    assert!(table("event").expect("it was stored")["last_ms"].is_i64());
    // Sums of a window, and its events.
    let all = ["--from", "0", "--to", "2040-01-01T00:00:00Z"];
    let rows = json(&[&["rows", "probe"][..], &all].concat());
    let rows = rows["tables"][0]["rows"].as_array().expect("a list");
    let opened = rows
        .iter()
        .map(|row| row["values"]["opened"].as_u64().expect("a number"));
    assert_eq!(opened.sum::<u64>(), edges);
    let events = json(&[&["rows", "event"][..], &all].concat());
    let event = &events["tables"][0]["rows"][0]["values"];
    assert_eq!(event["errno"], batch.events[0].errno);
    for question in [
        &["tables"][..],
        &["rows", "probe", "--from", "0", "--intervals"],
    ] {
        let shown = text(&ask(question).stdout);
        assert!(
            shown.lines().all(|line| line.chars().count() <= 100),
            "{shown}"
        );
        assert!(
            shown.contains("probe (series of family connection)"),
            "{shown}"
        );
    }
    for (table, why) in [("edge", "topology"), ("no_such", "tables")] {
        let refused = ask(&["rows", table]);
        assert_eq!(refused.status.code(), Some(2), "{table}");
        assert!(
            text(&refused.stderr).contains(why),
            "{}",
            text(&refused.stderr)
        );
    }
}

#[test]
fn searches_chains_and_edges_are_printed_from_a_store_and_over_https() {
    let site = Site::new();
    let serve = Serve::start(&site, "");
    fill(&site, serve.at);
    let (store, url) = (site.store(), format!("https://{}", serve.at));
    let (ca, token) = (site.path("ca.crt"), site.path("readers"));
    let at_store = ["--store", path(&store)];
    let at_url = [
        "--url",
        &url,
        "--ca-file",
        path(&ca),
        "--token-file",
        path(&token),
    ];
    let all = ["--from", "0", "--to", "2030-01-01T00:00:00Z"];
    let both = |question: &[&str]| {
        let answers =
            [&at_store[..], &at_url].map(|source| run(&[question, &all, source].concat()));
        for answer in &answers {
            assert!(
                answer.status.success(),
                "{question:?}: {}",
                text(&answer.stderr)
            );
        }
        let [local, remote] = answers.map(|answer| text(&answer.stdout).to_owned());
        assert_eq!(local, remote, "{question:?}");
        assert!(local.starts_with('{') || local.lines().all(|line| line.chars().count() <= 100));
        local
    };
    let found = both(&["search", "nginx"]);
    assert!(found.contains("web/nginx"), "{found}");
    let json: serde_json::Value =
        serde_json::from_str(&both(&["search", "nginx", "--format", "json"])).expect("JSON");
    let edge = json["hits"].as_array().expect("hits").iter();
    let mut edges = edge.filter_map(|hit| hit["href"].as_str()?.strip_prefix("/api/v1/edges/"));
    // Names find nodes, addresses find edges.
    assert_eq!(edges.next(), None);
    let chain = both(&["chain", "10.1.0.2:32769 -> 10.1.0.100:80"]);
    assert!(
        chain.contains("this connection; evidence: token"),
        "{chain}"
    );
    assert!(
        chain.contains("out 10.1.0.2:32769 -> 10.1.0.100:80"),
        "{chain}"
    );
    assert!(chain.contains("ends at web/nginx"), "{chain}");
    let key = chain
        .split("edge ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let shown = both(&["edge", key.expect("a key")]);
    assert!(shown.contains("one/curl -> web/nginx"), "{shown}");
    assert!(shown.contains("rtt at the client: p50"), "{shown}");
    judged(&both, key.expect("a key"));
    for (question, code, why) in [
        (&["chain", "web"][..], 2, "two addresses"),
        (&["diagnose", "web"], 2, "two addresses"),
        (&["edge", "e-0000000000000000"], 1, "no edge"),
        (&["search", "x", "--from", "yesterday"], 2, "2026-01-02"),
    ] {
        let refused = run(&[question, &at_store].concat());
        assert_eq!(refused.status.code(), Some(code), "{question:?}");
        assert!(
            text(&refused.stderr).contains(why),
            "{}",
            text(&refused.stderr)
        );
    }
}

/// What is wrong with the edge of this key, and with a connection of it.
fn judged(both: &dyn Fn(&[&str]) -> String, key: &str) {
    for what in [key, "10.1.0.2:32769 -> 10.1.0.100:80"] {
        let judged = both(&["diagnose", what]);
        assert!(judged.contains("one/curl -> web/nginx"), "{judged}");
        assert!(judged.contains("RULED OUT\n"), "{judged}");
        assert!(judged.contains("NOT KNOWN\n"), "{judged}");
        // The simulated fleet sends one segment in ten again.
        assert!(
            judged.contains("LIKELY\n  10.00% of what web/nginx sends"),
            "{judged}"
        );
        // No gateway tells what it translates.
        assert!(judged.contains("addresses change"), "{judged}");
        let chinese = both(&["diagnose", what, "--language", "zh"]);
        assert!(chinese.contains("往返时延"), "{chinese}");
    }
}

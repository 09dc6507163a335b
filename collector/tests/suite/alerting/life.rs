//! The life of an alert, as people see and change it.

use std::process::Command;

use serde_json::{Value, json};

use super::{fires, found, silence, take, window};
use crate::openapi::{Document, ask};
use crate::people::{Browser, add, word};
use crate::support::site::Site;

#[test]
fn an_alert_is_found_acknowledged_and_over_and_says_so_in_both_languages() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    add(&site, "op", "operator");
    add(&site, "ann", "viewer");
    let (op, ann) = (Browser::of(&site, at, "op"), Browser::of(&site, at, "ann"));
    assert_eq!(ann.get("/api/v1/alerts").json()["at_ms"], 0);
    let id = fires(&site.path("alerts.db"));
    let document = Document::of(&site, at);
    let list = ask(&site, at, "/api/v1/alerts");
    document.hold(&document.operation("alerts"), &list, "alerts");
    let list = list.json();
    assert_eq!(list["counts"]["warning"], 1);
    assert_eq!(list["groups"][0]["count"], 1);
    let alert = &list["alerts"][0];
    assert_eq!(
        (&alert["id"], &alert["phase"]),
        (&json!(id), &json!("firing"))
    );
    assert_eq!(alert["name"], "web/nginx -> app/api (10.2.0.9:80)");
    assert!(alert["summary"].as_str().expect("text").contains("usual 0"));
    let path = format!("/api/v1/alerts/{id}");
    let zh = ask(&site, at, &format!("{path}?language=zh"));
    document.hold(&document.operation("alert"), &zh, "alert");
    let zh = zh.json();
    assert!(
        zh["alert"]["summary"]
            .as_str()
            .expect("text")
            .contains("失败")
    );
    let steps = zh["history"].as_array().expect("a list").iter();
    let steps: Vec<_> = steps.map(|one| one["what"].clone()).collect();
    assert_eq!(steps, ["firing", "pending"]);
    // Who only reads changes nothing.
    let ack = format!("{path}/ack");
    let refused = ann.post(&ack, json!({ "why": "x" }));
    assert_eq!((refused.status, &*word(&refused)), (403, "forbidden"));
    let known = op.post(&ack, json!({ "why": "looking" })).json();
    assert_eq!(
        (&known["who"], &known["why"]),
        (&json!("user:op"), &json!("looking"))
    );
    let shown = ann.get(&path).json();
    assert_eq!(shown["alert"]["acknowledged"]["why"], "looking");
    assert_eq!(op.post("/api/v1/alerts/a-0/ack", json!({})).status, 404);
    take(
        &site.path("alerts.db"),
        &found(collector::time::now_ms() + 60_000, &[]),
        &[],
    );
    let over = ann.get("/api/v1/alerts?phase=resolved").json();
    assert_eq!(over["alerts"][0]["id"], json!(id));
    assert_eq!(over["groups"], json!([]));
    assert_eq!(ann.get("/api/v1/alerts").json()["alerts"], json!([]));
    let again = op.post(&ack, json!({ "why": "late" }));
    assert_eq!((again.status, &*word(&again)), (409, "conflict"));
}

#[test]
fn silences_and_windows_are_kept_and_mute_what_they_mean() {
    let site = Site::new();
    let running = site.start("");
    let at = running.address();
    add(&site, "op", "operator");
    let op = Browser::of(&site, at, "op");
    let document = Document::of(&site, at);
    fires(&site.path("alerts.db"));
    let muted = |op: &Browser| op.get("/api/v1/alerts").json()["alerts"][0]["muted"].clone();
    assert_eq!(muted(&op), Value::Null);
    let made = op.post("/api/v1/silences", silence());
    document.hold(&document.operation("addSilence"), &made, "made");
    let id = made.json()["id"].as_i64().expect("a number");
    let list = ask(&site, at, "/api/v1/silences");
    document.hold(&document.operation("silences"), &list, "list");
    assert_eq!(muted(&op)["why"], "it is moved");
    let mut other = silence();
    other["matchers"][0]["value"] = json!("other*");
    let path = format!("/api/v1/silences/{id}");
    assert_eq!(op.send("PUT", &path, Some(other)).status, 200);
    assert_eq!(muted(&op), Value::Null);
    assert_eq!(op.send("DELETE", &path, None).status, 200);
    assert_eq!(op.send("DELETE", &path, None).status, 404);
    let made = op.post("/api/v1/maintenance", window());
    document.hold(&document.operation("addMaintenance"), &made, "window");
    let list = ask(&site, at, "/api/v1/maintenance");
    document.hold(&document.operation("maintenance"), &list, "windows");
    for (path, wrong) in [
        ("/api/v1/silences", json!({})),
        (
            "/api/v1/silences",
            json!({ "matchers": [], "until_ms": 1, "why": "x" }),
        ),
        ("/api/v1/maintenance", json!({ "name": "x" })),
    ] {
        let refused = op.post(path, wrong.clone());
        assert_eq!(
            (refused.status, &*word(&refused)),
            (400, "request"),
            "{wrong}"
        );
    }
    let mut wrong = silence();
    wrong["matchers"][0]["label"] = json!("colour");
    let refused = op.post("/api/v1/silences", wrong);
    let text = String::from_utf8_lossy(&refused.body).into_owned();
    assert!(text.contains("there are rule, severity"), "{text}");
}

#[test]
fn commands_list_show_acknowledge_and_silence_and_tell_pipelines() {
    let site = Site::new();
    let running = site.start("");
    let id = fires(&site.path("alerts.db"));
    let config = site.path("collector.toml").display().to_string();
    let (url, ca) = (
        format!("https://{}", running.address()),
        site.path("ca.crt").display().to_string(),
    );
    site.write("op", "an-operator-of-this-test");
    let local = ["--config", &config];
    let admin = site.path("admin").display().to_string();
    site.write("admin", crate::support::site::ADMIN);
    let remote = ["--url", &url, "--ca-file", &ca, "--token-file", &admin];
    let run = |words: &[&str], place: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
            .args([&["alerts"], words, place].concat())
            .output()
            .expect("runs");
        let text = String::from_utf8(output.stdout).expect("text");
        (
            output.status.code(),
            text + &String::from_utf8_lossy(&output.stderr),
        )
    };
    for place in [&local[..], &remote] {
        let (code, text) = run(&["list"], place);
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains(&id) && text.contains("edge-failing"),
            "{text}"
        );
        assert_eq!(run(&["list", "--fail-on", "critical"], place).0, Some(0));
        let (code, text) = run(&["list", "--fail-on", "warning"], place);
        assert_eq!(code, Some(7), "{text}");
        let (code, text) = run(&["show", &id, "--format", "json"], place);
        let shown: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!((code, &shown["alert"]["id"]), (Some(0), &json!(id)));
        let (code, text) = run(&["show", &id, "--language", "zh"], place);
        assert!(code == Some(0) && text.contains("失败"), "{text}");
        // Also beside a collector that does not run, as far as it is asked there.
        for part in ["发起的连接未能建立", "服务端没有监听", "检查服务端的监听"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let (code, text) = run(&["ack", &id, "--why", "looking"], place);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(run(&["list", "--fail-on", "warning"], place).0, Some(0));
        assert_eq!(run(&["ack", &id, "--undo"], place).0, Some(0));
        let (code, _) = run(&["list", "--fail-on", "warning"], place);
        assert_eq!(code, Some(7));
    }
    let (code, text) = run(&["silence", "service=api", "--why", "move"], &local);
    assert!(
        code == Some(0) && text.contains("silence 1 until"),
        "{text}"
    );
    assert_eq!(run(&["list", "--fail-on", "warning"], &remote).0, Some(0));
    let (code, text) = run(&["silence", "colour=red", "--why", "move"], &local);
    assert!(code == Some(2) && text.contains("no label"), "{text}");
    assert_eq!(run(&["show", "a-0"], &local).0, Some(2));
    let help = run(&["list", "--help"], &[]).1;
    assert!(help.contains("exit code 7"), "{help}");
}

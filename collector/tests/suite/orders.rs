//! Orders of the fleet: made by a command beside a collector that serves, and sent to who lacks them.

use std::process::{Command, Output};

use ring::signature::{ED25519, UnparsedPublicKey};
use serde_json::Value;
use wire::orders::{HEADER, Orders};
use wire::{Batch, BatchHeader, HostRow};

use crate::support::site::{Site, TOKEN, key, start};

fn fleet(site: &Site, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
        .arg("fleet")
        .args(arguments)
        .arg("--config")
        .arg(site.path("collector.toml"))
        .output()
        .expect("runs")
}

fn order(site: &Site, arguments: &[&str]) -> String {
    let output = fleet(site, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).expect("text")
}

/// A site with a signing key.
fn site() -> Site {
    let site = Site::new();
    let key = site.path("orders.key");
    let made = Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
        .args(["fleet", "keygen", "--out"])
        .arg(&key)
        .output()
        .expect("runs");
    assert!(made.status.success());
    let fleet = format!("[fleet]\nsigning_key_file = {key:?}");
    site.configure(true, false, &fleet);
    site
}

fn batch(sequence: u64, said: &str) -> Batch {
    Batch {
        header: BatchHeader {
            host: [7; 16],
            boot: [9; 16],
            sequence,
            start_ms: sequence,
            end_ms: sequence + 1,
        },
        hosts: vec![HostRow {
            hostname: "one".into(),
            plan: vec![("orders".into(), said.into())],
            ..HostRow::default()
        }],
        ..Batch::default()
    }
}

/// Posts a batch as an agent that has this version; none for one that takes no orders.
fn post(site: &Site, at: std::net::SocketAddr, batch: &Batch, version: Option<u64>) -> Value {
    let mut request = site
        .client(crate::support::site::Who::Nobody)
        .post(format!("https://{at}/api/v1/batches"))
        .header("Content-Type", wire::CONTENT_TYPE)
        .header("Idempotency-Key", key(batch))
        .header("Authorization", format!("Bearer {TOKEN}"));
    if let Some(version) = version {
        request = request.header(HEADER, version.to_string());
    }
    let mut response = request.send(&wire::encode(batch)[..]).expect("an answer");
    let text = response.body_mut().read_to_string().expect("text");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn an_answer_carries_the_newest_orders_to_who_asks_and_lacks_them() {
    let site = site();
    let config = collector::config::load(&site.path("collector.toml")).expect("valid");
    let running = start(&config);
    let at = running.address();
    assert!(
        post(&site, at, &batch(1, ""), Some(0))
            .get("orders")
            .is_none()
    );
    order(&site, &["option", "off"]);
    order(&site, &["option", "on", "--hosts", "edge-*"]);
    let answer = post(&site, at, &batch(2, ""), Some(0));
    assert_eq!(answer["status"], "stored");
    let body = answer["orders"]["body"].as_str().expect("a body");
    let orders = Orders::parse(body.as_bytes()).expect("orders");
    assert_eq!(orders.rules.len(), 2);
    verify(
        &site,
        body,
        answer["orders"]["signature"].as_str().expect("a signature"),
    );
    // A repetition is answered alike; who has them, or does not ask, gets none.
    let again = post(&site, at, &batch(2, ""), Some(orders.version - 1));
    assert_eq!(
        (&again["status"], again["orders"].is_object()),
        (&"duplicate".into(), true)
    );
    for version in [Some(orders.version), Some(u64::MAX), None] {
        assert!(
            post(&site, at, &batch(2, ""), version)
                .get("orders")
                .is_none()
        );
    }
    assert_eq!(running.metrics().orders_sent_total.get(), 2);
}

fn verify(site: &Site, body: &str, signature: &str) {
    let bytes = |text: &str| -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex"))
            .collect()
    };
    let public = std::fs::read_to_string(site.path("orders.key.pub")).expect("a key");
    UnparsedPublicKey::new(&ED25519, bytes(public.trim()))
        .verify(body.as_bytes(), &bytes(signature))
        .expect("signed by the key that was made");
}

#[test]
fn show_says_what_is_ordered_and_who_has_it_in_force() {
    let site = site();
    let config = collector::config::load(&site.path("collector.toml")).expect("valid");
    let running = start(&config);
    assert!(order(&site, &["show"]).contains("no orders yet"));
    let said = order(
        &site,
        &[
            "set",
            "--destinations",
            "10.0.0.0/8,fc00::/7",
            "--family",
            "nat=off",
            "--family",
            "listener=off",
        ],
    );
    let version = said.split([' ', ':']).nth(1).expect("a version").to_owned();
    let row = format!("version {version}: listener off");
    post(
        &site,
        running.address(),
        &batch(1, "version 1: nothing for this host"),
        Some(0),
    );
    let shown = order(&site, &["show"]);
    for part in [
        "destinations 10.0.0.0/8 fc00::/7",
        "listener off",
        "nat off",
        "in force on 0 of 1 hosts",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    post(&site, running.address(), &batch(2, &row), Some(0));
    let shown = order(&site, &["show", "--format", "json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    assert_eq!(shown["hosts"][0]["in_force"], true);
    assert_eq!(shown["hosts"][0]["orders"], row.as_str());
    assert_eq!(shown["rules"][0]["says"][1][0], "listener");
    order(
        &site,
        &["set", "--family", "listener=default", "--nat", "on"],
    );
    let shown = order(&site, &["show", "--format", "json"]);
    let shown: Value = serde_json::from_str(&shown).expect("JSON");
    let says = &shown["rules"][0]["says"];
    assert_eq!(says[1], serde_json::json!(["nat", "on"]), "{says}");
}

#[test]
fn what_cannot_be_ordered_is_refused_with_what_was_expected() {
    let site = site();
    for (arguments, expected) in [
        (
            &["set", "--sample-level", "99"][..],
            "a number from 0 to 32",
        ),
        (
            &["set", "--destinations", "10.0.0.1/8"],
            "a network without host bits",
        ),
        (&["set", "--events", "maybe"], "on or off"),
        (
            &["set", "--family", "listnr=off"],
            "one of the families connection, listener, nat",
        ),
        (
            &["set", "--family", "process=off"],
            "one of the families connection, listener, nat",
        ),
        (&["set", "--family", "option=off"], "NAME=SWITCH"),
        (&["set", "--family", "nat"], "NAME=SWITCH"),
        (&["set", "--family", "nat=perhaps"], "on or off, or default"),
        (&["option", "off", "--hosts", "a b"], "without spaces"),
        (&["set"], "required"),
    ] {
        let output = fleet(&site, arguments);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    site.configure(true, false, "");
    let output = fleet(&site, &["option", "off"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("fleet.signing_key_file"), "{said}");
}

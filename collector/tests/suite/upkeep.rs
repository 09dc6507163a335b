//! What an operator does with a store: check, backup, restore, vacuum.

use std::process::Command;

use collector::store::upkeep;

use crate::crash::Serve;
use crate::support::site::{Site, TOKEN, Who, count, waybill};
use crate::support::world::World;

fn refused(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_waybill-collector"))
        .args(arguments)
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(5), "{arguments:?}: {output:?}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

#[test]
fn a_store_is_backed_up_while_it_is_written_checked_and_restored() {
    let site = Site::new();
    let serve = Serve::start(&site, "");
    let mut world = World::new();
    let host = world.host("one");
    let mut send = |sequence| {
        world.event(host, sequence);
        let batch = world.tick().remove(0);
        let answer = site
            .send_as(serve.at, Who::Token(TOKEN), &batch)
            .expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    (1..=5).for_each(&mut send);
    let path = |name: &str| site.path(name).to_str().expect("text").to_owned();
    let (store, copy, other) = (path("collector.db"), path("copy.db"), path("other.db"));
    waybill(&["store", "backup", &copy, "--store", &store]);
    send(6);
    assert_eq!(
        (
            count(site.store().as_path(), "batch"),
            count(&site.path("copy.db"), "batch")
        ),
        (6, 5)
    );
    let said = refused(&["store", "backup", &copy, "--store", &store]);
    assert!(said.contains("copy.db"), "{said}");
    assert!(waybill(&["store", "check", "--store", &store]).contains("6 batches"));
    // Never over a store that is there.
    refused(&["store", "restore", &copy, "--store", &store]);
    waybill(&["store", "restore", &copy, "--store", &other]);
    assert_eq!(count(&site.path("other.db"), "batch"), 5);
    assert!(waybill(&["store", "check", "--store", &other]).contains("5 batches"));
    drop(serve);
    // What was deleted is given back.
    let db = rusqlite::Connection::open(site.path("other.db")).expect("store");
    db.execute_batch(
        "CREATE TABLE much (x); INSERT INTO much VALUES (zeroblob(2000000)); DROP TABLE much;",
    )
    .expect("much");
    drop(db);
    let shrunk = upkeep::vacuum(&site.path("other.db")).expect("vacuum");
    assert!(
        shrunk.after_bytes + 1_900_000 < shrunk.before_bytes,
        "{shrunk:?}"
    );
    assert_eq!(count(&site.path("other.db"), "batch"), 5);
}

#[test]
fn a_damaged_store_is_named_and_never_restored() {
    let site = Site::new();
    let running = site.start("");
    let mut world = World::new();
    let host = world.host("one");
    world.event(host, 1);
    site.send(running.address(), &world.tick().remove(0));
    running.stop().expect("stops");
    let db = rusqlite::Connection::open(site.store()).expect("store");
    db.execute("UPDATE batch SET first_block = 1", ())
        .expect("write");
    db.execute(
        "INSERT INTO block VALUES (1000, 1, 1, 0, 0, 0, 0, 1, 1, x'0505')",
        (),
    )
    .expect("write");
    drop(db);
    let store = site.store().to_str().expect("text").to_owned();
    let said = refused(&["store", "check", "--store", &store]);
    assert!(said.contains("block 1000"), "{said}");
    let other = site.path("other.db");
    let other = other.to_str().expect("text");
    refused(&["store", "restore", &store, "--store", other]);
    assert!(!site.path("other.db").exists());
}

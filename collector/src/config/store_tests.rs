//! `[store]`: where rows are kept.

use std::path::Path;

use super::tests::GOOD;
use super::{Config, Error, StoreKind, parse};

const NODES: &str = "kind = \"clickhouse\"\n[store.clickhouse]\n\
                     urls = [\"https://a:8443\", \"https://b:8443\"]\nca_file = \"/ca\"\n";

fn with(store: &str) -> Result<Config, Error> {
    parse(Path::new("x"), &format!("{GOOD}\n[store]\n{store}\n"))
}

#[test]
fn rows_are_kept_in_a_database_or_on_servers() {
    let config = with("").expect("good");
    assert_eq!(config.store.kind, StoreKind::Sqlite);
    assert!(config.store.name().ends_with("collector.db"));
    let config = with(&format!(
        "{NODES}cluster = \"both\"\nreplicated = true\nquorum = 2"
    ));
    let store = config.expect("good").store;
    let servers = store.servers().expect("servers");
    assert_eq!(servers.cluster.as_deref(), Some("both"));
    assert_eq!((servers.replicated, servers.quorum), (true, Some(2)));
    assert_eq!(store.name(), "https://a:8443,https://b:8443/waybill");
    // Servers to copy to, while the database is in use.
    let store = with(&NODES.replace("clickhouse\"", "sqlite\""))
        .expect("good")
        .store;
    assert!(store.clickhouse.is_some() && store.servers().is_none());
}

#[test]
fn what_cannot_be_is_named() {
    let alone = "kind = \"clickhouse\"\n[store.clickhouse]\nurls =";
    let output = "[outputs.a]\nkind = \"file\"\npath = \"/x\"\nformat = \"json\"";
    for (store, expected) in [
        ("kind = \"oracle\"", "store.kind: expected \"sqlite\""),
        ("kind = \"clickhouse\"", "store.clickhouse.urls: expected"),
        (
            &format!("{alone} [\"ftp://a\"]"),
            "clickhouse.urls: expected",
        ),
        (
            &format!("{alone} [\"https://u@a\"]"),
            "clickhouse.urls: expected",
        ),
        (
            &format!("{alone} [\"https://a\"]"),
            "clickhouse.ca_file: missing",
        ),
        (
            &format!("{alone} [\"http://a\"]\npassword_file = \"/p\""),
            "in the clear",
        ),
        (
            &format!("{NODES}database = \"a-b\""),
            "clickhouse.database: expected",
        ),
        (
            &format!("{NODES}cluster = \"a'b\""),
            "clickhouse.cluster: expected",
        ),
        (
            &format!("{NODES}replicated = true"),
            "a store.clickhouse.cluster",
        ),
        (
            &format!("{NODES}cluster = \"a\"\nquorum = 2"),
            "clickhouse.quorum: expected",
        ),
        (&format!("{NODES}{output}"), "outputs: expected none"),
    ] {
        let message = with(store).expect_err(store).to_string();
        assert!(message.contains(expected), "{store}: {message}");
    }
}

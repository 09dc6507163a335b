//! On real servers: the answers of every store, deduplication, what a stop leaves.

use std::time::Duration;

use proptest::prelude::Strategy;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::servers::Servers;
use super::*;
use crate::store::tests::contract_tests::{
    self, Tried, answers_as_a_file, keeps_to_its_meter, knows_batches_and_credentials,
};

fn config(servers: &Servers) -> ClickHouse {
    ClickHouse {
        urls: servers.urls.clone(),
        database: String::from("waybill"),
        user: String::from("default"),
        password_file: None,
        ca_file: None,
        cluster: servers.cluster.map(str::to_owned),
        replicated: false,
        quorum: None,
        timeout: Duration::from_secs(30),
    }
}

fn tried(servers: &Servers) -> Tried {
    let cluster = Cluster::open(&config(servers)).unwrap();
    Tried {
        batches: cluster.batches(100),
        source: Box::new(cluster),
    }
}

/// The first history that a fixed seed gives.
fn example<T>(strategy: impl Strategy<Value = T>) -> T {
    let mut runner = TestRunner::deterministic();
    strategy.new_tree(&mut runner).unwrap().current()
}

#[test]
fn two_nodes_know_batches_and_credentials() {
    if let Some(servers) = Servers::two_nodes() {
        knows_batches_and_credentials(tried(&servers));
    }
}

#[test]
fn a_current_server_knows_batches_and_credentials() {
    if let Some(servers) = Servers::current() {
        knows_batches_and_credentials(tried(&servers));
    }
}

#[test]
fn a_question_to_two_nodes_keeps_to_its_meter() {
    if let Some(servers) = Servers::two_nodes() {
        keeps_to_its_meter(tried(&servers));
    }
}

#[test]
fn two_nodes_answer_as_a_file() {
    if let Some(servers) = Servers::two_nodes() {
        let (history, order) = example(contract_tests::deliveries());
        answers_as_a_file(tried(&servers), (&history, &order));
    }
}

/// Days that are older than the age go whole, and readers know it.
fn forgets_old_days(servers: &Servers) {
    let cluster = Cluster::open(&config(servers)).unwrap();
    let day = |number: i64| {
        let mut batch = contract_tests::batch_of_host(u8::try_from(number).unwrap());
        batch.header.end_ms = number.unsigned_abs() * 86_400_000 + 3_600_000;
        batch.header.start_ms = batch.header.end_ms - 10_000;
        crate::store::tests::opened(batch)
    };
    let days: Vec<_> = (1..=9).map(day).collect();
    let now_ms = 9 * 86_400_000 + 7_200_000;
    let mut batches = cluster.batches(100);
    for outcome in batches.put(&days.iter().collect::<Vec<_>>(), now_ms) {
        assert!(
            matches!(outcome, Ok(crate::store::Outcome::Stored { .. })),
            "{outcome:?}"
        );
    }
    // The third day ends within three days before, and the fourth as well.
    let mut retention = crate::store::Retention::new(4 * 86_400_000);
    let deleted = batches.retain(&mut retention, now_ms).unwrap();
    assert_eq!((deleted.batches, deleted.samples), (4, 4));
    let mut reader = Source::open(&cluster).unwrap();
    let hosts = reader.hosts(None, 100, usize::MAX).unwrap();
    let hosts: Vec<u8> = hosts.iter().map(|host| host.host.0[0]).collect();
    assert_eq!(hosts, [5, 6, 7, 8, 9]);
    let window = |from_ms, to_ms| crate::store::Window { from_ms, to_ms };
    let moment = reader.moment().unwrap();
    let whole = |of: crate::store::Window| {
        let pieces = [crate::store::Piece::Rows(of)];
        moment.whole_from(of, &pieces).unwrap()
    };
    assert_eq!(whole(window(86_400_000, now_ms)), Some(5 * 86_400_000 - 1));
    assert_eq!(whole(window(5 * 86_400_000, now_ms)), None);
    // Nothing more.
    drop(moment);
    assert_eq!(batches.retain(&mut retention, now_ms).unwrap().batches, 0);
}

#[test]
fn two_nodes_forget_old_days() {
    if let Some(servers) = Servers::two_nodes() {
        forgets_old_days(&servers);
    }
}

#[test]
fn a_current_server_forgets_old_days() {
    if let Some(servers) = Servers::current() {
        forgets_old_days(&servers);
    }
}

#[test]
fn a_current_server_answers_as_a_file() {
    if let Some(servers) = Servers::current() {
        let (history, order) = example(contract_tests::deliveries());
        answers_as_a_file(tried(&servers), (&history, &order));
    }
}

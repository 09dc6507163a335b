//! The store where it is on ClickHouse: whether each node answers, and knows what it has to.

use super::finding::{Finding, Part};
use crate::clickhouse::{Kept, Node, look};
use crate::config::ClickHouse;
use crate::{escape, time};

const PART: Part = Part("store");

pub(super) fn examine(config: &ClickHouse) -> Vec<Finding> {
    let seen = match look(config) {
        Ok(seen) => seen,
        Err(error) => {
            let advice = "mend ca_file or password_file of store.clickhouse";
            return vec![PART.failed("clickhouse", error.with_causes(), advice)];
        }
    };
    let mut findings = Vec::new();
    for (url, node) in config.urls.iter().zip(seen.nodes) {
        findings.push(match node {
            Ok(node) => answers(config, url, &node),
            Err(error) => PART.failed(
                url,
                escape::shorten(&error.with_causes(), 500),
                "start the node, or mend the way to it, ca_file, user and password_file; batches \
                 of its hosts are answered with 503 meanwhile",
            ),
        });
    }
    findings.extend(seen.kept.map(data));
    findings
}

fn answers(config: &ClickHouse, url: &str, node: &Node) -> Finding {
    let Node {
        version,
        tables,
        knows_cluster,
        by_token,
    } = node;
    if let (Some(cluster), false) = (&config.cluster, knows_cluster) {
        return PART.failed(
            url,
            format!("ClickHouse {version} does not know the cluster {cluster}"),
            "name it in remote_servers of the node, or correct store.clickhouse.cluster",
        );
    }
    if *tables == 0 {
        let what = format!("ClickHouse {version}, without tables of ours");
        return PART.warning(url, what, "`serve` makes them; nothing is stored yet");
    }
    let repeated = if *by_token {
        "by a token"
    } else {
        "when they are read"
    };
    PART.ok(
        url,
        format!("ClickHouse {version}, {tables} tables; rows that come twice are known {repeated}"),
    )
}

fn data(kept: Kept) -> Finding {
    let Kept { batches, ends_ms } = kept;
    let Some((oldest, newest)) = ends_ms else {
        return PART.ok("data", "none yet");
    };
    PART.ok(
        "data",
        format!(
            "{batches} batches, from {} to {}",
            time::rfc3339(oldest),
            time::rfc3339(newest)
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::doctor::State;

    #[test]
    fn each_node_has_its_state_and_advice() {
        let config = |cluster: Option<&str>| ClickHouse {
            urls: vec![String::from("http://127.0.0.1:1")],
            database: String::from("waybill"),
            user: String::from("default"),
            password_file: None,
            ca_file: None,
            cluster: cluster.map(str::to_owned),
            replicated: false,
            quorum: None,
            timeout: Duration::from_secs(5),
        };
        let of = |cluster, tables, knows_cluster| {
            let node = Node {
                version: String::from("26.9"),
                tables,
                knows_cluster,
                by_token: true,
            };
            answers(&config(cluster), "x", &node).state
        };
        assert_eq!(of(None, 10, false), State::Ok);
        assert_eq!(of(Some("both"), 10, true), State::Ok);
        assert_eq!(of(Some("both"), 10, false), State::Failed);
        assert_eq!(of(None, 0, false), State::Warning);
        // Nobody listens there.
        let found = examine(&config(None));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].state, State::Failed);
        assert!(found[0].advice.is_some());
    }
}

//! What an operator wants to know of the nodes before anything is asked of them; changes nothing.

use super::cells::Cells;
use super::client::Server;
use super::tables::BATCH;
use crate::config::ClickHouse;
use crate::store::Error;

/// What was found.
#[derive(Debug)]
pub struct Seen {
    /// Each node, in the order of the configuration.
    pub nodes: Vec<Result<Node, Error>>,
    /// What is stored on all of them; `None` where there is nothing of ours or a node is missing.
    pub kept: Option<Kept>,
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Of ClickHouse.
    pub version: String,
    /// Tables in our database.
    pub tables: u64,
    /// Whether it knows the cluster of the configuration.
    pub knows_cluster: bool,
    /// Whether it knows rows that come twice by a token.
    pub by_token: bool,
}

/// What is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Batches, each as often as it is there.
    pub batches: u64,
    /// Ends of the oldest and the newest interval, Unix milliseconds; `None` where there is none.
    pub ends_ms: Option<(i64, i64)>,
}

/// Looks at the nodes.
///
/// # Errors
/// When a file of the configuration cannot be read.
pub fn look(config: &ClickHouse) -> Result<Seen, Error> {
    let server = Server::new(config)?;
    let (database, cluster) = (&config.database, config.cluster.as_deref());
    let cluster = cluster.unwrap_or_default();
    let sql = format!(
        "SELECT version(), (SELECT count() FROM system.tables WHERE database = '{database}'),
             (SELECT count() FROM system.clusters WHERE cluster = '{cluster}'),
             (SELECT count() FROM system.settings WHERE name = 'insert_deduplication_token')"
    );
    let node = |rows: Vec<u8>| {
        let mut cells = Cells(&rows);
        Ok(Node {
            version: cells.string()?,
            tables: cells.number(8)?,
            knows_cluster: cells.number(8)? > 0,
            by_token: cells.number(8)? > 0,
        })
    };
    let nodes = server.ask_each(&sql).map(|rows| rows.and_then(node));
    let nodes: Vec<Result<Node, Error>> = nodes.collect();
    let is_there = |node: &Result<Node, Error>| node.as_ref().is_ok_and(|node| node.tables > 0);
    let kept = nodes.iter().all(is_there).then(|| kept(&server));
    Ok(Seen {
        nodes,
        kept: kept.and_then(Result::ok),
    })
}

fn kept(server: &Server) -> Result<Kept, Error> {
    let (database, table) = (&server.dialect.database, BATCH.0);
    let rows = server.ask_small(&format!(
        "SELECT count(), min(at_ms), max(at_ms) FROM `{database}`.{table}"
    ))?;
    let mut cells = Cells(&rows);
    let batches = cells.number(8)?;
    let ends_ms = (cells.signed()?, cells.signed()?);
    Ok(Kept {
        batches,
        ends_ms: (batches > 0).then_some(ends_ms),
    })
}

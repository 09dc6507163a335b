//! Agents and collectors that are killed.

use anyhow::{Context, Result, ensure};
use rusqlite::{Connection, OpenFlags};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::balance::all_stored;
use tests::lab::collector::Collector;
use tests::lab::programs;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::wait::wait_until;

use crate::scene::{SETTLE, Scene, shop};

/// One run of an agent as the collector stored it.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) batches: u64,
    pub(crate) last: u64,
}

impl Run {
    pub(crate) fn all(collector: &Collector) -> Result<Vec<Self>> {
        let store = Connection::open_with_flags(
            collector.store(),
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        let mut query = store.prepare(
            "SELECT count(*), max(sequence), count(DISTINCT sequence) FROM batch GROUP BY boot_id",
        )?;
        let rows = query.query_map([], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, i64>(2)?,
            ))
        })?;
        rows.map(|row| {
            let (batches, last, distinct) = row?;
            ensure!(
                batches == distinct,
                "{} batches stored twice",
                batches - distinct
            );
            Ok(Self {
                batches: batches.try_into()?,
                last: last.try_into()?,
            })
        })
        .collect()
    }
}

pub(crate) fn kills(lab: &Lab, settings: &Settings) -> Result<()> {
    let mut scene = Scene::with(lab, (1, 1), Nat::Snat, Middlebox::Plain, settings)?;
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let client = scene.site.clients[0].clone();
    let endpoint = scene.site.backend(0, Family::V4);
    let mut opened = 0;
    let mut open = |count: u64| -> Result<u64> {
        let seen = client.connect(endpoint, &["--count", &count.to_string()])?;
        ensure!(seen.iter().all(|c| c.error.is_empty()), "{seen:?}");
        opened += count;
        Ok(opened)
    };
    // 1: the collector is killed, and agents go on; then the agents are killed.
    open(30)?;
    all_stored(&scene.agents, SETTLE)?;
    scene.collector.kill()?;
    open(30)?;
    all_stored(&scene.agents, SETTLE)?;
    for agent in &mut scene.agents {
        agent.kill()?;
    }
    // 2: new runs find the old spool; the collector is killed again while they send it.
    for agent in &mut scene.agents {
        agent.start()?;
    }
    open(30)?;
    scene.collector.start()?;
    scene.collector.kill()?;
    all_stored(&scene.agents, SETTLE)?;
    let total = open(30)?;
    scene.collector.start()?;
    scene
        .settle_and_stop(|topology| {
            let edge = topology.edge(&shop(&client), endpoint)?;
            let counted = (edge.client_side()?.opened, edge.server_side()?.opened);
            ensure!(
                counted == (total, total),
                "{counted:?} of {total} connections"
            );
            ensure!(
                edge.connections == total,
                "{} joined of {total}",
                edge.connections
            );
            Ok(())
        })
        .context("after all kills")?;
    let runs = wait_until(SETTLE, "runs of two agents", || {
        Ok(Some(Run::all(&scene.collector)?).filter(|runs| runs.len() == 4))
    })?;
    for run in &runs {
        ensure!(
            run.batches == run.last,
            "a gap in the sequence numbers: {runs:?}"
        );
    }
    Ok(())
}

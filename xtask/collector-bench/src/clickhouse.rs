//! Two collectors on two nodes of ClickHouse: what a batch takes of each, and what a fleet takes.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use collector::time;

use crate::agents::{Agents, Rows, Sent, timed};
use crate::arguments::Arguments;
use crate::nodes::servers::Servers;
use crate::pki::Authority;
use crate::sections::{BEGIN_MS, KEEP};
use crate::server::{self, Kind, Server};

/// Batches a second of the fleet that the figures are for.
const FLEET_BATCHES: f64 = 1000.0;

/// Measures, and compares what was acknowledged with what the servers hold.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Some(servers) = Servers::two_nodes() else {
        return Ok(ExitCode::FAILURE);
    };
    let cluster = servers.cluster.context("no cluster")?;
    let kind = Kind::Shared(servers.urls.clone(), cluster);
    let authority = Authority::new("authority of a bench");
    let start = || Server::start_on(&arguments.collector, KEEP, &authority, &kind);
    let mut pair = [start()?, start()?];
    let count = *arguments.agents.first().context("no fleet")?;
    let from_ms = time::now_ms() - BEGIN_MS;
    let collectors: Vec<&Server> = pair.iter().collect();
    let mut agents = Agents::among(&collectors, count, arguments.edges, from_ms)?;
    // Each says what it is, and what it counted since its series began.
    let mut all = agents.interval(Rows::All)?;
    let before = taken(&pair, &servers)?;
    let (sent, wall) = timed(|| {
        let mut sent = Sent::default();
        while sent.batches < arguments.batches.into() {
            sent.add(&agents.interval(Rows::All)?);
        }
        Ok(sent)
    })?;
    let after = taken(&pair, &servers)?;
    all.add(&sent);
    let peaks = pair.iter().map(Server::peak).collect::<Result<Vec<_>>>()?;
    // What was acknowledged must be there however the collectors ended.
    for collector in &mut pair {
        collector.kill(KEEP)?;
    }
    let stored = stored(&servers)?;
    let us = |at: usize| (after[at] - before[at]).as_secs_f64() * 1e6 / sent.batches as f64;
    let [collectors_us, nodes_us] = [us(0), us(1)];
    let is_whole = stored == all.batches;
    let out = &mut io::stdout().lock();
    writeln!(
        out,
        "{count} agents, two collectors on two nodes of ClickHouse, {:.0} rows a batch\n  \
         CPU of a batch: collectors {collectors_us:.0} us, ClickHouse {nodes_us:.0} us\n  \
         RSS peak of the collectors: {} and {} MiB\n  \
         {:.0} batches a second beside the load and the agents, {:.3} of what 10,000 agents send\n  \
         by arithmetic, for 10,000 agents: collectors {:.1} cores, ClickHouse {:.1} cores\n  \
         batches acknowledged {}, stored {stored} after kill -9; {} refused for a while\n{}",
        sent.rows as f64 / sent.batches as f64,
        peaks[0] >> 20,
        peaks[1] >> 20,
        sent.batches as f64 / wall.as_secs_f64(),
        sent.batches as f64 / wall.as_secs_f64() / FLEET_BATCHES,
        collectors_us * FLEET_BATCHES / 1e6,
        nodes_us * FLEET_BATCHES / 1e6,
        all.batches,
        all.refused,
        if is_whole { "met" } else { "missed" }
    )?;
    Ok(if is_whole {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Processor time so far: of the collectors, and of the nodes.
fn taken(pair: &[Server], servers: &Servers) -> Result<[Duration; 2]> {
    let collectors = pair.iter().map(Server::cpu).sum::<Result<Duration>>()?;
    let nodes = servers.ids().into_iter().map(server::cpu);
    Ok([collectors, nodes.sum::<Result<Duration>>()?])
}

/// The batches that the servers hold, each once.
fn stored(servers: &Servers) -> Result<u64> {
    let sql = "SELECT uniqExact((host, boot, sequence)) FROM waybill.batch";
    let mut answer = ureq::post(format!("{}/", servers.urls[0])).send(sql)?;
    let text = answer.body_mut().read_to_string()?;
    ensure!(answer.status() == 200, "{text}");
    Ok(text.trim().parse()?)
}

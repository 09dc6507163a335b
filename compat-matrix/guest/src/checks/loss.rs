//! Nothing is lost without being counted: in the kernel, on disk, and across `kill -9`.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings, Status};
use tests::lab::balance::{all_stored, batches_balance, records_balance};
use tests::lab::site::{Family, Site};
use tests::lab::topology::Topology;
use tests::lab::wait::wait_for;

use super::gateway::Gateway;
use super::modes::mode_settings;
use super::run::{Found, Run, SETTLE};
use super::stage::{Picture, SHOP, Stage, node};
use crate::say::say;

/// Connections before and after each kill.
const CONNECTIONS: u64 = 30;

/// Connections that overflow the smallest ring while nobody empties it. A perf buffer is one for
/// each CPU.
const FLOOD: usize = 400;

/// Runs the checks in every mode.
pub(super) fn run(run: &mut Run) -> Result<()> {
    for mode in run.order.modes.clone() {
        // Both in one lab: the second finds what the first left, and no other agents start.
        let mut kept = None;
        run.check("agent", &format!("loss/kill-restart-drain/{mode}"), |run| {
            run.need_connections()?;
            let joins = run.need_tokens().is_ok() && mode != "observe";
            let lab = run.lab()?;
            // Dropped in this order: programs before the lab that they are in.
            let (stage, lab) = kept.insert((site(&lab, &mode_settings(&mode)?)?, lab));
            kills(stage, joins).inspect_err(|_| say(&lab.evidence()))
        })?;
        run.check("connection", &format!("loss/flood/{mode}"), |run| {
            // Without programs there is no ring to overflow.
            run.need_programs()?;
            run.need_labs()?;
            let (mut stage, lab) = kept.context("there is no lab to flood")?;
            let found = flood(&mut stage).inspect_err(|_| say(&lab.evidence()))?;
            drop(stage);
            lab.close().map(|()| found)
        })?;
    }
    Ok(())
}

/// A site whose agents have the smallest ring.
fn site(lab: &Lab, settings: &Settings) -> Result<Stage> {
    let site = Site::wire(lab, 1, 1, Gateway::Routes.nat())?;
    let mut stage = Stage::set(lab, site)?;
    let tiny = settings.clone().with("limits.ring_bytes", "'64KiB'")?;
    stage.start_agents(lab, &[tiny.clone(), tiny])?;
    Ok(stage)
}

/// Waits until a check holds in the status of an agent, which writes it each interval.
fn wait_status(agent: &Agent, mut check: impl FnMut(&Status) -> Result<()>) -> Result<()> {
    agent.flush()?;
    wait_for(SETTLE, "expected status", || check(&agent.status()?))
}

/// A stopped agent empties nothing: the ring overflows, and what it loses is counted.
fn flood(stage: &mut Stage) -> Result<Found> {
    let servers = stage.serve(Gateway::Routes)?;
    // The client's is the first.
    let agent = &stage.agents[0];
    agent.running()?.signal(Signal::SIGSTOP)?;
    let target = Gateway::Routes.target(&stage.site, Family::V4);
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let count = (FLOOD * cpus).to_string();
    let seen = stage.site.clients[0].connect(target, &["--count", &count]);
    agent.running()?.signal(Signal::SIGCONT)?;
    let failed = seen?
        .into_iter()
        .find(|connection| !connection.error.is_empty());
    ensure!(failed.is_none(), "the flood itself failed: {failed:?}");
    wait_status(agent, |status| {
        let dropped = status.counter("kernel_records_dropped_total")?;
        ensure!(dropped > 0, "nothing was dropped, so nothing was proven");
        records_balance(status)?;
        batches_balance(status)
    })?;
    drop(servers);
    stage.stop_agents()?;
    Ok(Found::ALL)
}

/// The collector is down, the agents are killed, new ones find their spool, and send it.
fn kills(stage: &mut Stage, joins: bool) -> Result<Found> {
    let send = |stage: &Stage| -> Result<()> {
        let route = stage.serve(Gateway::Routes)?;
        route.send(Family::V4, CONNECTIONS).map(drop)
    };
    send(stage)?;
    all_stored(&stage.agents, SETTLE)?;
    stage.collector.kill()?;
    send(stage)?;
    all_stored(&stage.agents, SETTLE)?;
    for agent in &mut stage.agents {
        agent.kill()?;
    }
    for agent in &mut stage.agents {
        agent.start()?;
    }
    send(stage)?;
    stage.collector.start()?;
    for agent in &stage.agents {
        agent.flush()?;
    }
    let total = 3 * CONNECTIONS;
    let mut picture = Picture::default();
    wait_for(SETTLE, "every connection", || {
        counted(stage, picture.look(&stage.collector)?, total, joins)
    })?;
    Ok(Found {
        found: total,
        expected: total,
    })
}

fn counted(stage: &Stage, topology: &Topology, total: u64, joins: bool) -> Result<()> {
    let client = node(&stage.site.clients[0], SHOP);
    let endpoint = Gateway::Routes.backend(&stage.site, 0, Family::V4);
    let edge = topology.edge(&client, endpoint).or_else(|error| {
        if joins {
            Err(error)
        } else {
            topology.outward(&client, endpoint)
        }
    })?;
    let opened = edge.client_side()?.opened;
    ensure!(opened == total, "the client counted {opened} of {total}");
    if joins {
        let served = edge.server_side()?.opened;
        ensure!(served == total, "the server counted {served} of {total}");
        ensure!(
            edge.connections == total,
            "{} joined of {total}",
            edge.connections
        );
    }
    Ok(())
}

//! Edges through every kind of gateway are exactly the connections that were made.

use std::time::Instant;

use anyhow::{Context, Error, Result, anyhow, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::needs::Skip;
use tests::lab::site::Family;
use tests::lab::topology::Expected;

use super::gateway::Gateway;
use super::stage::{Stage, found};
use super::{Found, Incomplete, Run, mode_settings};
use crate::order::Fault;
use crate::report::Line;
use crate::{fault, kernel};

/// Connections per shape and IP version.
const CONNECTIONS: u64 = 40;

/// One combination of gateway and settings.
struct Shape {
    name: &'static str,
    gateway: Gateway,
    /// Records through perf buffers, as on kernels without a ring.
    perf: bool,
    /// Part of every mode, not only of `auto`.
    every_mode: bool,
}

const SHAPES: [Shape; 4] = [
    Shape {
        name: "fullnat-nft",
        gateway: Gateway::Nft,
        perf: false,
        every_mode: true,
    },
    Shape {
        name: "fullnat-iptables",
        gateway: Gateway::Iptables,
        perf: false,
        every_mode: true,
    },
    Shape {
        name: "nat-ipvs",
        gateway: Gateway::Ipvs,
        perf: false,
        every_mode: true,
    },
    Shape {
        name: "routed-perf",
        gateway: Gateway::Routes,
        perf: true,
        every_mode: false,
    },
];

/// Runs every shape in every mode.
pub(super) fn run(run: &mut Run) -> Result<()> {
    let mut first = true;
    for mode in run.order.modes.clone() {
        for shape in SHAPES
            .iter()
            .filter(|shape| shape.every_mode || mode == "auto")
        {
            let begin = Instant::now();
            let results = match walk(run, shape, &mode, first) {
                Ok(results) => results,
                Err(error) => both(&error),
            };
            // Both IP versions share the lab, and so its time.
            let took = begin.elapsed() / 2;
            for (family, result) in Family::BOTH.into_iter().zip(results) {
                let name = format!("edges/{}-{}/{mode}", shape.name, version(family));
                run.put("connection", &name, took, result)?;
            }
            first = false;
        }
    }
    Ok(())
}

/// One reason for both IP versions.
fn both(error: &Error) -> [Result<Found>; 2] {
    let again = || match error.downcast_ref::<Skip>() {
        Some(skip) => Err(skip.clone().into()),
        None => Err(anyhow!("{error:#}")),
    };
    [again(), again()]
}

const fn version(family: Family) -> &'static str {
    match family {
        Family::V4 => "v4",
        Family::V6 => "v6",
    }
}

/// Builds the shape, sends through it, and compares.
fn walk(run: &mut Run, shape: &Shape, mode: &str, first: bool) -> Result<[Result<Found>; 2]> {
    run.need_tokens()?;
    if mode == "observe" {
        return Err(Skip("without the option no edge is seen through a gateway".into()).into());
    }
    let mut settings = mode_settings(mode)?;
    if shape.perf {
        settings = settings.with("agent.transport", "'perf'")?;
    }
    let lab = Lab::new(&run.binaries)?;
    let results = on_lab(run, &lab, shape, &settings, first).map_err(|error| {
        let evidence = lab.evidence();
        if !error.is::<Skip>() && !evidence.is_empty() {
            crate::say(&evidence);
        }
        error
    })?;
    lab.close()?;
    Ok(results)
}

fn on_lab(
    run: &mut Run,
    lab: &Lab,
    shape: &Shape,
    settings: &Settings,
    first: bool,
) -> Result<[Result<Found>; 2]> {
    let site = shape.gateway.build(lab)?;
    let rewritten = Family::BOTH.map(|family| shape.gateway.rewrite(&site, family));
    if let [Err(error), Err(_)] = &rewritten {
        return Ok(both(error));
    }
    let mut stage = Stage::set(lab, site, shape.gateway.nat())?;
    knows(lab, &stage, settings)?;
    stage.start_agents(lab, settings)?;
    promised(run, &stage, shape)?;
    let mut sent = Vec::new();
    for (family, rewritten) in Family::BOTH.into_iter().zip(rewritten) {
        let begins = first && family == Family::V4;
        if begins && run.order.has(Fault::DeadAgent) {
            stage.agents[0].kill()?;
        }
        sent.push(rewritten.and_then(|()| pass(&stage, family)));
        if begins && run.order.has(Fault::DeadAgent) {
            stage.agents[0].start()?;
        }
    }
    if first {
        note_run_times(run)?;
        if run.order.has(Fault::LostRow) {
            fault::lose_row(&stage.collector.store())?;
        }
    }
    for agent in &mut stage.agents {
        run.note_memory(agent.pid()?);
        agent.stop()?;
    }
    let judged = Family::BOTH.into_iter().zip(sent);
    let results: Vec<Result<Found>> = judged
        .map(|(family, sent)| judge(&stage, family, &sent?))
        .collect();
    results.try_into().map_err(|_| anyhow!("two IP versions"))
}

/// Whether this agent knows the mode at all.
fn knows(lab: &Lab, stage: &Stage, settings: &Settings) -> Result<()> {
    let host = lab.host("settings")?;
    let agent = Agent::prepare(lab, &host, Some(&stage.collector), settings)?;
    let asked = agent.ask(&["check-config"])?;
    if asked.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&asked.stderr).trim().to_owned();
    Err(Skip(format!("this agent does not know the settings: {said}")).into())
}

/// Whether the running agents do what `doctor` promised.
fn promised(run: &Run, stage: &Stage, shape: &Shape) -> Result<()> {
    let mode = run.planned("mode").split(':').next().unwrap_or_default();
    for agent in &stage.agents {
        let status = agent.status()?;
        let plan = &status.plan;
        ensure!(
            status.mode == mode,
            "doctor promised mode {mode}, the agent on {} runs {}: {plan:?}",
            agent.host.name(),
            status.mode
        );
        let transport = plan.iter().find(|(name, _)| name == "transport");
        let perf = transport.is_some_and(|(_, how)| how.starts_with("perf"));
        ensure!(perf || !shape.perf, "perf buffers were asked for: {plan:?}");
    }
    Ok(())
}

/// Sends through one IP version and waits until the edges are there.
///
/// What is wrong after the wait is found again, and told, by [`judge`].
fn pass(stage: &Stage, family: Family) -> Result<Vec<Expected>> {
    let expected = stage.send(family, CONNECTIONS)?;
    stage
        .settle(family, |topology| topology.check(&expected))
        .ok();
    Ok(expected)
}

/// Compares once more when all agents have ended: nothing may come later, and nothing go.
fn judge(stage: &Stage, family: Family, expected: &[Expected]) -> Result<Found> {
    let topology = stage.topology(family).context("ask for the topology")?;
    let count = Found {
        found: found(&topology, expected),
        expected: expected.len() as u64,
    };
    match topology.check(expected) {
        Ok(()) => Ok(count),
        Err(error) => Err(Incomplete {
            found: count.found,
            expected: count.expected,
            reason: format!("{error:#}").replace('\n', "; "),
        }
        .into()),
    }
}

/// What the programs cost under the traffic of the first shape.
fn note_run_times(run: &mut Run) -> Result<()> {
    for time in kernel::run_times().into_iter().filter(|time| time.runs > 0) {
        run.report.line(&Line::Stats {
            program: time.program,
            runs: time.runs,
            run_ns_avg: time.nanoseconds / time.runs,
        })?;
    }
    Ok(())
}

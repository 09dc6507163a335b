//! Edges through every kind of gateway are exactly the connections that were made.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Error, Result, anyhow, ensure};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::needs::Skip;
use tests::lab::site::{Family, Site};
use tests::lab::topology::Expected;

use super::gateway::Gateway;
use super::modes::{evidence, knows, pair_settings, promised};
use super::run::{Found, Incomplete, Run};
use super::stage::{self, Stage};
use crate::order::Fault;
use crate::report::Line;
use crate::say::say;
use crate::{fault, kernel};

/// Connections per shape and IP version.
const CONNECTIONS: u64 = 40;

/// Shapes that share a lab: its gateway is changed between them.
const SHAPES: [Shape; 3] = [
    Shape {
        name: "fullnat-nft",
        gateway: Gateway::Nft,
    },
    Shape {
        name: "fullnat-iptables",
        gateway: Gateway::Iptables,
    },
    Shape {
        name: "nat-ipvs",
        gateway: Gateway::Ipvs,
    },
];

/// Gateways through which forced modes show that they work: the first that the kernel has.
const FORCED: [Shape; 2] = [SHAPES[0], SHAPES[1]];

/// Records through perf buffers, as on kernels without a ring; needs agents of its own.
const PERF: [Shape; 1] = [Shape {
    name: "routed-perf",
    gateway: Gateway::Routes,
}];

/// A gateway and its name in results.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    gateway: Gateway,
}

/// Shapes with the same agents in one lab.
struct Group<'a> {
    shapes: &'a [Shape],
    backends: usize,
    mode: &'a str,
    /// The client's, and the backends'.
    settings: [Settings; 2],
    /// The first of all: here the ordered faults are.
    first: bool,
}

/// What was sent through one shape with one IP version.
struct Sent {
    shape: Shape,
    family: Family,
    expected: Result<Vec<Expected>>,
    took: Duration,
}

/// Runs every shape in every mode.
pub(super) fn run(run: &mut Run) -> Result<()> {
    for (at, mode) in run.order.modes.clone().iter().enumerate() {
        let settings = pair_settings(mode)?;
        let [ring, _] = &settings;
        let perf = ring.clone().with("agent.transport", "'perf'")?;
        let turning = Group {
            shapes: &SHAPES,
            backends: 2,
            mode,
            settings,
            first: at == 0,
        };
        report(run, &turning)?;
        if mode == "auto" {
            let perf = Group {
                shapes: &PERF,
                backends: 1,
                mode,
                settings: [perf.clone(), perf],
                first: false,
            };
            report(run, &perf)?;
        }
    }
    let shape = forced_through(run)?;
    for mode in &run.order.edge_modes.clone() {
        let forced = Group {
            shapes: &[shape],
            backends: 1,
            mode,
            settings: pair_settings(mode)?,
            first: false,
        };
        report(run, &forced)?;
    }
    Ok(())
}

/// The first of the gateways for forced modes that can be set up here, or the first of all, which
/// then says why it cannot.
fn forced_through(run: &Run) -> Result<Shape> {
    if run.order.edge_modes.is_empty() || run.need_connections().is_err() {
        return Ok(FORCED[0]);
    }
    let Ok(lab) = run.lab() else {
        return Ok(FORCED[0]);
    };
    let site = Site::wire(&lab, 1, 1, Gateway::Routes.nat())?;
    let stands = |shape: &&Shape| {
        Family::BOTH
            .iter()
            .all(|family| shape.gateway.apply(&site, *family).is_ok())
    };
    let shape = FORCED.iter().find(stands).copied();
    drop(site);
    lab.close()?;
    Ok(shape.unwrap_or(FORCED[0]))
}

/// Runs the shapes of one lab and reports each with each IP version.
fn report(run: &mut Run, group: &Group<'_>) -> Result<()> {
    let (shapes, mode) = (group.shapes, group.mode);
    let name = |shape: &Shape, family| {
        let version = match family {
            Family::V4 => "v4",
            Family::V6 => "v6",
        };
        format!("edges/{}-{version}/{mode}", shape.name)
    };
    let begin = Instant::now();
    match in_lab(run, group) {
        Ok(results) => {
            let sending: Duration = results.iter().map(|(sent, _)| sent.took).sum();
            let rest = begin.elapsed().saturating_sub(sending);
            // What all share, lab and agents, is shared out.
            let share = rest / u32::try_from(results.len().max(1)).unwrap_or(1);
            for (sent, result) in results {
                let name = name(&sent.shape, sent.family);
                run.put("connection", &name, sent.took + share, result)?;
            }
        }
        Err(error) => {
            for shape in shapes {
                for family in Family::BOTH {
                    let took = begin.elapsed() / u32::try_from(2 * shapes.len()).unwrap_or(1);
                    run.put("connection", &name(shape, family), took, Err(again(&error)))?;
                }
            }
        }
    }
    Ok(())
}

/// The same reason once more, for everything that it keeps from running.
fn again(error: &Error) -> Error {
    match error.downcast_ref::<Skip>() {
        Some(skip) => skip.clone().into(),
        None => anyhow!("{error:#}"),
    }
}

type Results = Vec<(Sent, Result<Found>)>;

fn in_lab(run: &mut Run, group: &Group<'_>) -> Result<Results> {
    run.need_connections()?;
    let lab = run.lab()?;
    let results = walk(run, &lab, group);
    let red = |results: &Results| results.iter().any(|(_, result)| is_red(result));
    if results
        .as_ref()
        .map_or_else(|error| !error.is::<Skip>(), red)
    {
        say(&lab.evidence());
    }
    lab.close()?;
    results
}

fn is_red(result: &Result<Found>) -> bool {
    matches!(result, Err(error) if !error.is::<Skip>())
}

fn walk(run: &mut Run, lab: &Lab, group: &Group<'_>) -> Result<Results> {
    let site = Site::wire(lab, 1, group.backends, Gateway::Routes.nat())?;
    let mut stage = Stage::set(lab, site)?;
    if group.mode != "auto" {
        // A mode for both sides is one question.
        let sides = 1 + group.mode.matches('+').count();
        for (side, settings) in group.settings.iter().enumerate().take(sides) {
            knows(lab, &stage, settings, side)?;
        }
    }
    stage.start_agents(lab, &group.settings)?;
    promised(run, &stage, group.mode)?;
    let evidence = evidence(&stage)?;
    let by_sockets = stage.is_by_sockets();
    let mut sent: Vec<Sent> = Vec::new();
    for shape in group.shapes {
        for family in Family::BOTH {
            let begins = group.first && !sent.iter().any(|sent| sent.expected.is_ok());
            let begin = Instant::now();
            let expected = through(run, &mut stage, (shape.gateway, family), (evidence, begins));
            sent.push(Sent {
                shape: *shape,
                family,
                expected,
                took: begin.elapsed(),
            });
        }
    }
    if group.first {
        note_run_times(run)?;
        let begun = sent.iter().find(|sent| sent.expected.is_ok());
        if let (Some(begun), true) = (begun, run.order.has(Fault::LostRow)) {
            let target = begun.shape.gateway.target(&stage.site, begun.family);
            fault::lose_row(&stage.collector.store(), target)?;
        }
    }
    for agent in &stage.agents {
        run.peak.note(agent.pid()?);
    }
    stage.stop_agents()?;
    Ok(sent
        .into_iter()
        .map(|mut sent| {
            let expected = std::mem::replace(&mut sent.expected, Ok(Vec::new()));
            let result = expected.and_then(|expected| {
                let found = judge(&stage, &sent, &expected, evidence)?;
                if !by_sockets {
                    named(lab, &stage, &expected)?;
                }
                Ok(found)
            });
            (sent, result)
        })
        .collect())
}

/// Sends through one gateway and waits until the edges are there.
fn through(
    run: &Run,
    stage: &mut Stage,
    (gateway, family): (Gateway, Family),
    (evidence, begins): (&str, bool),
) -> Result<Vec<Expected>> {
    gateway.apply(&stage.site, family)?;
    let dead = begins && run.order.has(Fault::DeadAgent);
    if dead {
        stage.agents[0].kill()?;
    }
    let route = stage.serve_by_workers(gateway)?;
    let expected = route.send(family, CONNECTIONS)?;
    // What is wrong after the wait is found again, and told, when all agents have ended.
    route
        .settle(family, |topology| topology.check_by(evidence, &expected))
        .ok();
    drop(route);
    if dead {
        stage.agents[0].start()?;
    }
    gateway.remove(&stage.site, family)?;
    Ok(expected)
}

/// Compares once more when all agents have ended: nothing may come later, and nothing go.
fn judge(stage: &Stage, sent: &Sent, expected: &[Expected], evidence: &str) -> Result<Found> {
    let all = stage.collector.topology().context("ask for the topology")?;
    let topology = stage::through(&all, stage, sent.shape.gateway, sent.family);
    let count = Found {
        found: stage::found(&topology, expected),
        expected: expected.len() as u64,
    };
    match topology.check_by(evidence, expected) {
        Ok(()) => Ok(count),
        Err(error) => Err(Incomplete {
            found: count.found,
            expected: count.expected,
            reason: format!("{error:#}").replace('\n', "; "),
        }
        .into()),
    }
}

/// Whether the processes at both ends have the names of their cgroups, which for those that have
/// ended by then come from the numbers in the kernel's records alone.
fn named(lab: &Lab, stage: &Stage, expected: &[Expected]) -> Result<()> {
    let topology = stage.collector.topology().context("ask for the topology")?;
    let site = &stage.site;
    for host in site.clients.iter().chain(&site.backends) {
        let ends = expected
            .iter()
            .flat_map(|edge| [&edge.client, &edge.server]);
        let Some(id) = ends
            .into_iter()
            .find(|id| id.starts_with(&format!("{}/", host.name())))
        else {
            continue;
        };
        let cgroup = host.cgroup().strip_prefix(&lab.tree().root)?;
        let node = topology.nodes.iter().find(|node| node.id == *id);
        let said = node.map_or("", |node| node.cgroup.as_str());
        ensure!(
            Path::new(said.trim_start_matches('/')) == cgroup,
            "{id} is in the cgroup {}, and was reported in {said:?}",
            cgroup.display()
        );
    }
    Ok(())
}

/// What the programs cost under the traffic of the first lab.
fn note_run_times(run: &mut Run) -> Result<()> {
    let times = kernel::run_times().into_iter();
    for time in times.filter(|time| time.runs > 0) {
        run.report.line(&Line::Stats {
            program: time.program,
            runs: time.runs,
            run_ns_avg: time.nanoseconds / time.runs,
        })?;
    }
    Ok(())
}

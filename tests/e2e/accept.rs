//! Whose an accepted connection is, and that finding out costs nobody else anything.

use std::fs;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::programs;
use tests::lab::session::Session;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::topology::Topology;
use tests::lab::wait::wait_for;

use crate::case::{Case, SOON, case};
use crate::observe::sockets;
use crate::scene::{SHOP, Scene, rule, shop};

pub(crate) const CASES: &[Case] = &[
    case(
        "accept::workers_own_what_they_accept_on_the_listener_of_another",
        |lab| workers(lab, &Settings::default()),
    ),
    case(
        "accept::workers_own_what_they_accept_where_copies_carry_the_option",
        |lab| workers(lab, &clone()?),
    ),
    case(
        "accept::workers_own_what_they_accept_where_records_come_by_perf_events",
        |lab| workers(lab, &clone()?.with("agent.transport", "\"perf\"")?),
    ),
    case(
        "accept::workers_own_what_they_accept_where_sockets_show_it",
        |lab| workers(lab, &sockets()?),
    ),
    case(
        "accept::workers_that_waited_before_the_agent_came_own_what_they_accept",
        older_workers,
    ),
    case(
        "accept::a_worker_that_never_reads_owns_what_it_closes",
        deaf,
    ),
    case(
        "accept::an_open_connection_is_told_of_its_worker_and_of_nobody_before",
        open,
    ),
    case("accept::no_mode_hangs_on_system_calls", no_system_calls),
];

/// Service of the processes that accept; everything else on a backend is the manager's.
const WORKER: &str = "worker";

fn clone() -> Result<Settings> {
    Settings::default().with("option.mode", "\"tc-clone\"")
}

/// Starts an agent on the client, and one on the backend that tells workers from others.
fn start_agents(scene: &mut Scene<'_>, settings: &Settings) -> Result<()> {
    let client = settings.clone().with("service", &rule(SHOP))?;
    let workers = format!("{{ name = '{WORKER}', match = {{ comm = 'worker*' }} }}");
    let backend = settings.clone().with("service", &workers)?;
    for (host, settings) in [
        (scene.site.clients[0].clone(), client),
        (scene.site.backends[0].clone(), backend),
    ] {
        let agent = Agent::start_on(scene.lab, &host, Some(&scene.collector), &settings)?;
        scene.agents.push(agent);
    }
    Ok(())
}

/// Checks that the workers have exactly these connections, and nobody else has any.
fn check(scene: &Scene<'_>, topology: &Topology, connections: u64) -> Result<()> {
    let endpoint = scene.site.backend(0, Family::V4);
    let edge = topology.edge(&shop(&scene.site.clients[0]), endpoint)?;
    let owner = format!("{}/{WORKER}", scene.site.backends[0].name());
    ensure!(edge.server == owner, "{} is the server", edge.server);
    let opened = edge
        .server_counters
        .as_ref()
        .map(|counters| counters.opened);
    ensure!(
        opened == Some(connections),
        "{opened:?} connections, not {connections}"
    );
    let others: Vec<_> = topology
        .edges
        .iter()
        .filter(|edge| edge.server_endpoint == endpoint.to_string() && edge.server != owner)
        .collect();
    ensure!(others.is_empty(), "the manager has some, too: {others:?}");
    Ok(())
}

fn workers(lab: &Lab, settings: &Settings) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    start_agents(&mut scene, settings)?;
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &["--workers", "3"])?;
    use_workers(scene)
}

fn older_workers(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &["--workers", "3"])?;
    // One for each, so that all of them wait for the next when the agent comes.
    let endpoint = scene.site.backend(0, Family::V4);
    scene.site.clients[0].connect(endpoint, &["--count", "9", "--parallel", "9"])?;
    server.wait_served(9, SOON)?;
    start_agents(&mut scene, &Settings::default())?;
    use_workers(scene)
}

/// Every way to end: whoever ends it, it was the worker's.
fn use_workers(mut scene: Scene<'_>) -> Result<()> {
    let endpoint = scene.site.backend(0, Family::V4);
    let client = scene.site.clients[0].clone();
    for end in ["close", "half", "reset", "server-close", "server-reset"] {
        let seen = client.connect(endpoint, &["--count", "6", "--parallel", "3", "--end", end])?;
        for one in seen {
            ensure!(one.error.is_empty(), "{end}: {one:?}");
        }
    }
    let connections = 5 * 6;
    settle_and_stop(&mut scene, connections)
}

fn settle_and_stop(scene: &mut Scene<'_>, connections: u64) -> Result<()> {
    scene.settle(|topology| check(scene, topology, connections))?;
    for agent in &mut scene.agents {
        agent.stop()?;
    }
    check(scene, &scene.collector.topology()?, connections)
}

/// It only writes; its connections are shown to be its own when it closes them.
fn deaf(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    start_agents(&mut scene, &Settings::default())?;
    let options = ["--workers", "2", "--deaf", "--greet", "20"];
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &options)?;
    let mut session = Session::start(&scene.site.clients[0], SOON)?;
    for _ in 0..5 {
        let connection = session.open(scene.site.backend(0, Family::V4))?;
        session.greeting(&connection, 20)?;
        session.close(connection)?;
    }
    settle_and_stop(&mut scene, 5)
}

/// Open at the end of an interval before its worker has read anything, and told all the same as his.
fn open(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let settings = Settings::default().with("agent.interval", "\"5s\"")?;
    start_agents(&mut scene, &settings)?;
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &["--workers", "1"])?;
    let backend = &scene.agents[1];
    let written = backend.status()?.written_ms;
    let mut session = Session::start(&scene.site.clients[0], SOON)?;
    let connection = session.open(scene.site.backend(0, Family::V4))?;
    wait_for(SOON, "end of the interval", || {
        ensure!(backend.status()?.written_ms > written, "not yet");
        Ok(())
    })?;
    session.exchange(&connection, 10, 10)?;
    scene.settle(|topology| check(&scene, topology, 1))?;
    session.close(connection)?;
    settle_and_stop(&mut scene, 1)
}

/// What the agent's descriptors hang on, in every mode that this machine can do.
fn no_system_calls(lab: &Lab) -> Result<()> {
    let modes = [
        ("sockops", Settings::default()),
        ("tc-clone", clone()?),
        (
            "observe",
            Settings::default().with("option.mode", "\"observe\"")?,
        ),
        (
            "observe",
            Settings::default().with("agent.hooks", "\"sockets\"")?,
        ),
    ];
    for (number, (mode, settings)) in modes.into_iter().enumerate() {
        let host = lab.host(&format!("host{number}"))?;
        let mut agent = Agent::start_on(lab, &host, None, &settings)?;
        let status = agent.status()?;
        ensure!(status.mode == mode, "{} instead of {mode}", status.mode);
        let hooks = hooks(agent.pid()?)?;
        let by_programs = !status
            .plan
            .iter()
            .any(|(_, plan)| plan.contains("packet and diagnostic sockets:"));
        ensure!(
            !by_programs || hooks.iter().any(|hook| hook == "inet_sock_set_state"),
            "nothing can be seen of what {mode} hangs on: {hooks:?}"
        );
        for hook in &hooks {
            ensure!(!hook.starts_with("sys_"), "{mode} hangs on {hook}");
            // Programs on tracepoints by perf events, as those of system calls are; probes are of
            // another type (enum bpf_prog_type).
            ensure!(
                hook != "type 5",
                "{mode} has a program on a tracepoint: {hooks:?}"
            );
        }
        agent.stop()?;
    }
    Ok(())
}

/// Names of the tracepoints that a process holds links to, and `type N` for each of its programs.
fn hooks(pid: i32) -> Result<Vec<String>> {
    let mut hooks = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo")).context("list descriptors")? {
        // One that was just closed tells nothing.
        let text = fs::read_to_string(entry?.path()).unwrap_or_default();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("tp_name:") {
                hooks.push(name.trim().to_owned());
            } else if let Some(number) = line.strip_prefix("prog_type:") {
                hooks.push(format!("type {}", number.trim()));
            }
        }
    }
    Ok(hooks)
}

//! Nothing is lost without being counted: sums over every stage, under faults.

mod kills;

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::Signal;
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings, Status};
use tests::lab::balance::{batches_balance, records_balance};
use tests::lab::netns;
use tests::lab::programs;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::wait::{wait_for, wait_until};

use crate::case::{Case, SOON, case};
use crate::scene::{SETTLE, SHOP, Scene, rule, shop};
use kills::Run;
pub(crate) use kills::kills;

pub(crate) const CASES: &[Case] = &[
    case(
        "loss::a_flood_over_a_tiny_ring_loses_only_what_is_counted",
        |lab| {
            flood(
                lab,
                &Settings::default(),
                &Settings::default().with("limits.ring_bytes", "'64KiB'")?,
            )
        },
    ),
    case(
        "loss::a_flood_over_tiny_perf_buffers_loses_only_what_is_counted",
        |lab| {
            let tiny = Settings::default().with("limits.ring_bytes", "'64KiB'")?;
            let perf = tiny.with("agent.transport", "'perf'")?;
            flood(lab, &Settings::default(), &perf)
        },
    ),
    case(
        "loss::a_stall_of_seconds_loses_nothing_that_no_counter_shows",
        |lab| stall(lab, "auto"),
    )
    .alone(),
    case(
        "loss::a_stall_of_seconds_with_copies_loses_nothing_that_no_counter_shows",
        |lab| stall(lab, "tc-clone"),
    )
    .alone(),
    case(
        "loss::open_connections_beyond_the_kernels_table_are_counted",
        beyond,
    ),
    case(
        "loss::a_full_spool_evicts_and_counts_while_the_collector_is_down",
        |lab| eviction(lab, &Settings::default()),
    ),
    case(
        "loss::killed_agent_and_killed_collector_lose_and_double_nothing",
        |lab| kills(lab, &Settings::default()),
    ),
];

/// Waits until a check holds in the status of an agent, which writes it each interval.
fn wait_status(agent: &Agent, mut check: impl FnMut(&Status) -> Result<()>) -> Result<()> {
    agent.flush()?;
    wait_for(SETTLE, "expected status", || check(&agent.status()?))
}

pub(crate) fn flood(lab: &Lab, settings: &Settings, tiny: &Settings) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    scene.start_with(tiny, settings)?;
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let client = scene.site.clients[0].clone();
    let agent = scene.agent(&client)?;
    // A stopped agent empties nothing: the ring must overflow however fast the machine is.
    agent.running()?.signal(Signal::SIGSTOP)?;
    let target = scene.site.target(Family::V4);
    let seen = client.connect(target, &["--count", "2000", "--parallel", "4"]);
    agent.running()?.signal(Signal::SIGCONT)?;
    let seen = seen?;
    ensure!(
        seen.iter().all(|c| c.error.is_empty()),
        "the flood itself failed: {seen:?}"
    );
    wait_status(agent, |status| {
        let dropped = status.counter("kernel_records_dropped_total")?;
        ensure!(dropped > 0, "nothing was dropped, so nothing was proven");
        records_balance(status)?;
        batches_balance(status)
    })?;
    // And again with an agent that runs: a smaller loss or none, but the same sums.
    let seen = client.connect(target, &["--count", "2000", "--parallel", "4"])?;
    ensure!(
        seen.iter().all(|c| c.error.is_empty()),
        "the second flood failed"
    );
    wait_status(agent, |status| {
        ensure!(
            status.counter("kernel_records_attempted_total")? >= 4000,
            "not all attempted"
        );
        records_balance(status)?;
        batches_balance(status)
    })?;
    let other = scene.agent(&scene.site.backends[0])?;
    wait_status(other, |status| {
        ensure!(
            status.counter("kernel_records_dropped_total")? == 0,
            "an ample ring dropped"
        );
        ensure!(
            status.counter("record_decoded_total")? >= 4000,
            "not all decoded"
        );
        records_balance(status)
    })
}

/// An agent that stands still for longer than its ring lasts.
fn stall(lab: &Lab, mode: &str) -> Result<()> {
    const STALL: Duration = Duration::from_secs(6);
    let scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let client = &scene.site.clients[0];
    let settings = Settings::default()
        .with("option.mode", &format!("'{mode}'"))?
        .with("limits.ring_bytes", "'512KiB'")?
        .with("service", &rule(SHOP))?;
    let mut agent = Agent::start_on(lab, client, Some(&scene.collector), &settings)?;
    let target = scene.site.target(Family::V4);
    let mut opened = 0;
    let mut open = |count: u64| -> Result<()> {
        let options = ["--count", &count.to_string(), "--parallel", "4"];
        // No TIME_WAIT, or there would be no ports left.
        let seen = client.connect(target, &[&options[..], &["--end", "reset"]].concat())?;
        let failed = seen.iter().find(|one| !one.error.is_empty());
        ensure!(failed.is_none(), "{failed:?}");
        opened += count;
        Ok(())
    };
    // Some on both sides of the stall, so that it begins and ends in the midst of work.
    open(200)?;
    agent.running()?.signal(Signal::SIGSTOP)?;
    let begun = Instant::now();
    while begun.elapsed() < STALL {
        open(1000)?;
    }
    agent.running()?.signal(Signal::SIGCONT)?;
    open(200)?;
    wait_status(&agent, |status| {
        agent.flush()?;
        records_balance(status)?;
        // Each connection is one record, at its end.
        let attempted = status.counter("kernel_records_attempted_total")?;
        ensure!(attempted == opened, "{attempted} attempted of {opened}");
        batches_balance(status)
    })?;
    let status = agent.status()?;
    let dropped = status.counter("kernel_records_dropped_total")?;
    ensure!(dropped > 0, "nothing was dropped, so nothing was proven");
    // What a look at the open ones found is opened already when its end is dropped.
    let seen_open = status.counter("aggregate_connections_dropped_lost_total")?;
    agent.stop()?;
    let total = scene.collector.topology()?;
    let edges = total.unjoined.iter();
    let mut told = 0;
    for edge in edges.filter(|edge| edge.server_endpoint == target.to_string()) {
        told += edge.client_side()?.opened;
    }
    ensure!(
        told + dropped == opened + seen_open,
        "{opened} connections: {told} told, {dropped} dropped, {seen_open} of them seen open"
    );
    Ok(())
}

/// More open connections than the kernel's table has places.
fn beyond(lab: &Lab) -> Result<()> {
    const OPEN: u64 = 3_000;
    const PLACES: u64 = 1_024;
    const PORT: u16 = 9000;
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let (client, backend) = (&site.clients[0], &site.backends[0]);
    setrlimit(Resource::RLIMIT_NOFILE, 2 * OPEN, 2 * OPEN)?;
    let listener = netns::inside(backend.netns(), || {
        Ok(TcpListener::bind(("0.0.0.0", PORT))?)
    })?;
    let held = std::thread::Builder::new()
        .name("held".into())
        .spawn(move || {
            let accepted = listener.incoming().flatten();
            accepted.take(3_000).collect::<Vec<_>>()
        })?;
    let settings = Settings::default().with("limits.connections", &PLACES.to_string())?;
    let mut agent = Agent::start_on(lab, client, None, &settings)?;
    let target = SocketAddr::new(site.target(Family::V4).ip(), PORT);
    let mut holding = client.start_connect(target, &["--count", &OPEN.to_string(), "--hold"])?;
    holding.wait_for_output("holding", SOON)?;
    wait_until(SETTLE, "evicted connections", || {
        agent.flush()?;
        let status = agent.status()?;
        let inserted = status.counter("kernel_connections_inserted_total")?;
        ensure!(inserted <= OPEN, "{inserted} entered of {OPEN}");
        let evicted = status.counter("kernel_connections_dropped_evicted_total")?;
        // The kernel may make room for some at a time, and keep it.
        ensure!(evicted < OPEN, "all {evicted} evicted");
        Ok((inserted == OPEN && evicted >= OPEN - PLACES).then_some(()))
    })?;
    holding.kill()?;
    drop(held.join());
    wait_status(&agent, |status| {
        agent.flush()?;
        records_balance(status)?;
        let attempted = status.counter("kernel_records_attempted_total")?;
        let evicted = status.counter("kernel_connections_dropped_evicted_total")?;
        ensure!(
            attempted + evicted == OPEN,
            "{attempted} ends and {evicted} evicted of {OPEN} connections"
        );
        Ok(())
    })?;
    agent.stop()
}

/// Makes one batch of many rows: each reset connection is an event and a sighting of its own.
pub(crate) fn fill(scene: &Scene<'_>, agent: &Agent) -> Result<u64> {
    const RESETS: u64 = 4000;
    let count = RESETS.to_string();
    let options = ["--count", &count, "--parallel", "2", "--end", "reset"];
    let seen = scene.site.clients[0].connect(scene.site.target(Family::V4), &options)?;
    ensure!(
        seen.iter().all(|c| c.error.is_empty()),
        "a connection failed"
    );
    let before = agent.status()?.counter("batch_sealed_total")?;
    agent.flush()?;
    wait_until(SOON, "one more sealed batch", || {
        let sealed = agent.status()?.counter("batch_sealed_total")?;
        Ok((sealed > before).then_some(()))
    })?;
    Ok(RESETS)
}

pub(crate) fn eviction(lab: &Lab, settings: &Settings) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    scene.collector.kill()?;
    let small = settings
        .clone()
        .with("spool.max_bytes", "'1MiB'")?
        .with("limits.sightings_per_interval", "60000")?
        .with("limits.events_per_interval", "60000")?
        .with("service", &rule(SHOP))?;
    let client = scene.site.clients[0].clone();
    let mut agent = Agent::start_on(lab, &client, Some(&scene.collector), &small)?;
    let evicted = |status: &Status| status.counter("spool_evicted_size_total");
    let mut opened = 0;
    for _ in 0..40 {
        opened += fill(&scene, &agent)?;
        // The oldest go first, and with them the batch that named the process.
        if evicted(&agent.status()?)? >= 3 {
            break;
        }
    }
    wait_status(&agent, |status| {
        ensure!(
            evicted(status)? > 0,
            "nothing was evicted, so nothing was proven"
        );
        ensure!(
            status.counter("upload_acked_total")? == 0,
            "acknowledged by nobody"
        );
        batches_balance(status)
    })?;
    scene.collector.start()?;
    wait_status(&agent, |status| {
        ensure!(status.counter("spool_depth")? <= 1, "spool not empty");
        ensure!(
            status.counter("upload_acked_total")? > 0,
            "nothing acknowledged"
        );
        batches_balance(status)
    })?;
    agent.stop()?;
    let runs = Run::all(&scene.collector)?;
    ensure!(runs.len() == 1, "{runs:?}");
    ensure!(
        runs[0].batches < runs[0].last,
        "no gap where batches were evicted: {runs:?}"
    );
    // Totals followed: what was evicted cost resolution alone.
    let total = scene.collector.topology()?;
    let target = scene.site.target(Family::V4).to_string();
    let edges = total.unjoined.iter();
    let edges: Vec<_> = edges
        .filter(|edge| edge.server_endpoint == target)
        .collect();
    let mut counted = (0, 0);
    for edge in &edges {
        let side = edge.client_side()?;
        counted = (counted.0 + side.opened, counted.1 + side.reset_local);
    }
    ensure!(
        counted == (opened, opened),
        "{counted:?} of {opened} connections"
    );
    // The name of who opened them may have gone with the oldest batch: agents repeat it only
    // every ten minutes, and the collector says so instead of guessing.
    // Where packets measure, some may end before it is known whose they are.
    let unknown = format!("{}/(unknown)", client.name());
    let names = [shop(&client), unknown];
    let others = edges.iter().find(|edge| !names.contains(&edge.client));
    ensure!(others.is_none(), "the client became {}", total.brief());
    Ok(())
}

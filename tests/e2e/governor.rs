//! An agent that takes more than its budget measures less, says so, and comes back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings, Status};
use tests::lab::collector::Collector;
use tests::lab::programs;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::wait::wait_for;

use crate::case::{Case, case};

pub(crate) const CASES: &[Case] = &[
    case(
        "governor::over_the_cpu_budget_less_is_measured_and_more_again_when_it_is_quiet",
        cpu,
    )
    .alone(),
    case(
        "governor::over_the_memory_budget_every_step_is_taken_and_told",
        memory,
    ),
];

/// All steps up take some windows each, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Windows of a second.
const INTERVAL: &str = "'200ms'";

fn row(status: &Status) -> Option<&str> {
    let row = status.plan.iter().find(|(name, _)| name == "governor");
    row.map(|(_, said)| said.as_str())
}

fn cpu(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = &site.clients[0];
    let settings = Settings::default()
        .with("agent.interval", INTERVAL)?
        .with("budget.cpu", "'10%'")?;
    let mut agent = Agent::start_on(lab, client, None, &settings)?;
    ensure!(row(&agent.status()?).is_none(), "it began with a step");
    wait_for(PATIENCE, "steps down under load", || {
        // Connections alone take too little on a slow machine; each of these closes an interval.
        client.connect(site.target(Family::V4), &["--count", "20"])?;
        for _ in 0..20_000 {
            agent.flush()?;
            std::thread::yield_now();
        }
        let status = agent.status()?;
        let level = status.counter("governor_level")?;
        ensure!(level >= 2, "level {level}: {:?}", row(&status));
        Ok(())
    })?;
    let status = agent.status()?;
    let said = row(&status).context("no row of the governor")?;
    ensure!(
        said.contains("of 5: ") && said.contains("% of 10%"),
        "{said}"
    );
    ensure!(
        status.counter("aggregate_sample_level")? >= 2,
        "all tokens are kept: {said}"
    );
    wait_for(PATIENCE, "steps up when it is quiet", || {
        let status = agent.status()?;
        let level = status.counter("governor_level")?;
        ensure!(level == 0, "level {level}: {:?}", row(&status));
        Ok(())
    })?;
    let status = agent.status()?;
    let said = row(&status).context("no row of the governor")?;
    ensure!(said.contains("nothing is left out"), "{said}");
    let (down, up) = (
        status.counter("governor_steps_down_total")?,
        status.counter("governor_steps_up_total")?,
    );
    ensure!(down >= 2 && up == down, "{down} steps down and {up} up");
    let log = agent.running()?.errors()?;
    ensure!(
        log.contains("over the budget") && log.contains("below the budget"),
        "{log}"
    );
    wait_for(PATIENCE, "all tokens", || {
        let level = agent.status()?.counter("aggregate_sample_level")?;
        ensure!(level == 0, "one token in 2^{level} is kept");
        Ok(())
    })?;
    agent.stop()
}

fn memory(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let collector = Collector::start_in(lab)?;
    let settings = Settings::default()
        .with("agent.interval", INTERVAL)?
        .with("budget.memory", "'1MiB'")?;
    let mut agent = Agent::start_on(lab, &host, Some(&collector), &settings)?;
    wait_for(PATIENCE, "the last step", || {
        let status = agent.status()?;
        let level = status.counter("governor_level")?;
        ensure!(level == 5, "level {level}: {:?}", row(&status));
        ensure!(status.counter("agent_rss_bytes")? > 1 << 20, "no memory");
        ensure!(status.counter("agent_cpu_ms_total")? > 0, "no CPU");
        Ok(())
    })?;
    // Operators see it at the collector, with the host row that each step sends.
    wait_for(PATIENCE, "the row at the collector", || {
        let hosts = collector.hosts()?;
        let text = hosts.to_string();
        ensure!(text.contains("5 of 5: "), "{text}");
        Ok(())
    })?;
    agent.stop()
}

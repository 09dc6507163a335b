//! The cost of agents under a steady load of short connections, as shares of one core and of the
//! load's own cost.

use std::fs;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;

use crate::lab::Lab;
use crate::lab::agent::{Agent, Settings};
use crate::lab::host::{Host, lines};
use crate::lab::programs;
use crate::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use crate::lab::wait::wait_for;
use crate::program::connect::Connected;

/// Short connections between two hosts with an agent each.
#[derive(Parser)]
#[command(name = "waybill-load")]
struct Arguments {
    /// How the agents measure, as `agent.hooks` says it
    #[arg(long, default_value = "sockets")]
    hooks: String,
    /// New connections per second
    #[arg(long, default_value_t = 1000)]
    per_second: u32,
    /// Seconds over which the load lasts
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

/// How long the last connections may take into the agents' counters.
const SETTLE: Duration = Duration::from_secs(30);

/// Runs the load with the process's own arguments and prints the figures.
#[must_use]
pub fn main() -> ExitCode {
    print(run(&Arguments::parse()))
}

/// Prints figures, or why there are none.
pub(crate) fn print(figures: Result<Vec<String>>) -> ExitCode {
    let done = figures.and_then(|figures| {
        let mut out = io::stdout().lock();
        for line in figures {
            writeln!(out, "{line}").context("print the figures")?;
        }
        Ok(())
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do when standard error is gone, too.
            writeln!(io::stderr(), "failed: {error:#}").ok();
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<Vec<String>> {
    Lab::measure(&[], |lab| measure(lab, arguments))
}

fn measure(lab: &Lab, arguments: &Arguments) -> Result<Vec<String>> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let settings = Settings::default()
        .with("agent.hooks", &format!("{:?}", arguments.hooks))?
        // As shipped: the lab's own interval is a tenth of it.
        .with("agent.interval", "\"10s\"")?;
    let hosts = [("client", &site.clients[0]), ("server", &site.backends[0])];
    let mut agents = Vec::new();
    for (_, host) in hosts {
        agents.push(Agent::start_on(lab, host, None, &settings)?);
    }
    let count = u64::from(arguments.per_second) * u64::from(arguments.seconds);
    let before: Vec<u64> = agents.iter().map(cpu_ns).collect::<Result<_>>()?;
    let load_before = load_ns(&hosts)?;
    let begun = Instant::now();
    let (count_text, rate) = (count.to_string(), arguments.per_second.to_string());
    let options = [
        "--count",
        &count_text,
        "--per-second",
        &rate,
        "--parallel",
        "8",
    ];
    let limit = Duration::from_secs(u64::from(arguments.seconds) * 3 + 60);
    let seen = site.clients[0]
        .start_connect(site.target(Family::V4), &options)?
        .succeed(limit)?;
    let elapsed = begun.elapsed();
    let seen: Vec<Connected> = lines(&seen)?;
    let failed = seen.iter().filter(|one| !one.error.is_empty()).count();
    ensure!(failed == 0, "{failed} connections failed");
    let load = Duration::from_nanos(load_ns(&hosts)?.saturating_sub(load_before));
    let mut figures = vec![format!(
        "load    {count} connections in {:.1} s ({:.0}/s), {:.1} us of CPU each",
        elapsed.as_secs_f64(),
        count as f64 / elapsed.as_secs_f64(),
        per(load, count)
    )];
    for (((name, _), agent), before) in hosts.iter().zip(&agents).zip(before) {
        let used = Duration::from_nanos(cpu_ns(agent)?.saturating_sub(before));
        figures.push(format!(
            "{name}  agent: {:.2} % of one core, {:.1} us per connection, {:.2} % of the load's CPU",
            100.0 * used.as_secs_f64() / elapsed.as_secs_f64(),
            per(used, count),
            100.0 * used.as_secs_f64() / load.as_secs_f64(),
        ));
    }
    for agent in &mut agents {
        agent.flush()?;
        wait_for(SETTLE, "every connection counted", || {
            let decoded = agent.status()?.counter("record_decoded_total")?;
            ensure!(decoded >= count, "{decoded} of {count}");
            Ok(())
        })?;
        agent.stop()?;
    }
    Ok(figures)
}

fn per(used: Duration, count: u64) -> f64 {
    used.as_secs_f64() * 1e6 / count.max(1) as f64
}

/// Nanoseconds that all threads of an agent spent on a CPU, by the scheduler.
///
/// # Errors
/// It does not run.
pub(crate) fn cpu_ns(agent: &Agent) -> Result<u64> {
    let mut sum = 0;
    for task in fs::read_dir(format!("/proc/{}/task", agent.pid()?)).context("list threads")? {
        // A thread that just ended has no figures left.
        let stat = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        let first = stat
            .split_whitespace()
            .next()
            .and_then(|word| word.parse().ok());
        sum += first.unwrap_or(0_u64);
    }
    Ok(sum)
}

/// Nanoseconds that everything else on these hosts spent on a CPU, the kernel's work for it
/// included as far as it is accounted to a process.
fn load_ns(hosts: &[(&str, &Host)]) -> Result<u64> {
    let mut sum = 0;
    for (name, host) in hosts {
        let text = fs::read_to_string(host.cgroup().join("cpu.stat"))?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("usage_usec "));
        let usage: u64 = line
            .with_context(|| format!("no usage of {name}"))?
            .parse()?;
        sum += usage * 1000;
    }
    Ok(sum)
}

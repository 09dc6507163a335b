//! What family `listener` costs: its list at the end of an interval, beside agents without the family
//! (A/A), and its program, beside the programs that follow connections.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use serde_json::Value;

use crate::lab::agent::{Agent, Settings};
use crate::lab::host::{Host, lines};
use crate::lab::process::Running;
use crate::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use crate::lab::{Lab, needs, programs, residue};
use crate::load::{cpu_ns, print};
use crate::program::connect::Connected;

/// Sockets that listen on each of several hosts, and connections that one of them accepts.
#[derive(Parser)]
#[command(name = "waybill-listening")]
struct Arguments {
    /// Sockets that listen on a host; the family follows 4,096
    #[arg(long, default_value_t = 2000)]
    listeners: u16,
    /// Connections of one measurement
    #[arg(long, default_value_t = 5000)]
    accepts: u64,
    /// Intervals of one measurement
    #[arg(long, default_value_t = 20)]
    intervals: u64,
    /// How often everything is measured
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

/// Listens on so many ports, each a socket of its own.
const LISTEN: &str = r#"
import resource, signal, socket, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
held = []
for port in range(20000, 20000 + int(sys.argv[1])):
    held.append(socket.create_server(('0.0.0.0', port)))
print('listening', flush=True)
signal.pause()
"#;
const PATIENCE: Duration = Duration::from_secs(60);
/// Whether the kernel measures programs; slows each of them down a little.
const STATS: &str = "/proc/sys/kernel/bpf_stats_enabled";

/// Runs the load with the process's own arguments and prints the figures.
#[must_use]
pub fn main() -> ExitCode {
    print(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<Vec<String>> {
    let needed = ["python3", "bpftool"].map(needs::Need::Program);
    Lab::measure(&needed, |lab| measure(lab, arguments))
}

fn measure(lab: &Lab, arguments: &Arguments) -> Result<Vec<String>> {
    let site = Site::build(lab, 3, 1, Nat::Direct, Middlebox::Plain)?;
    let mut figures = of_the_program(lab, &site, arguments)?;
    figures.extend(of_the_lists(lab, &site, arguments)?);
    Ok(figures)
}

/// CPU time of an interval's end, with the family and twice without it.
fn of_the_lists(lab: &Lab, site: &Site, arguments: &Arguments) -> Result<Vec<String>> {
    let long = Settings::default().with("agent.interval", "\"1h\"")?;
    let off = long.clone().with("families.listener", "\"off\"")?;
    let mut listening = Vec::new();
    let mut agents = Vec::new();
    for (host, settings) in site.clients.iter().zip([&long, &off, &off]) {
        listening.push(listen(host, arguments.listeners)?);
        agents.push(Agent::start_on(lab, host, None, settings)?);
    }
    let mut spent = [(0, 0); 3];
    for _ in 0..arguments.rounds {
        for (agent, (cpu, closed)) in agents.iter().zip(&mut spent) {
            let sealed = || agent.status()?.counter("batch_sealed_total");
            agent.report()?;
            let before = (cpu_ns(agent)?, sealed()?);
            for _ in 0..arguments.intervals {
                agent.report()?;
            }
            *cpu += cpu_ns(agent)? - before.0;
            // Each seals one, because it was asked for.
            *closed += sealed()? - before.1;
        }
    }
    let followed = agents[0].status()?.counter("listener_sockets")?;
    ensure!(
        followed >= u64::from(arguments.listeners),
        "{followed} listeners are followed"
    );
    for agent in &mut agents {
        agent.stop()?;
    }
    let us = |(cpu, closed): (u64, u64)| cpu as f64 / closed.max(1) as f64 / 1e3;
    let [with, without, again] = spent.map(us);
    Ok(vec![
        format!(
            "lists    {} listeners: {with:.0} us of CPU an interval with the family, {without:.0} us \
             without it: {:.2}x, A/A {:.3}x",
            arguments.listeners,
            with / without,
            again / without,
        ),
        format!(
            "         {:.0} us for 1,000 listeners: {:.4} % of one core with intervals of 10 s",
            per_thousand(with - without, arguments),
            per_thousand(with - without, arguments) / 1e5,
        ),
    ])
}

fn per_thousand(us: f64, arguments: &Arguments) -> f64 {
    us * 1000.0 / f64::from(arguments.listeners)
}

/// Sockets of a process in a host's scope.
fn listen(host: &Host, count: u16) -> Result<Running> {
    let mut command = host.command(programs::python());
    command.args(["-c", LISTEN, &count.to_string()]);
    let mut running = host.start("listening", command)?;
    running.wait_for_output("listening", PATIENCE)?;
    Ok(running)
}

/// Run time and runs of the family's programs, and of those that follow connections.
#[derive(Clone, Copy, Default)]
struct Ran {
    listener: (u64, u64),
    connection_ns: u64,
}

impl Ran {
    fn now() -> Result<Self> {
        let mut ran = Self::default();
        for program in residue::list("prog")? {
            let number = |key: &str| program[key].as_u64().unwrap_or(0);
            let name = program["name"].as_str().unwrap_or_default();
            if name.starts_with("wb_listener_") {
                ran.listener.0 += number("run_time_ns");
                ran.listener.1 += number("run_cnt");
            } else if name.starts_with("wb_") {
                ran.connection_ns += number("run_time_ns");
            }
        }
        Ok(ran)
    }
}

/// Has the kernel measure programs for as long as it lives.
struct Stats(String);

impl Stats {
    fn begin() -> Result<Self> {
        let before = std::fs::read_to_string(STATS).context("the kernel measures no programs")?;
        std::fs::write(STATS, "1")?;
        Ok(Self(before))
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        std::fs::write(STATS, &self.0).ok();
    }
}

/// What the program takes of each connection that is accepted.
fn of_the_program(lab: &Lab, site: &Site, arguments: &Arguments) -> Result<Vec<String>> {
    let backend = &site.backends[0];
    let strangers = residue::list("prog")?;
    let is_ours = |program: &Value| {
        let name = program["name"].as_str().unwrap_or_default();
        name.starts_with("wb_")
    };
    ensure!(
        !strangers.iter().any(is_ours),
        "another agent runs on this machine, and its programs cannot be told apart"
    );
    let _server = programs::serve(backend, SERVICE_PORT, &[])?;
    let mut agent = Agent::start_on(lab, backend, None, &Settings::default())?;
    let _stats = Stats::begin()?;
    let mut halves = [Ran::default(); 2];
    let mut took = Duration::ZERO;
    for _ in 0..arguments.rounds {
        for half in &mut halves {
            let before = Ran::now()?;
            let begun = Instant::now();
            accept(site, arguments.accepts)?;
            took += begun.elapsed();
            let after = Ran::now()?;
            half.listener.0 += after.listener.0 - before.listener.0;
            half.listener.1 += after.listener.1 - before.listener.1;
            half.connection_ns += after.connection_ns - before.connection_ns;
        }
    }
    agent.stop()?;
    let one = arguments.accepts * u64::from(arguments.rounds);
    let [first, second] = halves.map(|half| half.listener.0 as f64 / one as f64);
    let all = 2.0 * one as f64;
    let sum = |of: fn(&Ran) -> u64| halves.iter().map(of).sum::<u64>() as f64 / all;
    let (ns, runs) = (sum(|ran| ran.listener.0), sum(|ran| ran.listener.1));
    ensure!(runs > 0.0, "the program of listeners did not run");
    Ok(vec![format!(
        "program  {ns:.0} ns in {runs:.1} runs for a connection: {:.4} of the connection's time, \
         {:.3}x of what the programs that follow connections take; A/A {:.3}x",
        ns / (took.as_nanos() as f64 / all),
        ns / sum(|ran| ran.connection_ns).max(1.0),
        second / first,
    )])
}

/// Connections of a host without an agent, one after the other.
fn accept(site: &Site, count: u64) -> Result<()> {
    let count = count.to_string();
    let flow = site.clients[0].start_connect(site.target(Family::V4), &["--count", &count])?;
    let seen: Vec<Connected> = lines(&flow.succeed(PATIENCE)?)?;
    let failed = seen.iter().filter(|one| !one.error.is_empty()).count();
    ensure!(failed == 0, "{failed} connections failed");
    Ok(())
}

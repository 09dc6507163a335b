//! What each level of the governor saves: an agent with a budget that it cannot keep goes through all
//! of them, beside one without a budget that does the same work (A/A).

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use nix::sys::resource::{Resource, setrlimit};

use crate::lab::Lab;
use crate::lab::agent::{Agent, Settings};
use crate::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use crate::lab::wait::{wait_for, wait_until};
use crate::lab::{netns, programs};
use crate::load::{cpu_ns, print};

/// Idle connections, and new ones that end badly, on one host.
#[derive(Parser)]
#[command(name = "waybill-governed")]
struct Arguments {
    /// Connections that are open all the time
    #[arg(long, default_value_t = 5000)]
    idle: u64,
    /// New connections per second, each of which ends with a reset
    #[arg(long, default_value_t = 200)]
    per_second: u32,
    /// How often everything is measured
    #[arg(long, default_value_t = 3)]
    rounds: u32,
}

/// The governor's lowest level.
const MOST: usize = 5;
/// The governor's window is five of these.
const INTERVAL: Duration = Duration::from_millis(1000);
/// So long is the last level looked at: as many intervals as lie between two looks.
const LAST: Duration = Duration::from_secs(32);
/// How long it may take to get everywhere.
const PATIENCE: Duration = Duration::from_secs(300);
/// Where connections are held.
const HELD_PORT: u16 = 9000;

/// Runs the load with the process's own arguments and prints the figures.
#[must_use]
pub fn main() -> ExitCode {
    print(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> Result<Vec<String>> {
    Lab::measure(&[], |lab| measure(lab, arguments))
}

/// CPU time and time at the levels of one agent, in nanoseconds.
type Shares = [(u64, u64); MOST + 1];

fn measure(lab: &Lab, arguments: &Arguments) -> Result<Vec<String>> {
    let site = Site::build(lab, 2, 1, Nat::Direct, Middlebox::Plain)?;
    let backend = &site.backends[0];
    let _server = programs::serve(backend, SERVICE_PORT, &[])?;
    let files = arguments.idle + 1024;
    setrlimit(Resource::RLIMIT_NOFILE, files, files).context("allow as many descriptors")?;
    let listener = netns::inside(backend.netns(), || {
        Ok(TcpListener::bind(("0.0.0.0", HELD_PORT))?)
    })?;
    let most = usize::try_from(arguments.idle).unwrap_or(usize::MAX);
    // Ends with the process.
    std::thread::Builder::new()
        .name("held".into())
        .spawn(move || hold(&listener, most))?;
    let budget = Settings::default()
        .with("agent.interval", &format!("'{}ms'", INTERVAL.as_millis()))?
        .with("limits.connections", "65536")?;
    let (tight, none) = (
        budget.clone().with("budget.cpu", "'1%'")?,
        budget.with("budget.cpu", "''")?,
    );
    let mut own = Agent::prepare(lab, &site.clients[0], None, &tight)?;
    let mut beside = Agent::prepare(lab, &site.clients[1], None, &none)?;
    let (mut governed, mut control) = (Shares::default(), Shares::default());
    for _ in 0..arguments.rounds {
        let target = site.target(Family::V4);
        let phases = under_load(&mut own, target, arguments, |agent| {
            levels(agent, &mut governed)
        })?;
        under_load(&mut beside, target, arguments, |agent| {
            same_phases(agent, &phases, &mut control)
        })?;
    }
    Ok(figures(&governed, &control))
}

/// Keeps the last connections that were accepted: those of the rounds before have ended.
fn hold(listener: &TcpListener, most: usize) {
    let mut held = VecDeque::new();
    for connection in listener.incoming().flatten() {
        held.push_back(connection);
        if held.len() > most {
            held.pop_front();
        }
    }
}

/// Starts the agent beside the whole load for `work`.
fn under_load<T>(
    agent: &mut Agent,
    target: SocketAddr,
    arguments: &Arguments,
    work: impl FnOnce(&Agent) -> Result<T>,
) -> Result<T> {
    let client = agent.host.clone();
    let held = SocketAddr::new(target.ip(), HELD_PORT);
    let idle = arguments.idle.to_string();
    let mut holding = client.start_connect(held, &["--count", &idle, "--hold"])?;
    holding.wait_for_output("holding", PATIENCE)?;
    let rate = arguments.per_second.to_string();
    let mut flow = client.start_connect(
        target,
        &[
            "--count",
            "100000000",
            "--per-second",
            &rate,
            "--end",
            "reset",
        ],
    )?;
    agent.start()?;
    let done = work(agent)?;
    agent.stop()?;
    flow.kill()?;
    holding.kill()?;
    Ok(done)
}

/// Follows an agent through all levels; how long each lasted.
fn levels(agent: &Agent, shares: &mut Shares) -> Result<Vec<Duration>> {
    let mut lasted = Vec::new();
    for (level, share) in shares.iter_mut().enumerate() {
        let begun = Instant::now();
        let before = cpu_ns(agent)?;
        wait_for(PATIENCE, "the next level", || {
            let now = usize::try_from(agent.status()?.counter("governor_level")?)?;
            let over = match level {
                MOST => begun.elapsed() >= LAST || now < MOST,
                _ => now > level,
            };
            ensure!(over, "at level {now}");
            Ok(())
        })?;
        lasted.push(begun.elapsed());
        add(share, cpu_ns(agent)? - before, begun.elapsed());
    }
    Ok(lasted)
}

/// The same phases of an agent that stays at level 0.
fn same_phases(agent: &Agent, phases: &[Duration], shares: &mut Shares) -> Result<()> {
    for (phase, share) in phases.iter().zip(shares) {
        let begun = Instant::now();
        let before = cpu_ns(agent)?;
        wait_until(PATIENCE, "the end of the phase", || {
            Ok((begun.elapsed() >= *phase).then_some(()))
        })?;
        add(share, cpu_ns(agent)? - before, begun.elapsed());
    }
    let level = agent.status()?.counter("governor_level")?;
    ensure!(level == 0, "the control is at level {level}");
    Ok(())
}

fn add(share: &mut (u64, u64), cpu_ns: u64, time: Duration) {
    share.0 += cpu_ns;
    share.1 += u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
}

fn figures(governed: &Shares, control: &Shares) -> Vec<String> {
    let percent = |(cpu, time): (u64, u64)| 100.0 * cpu as f64 / time.max(1) as f64;
    let mut lines = vec![String::from(
        "level   CPU of one core   of level 0   of the level before   A/A: without a budget",
    )];
    for level in 0..=MOST {
        let (own, beside) = (percent(governed[level]), percent(control[level]));
        let before = percent(governed[level.saturating_sub(1)]);
        lines.push(format!(
            "{level}       {own:6.2} %          {:5.2}x       {:5.2}x                {beside:6.2} % ({:5.2}x)",
            own / percent(governed[0]),
            own / before,
            beside / percent(control[0]),
        ));
    }
    lines
}

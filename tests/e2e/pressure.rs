//! Floods that outpace the agent, one of each source of its event loop: intervals end, heartbeats
//! are given and SIGTERM ends it while they last.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::lab::Lab;
use tests::lab::agent::{Agent, STOP_DEADLINE, Settings};
use tests::lab::command;
use tests::lab::host::Host;
use tests::lab::programs;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::wait::wait_for;

use crate::case::{Case, case};
use crate::faults::prepare_to_suffer;
use crate::orders::fleet::{Ordered, USUAL};

/// Names one trial.
macro_rules! pressure {
    ($name:literal, $run:expr) => {
        case(concat!("pressure::", $name), $run).alone()
    };
}

pub(crate) const CASES: &[Case] = &[
    pressure!("a_flood_of_records_holds_up_nothing", |lab| flood(
        lab,
        &[],
        "kernel_records_dropped_total"
    )),
    pressure!(
        "a_flood_of_records_in_perf_buffers_holds_up_nothing",
        |lab| {
            let perf = [("agent.transport", "'perf'")];
            flood(lab, &perf, "kernel_records_dropped_total")
        }
    ),
    pressure!("a_flood_of_packets_holds_up_nothing", |lab| {
        let sockets = [("agent.hooks", "'sockets'")];
        flood(lab, &sockets, "observe_packets_dropped_total")
    }),
    pressure!("a_flood_of_devices_and_signals_holds_up_nothing", devices),
    pressure!("a_flood_of_translations_holds_up_nothing", translations),
    pressure!("a_flood_of_orders_and_reports_holds_up_nothing", orders),
    pressure!("a_disk_that_stands_still_holds_up_nothing", stuck_disk),
];

/// For an agent that gets a small part of a busy machine.
const PATIENCE: Duration = Duration::from_secs(90);
/// Without a heartbeat for so long packet filters sleep, and a service manager has lost patience.
const DEAD_MAN: Duration = Duration::from_secs(10);
/// More connections than any trial lasts for.
const ENDLESS: &[&str] = &["--count", "100000000", "--parallel", "4", "--end", "reset"];

fn settings(more: &[(&str, &str)]) -> Result<Settings> {
    let small = Settings::default()
        .with("agent.interval", "'200ms'")?
        .with("limits.ring_bytes", "'64KiB'")?;
    more.iter()
        .try_fold(small, |settings, (key, value)| settings.with(key, value))
}

/// Lets everything else go first, so that a flood outpaces the agent on any machine.
fn slow_down(agent: &Agent) -> Result<()> {
    let process = agent.pid()?.to_string();
    command::run(Command::new("renice").args(["-n", "15", "-p", &process]))?;
    Ok(())
}

/// A service manager that listens for heartbeats, from the agent's start to its orderly end.
struct Manager(JoinHandle<Result<u64>>);

impl Manager {
    /// Prepares the next start of an agent; to be asked for a heartbeat every second.
    fn of(agent: &mut Agent) -> Result<Self> {
        let place = agent.host.directory().join("manager");
        let socket = UnixDatagram::bind(&place).context("listen to the agent")?;
        socket.set_read_timeout(Some(DEAD_MAN))?;
        agent.set_environment("NOTIFY_SOCKET", &place.to_string_lossy());
        agent.set_environment("WATCHDOG_USEC", "2000000");
        let listen = Builder::new().name("manager".into());
        Ok(Self(listen.spawn(move || signs_of_life(&socket))?))
    }

    /// The agent said that it ends, and before that was never silent for longer than it may.
    fn ends(self) -> Result<()> {
        let heard = self.0.join();
        let signs = heard.map_err(|_| anyhow!("the manager panicked"))??;
        ensure!(signs > 1, "{signs} heartbeats");
        Ok(())
    }
}

/// Counts the heartbeats until the agent says that it ends.
fn signs_of_life(socket: &UnixDatagram) -> Result<u64> {
    let mut signs = 0;
    loop {
        let mut text = [0; 256];
        match socket.recv(&mut text) {
            Ok(length) if text[..length].starts_with(b"STOPPING=1") => return Ok(signs),
            Ok(_) => signs += 1,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => bail!("after {signs} heartbeats none for {DEAD_MAN:?}: {error}"),
        }
    }
}

/// Starts an agent on a host that lets everything else go first, and listens to it.
fn start(lab: &Lab, host: &Host, settings: &Settings) -> Result<(Agent, Manager)> {
    let mut agent = Agent::prepare(lab, host, None, settings)?;
    let manager = Manager::of(&mut agent)?;
    agent.start()?;
    slow_down(&agent)?;
    Ok((agent, manager))
}

/// Sends signals again before the last ones were answered, for as long as `flooding`.
fn signal_without_end(process: Pid, signals: &[Signal], flooding: &AtomicBool) {
    // It may be gone already.
    while flooding.load(Ordering::Relaxed)
        && signals.iter().all(|signal| kill(process, *signal).is_ok())
    {
        std::hint::spin_loop();
    }
}

/// Waits for so many ends of intervals from now on.
fn intervals(agent: &Agent, count: u64) -> Result<()> {
    let before = agent.status()?.counter("batch_sealed_total")?;
    wait_for(PATIENCE, "ends of intervals", || {
        let sealed = agent.status()?.counter("batch_sealed_total")?;
        ensure!(sealed >= before + count, "{sealed} after {before}");
        Ok(())
    })
}

fn flood(lab: &Lab, more: &[(&str, &str)], lost: &str) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = &site.clients[0];
    let (mut agent, manager) = start(lab, client, &settings(more)?)?;
    let mut flood = client.start_connect(site.target(Family::V4), ENDLESS)?;
    // The source is never empty: it loses what comes while the agent reads.
    wait_for(PATIENCE, "a flood that outpaces the agent", || {
        let dropped = agent.status()?.counter(lost)?;
        ensure!(dropped > 0, "nothing was dropped");
        Ok(())
    })?;
    intervals(&agent, 5)?;
    agent.stop().context("end while the flood lasts")?;
    manager.ends()?;
    ensure!(flood.ended()?.is_none(), "the flood ended first");
    flood.kill()
}

/// Changes a device for as long as `flooding`.
fn change_devices(host: &Host, flooding: &AtomicBool) -> Result<()> {
    let mut batch = String::new();
    for length in 1000..1500 {
        batch.push_str(&format!("link set spare0 txqueuelen {length}\n"));
    }
    while flooding.load(Ordering::Relaxed) {
        host.ip(&batch)?;
    }
    Ok(())
}

fn devices(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = &site.clients[0];
    client.ip("link add spare0 type veth peer name spare1\n")?;
    let copies = settings(&[("option.mode", "'tc-clone'")])?;
    let (mut agent, manager) = start(lab, client, &copies)?;
    let process = Pid::from_raw(agent.pid()?);
    let mut flood = client.start_connect(site.target(Family::V4), ENDLESS)?;
    let flooding = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let news = scope.spawn(|| change_devices(client, &flooding));
        let signals = scope.spawn(|| {
            signal_without_end(process, &[Signal::SIGUSR1, Signal::SIGHUP], &flooding);
        });
        let outcome = intervals(&agent, 20).and_then(|()| {
            let status = agent.status()?;
            let asleep = status.counter("clone_asleep_total")?;
            ensure!(asleep == 0, "filters slept through {asleep} segments");
            ensure!(status.counter("clone_devices")? > 0, "no filters");
            agent.running()?.signal(Signal::SIGTERM)?;
            let ended = agent.running_mut()?.wait(STOP_DEADLINE);
            let ended = ended.context("end while the floods last")?;
            ensure!(ended.success(), "ended with {ended}");
            ensure!(!news.is_finished(), "the flood of news ended first");
            Ok(())
        });
        flooding.store(false, Ordering::Relaxed);
        signals.join().ok();
        let news = news.join();
        outcome?;
        news.map_err(|_| anyhow!("the flood of news panicked"))?
    })?;
    manager.ends()?;
    ensure!(flood.ended()?.is_none(), "the flood ended first");
    flood.kill()
}

fn translations(lab: &Lab) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Snat, Middlebox::Plain)?;
    let _server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let (mut agent, manager) = start(lab, &site.gateway, &settings(&[])?)?;
    let mut flood = site.clients[0].start_connect(site.target(Family::V4), ENDLESS)?;
    wait_for(PATIENCE, "translations", || {
        let told = agent.status()?.counter("nat_connections_total")?;
        ensure!(told > 1000, "{told} connections");
        Ok(())
    })?;
    intervals(&agent, 5)?;
    agent.stop().context("end while the flood lasts")?;
    manager.ends()?;
    ensure!(flood.ended()?.is_none(), "the flood ended first");
    flood.kill()
}

/// New orders come with every answer of the collector, and reports are asked for without end.
fn orders(lab: &Lab) -> Result<()> {
    let mut ordered = Ordered::new(lab, 1, USUAL)?;
    let client = &mut ordered.scene.agents[0];
    client.stop()?;
    let manager = Manager::of(client)?;
    client.start()?;
    slow_down(client)?;
    let process = Pid::from_raw(client.pid()?);
    let flooding = AtomicBool::new(true);
    std::thread::scope(|scope| {
        let (ordered, flooding) = (&ordered, &flooding);
        let signals = scope.spawn(|| signal_without_end(process, &[Signal::SIGUSR1], flooding));
        let newer = scope.spawn(|| -> Result<()> {
            let mut version = 0;
            while flooding.load(Ordering::Relaxed) {
                version += 1;
                let option = if version % 2 == 0 { "on" } else { "off" };
                let text =
                    format!("waybill-orders 1\nversion {version}\nhosts *\noption {option}\n");
                ordered.smuggle(version, &text, false)?;
            }
            Ok(())
        });
        let agent = &ordered.scene.agents[0];
        let outcome = wait_for(PATIENCE, "orders taken", || {
            let taken = agent.status()?.counter("orders_taken_total")?;
            ensure!(taken >= 10, "{taken}");
            Ok(())
        });
        let outcome = outcome.and_then(|()| agent.running()?.signal(Signal::SIGTERM));
        let outcome = outcome.and_then(|()| manager.ends());
        let alive = !newer.is_finished();
        flooding.store(false, Ordering::Relaxed);
        signals.join().ok();
        let newer = newer.join();
        outcome?;
        newer.map_err(|_| anyhow!("the flood of orders panicked"))??;
        ensure!(alive, "the flood of orders ended first");
        Ok(())
    })?;
    let ended = ordered.scene.agents[0].running_mut()?.wait(STOP_DEADLINE)?;
    ensure!(ended.success(), "ended with {ended}");
    Ok(())
}

/// The thread that writes its small files never comes back from the disk.
fn stuck_disk(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let mut agent = prepare_to_suffer(lab, &host, None, &settings(&[])?)?;
    agent.suffer(Some("stand-still@5000"));
    agent.start()?;
    let batches = || -> Result<u64> {
        let stat = agent.ask_json(&["spool", "stat"])?;
        stat["batches"].as_u64().context("no batches")
    };
    let mut status = Vec::new();
    wait_for(PATIENCE, "a status that stays as it is", || {
        agent.flush()?;
        let before = std::mem::replace(
            &mut status,
            std::fs::read(agent.rootfs().join("run/status.json"))?,
        );
        let sealed = batches()?;
        wait_for(PATIENCE, "batches", || {
            agent.flush()?;
            let now = batches()?;
            ensure!(now >= sealed + 10, "{now} after {sealed}");
            Ok(())
        })?;
        ensure!(before == status, "it is still written");
        Ok(())
    })?;
    agent.stop().context("end while the disk stands still")
}

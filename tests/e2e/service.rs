//! What a service manager sees of the agent.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tests::lab::Lab;
use tests::lab::agent::{AGENT, Agent, STOP_DEADLINE, Settings};

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[Case {
    name: "service::a_service_manager_hears_ready_alive_and_stopping",
    needs: &[],
    alone: false,
    run: told,
}];

/// How long the agent may take for its next word, on a busy machine.
const WORD: Duration = Duration::from_secs(30);

fn told(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let agent = Agent::prepare(lab, &host, None, &Settings::default())?;
    let place = host.directory().join("manager");
    let manager = UnixDatagram::bind(&place)?;
    manager.set_read_timeout(Some(WORD))?;
    let mut run = host.command_beside(agent.rootfs().join(AGENT));
    run.arg("run").arg("--config").arg(agent.config_file());
    run.env("NOTIFY_SOCKET", &place);
    run.env("WATCHDOG_USEC", "2000000");
    let mut running = host.start("agent", run)?;
    expect(&manager, "READY=1\nSTATUS=mode ")?;
    expect(&manager, "WATCHDOG=1")?;
    expect(&manager, "WATCHDOG=1")?;
    running.signal(Signal::SIGTERM)?;
    expect(&manager, "STOPPING=1")?;
    ensure!(
        running.wait(STOP_DEADLINE)?.success(),
        "{}",
        running.errors()?
    );
    Ok(())
}

/// Waits for a word that begins so; only signs of life may come before.
fn expect(manager: &UnixDatagram, begin: &str) -> Result<()> {
    loop {
        let mut text = [0; 256];
        let length = manager
            .recv(&mut text)
            .with_context(|| format!("no {begin:?} in time"))?;
        let said = String::from_utf8_lossy(&text[..length]);
        if said.starts_with(begin) {
            return Ok(());
        }
        ensure!(said == "WATCHDOG=1", "{said:?} instead of {begin:?}");
    }
}

//! What a service manager sees of the agent.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::lab::Lab;
use tests::lab::agent::{AGENT, Agent, STOP_DEADLINE, Settings};
use tests::lab::needs::Need;

use crate::case::{Case, case};

pub(crate) const CASES: &[Case] = &[
    case(
        "service::a_service_manager_hears_ready_alive_and_stopping",
        told,
    ),
    case(
        "service::a_log_file_takes_every_line_of_the_confined_agent",
        logged,
    ),
    case(
        "service::the_unit_leaves_the_capabilities_that_the_agent_needs",
        bounded,
    )
    .needing(&[Need::Program("setpriv")]),
];

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

/// Waits for a word that begins so; only heartbeats may come before.
fn expect(manager: &UnixDatagram, begin: &str) -> Result<()> {
    loop {
        let mut text = [0; 256];
        let length = match manager.recv(&mut text) {
            // Another trial's child ended.
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other.with_context(|| format!("no {begin:?} in time"))?,
        };
        let said = String::from_utf8_lossy(&text[..length]);
        if said.starts_with(begin) {
            return Ok(());
        }
        ensure!(said == "WATCHDOG=1", "{said:?} instead of {begin:?}");
    }
}

/// With the capabilities that the packaged unit leaves, and no other, each mode is what it is with
/// all of them.
fn bounded(lab: &Lab) -> Result<()> {
    let unit = include_str!("../../packaging/systemd/waybill-agent.service");
    let mut lines = unit.lines();
    let kept = lines.find_map(|line| line.strip_prefix("CapabilityBoundingSet="));
    let kept = kept
        .context("the unit bounds no capabilities")?
        .to_lowercase();
    let kept: Vec<&str> = kept
        .split(' ')
        .map(|name| name.trim_start_matches("cap_"))
        .collect();
    let mut list = std::process::Command::new("setpriv");
    let all = tests::lab::command::run(list.arg("--list-caps"))?;
    let less: Vec<&str> = all
        .lines()
        .filter(|name| !kept.contains(name))
        .flat_map(|name| ["--capability", name])
        .collect();
    ensure!(less.len() > 20, "{all}");
    for mode in ["auto", "tc-clone", "observe"] {
        let free = lab.host(&format!("free-{mode}"))?;
        let bounded = lab.host(&format!("bound-{mode}"))?;
        bounded.hinder(&less);
        let settings = Settings::default().with("option.mode", &format!("{mode:?}"))?;
        let plan = |host| -> Result<Value> {
            let mut agent = Agent::start_on(lab, host, None, &settings)?;
            let report = agent.ask_json(&["doctor"])?;
            agent.stop()?;
            Ok(report["plan"].clone())
        };
        let (with_all, with_those) = (plan(&free)?, plan(&bounded)?);
        ensure!(with_all.is_array(), "no plan: {with_all}");
        ensure!(
            with_all == with_those,
            "{mode}: {with_all} but {with_those}"
        );
    }
    Ok(())
}

fn logged(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let settings = Settings::default().with("log.file", "true")?;
    let mut agent = Agent::start_on(lab, &host, None, &settings)?;
    let said = agent.running()?.errors()?;
    agent.stop()?;
    let log = std::fs::read_to_string(agent.rootfs().join("var/lib/waybill/agent.log"))?;
    for word in ["msg=confined", "msg=ending", "msg=drained"] {
        ensure!(log.contains(word), "no {word} in {log}");
        ensure!(!said.contains(word), "{word} on standard error: {said}");
    }
    ensure!(
        said.contains("msg=planned"),
        "the start is not told: {said}"
    );
    Ok(())
}

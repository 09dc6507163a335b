//! What listens is told with its process, its limit, and the queue as the kernel shows it.

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::Value;
use tests::lab::agent::{Agent, Settings};
use tests::lab::collector::Collector;
use tests::lab::host::Host;
use tests::lab::needs::Skip;
use tests::lab::site::{Family, Site};
use tests::lab::wait::wait_until;
use tests::lab::{Lab, netns, programs};

use super::gateway::Gateway;
use super::modes::mode_settings;
use super::run::{Found, Run, SETTLE};
use super::stage::{STOCK, rule};
use crate::say::say;

/// Runs the check in every mode.
pub(super) fn run(run: &mut Run) -> Result<()> {
    for mode in run.order.modes.clone() {
        run.check("listener", &format!("listener/queue/{mode}"), |run| {
            if let Some(reason) = run.planned("listener").strip_prefix("skipped: ") {
                return Err(Skip(reason.to_owned()).into());
            }
            let lab = run.lab()?;
            let site = Site::wire(&lab, 1, 1, Gateway::Routes.nat())?;
            let collector = Collector::start_in(&lab)?;
            let settings = mode_settings(&mode)?
                // An interval ends when it is told to.
                .with("agent.interval", "\"1h\"")?
                .with("service", &rule(STOCK))?;
            let found = queue(&lab, (&site, &collector), &settings);
            let found = found.inspect_err(|_| say(&lab.evidence()))?;
            drop((collector, site));
            lab.close().map(|()| found)
        })?;
    }
    Ok(())
}

/// A server that is stopped accepts nothing: what waits is what `ss` shows.
fn queue(lab: &Lab, (site, collector): (&Site, &Collector), settings: &Settings) -> Result<Found> {
    let (host, port) = (&site.backends[0], Gateway::Routes.service_port());
    let agent = Agent::start_on(lab, host, Some(collector), settings)?;
    let server = programs::serve(host, port, &[])?;
    server.running.signal(Signal::SIGSTOP)?;
    let target = Gateway::Routes.target(site, Family::V4);
    let held = netns::inside(site.clients[0].netns(), || {
        let connect = |_| std::net::TcpStream::connect_timeout(&target, SETTLE);
        Ok((0..3).map(connect).collect::<Result<Vec<_>, _>>()?)
    })?;
    let shown = ss(host, port)?;
    ensure!(shown[0] == held.len() as u64, "ss shows {shown:?}");
    let row = wait_until(SETTLE, "the row of the listener", || {
        agent.flush()?;
        let text = collector.ask(&["rows", "listener", "--intervals", "--format", "json"])?;
        let answer: Value = serde_json::from_str(&text)?;
        let tables = answer["tables"].as_array().cloned().unwrap_or_default();
        let rows = tables.iter().filter_map(|table| table["rows"].as_array());
        let mut rows = rows.flatten().filter(|row| {
            row["values"]["local_port"] == port && row["values"]["queue"] == shown[0]
        });
        Ok(rows.next().cloned())
    })?;
    let value = |name: &str| row["values"][name].as_u64();
    ensure!(
        value("backlog") == Some(shown[1]),
        "ss shows {shown:?}: {row}"
    );
    ensure!(row["process"]["service"] == STOCK, "whose: {row}");
    // Without a program nobody sees more than the ends of intervals.
    let plan = agent.status()?.plan;
    let mut plan = plan.iter().filter(|(name, _)| name == "listener");
    let watched = plan.any(|(_, how)| how.starts_with("program"));
    let most = value("queue_most");
    ensure!(most == watched.then_some(shown[0]), "the longest: {row}");
    drop((server, held));
    Ok(Found::ALL)
}

/// What waits and the limit, as the kernel has them.
fn ss(host: &Host, port: u16) -> Result<[u64; 2]> {
    let text = host.run("ss", &["-lntH", &format!("sport = :{port}")])?;
    let mut words = text.split_whitespace().skip(1);
    let mut number = || -> Result<u64> { Ok(words.next().context("a number")?.parse()?) };
    Ok([number()?, number()?])
}

//! What trials of packet filters do on a host, and what they see there.

use anyhow::{Context, Result, ensure};
use tests::lab::agent::{Agent, Settings, Status};
use tests::lab::command;
use tests::lab::host::Host;
use tests::lab::site::{Family, Site};
use tests::lab::wait::wait_for;

use crate::case::SOON;
use crate::clone::{CLONE, mode};

/// Key and value that force the mode under test.
pub(crate) fn settings() -> Result<Settings> {
    mode(CLONE)
}

/// What `tc` shows of a device's filters.
pub(crate) fn shown(host: &Host, device: &str) -> Result<String> {
    let mut text = String::new();
    for direction in ["ingress", "egress"] {
        let mut tc = host.command_beside("tc");
        tc.args(["filter", "show", "dev", device, direction]);
        text += &command::run(&mut tc)?;
    }
    Ok(text)
}

pub(crate) fn tc(host: &Host, arguments: &str) -> Result<()> {
    let mut tc = host.command_beside("tc");
    command::run(tc.args(arguments.split(' '))).map(drop)
}

/// Waits until a check holds in what an agent says of itself.
pub(crate) fn wait_status(
    agent: &Agent,
    mut check: impl FnMut(&Status) -> Result<()>,
) -> Result<()> {
    wait_for(SOON, "expected status", || {
        agent.flush()?;
        check(&agent.status()?)
    })
}

/// Connects a few times; none may fail.
pub(crate) fn talk(site: &Site, count: u32) -> Result<()> {
    for family in Family::BOTH {
        let count = count.to_string();
        let seen = site.clients[0].connect(site.target(family), &["--count", &count])?;
        ensure!(seen.iter().all(|c| c.error.is_empty()), "{seen:?}");
    }
    Ok(())
}

/// Counts packets with the option that reach the host's own stack.
pub(crate) fn count_options(host: &Host) -> Result<()> {
    host.nft(
        "table inet reached { counter options { }\n\
         chain in { type filter hook input priority 0; policy accept;\n\
         tcp option 253 exists counter name options\n }\n}\n",
    )
}

pub(crate) fn options_reached(host: &Host) -> Result<u64> {
    let mut list = host.command_beside("nft");
    list.args(["-j", "list", "counter", "inet", "reached", "options"]);
    let listed: serde_json::Value = serde_json::from_str(&command::run(&mut list)?)?;
    listed["nftables"]
        .as_array()
        .and_then(|all| all.iter().find_map(|e| e["counter"]["packets"].as_u64()))
        .context("no counter")
}

//! Modes: what forces one, and whether the agents run in it.

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::needs::Skip;

use super::memory;
use super::run::Run;
use super::stage::Stage;

/// Settings of one mode: what the operator would write to force it.
pub(super) fn mode_settings(mode: &str) -> Result<Settings> {
    let mut settings = Settings::default();
    for (key, value) in memory::limits() {
        settings = settings.with(key, value)?;
    }
    match mode {
        "auto" => Ok(settings),
        "observe" => settings.with("option.enabled", "false"),
        "kprobes" | "sockets" => settings.with("agent.hooks", &format!("'{mode}'")),
        other => settings.with("option.mode", &format!("'{other}'")),
    }
}

/// Settings of the client's and of the backends' agents for `mode` or `mode+mode`.
pub(super) fn pair_settings(mode: &str) -> Result<[Settings; 2]> {
    let (client, server) = mode.split_once('+').unwrap_or((mode, mode));
    Ok([mode_settings(client)?, mode_settings(server)?])
}

/// Whether this agent knows the settings at all.
pub(super) fn knows(lab: &Lab, stage: &Stage, settings: &Settings, side: usize) -> Result<()> {
    let host = lab.host(&format!("settings{side}"))?;
    let agent = Agent::prepare(lab, &host, Some(&stage.collector), settings)?;
    let asked = agent.ask(&["check-config"])?;
    if asked.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&asked.stderr).trim().to_owned();
    Err(Skip(format!("this agent does not know the settings: {said}")).into())
}

/// Whether the running agents do what `doctor` promised.
///
/// # Errors
/// When one does less; a skip where a forced mode is more than this kernel can do.
pub(super) fn promised(run: &Run, stage: &Stage, asked: &str) -> Result<()> {
    let chosen = run.planned("mode").split(':').next().unwrap_or_default();
    let (client, server) = asked.split_once('+').unwrap_or((asked, asked));
    for (at, agent) in stage.agents.iter().enumerate() {
        let status = agent.status()?;
        let why = status.plan.iter().find(|(name, _)| name == "mode");
        let why = why.map_or(&status.mode, |(_, why)| why);
        // The client's is the first.
        let asked = if at == 0 { client } else { server };
        let mode = match asked {
            "auto" => chosen,
            // What connections are followed by, whoever carries the option.
            "kprobes" | "sockets" => {
                let hooks = status.plan.iter().find(|(name, _)| name == "connection");
                let hooks = hooks.map_or("nothing", |(_, hooks)| hooks);
                let wanted = match asked {
                    "kprobes" => "probes",
                    _ => "packet and diagnostic sockets",
                };
                if hooks.starts_with(wanted) {
                    continue;
                }
                let why = format!("{asked} cannot be forced here: {hooks}");
                return Err(Skip(why).into());
            }
            forced if status.mode != forced => {
                return Err(Skip(format!("{forced} cannot be forced here: {why}")).into());
            }
            forced => forced,
        };
        ensure!(
            status.mode == mode,
            "doctor promised mode {mode}, the agent on {} runs {why}",
            agent.host.name(),
        );
    }
    Ok(())
}

/// What edges are joined by: sequence numbers where nobody writes an option, else tokens, as whoever
/// does not write still reads.
pub(super) fn evidence(stage: &Stage) -> Result<&'static str> {
    let mut writes = false;
    for agent in &stage.agents {
        writes |= agent.status()?.mode != "observe";
    }
    Ok(if writes { "token" } else { "sequence" })
}

//! Traffic with agents is as it was without.

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::counters::{Counters, HARM};
use tests::lab::needs::Skip;
use tests::lab::site::Family;

use super::gateway::Gateway;
use super::stage::Stage;
use super::{Found, Run, mode_settings};

/// Short exchanges per IP version.
const SHORT: &str = "40";

/// Bytes of the long transfer, each way.
const LONG: &str = "1000000";

/// An emulated machine stalls now and then, which also retransmits. Harm by an agent is there in
/// every attempt; noise is not.
const ATTEMPTS: usize = 3;

/// Runs the check in every mode.
pub(super) fn run(run: &mut Run) -> Result<()> {
    for mode in run.order.modes.clone() {
        run.check("connection", &format!("harm/counters/{mode}"), |run| {
            run.need_connections()?;
            let settings = mode_settings(&mode)?;
            let mut last = Ok(Found::ALL);
            for _ in 0..ATTEMPTS {
                last = attempt(run, &settings);
                match &last {
                    Ok(_) => break,
                    Err(error) if error.is::<Skip>() => break,
                    Err(error) => crate::say(&format!("harm: {error:#}")),
                }
            }
            last
        })?;
    }
    Ok(())
}

/// What one round of transfers did.
#[derive(Debug, PartialEq, Eq)]
struct Round {
    /// Counters of harm that moved, by host.
    moved: Vec<(&'static str, Vec<(&'static str, u64)>)>,
    /// Packets that the gateway's connection tracking called invalid.
    invalid: u64,
}

fn attempt(run: &Run, settings: &Settings) -> Result<Found> {
    let lab = Lab::new(&run.binaries)?;
    let (site, nft) = match Gateway::Nft.build(&lab) {
        Ok(site) => (site, true),
        Err(error) if error.is::<Skip>() => {
            lab.close()?;
            let lab = Lab::new(&run.binaries)?;
            return rounds(&lab, Gateway::Routes.build(&lab)?, false, settings);
        }
        Err(error) => return Err(error),
    };
    rounds(&lab, site, nft, settings)
}

fn rounds(
    lab: &Lab,
    site: tests::lab::site::Site,
    nft: bool,
    settings: &Settings,
) -> Result<Found> {
    let nat = if nft { Gateway::Nft } else { Gateway::Routes }.nat();
    for host in site.clients.iter().chain(&site.backends) {
        // Tail-loss probes and overflowing queues are noise of a busy machine.
        host.sysctl("net.ipv4.tcp_early_retrans", "0")?;
        host.sysctl("net.ipv4.tcp_rmem", "4096 131072 262144")?;
        host.use_one_cpu();
    }
    let mut stage = Stage::set(lab, site, nat)?;
    let without = round(&stage, nft)?;
    stage.start_agents(lab, settings)?;
    let with = round(&stage, nft)?;
    ensure!(with == without, "{with:?} with, {without:?} without agents");
    ensure!(
        with.invalid == 0,
        "conntrack calls {} packets invalid",
        with.invalid
    );
    for agent in &mut stage.agents {
        agent.stop()?;
    }
    Ok(Found::ALL)
}

fn round(stage: &Stage, nft: bool) -> Result<Round> {
    let hosts = [
        ("client", &stage.site.clients[0]),
        ("gateway", &stage.site.gateway),
        ("backend", &stage.site.backends[0]),
    ];
    let mut before = Vec::new();
    for (_, host) in hosts {
        before.push(Counters::of(host)?);
    }
    let invalid = |stage: &Stage| match nft {
        true => stage.site.conntrack_invalid(),
        false => Ok(0),
    };
    let known = invalid(stage)?;
    let client = &stage.site.clients[0];
    for family in Family::BOTH {
        for options in [
            ["--count", SHORT, "--up", "400", "--down", "900"],
            ["--count", "1", "--up", LONG, "--down", LONG],
        ] {
            let seen = client.connect(stage.site.target(family), &options)?;
            let failed = seen.iter().find(|connection| !connection.error.is_empty());
            ensure!(failed.is_none(), "a transfer failed: {failed:?}");
        }
    }
    let mut moved = Vec::new();
    for ((name, host), before) in hosts.into_iter().zip(&before) {
        moved.push((name, Counters::of(host)?.since(before).among(&HARM)));
    }
    Ok(Round {
        moved,
        invalid: invalid(stage)? - known,
    })
}

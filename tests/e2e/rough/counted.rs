//! What was counted beside a wire that loses packets.

use std::io::Write;
use std::net::SocketAddr;

use anyhow::{Result, ensure};
use tests::lab::topology::Topology;
use tests::program::wire::Tally;

use crate::scene::Scene;

/// Nobody thinks that a path takes the option away.
pub(crate) fn no_path_is_off(scene: &Scene<'_>) -> Result<()> {
    for agent in &scene.agents {
        let status = agent.report()?;
        let (off, name) = (&status.paths_off, agent.host.name());
        ensure!(off.is_empty(), "{name}: {off:?}");
        let ever = status.counter("option_path_switched_off_total")?;
        ensure!(ever == 0, "{name}: a path was off {ever} times");
    }
    Ok(())
}

pub(crate) fn sum(scene: &Scene<'_>, counter: &str) -> Result<u64> {
    let agents = scene.agents.iter();
    agents
        .map(|agent| agent.report()?.counter(counter))
        .sum::<Result<u64>>()
}

/// Each edge has exactly `count` connections, on both sides; the result is those joined by token.
pub(crate) fn exact(
    topology: &Topology,
    client: &str,
    ends: &[SocketAddr],
    count: u64,
) -> Result<u64> {
    let mut tokens = 0;
    for &end in ends {
        let edge = topology.edge(client, end)?;
        let (near, far) = (edge.client_side()?, edge.server_side()?);
        let counted = [
            edge.connections,
            near.opened,
            near.closed,
            far.opened,
            far.closed,
        ];
        ensure!(
            counted == [count; 5],
            "{counted:?} of {count} connections to {end}: {}",
            topology.brief()
        );
        let joined = edge.evidence.iter().filter(|one| one.kind == "token");
        tokens += joined.map(|one| one.connections).sum::<u64>();
    }
    let more = topology.edges.len() - ends.len();
    ensure!(
        more == 0 && topology.unjoined.is_empty() && topology.ambiguous_tokens == 0,
        "{more} edges too many: {}",
        topology.brief()
    );
    Ok(tokens)
}

/// Of a hundred handshake ACKs that arrived, 97 brought their token.
pub(crate) fn enough(what: &str, tokens: u64, tally: &Tally) -> Result<()> {
    let arrived: u64 = tally.handshakes.iter().map(|one| one.acknowledged).sum();
    most_of((what, "handshake ACKs"), tokens, (arrived, tally))
}

/// Of a hundred connections, 97 that a listener which defers could tell were told: it throws the
/// handshake's ACK away, so what counts is what comes behind it.
pub(crate) fn enough_deferred(what: &str, tokens: u64, tally: &Tally) -> Result<()> {
    most_of(
        (what, "segments with an option"),
        tokens,
        (tally.carried, tally),
    )
}

fn most_of(
    (what, things): (&str, &str),
    tokens: u64,
    (arrived, tally): (u64, &Tally),
) -> Result<()> {
    ensure!(
        arrived > 0 && tally.lost > 0,
        "nothing was tried: {tally:?}"
    );
    let said = format!("{tokens} tokens {what} of {arrived} {things} that arrived");
    ensure!(tokens * 100 >= arrived * 97, "{said}; {tally:?}");
    writeln!(std::io::stderr(), "rough: {said}; {tally:?}").ok();
    Ok(())
}

//! What became of the connections of a round, and whether all of it is accounted for.

use anyhow::{Result, ensure};
use tests::lab::agent::Status;
use tests::lab::counters::Counters;
use tests::lab::host::Host;
use tests::lab::programs::Server;
use tests::lab::site::{Family, Site};
use tests::lab::topology::{Edge, Topology};

use crate::nat::{logged, send};
use crate::scene::Scene;

/// Connections per family and round.
pub(crate) const COUNT: u64 = 20;

/// What became of the connections of a round.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// Connections.
    pub(crate) total: u64,
    /// Joined by their waybill.
    pub(crate) tokens: u64,
    pub(crate) client: Status,
    pub(crate) backend: Status,
}

/// Connections in both families, none of which may fail; what the kernels counted meanwhile.
pub(crate) fn exchange(
    site: &Site,
    servers: &[Server],
    before: u64,
) -> Result<(Counters, Counters)> {
    let of = || -> Result<_> {
        let (client, backend) = (&site.clients[0], &site.backends[0]);
        Ok((Counters::of(client)?, Counters::of(backend)?))
    };
    let start = of()?;
    let mut total = before;
    for family in Family::BOTH {
        total += send(site, family, COUNT, &["--down", "300"])?;
    }
    logged(servers, total)?;
    let end = of()?;
    Ok((end.0.since(&start.0), end.1.since(&start.1)))
}

/// Waits until both ends of every connection are in the topology, joined or not.
pub(crate) fn account(scene: &Scene<'_>, total: u64) -> Result<Outcome> {
    let mut tokens = 0;
    scene.settle(|topology| {
        let opened = |side: fn(&Edge) -> u64| -> u64 { all(topology).map(side).sum() };
        let client = opened(|edge| edge.client_counters.as_ref().map_or(0, |c| c.closed));
        let backend = opened(|edge| edge.server_counters.as_ref().map_or(0, |c| c.closed));
        ensure!(
            client == total && backend == total,
            "{client} connections of the client, {backend} of the backend: {}",
            topology.brief()
        );
        let evidence = topology.edges.iter().flat_map(|edge| &edge.evidence);
        tokens = evidence
            .filter(|evidence| evidence.kind == "token")
            .map(|evidence| evidence.connections)
            .sum();
        Ok(())
    })?;
    let status = |host: &Host| -> Result<Status> { scene.agent(host)?.status() };
    Ok(Outcome {
        total,
        tokens,
        client: status(&scene.site.clients[0])?,
        backend: status(&scene.site.backends[0])?,
    })
}

/// Why a connection left without its waybill.
const REASONS: [&str; 9] = [
    "clone_failed_redirect_total",
    "clone_failed_rewrite_total",
    "clone_failed_unseen_total",
    "clone_unsent_total",
    "option_no_room_total",
    "option_not_allowed_total",
    "option_path_off_total",
    "option_store_failed_total",
    "option_unsent_total",
];

/// Demands that counters tell of each connection that is not joined by its waybill: it left without
/// one for a reason, or was lost on the way.
pub(crate) fn explained(outcome: &Outcome) -> Result<()> {
    let of = |status: &Status, names: &[&str]| -> Result<u64> {
        names.iter().map(|name| status.counter(name)).sum()
    };
    let (client, backend) = (&outcome.client, &outcome.backend);
    let written = |status| of(status, &["option_written_total"]);
    let read = |status| of(status, &["option_read_total"]);
    let reasons = of(client, &REASONS)?;
    let left = written(client)? + reasons;
    ensure!(
        left >= outcome.total,
        "{left} are explained by the client: {outcome:?}"
    );
    for status in [client, backend] {
        let options = written(status)?;
        ensure!(
            options <= outcome.total,
            "{options} options of one end: {outcome:?}"
        );
    }
    let lost = written(client)? + written(backend)? - read(client)? - read(backend)?;
    let missing = outcome.total - outcome.tokens;
    ensure!(
        missing <= lost + reasons,
        "{missing} are missing, {lost} lost, {reasons} have reasons: {outcome:?}"
    );
    Ok(())
}

fn all(topology: &Topology) -> impl Iterator<Item = &Edge> {
    topology.edges.iter().chain(&topology.unjoined)
}

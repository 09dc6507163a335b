//! Every byte arrives as it was sent, in each mode, and with loss on the way.
//!
//! `WAYBILL_SOAK=50000 cargo test -p tests --test e2e -- soak::` opens as many connections per
//! trial instead of the few that are enough for every day.

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::counters::Counters;
use tests::lab::host::lines;
use tests::lab::programs;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::topology::Evidence;
use tests::program::connect::Connected;

use crate::case::{Case, SOON, case};
use crate::clone::{CLONE, mode};
use crate::nat::{expected, logged, send, start_servers};
use crate::scene::Scene;

pub(crate) const CASES: &[Case] = &[
    case("soak::nothing_is_changed_in_mode_sockops", |lab| {
        integrity(lab, &mode("sockops")?)
    }),
    case("soak::nothing_is_changed_in_mode_tc_clone", |lab| {
        integrity(lab, &mode(CLONE)?)
    }),
    case("soak::nothing_is_changed_where_sockets_measure", |lab| {
        integrity(lab, &crate::observe::sockets()?)
    }),
    case(
        "soak::loss_costs_no_connection_and_makes_no_wrong_edge_between_copies",
        |lab| loss(lab, CLONE, CLONE),
    ),
    case(
        "soak::loss_costs_no_connection_and_makes_no_wrong_edge_from_copies_to_the_stack",
        |lab| loss(lab, CLONE, "sockops"),
    ),
    case(
        "soak::loss_costs_no_connection_and_makes_no_wrong_edge_from_the_stack_to_filters",
        |lab| loss(lab, "sockops", CLONE),
    ),
];

/// Connections of one trial.
fn connections() -> Result<u64> {
    match std::env::var("WAYBILL_SOAK") {
        Ok(number) => number.parse().context("WAYBILL_SOAK"),
        Err(_) => Ok(2000),
    }
}

/// Bytes up and down of each kind of connection, and its share in hundredths.
const KINDS: [(&str, &str, u64); 5] = [
    ("1", "1", 30),
    ("400", "900", 40),
    ("1448", "30000", 20),
    ("100000", "3", 7),
    ("300000", "300000", 3),
];

/// Sends connections of all sizes and demands that agents with these settings change nothing.
pub(crate) fn integrity(lab: &Lab, settings: &Settings) -> Result<()> {
    let nat = Nat::FullNat;
    let mut scene = Scene::with(lab, (1, 1), nat, Middlebox::Plain, settings)?;
    // Both ends compare every byte with a pattern that has no short period.
    let server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let client = scene.site.clients[0].clone();
    let total = connections()?;
    // Closed connections keep their ports for a minute, and the default range is soon used up.
    client.sysctl("net.ipv4.ip_local_port_range", "2000 65000")?;
    let before = [
        Counters::of(&client)?,
        Counters::of(&scene.site.backends[0])?,
    ];
    let mut opened = 0;
    for (family, share) in Family::BOTH.into_iter().zip([2, 3]) {
        for (up, down, hundredths) in KINDS {
            // What a program prints is kept: some thousand at a time.
            let mut left = total * hundredths / 100 * share / 5;
            while left > 0 {
                let count = left.min(4000);
                left -= count;
                let (number, to) = (count.to_string(), scene.site.target(family));
                let options = ["--count", &number, "--parallel", "4", "--up", up];
                let options = [&options[..], &["--down", down]].concat();
                let running = client.start_connect(to, &options)?;
                let said = running.succeed(std::time::Duration::from_secs(600))?;
                let seen: Vec<Connected> = lines(&said)?;
                let bad: Vec<_> = seen.iter().filter(|c| !c.error.is_empty()).collect();
                ensure!(bad.is_empty(), "{} of {count} bad: {bad:?}", bad.len());
                opened += seen.len();
            }
        }
    }
    let entries = server.wait_served(opened, SOON)?;
    ensure!(entries.len() == opened, "{} of {opened}", entries.len());
    for (host, before) in [&client, &scene.site.backends[0]].into_iter().zip(&before) {
        let grown = Counters::of(host)?.since(before);
        for name in ["Tcp.InCsumErrors", "Tcp.InErrs", "Tcp.AttemptFails"] {
            let value = grown.value(name);
            ensure!(value == 0, "{}: {name} {value}", host.name());
        }
    }
    ensure!(
        scene.site.conntrack_invalid()? == 0,
        "packets that conntrack calls invalid"
    );
    for agent in &mut scene.agents {
        agent.stop()?;
    }
    Ok(())
}

/// One packet in ten is lost, each way.
const LOSS: &str = "table inet loss {\n\
    chain pass { type filter hook forward priority 20; policy accept;\n\
    meta l4proto tcp numgen random mod 10 0 drop\n }\n}\n";

fn loss(lab: &Lab, clients: &str, backends: &str) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 2, Nat::FullNat, Middlebox::Plain)?;
    scene.site.gateway.nft(LOSS)?;
    scene.start_with(&mode(clients)?, &mode(backends)?)?;
    let servers = start_servers(&scene.site, &[])?;
    let mut total = 0;
    for family in Family::BOTH {
        let patient = ["--parallel", "32", "--timeout-ms", "100000"];
        total += send(&scene.site, family, 100, &patient)?;
    }
    let expected = expected(&scene.site, Nat::FullNat, &logged(&servers, total)?);
    scene.settle_and_stop(|topology| {
        let mut topology = topology.clone();
        for edge in &mut topology.edges {
            let tokens = edge.evidence.iter().filter(|one| one.kind == "token");
            let joined: u64 = tokens.map(|one| one.connections).sum();
            // A copy is not repeated, but a server that got none answers: both must be lost.
            ensure!(
                joined * 10 >= edge.connections * 9,
                "{joined} of {} connections to {} by token",
                edge.connections,
                edge.server_endpoint
            );
            edge.evidence = vec![Evidence {
                kind: "token".into(),
                connections: edge.connections,
            }];
        }
        topology.check(&expected)
    })
}

//! Mode `observe` without eBPF: packet and diagnostic sockets show what programs would.

use std::net::SocketAddr;

use anyhow::{Result, ensure};
use nix::sys::signal::Signal;
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings, Status};
use tests::lab::needs::Need;
use tests::lab::programs as lab_programs;
use tests::lab::residue::Residue;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::topology::Topology;

use crate::case::{Case, case};
use crate::harm::{self, Agents};
use crate::nat::{self, expected, logged, prove, send, start_servers};
use crate::scene::Scene;
use crate::{connection, containers, joins, loss, residue};

pub(crate) const CASES: &[Case] = &[
    case(
        "observe::waybills_are_read_from_packets_when_routed",
        |lab| pair(lab, Nat::Direct, [&programs(), &sockets()?]),
    ),
    case(
        "observe::waybills_are_read_from_packets_through_snat",
        |lab| pair(lab, Nat::Snat, [&programs(), &sockets()?]),
    ),
    case(
        "observe::waybills_are_read_from_packets_through_dnat",
        |lab| pair(lab, Nat::Dnat, [&programs(), &sockets()?]),
    ),
    case(
        "observe::waybills_are_read_from_packets_through_fullnat",
        |lab| pair(lab, Nat::FullNat, [&programs(), &sockets()?]),
    ),
    case(
        "observe::answers_are_read_from_packets_through_fullnat",
        |lab| pair(lab, Nat::FullNat, [&sockets()?, &programs()]),
    ),
    case(
        "observe::copies_are_read_from_packets_through_fullnat",
        |lab| {
            pair(
                lab,
                Nat::FullNat,
                [&crate::clone::mode(crate::clone::CLONE)?, &sockets()?],
            )
        },
    ),
    case(
        "observe::bytes_and_segments_of_a_server_match_what_programs_sent",
        |lab| connection::bytes(lab, [&programs(), &sockets()?]),
    ),
    case(
        "observe::bytes_and_segments_of_a_client_match_what_programs_sent",
        |lab| connection::bytes(lab, [&sockets()?, &programs()]),
    ),
    case(
        "observe::retransmits_match_ss_behind_a_gateway_that_drops",
        |lab| connection::retransmits(lab, [&programs(), &sockets()?]),
    ),
    case(
        "observe::refused_reset_and_failed_connections_of_a_client_are_told_apart",
        |lab| connection::abnormal(lab, [&sockets()?, &programs()]),
    ),
    case("observe::resets_of_a_server_are_told_apart", |lab| {
        connection::abnormal(lab, [&programs(), &sockets()?])
    }),
    case(
        "observe::connections_older_than_the_agent_are_measured_from_its_start",
        |lab| connection::existing(lab, &sockets()?),
    ),
    case(
        "observe::listeners_older_than_the_agent_are_joined",
        |lab| nat::older_listeners(lab, [&programs(), &sockets()?]),
    ),
    case("observe::forced_syncookies_do_not_hide_an_edge", |lab| {
        nat::syncookies(lab, [&programs(), &sockets()?])
    }),
    case("observe::servers_that_speak_first_are_joined", |lab| {
        nat::speaks_first(lab, [&programs(), &sockets()?])
    }),
    case(
        "observe::five_thousand_short_connections_to_a_server_are_all_counted",
        |lab| nat::short_ones(lab, [&programs(), &sockets()?]),
    ),
    case(
        "observe::five_thousand_short_connections_of_a_client_are_all_counted",
        |lab| nat::short_ones(lab, [&sockets()?, &programs()]),
    ),
    case(
        "observe::long_connections_are_joined_while_they_are_open",
        |lab| nat::long_ones(lab, [&programs(), &sockets()?]),
    ),
    case(
        "observe::long_connections_of_a_client_are_joined_while_they_are_open",
        |lab| nat::long_ones(lab, [&sockets()?, &programs()]),
    ),
    case(
        "observe::sequence_numbers_join_what_two_observers_see_when_routed",
        |lab| joins::between(lab, Nat::Direct, &sockets()?, 20),
    ),
    case(
        "observe::sequence_numbers_join_what_two_observers_see_through_snat",
        |lab| joins::between(lab, Nat::Snat, &sockets()?, 20),
    ),
    case(
        "observe::sequence_numbers_join_what_two_observers_see_through_dnat",
        |lab| joins::between(lab, Nat::Dnat, &sockets()?, 20),
    ),
    case(
        "observe::sequence_numbers_join_what_two_observers_see_through_fullnat",
        |lab| joins::between(lab, Nat::FullNat, &sockets()?, 20),
    ),
    case(
        "observe::thousands_of_connections_between_two_observers_are_all_counted",
        |lab| joins::between(lab, Nat::FullNat, &sockets()?, 1500),
    ),
    case(
        "observe::bytes_and_segments_of_both_ends_match_what_programs_sent",
        |lab| connection::bytes(lab, &sockets()?),
    ),
    case(
        "observe::connections_of_a_host_with_itself_have_both_roles",
        |lab| containers::itself(lab, &sockets()?, "sequence"),
    ),
    case("observe::tunnels_without_link_header_are_read", |lab| {
        containers::tunnel(lab, &sockets()?, "sequence")
    })
    .needing(&[Need::Program("python3")]),
    case(
        "observe::a_container_is_followed_and_its_host_is_not_taken_for_it",
        |lab| containers::followed(lab, &sockets()?),
    ),
    case(
        "observe::a_gateway_that_translates_has_no_connections",
        gateway,
    ),
    case(
        "observe::agents_that_were_stopped_lose_only_what_is_counted",
        stopped,
    ),
    case(
        "observe::traffic_with_an_observing_server_is_unchanged",
        |lab| unchanged(lab, [&programs(), &sockets()?]),
    )
    .needing(harm::NEEDS)
    .alone(),
    case(
        "observe::traffic_with_an_observing_client_is_unchanged",
        |lab| unchanged(lab, [&sockets()?, &programs()]),
    )
    .needing(harm::NEEDS)
    .alone(),
    case(
        "observe::a_full_spool_evicts_and_counts_while_the_collector_is_down",
        |lab| loss::eviction(lab, &sockets()?),
    ),
    case(
        "observe::killed_agent_and_killed_collector_lose_and_double_nothing",
        |lab| loss::kills(lab, &sockets()?),
    ),
    case("observe::nothing_is_left_after_an_orderly_end", |lab| {
        ended(lab, |agent| agent.stop())
    })
    .needing(residue::NEEDS),
    case("observe::nothing_is_left_after_sigkill", |lab| {
        ended(lab, |agent| agent.kill())
    })
    .needing(residue::NEEDS),
    case("observe::nothing_is_left_after_a_failed_start", |lab| {
        residue::failed_starts(lab, &sockets()?)
    })
    .needing(residue::NEEDS),
];

/// An agent that measures by sockets although this kernel could run its programs.
pub(crate) fn sockets() -> Result<Settings> {
    Settings::default().with("agent.hooks", "\"sockets\"")
}

/// An agent that does what this kernel does best.
fn programs() -> Settings {
    Settings::default()
}

/// Agents on both sides, each in its way; every edge must be there with every connection.
fn pair(lab: &Lab, shape: Nat, settings: [&Settings; 2]) -> Result<()> {
    let mut scene = Scene::with(lab, (2, 2), shape, Middlebox::Plain, settings)?;
    for agent in &scene.agents {
        let status = agent.status()?;
        ensure!(!status.plan.is_empty(), "no plan");
    }
    let servers = start_servers(&scene.site, &[])?;
    prove(&mut scene, shape, &servers, &[])?;
    ensure!(
        scene.site.conntrack_invalid()? == 0,
        "packets that conntrack calls invalid"
    );
    Ok(())
}

fn unchanged(lab: &Lab, settings: [&Settings; 2]) -> Result<()> {
    harm::unchanged(lab, Middlebox::Plain, Agents::Both, settings)
}

/// Agents at both ends and on the gateway between them, which gives every connection its own
/// addresses.
fn gateway(lab: &Lab) -> Result<()> {
    let settings = sockets()?;
    let mut scene = Scene::with(lab, (1, 2), Nat::FullNat, Middlebox::Plain, &settings)?;
    let between = scene.site.gateway.clone();
    let agent = Agent::start_on(lab, &between, Some(&scene.collector), &settings)?;
    let servers = start_servers(&scene.site, &[])?;
    let mut total = 0;
    for family in Family::BOTH {
        total += send(&scene.site, family, 50, &[])?;
    }
    let expected = expected(&scene.site, Nat::FullNat, &logged(&servers, total)?);
    agent.flush()?;
    scene.settle(|topology| {
        ensure!(
            topology.edges.len() == expected.len(),
            "{}",
            topology.brief()
        );
        let all = topology.edges.iter().chain(&topology.unjoined);
        let mut of_gateway = all.filter(|edge| edge.client.starts_with(between.name()));
        ensure!(of_gateway.next().is_none(), "{}", topology.brief());
        Ok(())
    })?;
    let status = agent.report()?;
    let read = status.counter("observe_packets_total")?;
    ensure!(read >= 8 * total, "only {read} packets seen");
    let decoded = status.counter("record_decoded_total")?;
    ensure!(decoded == 0, "{decoded} connections of a gateway");
    scene.agents.push(agent);
    scene.settle_and_stop(|_| Ok(()))
}

/// While the agents sleep their buffers overflow; what they lost is counted, and later they are as
/// before.
fn stopped(lab: &Lab) -> Result<()> {
    let tiny = sockets()?.with("limits.ring_bytes", "'64KiB'")?;
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    scene.start_with(&tiny, &tiny)?;
    let _server = lab_programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let (client, server) = (
        scene.site.clients[0].clone(),
        scene.site.backends[0].clone(),
    );
    let target = scene.site.target(Family::V4);
    let all = |signal| {
        let mut agents = scene.agents.iter();
        agents.try_for_each(|agent| agent.running()?.signal(signal))
    };
    all(Signal::SIGSTOP)?;
    let seen = client.connect(target, &["--count", "3000", "--parallel", "4"]);
    all(Signal::SIGCONT)?;
    let failed = seen?.iter().filter(|one| !one.error.is_empty()).count();
    ensure!(failed == 0, "{failed} failed while the agents slept");
    // What they did see may still be open for them; two lists later it is not.
    scene.settle(|_| {
        for host in [&client, &server] {
            let status = scene.agent(host)?.status()?;
            // News of closed sockets may wait in a queue of the kernel's own, and be lost or not.
            let dropped = status.counter("observe_packets_dropped_total")?;
            ensure!(dropped > 0, "nothing was lost: nothing was proven");
            let open = status.counter("aggregate_connections")?;
            ensure!(open == 0, "{open} open");
        }
        Ok(())
    })?;
    let mut before = 0;
    scene.settle(|topology| {
        for host in [&client, &server] {
            let status = scene.agent(host)?.status()?;
            let is_client = host.name() == client.name();
            let [opened, closed, failed] = counted(topology, target, is_client);
            ensure!(
                opened == closed && closed <= 3000,
                "{opened} opened, {closed} closed"
            );
            ensure!(failed == 0, "{failed} connections that failed");
            account(&status, 3000 - closed)?;
            if is_client {
                before = closed;
            }
        }
        Ok(())
    })?;
    // Little enough for the tiny buffers of an agent that is awake.
    client.connect(target, &["--count", "20"])?;
    scene.settle_and_stop(|topology| {
        let [opened, closed, _] = counted(topology, target, true);
        // What the packets of the flood alone told may come a second later.
        let right = opened == closed && (before + 20..=3020).contains(&closed);
        ensure!(right, "{before}: {opened} opened, {closed} closed");
        Ok(())
    })
}

/// Connections to an end that one side has opened, closed and failed to open, whether they are joined
/// or not: the two sides have lost different ones.
fn counted(topology: &Topology, to: SocketAddr, is_client: bool) -> [u64; 3] {
    let edges = topology.edges.iter().chain(&topology.unjoined);
    let edges = edges.filter(|edge| edge.server_endpoint == to.to_string());
    let sides = edges.filter_map(|edge| match is_client {
        true => edge.client_counters.as_ref(),
        false => edge.server_counters.as_ref(),
    });
    sides.fold([0; 3], |[opened, closed, failed], side| {
        [
            opened + side.opened,
            closed + side.closed,
            failed + side.failed,
        ]
    })
}

/// What an agent lost is in its counters: no more connections are missing than ends were dropped,
/// and the kernel's packets were read or dropped.
fn account(status: &Status, missing: u64) -> Result<()> {
    let of = |name: &str| status.counter(&format!("observe_{name}_total"));
    let dropped = of("news_dropped")?;
    ensure!(missing <= dropped, "{missing} missing, {dropped} counted");
    let told = of("news")? + dropped;
    ensure!(told >= 3000, "{told} closed sockets, of 3000");
    let (packets, lost) = (of("packets")?, of("packets_dropped")?);
    let attempted = of("packets_attempted")?;
    ensure!(
        attempted == packets + lost,
        "{attempted} packets are not {packets} read and {lost} dropped"
    );
    Ok(())
}

fn ended(lab: &Lab, end: fn(&mut Agent) -> Result<()>) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let _server = lab_programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    let client = &site.clients[0];
    let mut agent = Agent::prepare(lab, client, None, &sockets()?)?;
    let hosts = [client, &site.backends[0]];
    let before = Residue::snapshot(lab, &hosts)?;
    for _ in 0..2 {
        agent.start()?;
        client.connect(site.target(Family::V4), &["--count", "20"])?;
        end(&mut agent)?;
        before.wait_same(lab, &hosts)?;
    }
    ensure!(site.options_seen()? == 0, "an observer wrote an option");
    Ok(())
}

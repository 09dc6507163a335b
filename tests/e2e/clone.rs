//! Mode `tc-clone`: copies carry the option, originals stay as they were.

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::needs::Need;
use tests::lab::site::{Middlebox, Nat};

use crate::case::{Case, case};
use crate::connection;
use crate::harm::{self, Agents};
use crate::loss;
use crate::nat::{self, Written, prove, start_servers};
use crate::residue;
use crate::scene::Scene;

pub(crate) const CASES: &[Case] = &[
    case("clone::copies_are_read_from_copies_when_routed", |lab| {
        pair(lab, Nat::Direct, CLONE, CLONE)
    }),
    case("clone::copies_are_read_from_copies_through_snat", |lab| {
        pair(lab, Nat::Snat, CLONE, CLONE)
    }),
    case("clone::copies_are_read_from_copies_through_dnat", |lab| {
        pair(lab, Nat::Dnat, CLONE, CLONE)
    }),
    case(
        "clone::copies_are_read_from_copies_through_fullnat",
        |lab| pair(lab, Nat::FullNat, CLONE, CLONE),
    ),
    case(
        "clone::copies_are_read_by_the_tcp_stack_through_fullnat",
        |lab| pair(lab, Nat::FullNat, CLONE, SOCKOPS),
    ),
    case(
        "clone::what_the_tcp_stack_writes_is_read_by_filters_through_fullnat",
        |lab| pair(lab, Nat::FullNat, SOCKOPS, CLONE),
    ),
    case(
        "clone::the_answer_joins_when_only_the_server_copies",
        |lab| one_writer(lab, CLONE, CLONE, Written::ByServer),
    ),
    case(
        "clone::the_answer_of_a_copying_server_is_read_by_the_tcp_stack",
        |lab| one_writer(lab, SOCKOPS, CLONE, Written::ByServer),
    ),
    case(
        "clone::the_answer_that_the_tcp_stack_writes_is_read_by_filters",
        |lab| one_writer(lab, CLONE, SOCKOPS, Written::ByServer),
    ),
    case("clone::copies_join_when_only_the_client_writes", |lab| {
        one_writer(lab, CLONE, CLONE, Written::ByClient)
    }),
    case("clone::listeners_older_than_the_agent_are_joined", |lab| {
        nat::older_listeners(lab, &mode(CLONE)?)
    }),
    case("clone::forced_syncookies_do_not_hide_an_edge", |lab| {
        nat::syncookies(lab, &mode(CLONE)?)
    }),
    case("clone::deferred_accept_does_not_hide_an_edge", |lab| {
        nat::deferred_accept(lab, &mode(CLONE)?)
    })
    .needing(&[Need::Program("nginx"), Need::Program("curl")]),
    case("clone::servers_that_speak_first_are_joined", |lab| {
        nat::speaks_first(lab, &mode(CLONE)?)
    }),
    case(
        "clone::five_thousand_short_connections_are_all_counted",
        |lab| nat::short_ones(lab, &mode(CLONE)?),
    ),
    case(
        "clone::long_connections_are_joined_while_they_are_open",
        |lab| nat::long_ones(lab, &mode(CLONE)?),
    ),
    case("clone::under_load_every_connection_is_counted", |lab| {
        nat::under_load(lab, &mode(CLONE)?)
    })
    .needing(&[Need::Program("iperf3")]),
    case("clone::plain_gateway_traffic_is_unchanged", |lab| {
        unchanged(lab, Middlebox::Plain, Agents::Both, [CLONE, CLONE])
    })
    .needing(harm::NEEDS)
    .alone(),
    case(
        "clone::traffic_from_copies_to_the_tcp_stack_is_unchanged",
        |lab| unchanged(lab, Middlebox::Plain, Agents::Both, [CLONE, SOCKOPS]),
    )
    .needing(harm::NEEDS)
    .alone(),
    case(
        "clone::traffic_from_the_tcp_stack_to_filters_is_unchanged",
        |lab| unchanged(lab, Middlebox::Plain, Agents::Both, [SOCKOPS, CLONE]),
    )
    .needing(harm::NEEDS)
    .alone(),
    case(
        "clone::traffic_through_a_gateway_that_drops_the_option_is_unchanged",
        |lab| unchanged(lab, Middlebox::DropsOption, Agents::Both, [CLONE, CLONE]),
    )
    .needing(harm::NEEDS)
    .alone(),
    case(
        "clone::traffic_through_a_gateway_that_strips_the_option_is_unchanged",
        |lab| unchanged(lab, Middlebox::StripsOption, Agents::Both, [CLONE, CLONE]),
    )
    .needing(harm::NEEDS)
    .alone(),
    case(
        "clone::answers_of_servers_alone_leave_traffic_unchanged",
        |lab| unchanged(lab, Middlebox::Plain, Agents::OnBackends, [CLONE, CLONE]),
    )
    .needing(harm::NEEDS)
    .alone(),
    case(
        "clone::bytes_and_segments_match_what_programs_sent",
        |lab| connection::bytes(lab, &mode(CLONE)?),
    ),
    case(
        "clone::retransmits_match_ss_behind_a_gateway_that_drops",
        |lab| connection::retransmits(lab, &mode(CLONE)?),
    ),
    case(
        "clone::refused_reset_and_failed_connections_are_told_apart",
        |lab| connection::abnormal(lab, &mode(CLONE)?),
    ),
    case(
        "clone::a_receiver_that_stops_reading_shows_as_zero_windows",
        |lab| connection::zero_windows(lab, &mode(CLONE)?),
    ),
    case(
        "clone::connections_older_than_the_agent_are_measured_from_its_start",
        |lab| connection::existing(lab, &mode(CLONE)?),
    ),
    case(
        "clone::a_flood_over_a_tiny_ring_loses_only_what_is_counted",
        |lab| {
            let settings = mode(CLONE)?;
            let tiny = settings.clone().with("limits.ring_bytes", "'64KiB'")?;
            loss::flood(lab, &settings, &tiny)
        },
    ),
    case(
        "clone::a_full_spool_evicts_and_counts_while_the_collector_is_down",
        |lab| loss::eviction(lab, &mode(CLONE)?),
    ),
    case(
        "clone::killed_agent_and_killed_collector_lose_and_double_nothing",
        |lab| loss::kills(lab, &mode(CLONE)?),
    ),
    case("clone::nothing_is_left_after_a_failed_start", |lab| {
        residue::failed_starts(lab, &mode(CLONE)?)
    })
    .needing(&[Need::Program("bpftool"), Need::Program("tc")]),
];

pub(crate) const CLONE: &str = "tc-clone";
const SOCKOPS: &str = "sockops";

/// Settings that force a mode.
pub(crate) fn mode(name: &str) -> Result<Settings> {
    Settings::default().with("option.mode", &format!("\"{name}\""))
}

/// Agents on both sides, each in its mode; every edge must be there with every connection.
fn pair(lab: &Lab, shape: Nat, clients: &str, backends: &str) -> Result<()> {
    let mut scene = Scene::bare(lab, 2, 2, shape, Middlebox::Plain)?;
    scene.start_with(&mode(clients)?, &mode(backends)?)?;
    for (host, wanted) in [
        (&scene.site.clients[0], clients),
        (&scene.site.backends[0], backends),
    ] {
        let status = scene.agent(host)?.status()?;
        ensure!(status.mode == wanted, "{}: {:?}", status.mode, status.plan);
    }
    let servers = start_servers(&scene.site, &[])?;
    prove(&mut scene, shape, &servers, &[])?;
    ensure!(
        scene.site.conntrack_invalid()? == 0,
        "packets that conntrack calls invalid"
    );
    Ok(())
}

fn unchanged(lab: &Lab, middlebox: Middlebox, agents: Agents, modes: [&str; 2]) -> Result<()> {
    let [clients, backends] = modes;
    harm::unchanged(lab, middlebox, agents, [&mode(clients)?, &mode(backends)?])
}

fn one_writer(lab: &Lab, clients: &str, backends: &str, writer: Written) -> Result<()> {
    nat::one_writer(lab, &mode(clients)?, &mode(backends)?, writer)
}

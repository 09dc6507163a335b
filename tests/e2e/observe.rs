//! Mode `observe` without eBPF: packet and diagnostic sockets show what programs would.

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::Settings;
use tests::lab::site::{Middlebox, Nat};

use crate::case::Case;
use crate::connection;
use crate::nat::{self, prove, start_servers};
use crate::scene::Scene;

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "observe::waybills_are_read_from_packets_when_routed",
        needs: &[],
        alone: false,
        run: |lab| pair(lab, Nat::Direct, [&programs(), &sockets()?]),
    },
    Case {
        name: "observe::waybills_are_read_from_packets_through_snat",
        needs: &[],
        alone: false,
        run: |lab| pair(lab, Nat::Snat, [&programs(), &sockets()?]),
    },
    Case {
        name: "observe::waybills_are_read_from_packets_through_dnat",
        needs: &[],
        alone: false,
        run: |lab| pair(lab, Nat::Dnat, [&programs(), &sockets()?]),
    },
    Case {
        name: "observe::waybills_are_read_from_packets_through_fullnat",
        needs: &[],
        alone: false,
        run: |lab| pair(lab, Nat::FullNat, [&programs(), &sockets()?]),
    },
    Case {
        name: "observe::answers_are_read_from_packets_through_fullnat",
        needs: &[],
        alone: false,
        run: |lab| pair(lab, Nat::FullNat, [&sockets()?, &programs()]),
    },
    Case {
        name: "observe::copies_are_read_from_packets_through_fullnat",
        needs: &[],
        alone: false,
        run: |lab| {
            pair(
                lab,
                Nat::FullNat,
                [&crate::clone::mode(crate::clone::CLONE)?, &sockets()?],
            )
        },
    },
    Case {
        name: "observe::bytes_and_segments_of_a_server_match_what_programs_sent",
        needs: &[],
        alone: false,
        run: |lab| connection::bytes(lab, [&programs(), &sockets()?]),
    },
    Case {
        name: "observe::bytes_and_segments_of_a_client_match_what_programs_sent",
        needs: &[],
        alone: false,
        run: |lab| connection::bytes(lab, [&sockets()?, &programs()]),
    },
    Case {
        name: "observe::retransmits_match_ss_behind_a_gateway_that_drops",
        needs: &[],
        alone: false,
        run: |lab| connection::retransmits(lab, [&programs(), &sockets()?]),
    },
    Case {
        name: "observe::refused_reset_and_failed_connections_of_a_client_are_told_apart",
        needs: &[],
        alone: false,
        run: |lab| connection::abnormal(lab, [&sockets()?, &programs()]),
    },
    Case {
        name: "observe::resets_of_a_server_are_told_apart",
        needs: &[],
        alone: false,
        run: |lab| connection::abnormal(lab, [&programs(), &sockets()?]),
    },
    Case {
        name: "observe::connections_older_than_the_agent_are_measured_from_its_start",
        needs: &[],
        alone: false,
        run: |lab| connection::existing(lab, &sockets()?),
    },
    Case {
        name: "observe::listeners_older_than_the_agent_are_joined",
        needs: &[],
        alone: false,
        run: |lab| nat::older_listeners(lab, [&programs(), &sockets()?]),
    },
    Case {
        name: "observe::forced_syncookies_do_not_hide_an_edge",
        needs: &[],
        alone: false,
        run: |lab| nat::syncookies(lab, [&programs(), &sockets()?]),
    },
    Case {
        name: "observe::servers_that_speak_first_are_joined",
        needs: &[],
        alone: false,
        run: |lab| nat::speaks_first(lab, [&programs(), &sockets()?]),
    },
    Case {
        name: "observe::five_thousand_short_connections_to_a_server_are_all_counted",
        needs: &[],
        alone: false,
        run: |lab| nat::short_ones(lab, [&programs(), &sockets()?]),
    },
    Case {
        name: "observe::five_thousand_short_connections_of_a_client_are_all_counted",
        needs: &[],
        alone: false,
        run: |lab| nat::short_ones(lab, [&sockets()?, &programs()]),
    },
    Case {
        name: "observe::long_connections_are_joined_while_they_are_open",
        needs: &[],
        alone: false,
        run: |lab| nat::long_ones(lab, [&programs(), &sockets()?]),
    },
    Case {
        name: "observe::long_connections_of_a_client_are_joined_while_they_are_open",
        needs: &[],
        alone: false,
        run: |lab| nat::long_ones(lab, [&sockets()?, &programs()]),
    },
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

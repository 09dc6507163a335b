//! Edges of hosts that carry no waybill: by sequence numbers, and by what a gateway translated.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::Signal;
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::session::Session;
use tests::lab::site::{Family, Middlebox, Nat};
use tests::lab::topology::Via;
use tests::program::pattern::Header;

use crate::case::{Case, case};
use crate::nat::{expected, logged, send, start_servers};
use crate::scene::{Both, Scene};

pub(crate) const CASES: &[Case] = &[
    case("joins::sequence_numbers_join_what_is_routed", |lab| {
        by_sequence(lab, Nat::Direct)
    }),
    case("joins::sequence_numbers_join_through_snat", |lab| {
        by_sequence(lab, Nat::Snat)
    }),
    case("joins::sequence_numbers_join_through_dnat", |lab| {
        by_sequence(lab, Nat::Dnat)
    }),
    case("joins::sequence_numbers_join_through_fullnat", |lab| {
        by_sequence(lab, Nat::FullNat)
    }),
    case(
        "joins::a_stripped_waybill_is_made_up_for_by_sequence_numbers",
        stripped,
    ),
    case(
        "joins::a_gateway_that_tells_what_it_translates_joins_where_sequence_numbers_differ",
        |lab| rewritten(lab, true),
    ),
    case(
        "joins::sequence_numbers_that_were_rewritten_join_nothing_wrong",
        |lab| rewritten(lab, false),
    ),
    case(
        "joins::connections_older_than_both_agents_are_joined_by_sequence_numbers",
        older,
    ),
    case(
        "joins::a_connection_that_nobody_saw_begin_is_entered_with_all_its_numbers",
        unseen,
    ),
];

fn silent() -> Result<Settings> {
    Settings::default().with("option.enabled", "false")
}

fn by_sequence(lab: &Lab, shape: Nat) -> Result<()> {
    between(lab, shape, &silent()?, 20)
}

/// Sends both families through a shape and demands exactly the right edges, by sequence numbers.
pub(crate) fn between<'s>(
    lab: &Lab,
    shape: Nat,
    settings: impl Into<Both<'s>>,
    count: u64,
) -> Result<()> {
    let mut scene = Scene::with(lab, (2, 2), shape, Middlebox::Plain, settings)?;
    let servers = start_servers(&scene.site, &[])?;
    let mut total = 0;
    for family in Family::BOTH {
        total += send(&scene.site, family, count, &[])?;
    }
    let expected = expected(&scene.site, shape, &logged(&servers, total)?);
    scene.settle_and_stop(|topology| topology.check_by("sequence", &expected))
}

/// The option is taken off in both directions, so nobody reads one; the client cannot know.
fn stripped(lab: &Lab) -> Result<()> {
    let mut scene = Scene::full(lab, 1, 1, Nat::FullNat, Middlebox::StripsOption)?;
    let servers = start_servers(&scene.site, &[])?;
    let total = send(&scene.site, Family::V4, 20, &[])?;
    let expected = expected(&scene.site, Nat::FullNat, &logged(&servers, total)?);
    scene.settle_and_stop(|topology| {
        ensure!(topology.edges.len() == 1, "{}", topology.brief());
        let edge = &topology.edges[0];
        let want = &expected[0];
        ensure!(
            (&edge.client, &edge.server) == (&want.client, &want.server),
            "{}",
            topology.brief()
        );
        let kinds: Vec<_> = edge.evidence.iter().map(|one| one.kind.as_str()).collect();
        ensure!(kinds.contains(&"sequence"), "evidence {kinds:?}");
        Ok(())
    })
}

/// A gateway that answers SYNs itself: the two ends know different numbers of the same connection.
fn rewritten(lab: &Lab, told: bool) -> Result<()> {
    let settings = silent()?;
    let mut scene = Scene::bare(lab, 1, 1, Nat::Snat, Middlebox::SynProxy)?;
    scene.start_with(&settings, &settings)?;
    if told {
        let gateway = scene.site.gateway.clone();
        let agent = Agent::start_on(lab, &gateway, Some(&scene.collector), &settings)?;
        let plan = agent.status()?.plan;
        let nat = plan.iter().find(|(name, _)| name == "nat");
        let (_, nat) = nat.context("no family nat in the plan")?;
        ensure!(nat.starts_with("on"), "family nat is {nat}");
        scene.agents.push(agent);
    }
    let servers = start_servers(&scene.site, &[])?;
    let total = send(&scene.site, Family::V4, 20, &[])?;
    let mut expected = expected(&scene.site, Nat::Snat, &logged(&servers, total)?);
    for edge in &mut expected {
        edge.via.push(Via {
            seen_by: "gateway".into(),
            kind: "gateway".into(),
            address: scene.site.gateway.name().into(),
        });
    }
    scene.settle_and_stop(|topology| {
        if told {
            return topology.check_by("conntrack", &expected);
        }
        ensure!(
            topology.edges.is_empty() && topology.unjoined.len() == 2,
            "joined although nothing proves it: {}",
            topology.brief()
        );
        Ok(())
    })
}

/// What both ends have counted since takes them back to the numbers with which they began.
fn older(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::FullNat, Middlebox::Plain)?;
    let _servers = start_servers(&scene.site, &[])?;
    let client = scene.site.clients[0].clone();
    let mut session = Session::start(&client, Duration::from_secs(20))?;
    let mut open = Vec::new();
    for family in Family::BOTH {
        let connection = session.open(scene.site.target(family))?;
        session.exchange(&connection, 100_000, 300_000)?;
        open.push(connection);
    }
    scene.start_agents()?;
    for connection in &open {
        session.exchange(connection, 7000, 9000)?;
    }
    let one = BTreeMap::from([((0, 0), 1)]);
    let expected = expected(&scene.site, Nat::FullNat, &[one.clone(), one]);
    scene.settle(|topology| topology.check_by("sequence", &expected))?;
    // An orderly end changes nothing: both FINs count on both sides.
    for connection in open {
        session.close(connection)?;
    }
    scene.settle_and_stop(|topology| topology.check_by("sequence", &expected))
}

/// A connection that no program has accepted yet is in no list that the agent reads at its start.
fn unseen(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::FullNat, Middlebox::Plain)?;
    let servers = start_servers(&scene.site, &[])?;
    let client = scene.site.clients[0].clone();
    let mut session = Session::start(&client, Duration::from_secs(20))?;
    servers[0].running.signal(Signal::SIGSTOP)?;
    let connection = session.open(scene.site.target(Family::V4))?;
    scene.start_agents()?;
    servers[0].running.signal(Signal::SIGCONT)?;
    session.exchange(&connection, 7000, 9000)?;
    let late = "kernel_connections_late_total";
    ensure!(scene.agents[1].status()?.counter(late)? == 0, "too early");
    session.close(connection)?;
    let mut sent = [BTreeMap::new(), BTreeMap::new()];
    sent[0].insert((0, 0), 1);
    let expected = expected(&scene.site, Nat::FullNat, &sent);
    let bytes = 7000 + Header::LENGTH as u64;
    scene.settle(|topology| {
        topology.check_by("sequence", &expected)?;
        let far = topology.edges[0].server_side()?;
        let counted = (far.opened, far.closed, far.bytes_received, far.bytes_sent);
        ensure!(
            counted == (1, 1, bytes, 9000),
            "{counted:?} of {bytes} and 9000"
        );
        Ok(())
    })?;
    let found = scene.agents[1].report()?.counter(late)?;
    ensure!(found == 1, "{found} entered late");
    for agent in &mut scene.agents {
        agent.stop()?;
    }
    Ok(())
}

//! Edges of hosts that carry no waybill: by sequence numbers, and by what a gateway translated.

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::site::{Family, Middlebox, Nat};
use tests::lab::topology::Via;

use crate::case::Case;
use crate::nat::{expected, logged, send, start_servers};
use crate::scene::{Both, Scene};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "joins::sequence_numbers_join_what_is_routed",
        needs: &[],
        alone: false,
        run: |lab| by_sequence(lab, Nat::Direct),
    },
    Case {
        name: "joins::sequence_numbers_join_through_snat",
        needs: &[],
        alone: false,
        run: |lab| by_sequence(lab, Nat::Snat),
    },
    Case {
        name: "joins::sequence_numbers_join_through_dnat",
        needs: &[],
        alone: false,
        run: |lab| by_sequence(lab, Nat::Dnat),
    },
    Case {
        name: "joins::sequence_numbers_join_through_fullnat",
        needs: &[],
        alone: false,
        run: |lab| by_sequence(lab, Nat::FullNat),
    },
    Case {
        name: "joins::a_stripped_waybill_is_made_up_for_by_sequence_numbers",
        needs: &[],
        alone: false,
        run: stripped,
    },
    Case {
        name: "joins::a_gateway_that_tells_what_it_translates_joins_where_sequence_numbers_differ",
        needs: &[],
        alone: false,
        run: |lab| rewritten(lab, true),
    },
    Case {
        name: "joins::sequence_numbers_that_were_rewritten_join_nothing_wrong",
        needs: &[],
        alone: false,
        run: |lab| rewritten(lab, false),
    },
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

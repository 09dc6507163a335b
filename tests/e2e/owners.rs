//! Whose connections are where nothing but lists of sockets and `/proc` tells.

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::programs;
use tests::lab::session::Session;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::topology::Topology;

use crate::case::{Case, SOON};
use crate::observe::sockets;
use crate::scene::{SHOP, STOCK, Scene, shop, stock};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "owners::connections_that_begin_at_once_and_stay_open_have_owners",
        needs: &[],
        alone: false,
        run: |lab| held(lab, &sockets()?),
    },
    Case {
        name: "owners::programs_and_sockets_name_the_same_owners",
        needs: &[],
        alone: false,
        run: |lab| held(lab, &Settings::default()),
    },
    Case {
        name: "owners::short_connections_wait_for_the_listener_that_was_just_started",
        needs: &[],
        alone: false,
        run: late,
    },
];

/// A rule that names every program whose path is known; one that nobody knows stays unknown.
fn known(name: &str) -> String {
    format!("{{ name = '{name}', match = {{ exe = '/*' }} }}")
}

fn start<'l>(lab: &'l Lab, settings: &Settings) -> Result<Scene<'l>> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    for (host, name) in [
        (scene.site.clients[0].clone(), SHOP),
        (scene.site.backends[0].clone(), STOCK),
    ] {
        let settings = settings.clone().with("service", &known(name))?;
        let agent = Agent::start_on(lab, &host, Some(&scene.collector), &settings)?;
        scene.agents.push(agent);
    }
    Ok(scene)
}

/// One edge between the two services with this many connections at both ends, and nobody unknown.
fn check(scene: &Scene<'_>, topology: &Topology, connections: u64) -> Result<()> {
    let (client, server) = (&scene.site.clients[0], &scene.site.backends[0]);
    let edge = topology.edge(&shop(client), scene.site.backend(0, Family::V4))?;
    ensure!(edge.server == stock(server), "{}", topology.brief());
    let opened = [edge.client_counters.as_ref(), edge.server_counters.as_ref()];
    let opened = opened.map(|counters| counters.map(|counters| counters.opened));
    ensure!(opened == [Some(connections); 2], "{opened:?}");
    let text = topology.brief();
    ensure!(!text.contains("(unknown)"), "{text}");
    Ok(())
}

/// The listener is younger than the agent, and all connections begin in one look and stay.
fn held(lab: &Lab, settings: &Settings) -> Result<()> {
    let mut scene = start(lab, settings)?;
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let mut session = Session::start(&scene.site.clients[0], SOON)?;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(session.open(scene.site.backend(0, Family::V4))?);
    }
    scene.settle(|topology| check(&scene, topology, 4))?;
    for connection in open {
        session.close(connection)?;
    }
    for agent in &mut scene.agents {
        agent.stop()?;
    }
    check(&scene, &scene.collector.topology()?, 4)
}

/// All of them are gone before anybody could look for the process that listens.
fn late(lab: &Lab) -> Result<()> {
    let mut scene = start(lab, &sockets()?)?;
    let _server = programs::serve(&scene.site.backends[0], SERVICE_PORT, &[])?;
    let endpoint = scene.site.backend(0, Family::V4);
    scene.site.clients[0].connect(endpoint, &["--count", "100", "--parallel", "4"])?;
    let server = stock(&scene.site.backends[0]);
    let all_told = |topology: &Topology| {
        let edges = topology.edges.iter().chain(&topology.unjoined);
        let mut opened = 0;
        for edge in edges {
            let Some(counters) = &edge.server_counters else {
                continue;
            };
            ensure!(edge.server == server, "{}", topology.brief());
            opened += counters.opened;
        }
        ensure!(opened == 100, "{opened} of 100");
        Ok(())
    };
    scene.settle_and_stop(all_told)
}

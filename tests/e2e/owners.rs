//! Whose connections are where nothing but lists of sockets and `/proc` tells.

use std::fs;

use anyhow::{Context as _, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::host::Host;
use tests::lab::programs;
use tests::lab::session::Session;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::topology::Topology;
use tests::lab::wait::wait_for;

use crate::case::{Case, SOON, case};
use crate::observe::sockets;
use crate::scene::{SETTLE, SHOP, STOCK, Scene, rule, shop, stock};

const STATE: &str = "var/lib/waybill";

pub(crate) const CASES: &[Case] = &[
    case(
        "owners::connections_that_begin_at_once_and_stay_open_have_owners",
        |lab| held(lab, &sockets()?),
    ),
    case("owners::programs_and_sockets_name_the_same_owners", |lab| {
        held(lab, &Settings::default())
    }),
    case(
        "owners::short_connections_wait_for_the_listener_that_was_just_started",
        late,
    ),
    case(
        "owners::two_machines_with_one_state_directory_are_two_hosts",
        cloned,
    ),
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

/// Both machines have the same ids, so only the collector can notice that one state was copied.
fn cloned(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let [client, server] = [&scene.site.clients[0], &scene.site.backends[0]].map(Host::clone);
    let settings = |name| Settings::default().with("service", &rule(name));
    let collector = Some(&scene.collector);
    let first = Agent::start_on(lab, &client, collector, &settings(SHOP)?)?;
    let mut second = Agent::prepare(lab, &server, collector, &settings(STOCK)?)?;
    for file in ["host-id", "host-machine"] {
        let [from, to] = [&first, &second].map(|one| one.rootfs().join(STATE).join(file));
        fs::copy(from, to).with_context(|| format!("copy {file}"))?;
    }
    second.start()?;
    scene.agents = vec![first, second];
    let _server = programs::serve(&server, SERVICE_PORT, &[])?;
    let endpoint = scene.site.backend(0, Family::V4);
    client.connect(endpoint, &["--count", "8", "--parallel", "4"])?;
    wait_for(SETTLE, "two hosts of one id", || {
        for agent in &scene.agents {
            agent.flush()?;
        }
        let hosts = scene.collector.hosts()?;
        let copied = hosts["hosts"][0]["copied_ms"].is_i64();
        ensure!(copied, "{hosts}");
        let topology = scene.collector.topology()?;
        let named = |id: &str, name: &str| id.ends_with(&format!("/{name}"));
        let mut joined = topology.edges.iter();
        let right = joined.any(|edge| {
            let at = edge.server_endpoint == endpoint.to_string();
            at && named(&edge.client, SHOP) && named(&edge.server, STOCK)
        });
        ensure!(right, "{}", topology.brief());
        let all = topology.edges.iter().chain(&topology.unjoined);
        for edge in all.filter(|edge| edge.server_endpoint == endpoint.to_string()) {
            ensure!(!named(&edge.client, STOCK), "{}", topology.brief());
            ensure!(!named(&edge.server, SHOP), "{}", topology.brief());
        }
        Ok(())
    })
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

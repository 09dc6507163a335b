//! Accepted connections that another process uses: whose they are, by the rule of each way to see it.

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::needs::Need;
use tests::lab::programs;
use tests::lab::session::Session;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::topology::Topology;

use crate::case::{Case, SOON, case};
use crate::observe::sockets;
use crate::scene::{SHOP, Scene, rule, shop};

pub(crate) const CASES: &[Case] = &[
    case(
        "handed::what_is_passed_on_belongs_to_who_accepted_it_where_sockets_show_it",
        |lab| handed(lab, &sockets()?, "pass"),
    )
    .needing(&[Need::Program("python3")]),
    case(
        "handed::what_is_passed_on_belongs_to_who_has_it_once_nobody_listens",
        |lab| handed(lab, &sockets()?, "leave"),
    )
    .needing(&[Need::Program("python3")]),
    case(
        "handed::what_a_child_uses_belongs_to_who_accepted_it_where_sockets_show_it",
        |lab| handed(lab, &sockets()?, "fork"),
    )
    .needing(&[Need::Program("python3")]),
    case(
        "handed::what_is_passed_on_belongs_to_who_accepted_or_read_it_first",
        |lab| handed(lab, &Settings::default(), "pass"),
    )
    .needing(&[Need::Program("python3")]),
    case(
        "handed::what_a_child_uses_belongs_to_who_accepted_or_read_it_first",
        |lab| handed(lab, &Settings::default(), "fork"),
    )
    .needing(&[Need::Program("python3")]),
];

const ACCEPTOR: &str = "acceptor";
const HELPER: &str = "helper";

/// Who owns it: by sockets who accepts on the listener, as long as somebody does; by programs who
/// accepted, or where that cannot be probed who read from it first.
fn owner(agent: &Agent, how: &str) -> Result<&'static str> {
    let status = agent.status()?;
    let by_sockets = status
        .plan
        .iter()
        .any(|(_, plan)| plan.contains("packet and diagnostic sockets:"));
    let by_reader = status
        .plan
        .iter()
        .any(|(_, plan)| plan.contains("reads first"));
    Ok(match by_sockets {
        true if how == "leave" => HELPER,
        false if by_reader => HELPER,
        _ => ACCEPTOR,
    })
}

fn handed(lab: &Lab, settings: &Settings, how: &str) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let (client, backend) = (
        scene.site.clients[0].clone(),
        scene.site.backends[0].clone(),
    );
    let near = settings.clone().with("service", &rule(SHOP))?;
    let mut far = settings.clone();
    for name in [ACCEPTOR, HELPER] {
        let rule = format!("{{ name = '{name}', match = {{ comm = '{name}' }} }}");
        far = far.with("service", &rule)?;
    }
    for (host, settings) in [(&client, &near), (&backend, &far)] {
        let agent = Agent::start_on(lab, host, Some(&scene.collector), settings)?;
        scene.agents.push(agent);
    }
    let script = backend.directory().join("hand_on.py");
    std::fs::write(&script, include_str!("hand_on.py"))?;
    let mut command = backend.command(programs::python());
    command.arg(&script).args([how, &SERVICE_PORT.to_string()]);
    let mut running = backend.start("hand-on", command)?;
    running.wait_for_output("listening", SOON)?;
    let endpoint = scene.site.backend(0, Family::V4);
    let count = if how == "leave" { 1 } else { 3 };
    let mut session = Session::start(&client, SOON)?;
    let mut open = Vec::new();
    for _ in 0..count {
        let connection = session.open(endpoint)?;
        session.exchange(&connection, 1000, 0)?;
        open.push(connection);
    }
    let right = format!("{}/{}", backend.name(), owner(scene.agent(&backend)?, how)?);
    let check = |topology: &Topology| {
        let edge = topology.edge(&shop(&client), endpoint)?;
        ensure!(edge.server == right, "not {right}: {}", topology.brief());
        let far = edge.server_side()?;
        ensure!(far.opened == count, "{} of {count}", far.opened);
        let all = topology.edges.iter().chain(&topology.unjoined);
        let others = all.filter(|one| one.server_endpoint == endpoint.to_string());
        ensure!(others.count() == 1, "{}", topology.brief());
        Ok(())
    };
    scene.settle(check)?;
    for connection in open {
        session.close(connection)?;
    }
    scene.settle_and_stop(check)
}

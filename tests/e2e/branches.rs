//! Agents that are started inside of a cgroup namespace, as in containers.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::command;
use tests::lab::host::Host;
use tests::lab::needs::Need;
use tests::lab::programs;
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT};
use tests::lab::topology::{Expected, Topology};

use crate::case::{Case, case};
use crate::scene::{SHOP, STOCK, Scene, rule, shop, stock};

pub(crate) const CASES: &[Case] = &[
    case(
        "branches::in_a_cgroup_namespace_the_whole_tree_is_found",
        whole,
    )
    .needing(&[Need::Program("unshare")]),
    case(
        "branches::where_no_process_of_the_host_is_in_sight_a_branch_is_said",
        apart,
    )
    .needing(&[Need::Program("unshare")]),
];

const NAMESPACE: [&str; 2] = ["unshare", "--cgroup"];
/// With a tree of its own mounted, which hides the host's.
const MOUNTED: [&str; 6] = [
    "unshare",
    "--cgroup",
    "--mount",
    "sh",
    "-c",
    "mount -t cgroup2 none /sys/fs/cgroup && exec \"$0\" \"$@\"",
];

/// Scope, option and names are those of an agent outside.
fn whole(lab: &Lab) -> Result<()> {
    const COUNT: u64 = 10;
    let mut scene = Scene::bare(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let [client, backend] = [&scene.site.clients[0], &scene.site.backends[0]].map(Host::clone);
    for (host, name, wrapper) in [
        (&client, SHOP, &NAMESPACE[..]),
        (&backend, STOCK, &MOUNTED[..]),
    ] {
        let settings = Settings::default().with("service", &rule(name))?;
        let mut agent = Agent::prepare(lab, host, Some(&scene.collector), &settings)?;
        agent.wrap(wrapper);
        agent.start()?;
        let plan = agent.status()?.plan;
        let branch = plan.iter().any(|(_, said)| said.contains("branch"));
        ensure!(!branch, "{}: {plan:?}", host.name());
        scene.agents.push(agent);
    }
    let _server = programs::serve(&backend, SERVICE_PORT, &[])?;
    let endpoint = scene.site.backend(0, Family::V4);
    client.connect(endpoint, &["--count", &COUNT.to_string()])?;
    let expected = Expected {
        client: shop(&client),
        server: stock(&backend),
        endpoint,
        connections: COUNT,
        via: Vec::new(),
    };
    let root = lab.tree().root.clone();
    let kind = match scene.agents[0].status()?.mode.as_str() {
        "observe" => "sequence",
        _ => "token",
    };
    scene.settle_and_stop(|topology| {
        topology.check_by(kind, std::slice::from_ref(&expected))?;
        for (host, id) in [(&client, &expected.client), (&backend, &expected.server)] {
            let path = Path::new("/").join(host.cgroup().strip_prefix(&root)?);
            let seen = cgroup(topology, id)?;
            ensure!(Path::new(seen) == path, "{id} is in {seen}");
        }
        Ok(())
    })
}

fn cgroup<'t>(topology: &'t Topology, id: &str) -> Result<&'t str> {
    let node = topology.nodes.iter().find(|node| node.id == id);
    Ok(&node.with_context(|| format!("no node {id}"))?.cgroup)
}

/// The first process here is of the same namespaces, so that nothing else is in reach.
fn apart(lab: &Lab) -> Result<()> {
    let settings = Settings::default().with("scope.cgroup", "\"/\"")?.with(
        "service",
        "{ name = 'web', match = { unit = 'web.service' } }",
    )?;
    let host = lab.host("host")?;
    let agent = Agent::prepare(lab, &host, None, &settings)?;
    let mut doctor = host.command_beside(MOUNTED[0]);
    doctor
        .args(["--pid", "--fork", "--mount-proc"])
        .args(&MOUNTED[1..]);
    doctor
        .arg(agent.binary())
        .args(["doctor", "--format", "json", "--config"]);
    doctor.arg(agent.config_file());
    let output = command::finish(&mut doctor, "")?;
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let warnings = report["warnings"].to_string();
    for said in [
        "is a branch of the host's tree",
        "web choose",
        "PID namespace",
    ] {
        ensure!(warnings.contains(said), "{said} is not in {warnings}");
    }
    Ok(())
}

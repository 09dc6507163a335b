//! Kernels without type information: hidden from the agent here, and a pack in its place.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use bpf::pack::{self, Kernel};
use btf_pack::Order;
use tests::lab::Lab;
use tests::lab::agent::{Agent, Settings};
use tests::lab::host::Host;
use tests::lab::needs::Need;
use tests::lab::site::{Middlebox, Nat};

use crate::case::{Case, case};
use crate::nat;
use crate::scene::{SHOP, STOCK, Scene, rule};

pub(crate) const CASES: &[Case] = &[
    case(
        "types::a_pack_stands_in_for_types_that_the_kernel_lacks",
        with_a_pack,
    )
    .needing(&[Need::Program("bpftool")]),
    case(
        "types::without_a_pack_the_agent_says_which_one_it_would_take",
        without_a_pack,
    ),
];

/// Where a kernel shows its types.
const TYPES: &str = "/sys/kernel/btf";

/// An agent that sees no types, with the pack of this kernel in its root directory.
fn start(lab: &Lab, scene: &mut Scene<'_>, host: &Host, name: &str) -> Result<()> {
    host.hide(&[Path::new(TYPES)]);
    let settings = Settings::default().with("service", &rule(name))?;
    let mut agent = Agent::prepare(lab, host, Some(&scene.collector), &settings)?;
    let kernel = Kernel::running();
    btf_pack::make(&Order {
        from: Path::new(TYPES).join("vmlinux"),
        release: Some(kernel.release.clone()),
        build_id: kernel.build_id.clone(),
        arch: None,
        out: agent.rootfs().join(pack::FOLDER),
    })?;
    agent.start()?;
    let status = agent.status()?;
    let row = status.plan.iter().find(|(name, _)| name == "types");
    let (_, types) = row.context("the plan names no pack")?;
    ensure!(types.contains(&kernel.release), "{types}");
    ensure!(status.mode == "tc-clone", "{:?}", status.plan);
    scene.agents.push(agent);
    Ok(())
}

fn with_a_pack(lab: &Lab) -> Result<()> {
    let mut scene = Scene::bare(lab, 1, 2, Nat::FullNat, Middlebox::Plain)?;
    let named = |hosts: &[Host], name: &'static str| {
        hosts
            .iter()
            .map(|host| (host.clone(), name))
            .collect::<Vec<_>>()
    };
    let hosts = [
        named(&scene.site.clients, SHOP),
        named(&scene.site.backends, STOCK),
    ];
    for (host, name) in hosts.concat() {
        start(lab, &mut scene, &host, name)?;
    }
    let servers = nat::start_servers(&scene.site, &[])?;
    nat::prove(&mut scene, Nat::FullNat, &servers, &[])
}

fn without_a_pack(lab: &Lab) -> Result<()> {
    let host = lab.host("bare")?;
    host.hide(&[Path::new(TYPES)]);
    let mut agent = Agent::prepare(lab, &host, None, &Settings::default())?;
    agent.start()?;
    let status = agent.status()?;
    let row = status.plan.iter().find(|(name, _)| name == "connection");
    let (_, connection) = row.context("a plan without the family")?;
    ensure!(
        connection.starts_with("packet and diagnostic sockets: ")
            && connection.contains("no BTF packs are installed"),
        "{connection}"
    );
    let wanted = Kernel::running().file_name();
    ensure!(connection.contains(&wanted), "{connection}");
    agent.stop()
}

//! Install, run, upgrade with a full spool, go back, remove, purge: and nothing is left.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tests::lab::Lab;
use tests::lab::agent::FLEET_KEY;
use tests::lab::collector::{self, Collector, write_secret};
use tests::lab::programs;
use tests::lab::residue::{Objects, Residue};
use tests::lab::site::{Family, Middlebox, Nat, SERVICE_PORT, Site};
use tests::lab::wait::wait_for;

use super::given::{release, unpack};
use super::root::{Files, Root, changes};
use crate::packages::installed::{Installed, OUTAGE, SERVICE, STATE, Way};
use crate::scene::SETTLE;

/// The whole life of the agent's package, and of the collector's.
pub(super) fn run(lab: &Lab, name: &str, way: Way) -> Result<()> {
    let site = Site::build(lab, 1, 1, Nat::Direct, Middlebox::Plain)?;
    let client = &site.clients[0];
    let collector = Collector::start_in(lab)?;
    let server = programs::serve(&site.backends[0], SERVICE_PORT, &[])?;
    collector.reach_from(lab, client)?;
    let bundles = [unpack(lab, "first")?, unpack(lab, "second")?];
    let root = Root::open(lab, client, &release(name)?)?;
    let on = Installed { root, way, bundles };
    on.root.let_services_start()?;
    let kernel = Residue::snapshot(lab, &[client])?;
    let (files, mounts) = (on.root.files()?, on.root.mounts()?);

    let said = on.install(0, "waybill-agent")?;
    ensure!(said.contains("not started yet"), "first words: {said}");
    ensure!(on.agent().is_err(), "started without a key");
    on.modes()?;
    on.untouched("waybill-agent")?;
    configure(lab, &on, &collector)?;
    on.service("start")?;
    let first = on.running()?;
    on.untouched("waybill-agent")?;
    let objects = Objects::held_by(first)?;
    let backend = site.backend(0, Family::V4);
    client.connect(backend, &["--count", "5"])?;
    arrived(&collector, &on, 5)?;

    // An outage: the spool fills, and is full when the upgrade comes.
    client.nft(OUTAGE)?;
    client.connect(backend, &["--count", "5"])?;
    server.wait_served(10, SETTLE)?;
    kill(Pid::from_raw(on.agent()?), Signal::SIGUSR1)?;
    wait_for(SERVICE, "batches in the spool", || {
        ensure!(on.batches()? > 0, "none");
        Ok(())
    })?;
    let host_id = on.state("host-id")?;
    let config = fs::read(on.root.path("etc/waybill/agent.toml"))?;
    on.install(1, "waybill-agent")?;
    let second = on.running()?;
    ensure!(first != second, "the upgrade did not restart the agent");
    ensure!(on.batches()? > 0, "the upgrade lost the spool");
    ensure!(
        on.state("host-id")? == host_id,
        "the upgrade made another host"
    );
    let kept = fs::read(on.root.path("etc/waybill/agent.toml"))?;
    ensure!(kept == config, "the upgrade changed the configuration");
    client.nft("delete table inet outage\n")?;
    arrived(&collector, &on, 10)?;

    on.install(0, "waybill-agent").context("go back")?;
    ensure!(
        on.running()? != second,
        "going back did not restart the agent"
    );
    ensure!(
        on.state("host-id")? == host_id,
        "going back made another host"
    );

    comes_back(&on)?;
    let held = Objects::held_by(on.agent()?)?;
    on.remove("waybill-agent")?;
    ensure!(on.agent().is_err(), "the agent runs without its package");
    objects.wait_gone()?;
    held.wait_gone()?;
    kernel.wait_same(lab, &[client])?;
    only_kept(way, &files, &on.root.files()?)?;

    if way != Way::Deb {
        // What knows no purge after removal is installed once more for it.
        on.install(0, "waybill-agent")?;
        on.running()
            .context("a removed agent that comes back starts with what was kept")?;
    }
    purge(&on)?;
    collectors(&on)?;
    let left = changes(&files, &on.root.files()?);
    ensure!(left.is_empty(), "left behind: {left:#?}");
    ensure!(mounts == on.root.mounts()?, "mounts are left");
    kernel.wait_same(lab, &[client])
}

/// Without a service manager the script itself starts a killed agent again.
fn comes_back(on: &Installed<'_>) -> Result<()> {
    let killed = on.agent()?;
    kill(Pid::from_raw(killed), Signal::SIGKILL)?;
    wait_for(SERVICE, "another agent after a kill", || {
        ensure!(on.running()? != killed, "none yet");
        Ok(())
    })
}

/// Removes the agent with its state, and then what the operator made.
fn purge(on: &Installed<'_>) -> Result<()> {
    on.purge("waybill-agent")?;
    for operators in ["agent.toml.rpmsave", "fleet.key", "ca.pem", "token"] {
        fs::remove_file(on.root.path("etc/waybill").join(operators)).ok();
    }
    fs::remove_dir(on.root.path("etc/waybill")).ok();
    Ok(())
}

/// What an operator writes after the first installation.
fn configure(lab: &Lab, on: &Installed<'_>, collector: &Collector) -> Result<()> {
    let etc = on.root.path("etc/waybill");
    let packaged = fs::read_to_string(etc.join("agent.toml"))?;
    ensure!(
        packaged.contains("\nkind = 253\n"),
        "the packaged configuration does not name the option kind"
    );
    write_secret(&etc.join("fleet.key"), &format!("{FLEET_KEY}\n"))?;
    let token = fs::read_to_string(collector.token_file())?;
    write_secret(&etc.join("token"), &token)?;
    fs::copy(collector.ca_file(), etc.join("ca.pem"))?;
    let scope = on.root.host.cgroup().strip_prefix(&lab.tree().root)?;
    let config = packaged
        .replace("#interval = \"10s\"", "interval = \"1s\"")
        .replace("#hostname = \"\"", "hostname = \"installed\"")
        .replace(
            "#cgroup = \"/\"",
            &format!("cgroup = {:?}", Path::new("/").join(scope)),
        )
        .replace(
            "\n# The collector. Without",
            &format!(
                "\n[upload]\nurl = \"https://{}\"\nca_file = \"/etc/waybill/ca.pem\"\n\
                 token_file = \"/etc/waybill/token\"\ntimeout = \"5s\"\n\n# The collector. Without",
                collector::ADDRESS
            ),
        );
    fs::write(etc.join("agent.toml"), config)?;
    on.root.run(&["waybill-agent", "check-config"]).map(drop)
}

/// Waits until the collector knows this many connections of the installed agent.
fn arrived(collector: &Collector, on: &Installed<'_>, count: u64) -> Result<()> {
    kill(Pid::from_raw(on.agent()?), Signal::SIGUSR1)?;
    wait_for(SETTLE, "rows of the installed agent", || {
        let topology = collector.topology()?;
        let edges = topology.edges.iter().chain(&topology.unjoined);
        let opened: u64 = edges
            .filter(|edge| edge.client.starts_with("installed/"))
            .filter_map(|edge| edge.client_counters.as_ref())
            .map(|counters| counters.opened)
            .sum();
        ensure!(
            opened == count,
            "{opened} of {count} connections: {topology:?}"
        );
        Ok(())
    })
}

/// After a removal only what the operator wrote, and state, is there.
fn only_kept(way: Way, before: &Files, after: &Files) -> Result<()> {
    let kept = [
        "new: etc/waybill",
        "new: opt/waybill/rootfs/var/lib/waybill",
        // The way to it.
        "new: opt/waybill ",
        "new: opt/waybill/rootfs ",
        "new: opt/waybill/rootfs/var ",
        "new: opt/waybill/rootfs/var/lib ",
    ];
    // dpkg keeps configuration until a purge, and its helper what an administrator enabled.
    let debian = [
        "new: etc/logrotate.d",
        "new: etc/systemd/system/multi-user.target.wants",
        "new: var/lib/systemd/deb-systemd-helper-enabled",
    ];
    let debian: &[&str] = if way == Way::Deb { &debian } else { &[] };
    let strange: Vec<String> = changes(before, after)
        .into_iter()
        .filter(|change| {
            !kept
                .iter()
                .chain(debian)
                .any(|known| change.starts_with(known))
        })
        .collect();
    ensure!(strange.is_empty(), "left by the removal: {strange:#?}");
    ensure!(
        after.keys().any(|path| path.starts_with(STATE)),
        "the removal took the spool"
    );
    Ok(())
}

/// The collector's package: an account that comes and goes.
fn collectors(on: &Installed<'_>) -> Result<()> {
    let account = || on.root.run(&["id", "-u", "waybill-collector"]);
    on.install(0, "waybill-collector")?;
    account().context("the account of the collector")?;
    on.untouched("waybill-collector")?;
    // Its account reads the configuration.
    let read = "exec cat /etc/waybill/collector.toml";
    let line = ["su", "-s", "/bin/sh", "-c", read, "waybill-collector"];
    on.root.run(&line)?;
    let said = on.install(1, "waybill-collector")?;
    ensure!(!said.contains("rror"), "upgrade of the collector: {said}");
    account().context("the account of the collector after an upgrade")?;
    on.remove("waybill-collector")?;
    ensure!(account().is_err(), "the account stays after a removal");
    if on.way != Way::Deb {
        on.install(0, "waybill-collector")?;
    }
    on.purge("waybill-collector").map(drop)
}

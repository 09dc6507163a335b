//! Starts that are killed, disks that are full or read-only, hosts that lack something, clocks that
//! jump: the agent says what is wrong with the exit code of the table, or goes on with less, and
//! never leaves anything.

mod disk;

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{Agent, STOP_DEADLINE, Settings};
use tests::lab::collector::Collector;
use tests::lab::host::Host;
use tests::lab::needs::Skip;
use tests::lab::programs;
use tests::lab::residue::{Residue, wait_no_orphans};
use tests::lab::wait::wait_for;

use crate::case::{Case, SOON, case};
use crate::residue::NEEDS;
use disk::{full_disk, read_only, read_only_root, refuses};

/// Names one trial.
macro_rules! fault {
    ($name:literal, $run:expr) => {
        case(concat!("faults::", $name), $run).needing(NEEDS)
    };
}

pub(crate) const CASES: &[Case] = &[
    fault!(
        "a_start_that_is_killed_at_any_point_leaves_nothing_and_the_next_one_works",
        |lab| killed(lab, &Settings::default(), false)
    ),
    fault!(
        "a_start_with_filters_that_is_killed_at_any_point_is_cleaned_up_by_the_next_one",
        |lab| {
            let settings = Settings::default().with("option.mode", "'tc-clone'")?;
            killed(lab, &settings, true)
        }
    ),
    fault!(
        "a_start_with_sockets_that_is_killed_at_any_point_leaves_nothing",
        |lab| {
            let settings = Settings::default().with("agent.hooks", "'sockets'")?;
            killed(lab, &settings, false)
        }
    ),
    fault!("a_full_disk_ends_a_start_with_5_or_is_counted", full_disk),
    fault!("a_read_only_spool_ends_the_start_with_5", read_only),
    fault!(
        "on_a_read_only_root_a_spool_of_its_own_does",
        read_only_root
    ),
    fault!("without_sys_sockets_measure", without_sys),
    fault!("wrong_permissions_are_named", permissions),
    fault!(
        "a_second_agent_ends_with_1_and_leaves_the_first_alone",
        second
    ),
    fault!("a_clock_that_jumps_forward_costs_no_batch", |lab| jump(
        lab,
        "clock+14400@4000"
    )),
    fault!("a_clock_that_jumps_back_costs_no_batch", |lab| jump(
        lab,
        "clock-14400@4000"
    )),
    fault!(
        "a_clock_before_1970_ends_nothing_and_nothing_is_uploaded_by_it",
        before_1970
    ),
];

/// Those of `agent/src/fault.rs`: a test there holds them to be all.
const POINTS: [&str; 12] = [
    "config.loaded",
    "host.probed",
    "jail.mounted",
    "jail.entered",
    "lock.held",
    "programs.loaded",
    "sockets.opened",
    "agent.confined",
    "identity.known",
    "spool.opened",
    "threads.started",
    "report.closed",
];

/// An agent that suffers faults, which a release does not.
pub(crate) fn prepare_to_suffer(
    lab: &Lab,
    host: &Host,
    collector: Option<&Collector>,
    settings: &Settings,
) -> Result<Agent> {
    let mut version = std::process::Command::new(&lab.binaries().agent);
    let text = tests::lab::command::run(version.args(["version", "--format", "json"]))?;
    let version: serde_json::Value = serde_json::from_str(&text)?;
    if version["debug"] != true {
        return Err(Skip("the agent is a release, which suffers no faults".into()).into());
    }
    Agent::prepare(lab, host, collector, settings)
}

fn killed(lab: &Lab, settings: &Settings, asleep: bool) -> Result<()> {
    let host = lab.host("host")?;
    host.ip("link set lo up\nlink add eth0 type veth peer name eth1\nlink set eth0 up\n")?;
    let mut agent = prepare_to_suffer(lab, &host, None, settings)?;
    // The queueing discipline of filters is made once and stays.
    agent.start()?;
    agent.stop()?;
    let before = Residue::snapshot(lab, &[&host])?;
    for point in POINTS {
        agent.suffer(Some(&format!("kill@{point}")));
        agent.start_unready()?;
        let running = agent.running_mut()?;
        let status = running
            .wait(STOP_DEADLINE)
            .with_context(|| point.to_owned())?;
        ensure!(status.signal() == Some(9), "{point}: ended with {status}");
        agent.kill()?;
        if !asleep {
            before
                .wait_same(lab, &[&host])
                .with_context(|| point.to_owned())?;
        }
        agent.suffer(None);
        agent
            .start()
            .with_context(|| format!("start after a kill at {point}"))?;
        agent.stop()?;
        before
            .wait_same(lab, &[&host])
            .with_context(|| point.to_owned())?;
    }
    wait_no_orphans()
}

fn without_sys(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    host.hinder(&["--hide", "/sys"]);
    let mut agent = Agent::prepare(lab, &host, None, &Settings::default())?;
    let before = Residue::snapshot(lab, &[&host])?;
    agent.start()?;
    let plan = agent.status()?.plan;
    let connection = plan.iter().find(|(name, _)| name == "connection");
    let (_, said) = connection.context("no row of the family")?;
    ensure!(said.contains("packet and diagnostic sockets"), "{said}");
    agent.stop()?;
    before.wait_same(lab, &[&host])?;
    wait_no_orphans()
}

type Harm = fn(&Agent) -> std::io::Result<()>;

/// What is wrong, who makes it so, the exit code, and words of the message.
const HARMS: [(&str, Harm, i32, &str); 10] = [
    (
        "writable",
        |agent| std::fs::set_permissions(agent.rootfs(), Permissions::from_mode(0o777)),
        4,
        "writable by nobody else",
    ),
    (
        "given-away",
        |agent| chown(agent.rootfs(), Some(1), None),
        4,
        "must belong to root",
    ),
    (
        "parent-is-writable",
        |agent| {
            let parent = agent.rootfs().parent().map(Path::to_owned);
            let parent = parent.unwrap_or_default();
            std::fs::set_permissions(parent, Permissions::from_mode(0o777))
        },
        4,
        "above it must belong to root",
    ),
    (
        "between-is-writable",
        |agent| {
            let between = agent.rootfs().join("var/lib");
            std::fs::set_permissions(between, Permissions::from_mode(0o777))
        },
        4,
        "must be a directory of root",
    ),
    (
        "place-of-another",
        |agent| chown(agent.rootfs().join("proc"), Some(1), None),
        4,
        "proc must be",
    ),
    (
        "state-of-another",
        |agent| chown(agent.rootfs().join("var/lib/waybill"), Some(1), None),
        4,
        "user 1",
    ),
    (
        "state-is-a-link",
        |agent| {
            let state = agent.rootfs().join("var/lib/waybill");
            std::fs::remove_dir(&state)?;
            std::os::unix::fs::symlink("/tmp", state)
        },
        4,
        "not a link",
    ),
    (
        "no-place",
        |agent| std::fs::remove_file(agent.rootfs().join("dev/null")),
        4,
        "lacks dev/null",
    ),
    (
        "spool-is-a-directory",
        |agent| std::fs::create_dir(agent.rootfs().join("var/lib/waybill/spool.db")),
        5,
        "spool.db",
    ),
    (
        "key-is-gone",
        |agent| {
            let key = agent.config_file().with_file_name("fleet.key");
            std::fs::remove_file(key)
        },
        2,
        "fleet.key",
    ),
];

fn permissions(lab: &Lab) -> Result<()> {
    let mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode));
    for (name, harm, exit, words) in HARMS {
        let host = lab.host(name)?;
        let mut agent = Agent::prepare(lab, &host, None, &Settings::default())?;
        let before = Residue::snapshot(lab, &[&host])?;
        harm(&agent)?;
        let (code, said) = refuses(&mut agent)?;
        ensure!(
            code == exit && said.contains(words),
            "{name}: {code}: {said}"
        );
        before.wait_same(lab, &[&host])?;
    }
    // Whoever may read the key is told of, and it is the operator's choice.
    let host = lab.host("open-key")?;
    let mut agent = Agent::prepare(lab, &host, None, &Settings::default())?;
    mode(&agent.config_file().with_file_name("fleet.key"), 0o644)?;
    agent.start()?;
    let said = agent.running()?.errors()?;
    ensure!(said.contains("fleet.key"), "{said}");
    agent.stop()?;
    wait_no_orphans()
}

fn second(lab: &Lab) -> Result<()> {
    let host = lab.host("host")?;
    let mut first = Agent::prepare(lab, &host, None, &Settings::default())?;
    first.start()?;
    let mut other = host.command_beside(&lab.binaries().agent);
    other.arg("run").arg("--config").arg(first.config_file());
    let output = tests::lab::command::finish(&mut other, "")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    ensure!(said.contains("another agent"), "{said}");
    first.flush()?;
    ensure!(
        first.running_mut()?.ended()?.is_none(),
        "the first one ended"
    );
    first.stop()?;
    wait_no_orphans()
}

fn jump(lab: &Lab, fault: &str) -> Result<()> {
    const PORT: u16 = 7000;
    let host = lab.host("host")?;
    let collector = Collector::start_in(lab)?;
    let mut agent = prepare_to_suffer(lab, &host, Some(&collector), &Settings::default())?;
    host.ip("link set lo up\n")?;
    let _server = programs::serve(&host, PORT, &[])?;
    let before = Residue::snapshot(lab, &[&host])?;
    agent.suffer(Some(fault));
    agent.start()?;
    let begun_ms = agent.status()?.written_ms;
    let mut connected = 0;
    // On both sides of the jump, and across it.
    wait_for(SOON, "the jump", || {
        host.connect(([127, 0, 0, 1], PORT).into(), &["--count", "5"])?;
        connected += 5;
        agent.flush()?;
        let apart_ms = agent.status()?.written_ms.abs_diff(begun_ms);
        ensure!(apart_ms > 3_600_000, "{apart_ms} ms");
        Ok(())
    })?;
    host.connect(([127, 0, 0, 1], PORT).into(), &["--count", "5"])?;
    connected += 5;
    wait_for(SOON, "all batches at the collector", || {
        agent.flush()?;
        let status = agent.status()?;
        let (sealed, acked) = (
            status.counter("batch_sealed_total")?,
            status.counter("upload_acked_total")?,
        );
        // The last one is on its way when the status is written.
        ensure!(acked + 2 >= sealed, "{acked} of {sealed}");
        let seen = status.counter("record_decoded_total")?;
        ensure!(
            seen >= connected,
            "{seen} records of {connected} connections"
        );
        let lost: Vec<_> = status
            .counters
            .iter()
            .filter(|(name, count)| {
                (name.contains("_dropped_") || name.contains("_evicted_")) && **count > 0
            })
            .collect();
        ensure!(lost.is_empty(), "{lost:?}");
        Ok(())
    })?;
    agent.stop()?;
    before.wait_same(lab, &[&host])?;
    wait_no_orphans()
}

/// It stands there from the beginning, as on a board without a battery; or falls there later.
fn before_1970(lab: &Lab) -> Result<()> {
    let collector = Collector::start_in(lab)?;
    for (name, fault) in [
        ("always", "clock-4000000000@0"),
        ("later", "clock-4000000000@4000"),
    ] {
        let host = lab.host(name)?;
        let mut agent = prepare_to_suffer(lab, &host, Some(&collector), &Settings::default())?;
        agent.suffer(Some(fault));
        agent.start()?;
        wait_for(SOON, "intervals and attempts", || {
            agent.flush()?;
            let status = agent.status()?;
            let (sealed, retried) = (
                status.counter("batch_sealed_total")?,
                status.counter("upload_retried_total")?,
            );
            ensure!(
                retried > 0 && sealed > 5,
                "{sealed} sealed, {retried} retried"
            );
            let said = agent.running()?.errors()?;
            ensure!(said.contains("before 1970"), "{said}");
            ensure!(!said.contains("panicked"), "{said}");
            Ok(())
        })?;
        agent.stop()?;
        let said = agent.ask_json(&["spool", "stat"])?;
        ensure!(said["batches"].as_u64() > Some(0), "{said}");
    }
    wait_no_orphans()
}

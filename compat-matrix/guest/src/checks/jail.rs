//! The agent sees what the manifest lists, and may do what `doctor` says it may.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, anyhow, ensure};
use caps::Capability;
use rootfs::Manifest;
use tests::lab::agent::Agent;

use super::modes::mode_settings;
use super::run::{Found, Run};

/// Places where the agent mounts or keeps something: their content is not the manifest's.
const MOUNTED: [&str; 7] = [
    "proc",
    "sys/devices/system/cpu",
    "sys/fs/cgroup",
    "run",
    "tmp",
    "var/lib/waybill",
    // Its content is the operator's: packs for the kernels that need one.
    "usr/share/waybill/btf",
];

/// All checks of this group.
pub(super) fn run(run: &mut Run) -> Result<()> {
    run.check("agent", "jail/shipped-rootfs/auto", |run| {
        compare(&run.payload.join("rootfs")).context("the shipped root directory")
    })?;
    let mut scene = None;
    run.check("agent", "jail/root-directory/auto", |run| {
        let lab = run.lab()?;
        let host = lab.host("host")?;
        let agent = Agent::start_on(&lab, &host, None, &mode_settings("auto")?)?;
        let (agent, _) = scene.insert((agent, lab));
        sees(agent)
    })?;
    run.check("agent", "jail/privileges/auto", |run| {
        run.need_labs()?;
        let (mut agent, lab) = scene.context("there is no agent")?;
        let found = privileges(&agent)?;
        agent.stop()?;
        lab.close().map(|()| found)
    })
}

/// Compares a directory with the manifest.
fn compare(root: &Path) -> Result<Found> {
    let listed: BTreeSet<PathBuf> = Manifest::current()?
        .entries
        .into_iter()
        .map(|entry| entry.path)
        .collect();
    let mut left = vec![root.to_owned()];
    let mut seen = BTreeSet::new();
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(&directory)?.flatten() {
            let path = entry.path().strip_prefix(root)?.to_owned();
            if entry.file_type()?.is_dir() && !MOUNTED.iter().any(|m| path == Path::new(m)) {
                left.push(entry.path());
            }
            seen.insert(path);
        }
    }
    let more: Vec<_> = seen.difference(&listed).collect();
    ensure!(more.is_empty(), "not in the manifest: {more:?}");
    let less: Vec<_> = listed.difference(&seen).collect();
    ensure!(less.is_empty(), "in the manifest only: {less:?}");
    let count = listed.len() as u64;
    Ok(Found {
        found: count,
        expected: count,
    })
}

fn sees(agent: &Agent) -> Result<Found> {
    let root = PathBuf::from(format!("/proc/{}/root", agent.pid()?));
    let found = compare(&root)?;
    for path in ["usr", "etc/planted", "dev/planted"] {
        let planted = fs::write(root.join(path).join("x"), "");
        ensure!(planted.is_err(), "{path} can be written");
    }
    Ok(found)
}

fn privileges(agent: &Agent) -> Result<Found> {
    let doctor = agent.ask_json(&["doctor"])?;
    let named = doctor["jail"]["capabilities"].as_array();
    let mut promised = 0_u64;
    for kept in named.context("doctor lists no capabilities")? {
        let name = kept["name"].as_str().context("a capability has a name")?;
        let known = Capability::from_str(name).map_err(|error| anyhow!("{name}: {error}"))?;
        promised |= known.bitmask();
    }
    let mut threads = 0;
    for entry in fs::read_dir(format!("/proc/{}/task", agent.pid()?))?.flatten() {
        let status = fs::read_to_string(entry.path().join("status"))?;
        let field = |name: &str| -> Result<&str> {
            let line = status.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_whitespace().nth(1))
                .context("a field of every kernel")
        };
        ensure!(field("NoNewPrivs:")? == "1", "new privileges are possible");
        for set in ["CapEff:", "CapPrm:"] {
            let has = u64::from_str_radix(field(set)?, 16)?;
            ensure!(has == promised, "{set} {has:x}, doctor says {promised:x}");
        }
        for set in ["CapInh:", "CapBnd:", "CapAmb:"] {
            let has = u64::from_str_radix(field(set)?, 16)?;
            ensure!(
                has & !promised == 0,
                "{set} {has:x}, doctor says {promised:x}"
            );
        }
        threads += 1;
    }
    ensure!(threads > 0, "the agent has no thread");
    Ok(Found::ALL)
}

//! What a lab's agents have in the kernel and on the machine, to be compared before and after.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::host::Host;
use super::wait::wait_for;
use super::{Lab, cgroup, command, netns};

/// First characters of the names of all our programs.
const PROGRAM_PREFIX: &str = "wb_";

/// How long the kernel may take to free what nobody holds any more.
const FREE_DEADLINE: Duration = Duration::from_secs(20);

/// Ids of BPF objects, by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Objects {
    programs: BTreeSet<u64>,
    maps: BTreeSet<u64>,
    links: BTreeSet<u64>,
}

impl Objects {
    /// The objects that the open files of a process hold.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn held_by(process: i32) -> Result<Self> {
        let mut objects = Self::default();
        let directory = format!("/proc/{process}/fdinfo");
        for entry in std::fs::read_dir(&directory)
            .context("read open files")?
            .flatten()
        {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            for line in text.lines() {
                let Some((name, value)) = line.split_once(':') else {
                    continue;
                };
                let Ok(id) = value.trim().parse::<u64>() else {
                    continue;
                };
                match name {
                    "prog_id" => objects.programs.insert(id),
                    "map_id" => objects.maps.insert(id),
                    "link_id" => objects.links.insert(id),
                    _ => continue,
                };
            }
        }
        // Maps are also held by programs after their own file is closed.
        for program in list("prog")? {
            if program["id"]
                .as_u64()
                .is_some_and(|id| objects.programs.contains(&id))
            {
                let maps = program["map_ids"].as_array().into_iter().flatten();
                objects.maps.extend(maps.filter_map(Value::as_u64));
            }
        }
        Ok(objects)
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.programs.len() + self.maps.len() + self.links.len()
    }

    /// Waits until none of them exists any more.
    ///
    /// # Errors
    /// Names those that stay.
    pub fn wait_gone(&self) -> Result<()> {
        wait_for(FREE_DEADLINE, "freeing of all BPF objects", || {
            let left = Self {
                programs: &self.programs & &ids("prog")?,
                maps: &self.maps & &ids("map")?,
                links: &self.links & &ids("link")?,
            };
            ensure!(left.count() == 0, "left in the kernel: {left:?}");
            Ok(())
        })
    }
}

/// Everything else that agents of one lab could leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Residue {
    /// Lines of the machine's mount table that mention the lab.
    mounts: BTreeSet<String>,
    /// Network namespaces of the lab.
    namespaces: BTreeSet<String>,
    /// Directories of the lab's cgroup branch.
    cgroups: BTreeSet<String>,
    /// BPF programs attached to cgroups of the lab.
    attached: BTreeSet<String>,
    /// Queueing disciplines and filters of the given hosts.
    traffic_control: BTreeMap<String, String>,
    /// Processes in the lab's cgroups.
    processes: BTreeSet<i32>,
}

impl Residue {
    /// Looks at the lab and, for traffic control, at `hosts`.
    ///
    /// # Errors
    /// When a tool fails.
    pub fn snapshot(lab: &Lab, hosts: &[&Host]) -> Result<Self> {
        let name = lab.name();
        let branch = lab.tree().root.join(&name);
        let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
        let mut traffic_control = BTreeMap::new();
        for host in hosts {
            traffic_control.insert(host.name().to_owned(), traffic_control_of(host)?);
        }
        Ok(Self {
            mounts: mounts
                .lines()
                .filter(|line| line.contains(&name))
                // Ids and options of mounts change; what is mounted where does not.
                .map(|line| {
                    line.split(' ')
                        .skip(3)
                        .take(2)
                        .collect::<Vec<_>>()
                        .join(" ")
                })
                .collect(),
            namespaces: netns::list(&name).into_iter().collect(),
            cgroups: directories(&branch),
            attached: attached(&branch)?,
            traffic_control,
            processes: cgroup::processes(&branch).into_iter().collect(),
        })
    }

    /// Waits until the lab looks like this snapshot again.
    ///
    /// # Errors
    /// Shows both states when it does not in time.
    pub fn wait_same(&self, lab: &Lab, hosts: &[&Host]) -> Result<()> {
        wait_for(FREE_DEADLINE, "state without residue", || {
            let now = Self::snapshot(lab, hosts)?;
            ensure!(now == *self, "before: {self:#?}\nnow: {now:#?}");
            Ok(())
        })
    }
}

/// Waits until no program of ours that exists now is without a living process that holds it.
///
/// Other labs' agents hold theirs; what one of them loads or lets go while `/proc` is walked was not
/// there at the first look, or is not at a later one.
///
/// # Errors
/// Names the orphans.
pub fn wait_no_orphans() -> Result<()> {
    let mut suspects: Option<BTreeSet<u64>> = None;
    wait_for(FREE_DEADLINE, "absence of orphaned programs", || {
        let mut orphans = orphans()?;
        if let Some(before) = suspects.take() {
            orphans.retain(|id| before.contains(id));
        }
        let orphans = suspects.insert(orphans);
        ensure!(orphans.is_empty(), "programs without a holder: {orphans:?}");
        Ok(())
    })
}

/// Programs of ours that no process held when it was looked at.
fn orphans() -> Result<BTreeSet<u64>> {
    let mut orphans: BTreeSet<u64> = list("prog")?
        .iter()
        .filter(|program| {
            let name = program["name"].as_str();
            name.is_some_and(|name| name.starts_with(PROGRAM_PREFIX))
        })
        .filter_map(|program| program["id"].as_u64())
        .collect();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        if orphans.is_empty() {
            break;
        }
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.parse().ok());
        if let Some(Ok(held)) = process.map(Objects::held_by) {
            orphans.retain(|id| !held.programs.contains(id));
        }
    }
    Ok(orphans)
}

fn bpftool(arguments: &[&str]) -> Result<Value> {
    let text = command::run(Command::new("bpftool").arg("-j").args(arguments))?;
    // Nothing to list is no output at all.
    if text.trim().is_empty() {
        return Ok(Value::Array(Vec::new()));
    }
    serde_json::from_str(&text).with_context(|| format!("bpftool {}", arguments.join(" ")))
}

/// All objects of a kind: `prog`, `map` or `link`.
///
/// # Errors
/// Those of bpftool.
pub fn list(kind: &str) -> Result<Vec<Value>> {
    Ok(match bpftool(&[kind, "show"])? {
        Value::Array(all) => all,
        one => vec![one],
    })
}

fn ids(kind: &str) -> Result<BTreeSet<u64>> {
    Ok(list(kind)?
        .iter()
        .filter_map(|object| object["id"].as_u64())
        .collect())
}

/// Programs attached to the cgroup `branch` and below, as `<cgroup> <type> <id>`.
fn attached(branch: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let tree = bpftool(&["cgroup", "tree", &branch.display().to_string()])?;
    for cgroup in tree.as_array().into_iter().flatten() {
        for program in cgroup["programs"].as_array().into_iter().flatten() {
            found.insert(format!(
                "{} {} {}",
                cgroup["cgroup"], program["attach_type"], program["id"]
            ));
        }
    }
    Ok(found)
}

fn directories(branch: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut left = vec![branch.to_owned()];
    while let Some(directory) = left.pop() {
        let entries = std::fs::read_dir(&directory)
            .into_iter()
            .flatten()
            .flatten();
        left.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.is_dir()),
        );
        found.insert(directory.display().to_string());
    }
    found
}

fn traffic_control_of(host: &Host) -> Result<String> {
    let tc = |arguments: &[&str]| {
        let mut command = host.command_beside("tc");
        command::run(command.args(arguments))
    };
    let mut text = tc(&["qdisc", "show"])?;
    for device in ["eth0", "mgmt", "lo"] {
        for direction in ["ingress", "egress"] {
            // A device that is not there, or has no hook, has no filter.
            text += &tc(&["filter", "show", "dev", device, direction]).unwrap_or_default();
        }
    }
    Ok(text)
}

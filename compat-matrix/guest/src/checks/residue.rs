//! After any end of the agent nothing of it is left.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs::{self, File};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::lab::Lab;
use tests::lab::agent::{AGENT, Agent};
use tests::lab::cgroup;
use tests::lab::command;
use tests::lab::host::Host;
use tests::lab::needs::Skip;
use tests::lab::netns;
use tests::lab::programs;
use tests::lab::site::{Family, Site};
use tests::lab::wait::wait_for;

use super::gateway::Gateway;
use super::modes::mode_settings;
use super::run::{Found, Run};
use crate::fault::Leak;
use crate::kernel::Objects;

/// How long an emulated kernel may take to free what nobody holds any more.
const FREE: Duration = Duration::from_secs(20);

/// Runs the check for every way to end.
pub(super) fn run(run: &mut Run) -> Result<()> {
    let mut scene = None;
    run.check("agent", "residue/orderly-end/auto", |run| {
        let lab = run.lab()?;
        let site = Site::wire(&lab, 1, 1, Gateway::Routes.nat())?;
        let client = &site.clients[0];
        let agent = Agent::prepare(&lab, client, None, &mode_settings("auto")?)?;
        let (agent, site, lab) = scene.insert((agent, site, lab));
        ended(run, lab, site, agent, Agent::stop, true)
    })?;
    // The second start also shows that the first left its place free.
    run.check("agent", "residue/sigkill/auto", |run| {
        run.need_labs()?;
        let (mut agent, site, lab) = scene.context("there is no lab")?;
        ended(run, &lab, &site, &mut agent, killed, false)?;
        lab.close().map(|()| Found::ALL)
    })?;
    run.check("agent", "residue/sigkill/kprobes", probes)
}

/// The one list of probes at functions that the kernel has.
const PROBES: &str = "/sys/kernel/tracing/kprobe_events";

/// Probes stay when their agent is killed, without any effect, until `clean` or the next start.
fn probes(run: &mut Run) -> Result<Found> {
    run.need_labs()?;
    run.need_programs()?;
    if run.fact("kprobe") != "yes" {
        let reason = format!("probes: {}", run.fact("kprobe"));
        return Err(Skip(reason).into());
    }
    let lab = run.lab()?;
    let host = lab.host("probed")?;
    let mut agent = Agent::prepare(&lab, &host, None, &mode_settings("kprobes")?)?;
    agent.start()?;
    let group = format!("waybill_{}/", agent.pid()?);
    agent.kill()?;
    let listed = || fs::read_to_string(PROBES).context("read the list of probes");
    if !Path::new(PROBES).exists() {
        nix::mount::mount(
            Some("tracefs"),
            "/sys/kernel/tracing",
            Some("tracefs"),
            nix::mount::MsFlags::empty(),
            None::<&str>,
        )
        .context("mount tracefs")?;
    }
    ensure!(
        listed()?.contains(&group),
        "a killed agent's probes should be there: the check would show nothing"
    );
    let mut clean = host.command_beside(agent.rootfs().join(AGENT));
    let said = command::run(clean.arg("clean"))?;
    let left = listed()?;
    ensure!(!left.contains(&group), "left after {}: {left}", said.trim());
    lab.close().map(|()| Found::ALL)
}

/// Kills an agent. Packet filters stay, asleep, until the next start removes them.
fn killed(agent: &mut Agent) -> Result<()> {
    let filters = agent.status()?.mode == "tc-clone";
    agent.kill()?;
    if filters {
        agent.start()?;
        agent.stop()?;
    }
    Ok(())
}

/// Everything that an agent could leave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    /// Mount points of the guest.
    mounts: BTreeSet<String>,
    /// Network namespaces of the lab.
    namespaces: BTreeSet<String>,
    /// Directories of the lab's cgroup branch.
    cgroups: BTreeSet<String>,
    /// Programs that run for the sockets of the given hosts, by id.
    attached: BTreeSet<u32>,
    /// Queueing disciplines and filters of the given hosts.
    traffic_control: String,
    /// Processes in the lab's cgroups.
    processes: BTreeSet<i32>,
}

impl State {
    fn look(lab: &Lab, hosts: &[&Host], here: bool) -> Result<Self> {
        let name = lab.name();
        let branch = lab.tree().root.join(&name);
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("read mounts")?;
        let mut state = Self {
            mounts: mounts
                .lines()
                .filter_map(|line| line.split(' ').nth(4).map(str::to_owned))
                // Other labs of a developer's machine come and go.
                .filter(|point| !here || point.contains(&name))
                .collect(),
            namespaces: netns::list(&name).into_iter().collect(),
            processes: cgroup::processes(&branch).into_iter().collect(),
            ..Self::default()
        };
        directories(&branch, &mut state.cgroups);
        for host in hosts {
            let cgroup = File::open(host.cgroup()).context("open a host's cgroup")?;
            // A kernel that cannot answer cannot have such programs.
            state
                .attached
                .extend(bpf::query::sockops_programs(cgroup.as_fd()).unwrap_or_default());
            state.traffic_control += &traffic_control(host)?;
        }
        Ok(state)
    }
}

impl State {
    /// What is different now, kind by kind: everything else would hide it.
    fn changes(&self, now: &Self) -> String {
        let sets = [
            changed("mounts", &self.mounts, &now.mounts),
            changed("namespaces", &self.namespaces, &now.namespaces),
            changed("cgroups", &self.cgroups, &now.cgroups),
            changed("attached programs", &self.attached, &now.attached),
            changed("processes", &self.processes, &now.processes),
        ];
        let mut all: Vec<String> = sets.into_iter().flatten().collect();
        if self.traffic_control != now.traffic_control {
            all.push(format!(
                "traffic control: {:?} before, {:?} now",
                self.traffic_control, now.traffic_control
            ));
        }
        all.join("; ")
    }
}

/// What a set gained and lost, if anything.
fn changed<T: Ord + Debug>(what: &str, before: &BTreeSet<T>, now: &BTreeSet<T>) -> Option<String> {
    let more: Vec<_> = now.difference(before).collect();
    let less: Vec<_> = before.difference(now).collect();
    (now != before).then(|| format!("{what}: {more:?} left, {less:?} gone"))
}

fn ended(
    run: &Run,
    lab: &Lab,
    site: &Site,
    agent: &mut Agent,
    end: fn(&mut Agent) -> Result<()>,
    first: bool,
) -> Result<Found> {
    let client = &site.clients[0];
    let _server = programs::serve(&site.backends[0], Gateway::Routes.service_port(), &[])?;
    let hosts = [client, &site.backends[0]];
    let (before, objects) = (State::look(lab, &hosts, run.here)?, Objects::all());
    agent.start()?;
    let held = Objects::held_by(agent.pid()?)?;
    let measures = run.need_programs().is_ok();
    if held.nameless {
        end(agent)?;
        let why = "the kernel does not say which programs and maps a process holds";
        return Err(Skip(why.into()).into());
    }
    ensure!(
        held.count() > 0 || !measures,
        "a running agent holds no BPF object"
    );
    let target = Gateway::Routes.target(site, Family::V4);
    let seen = client.connect(target, &["--count", "10"])?;
    ensure!(
        seen.iter().all(|connection| connection.error.is_empty()),
        "traffic failed: {seen:?}"
    );
    end(agent)?;
    let _leak = if first {
        Leak::ordered(&run.order, client)?
    } else {
        None
    };
    wait_for(FREE, "kernel without residue", || {
        let now = State::look(lab, &hosts, run.here)?;
        ensure!(now == before, "{}", before.changes(&now));
        let left = if run.here {
            // Other programs of this machine come and go.
            held.within(&Objects::all())
        } else {
            Objects::all().beyond(&objects)
        };
        ensure!(left.count() == 0, "left in the kernel: {left:?}");
        Ok(())
    })?;
    Ok(Found::ALL)
}

fn directories(at: &Path, found: &mut BTreeSet<String>) {
    found.insert(at.display().to_string());
    for entry in fs::read_dir(at).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            directories(&entry.path(), found);
        }
    }
}

/// Disciplines and filters as `tc` shows them; nothing where there is no `tc`.
fn traffic_control(host: &Host) -> Result<String> {
    if !command::exists("tc") {
        return Ok(String::new());
    }
    let tc = |arguments: &[&str]| {
        let mut command = host.command_beside("tc");
        command::run(command.args(arguments))
    };
    let mut text = tc(&["qdisc", "show"])?;
    for direction in ["ingress", "egress"] {
        // A device without a hook has no filter.
        text += &tc(&["filter", "show", "dev", "eth0", direction]).unwrap_or_default();
    }
    Ok(text)
}

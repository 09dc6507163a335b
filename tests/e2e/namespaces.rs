//! Network namespaces other than the agent's: given back when nobody lives in them.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use tests::lab::agent::{Agent, Settings};
use tests::lab::host::{Host, TOOL_DEADLINE};
use tests::lab::process::Running;
use tests::lab::wait::wait_for;
use tests::lab::{Lab, netns};
use tests::program::MARKER;

use crate::case::{Case, SOON, case};
use crate::observe::sockets;
use crate::scene::SETTLE;

pub(crate) const CASES: &[Case] = &[
    case(
        "namespaces::watched_by_sockets_are_given_back_when_their_last_process_ends",
        |lab| given_back(lab, &sockets()?),
    ),
    case(
        "namespaces::listed_for_programs_are_given_back_when_their_last_process_ends",
        |lab| {
            given_back(
                lab,
                &Settings::default().with("agent.lists", "\"sockets\"")?,
            )
        },
    ),
];

/// As many as an agent follows beside its own, but a few.
const COUNT: u8 = 50;
const PORT: u16 = 8080;

/// A namespace without a host of its own, as a container has one.
struct Container {
    netns: String,
    server: Running,
}

impl Container {
    fn start(lab: &Lab, host: &Host, number: u8) -> Result<Self> {
        let netns = format!("{}-c{number}", lab.name());
        netns::create(&netns)?;
        host.ip(&format!(
            "link add box{number} type veth peer name eth0 netns {netns}\n\
             address add 10.77.{number}.1/24 dev box{number}\nlink set box{number} up\n"
        ))?;
        netns::ip(
            &netns,
            &format!("address add 10.77.{number}.2/24 dev eth0\nlink set eth0 up\n"),
        )?;
        // Its process is in the host's cgroup, the scope.
        let mut command = host.command("nsenter");
        command.arg(format!("--net={}", netns::path(&netns).display()));
        command.arg(host.launcher()).args([MARKER, "serve"]);
        command.args(["--listen", &format!("0.0.0.0:{PORT}"), "--log"]);
        command.arg(host.stem("served").with_extension("log"));
        let mut server = host.start("serve", command)?;
        server.wait_for_output("listening", SOON)?;
        Ok(Self { netns, server })
    }
}

fn descriptors(agent: &Agent) -> Result<usize> {
    let directory = PathBuf::from(format!("/proc/{}/fd", agent.pid()?));
    Ok(directory.read_dir().context("list descriptors")?.count())
}

/// Devices of the host whose other ends are in the namespaces.
fn devices(host: &Host) -> Result<usize> {
    let listed = host.run("ip", &["-o", "link", "show"])?;
    Ok(listed.matches(": box").count())
}

fn given_back(lab: &Lab, settings: &Settings) -> Result<()> {
    let host = lab.host("host")?;
    let mut agent = Agent::prepare(lab, &host, None, settings)?;
    agent.start()?;
    let alone = descriptors(&agent)?;
    agent.stop()?;
    let containers: Vec<Container> = (1..=COUNT)
        .map(|number| Container::start(lab, &host, number))
        .collect::<Result<_>>()?;
    agent.start()?;
    let watched = agent.status()?.counter("observe_namespaces")?;
    ensure!(watched == u64::from(COUNT) + 1, "{watched} watched");
    ensure!(descriptors(&agent)? > alone, "no descriptor for them");
    for number in [1, COUNT] {
        let to = format!("10.77.{number}.2:{PORT}").parse()?;
        host.connect(to, &["--count", "20"])?;
    }
    // One stays, and is still followed.
    let mut kept = None;
    for mut container in containers {
        if kept.is_none() {
            kept = Some(container);
            continue;
        }
        container.server.stop(TOOL_DEADLINE)?;
        netns::delete(&container.netns)?;
    }
    wait_for(SETTLE, "the namespaces to be gone", || {
        let status = agent.status()?;
        let watched = status.counter("observe_namespaces")?;
        ensure!(watched == 2, "{watched} watched");
        let left = status.counter("observe_namespaces_left_total")?;
        ensure!(left == u64::from(COUNT) - 1, "{left} left");
        let devices = devices(&host)?;
        ensure!(devices == 1, "{devices} devices lead into namespaces");
        Ok(())
    })?;
    let mut kept = kept.context("one was started")?;
    kept.server.stop(TOOL_DEADLINE)?;
    netns::delete(&kept.netns)?;
    wait_for(SETTLE, "the last namespace to be gone", || {
        let devices = devices(&host)?;
        ensure!(devices == 0, "{devices} devices lead into namespaces");
        let open = descriptors(&agent)?;
        ensure!(
            open == alone,
            "{open} descriptors, {alone} without namespaces"
        );
        Ok(())
    })?;
    agent.stop()
}

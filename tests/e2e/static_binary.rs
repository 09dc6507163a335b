//! The agent runs on hosts of any age, so it brings everything along.

use std::process::Command;

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::command;
use tests::lab::needs::Need;

use crate::case::{Case, case};

pub(crate) const CASES: &[Case] = &[
    case(
        "static_binary::the_agent_needs_no_library_of_the_host",
        no_library,
    )
    .needing(&[Need::Program("file"), Need::Program("ldd")]),
    case(
        "static_binary::it_names_the_oldest_kernel_it_runs_on",
        oldest_kernel,
    )
    .needing(&[Need::Program("file")]),
];

fn no_library(lab: &Lab) -> Result<()> {
    let agent = &lab.binaries().agent;
    let told = command::run(
        Command::new("file")
            .args(["--brief", "--dereference"])
            .arg(agent),
    )?;
    ensure!(
        told.contains("statically linked") || told.contains("static-pie linked"),
        "{told}"
    );
    ensure!(!told.contains("interpreter"), "{told}");
    // ldd says so on standard error and with status 1 for a plain static binary.
    let ldd = command::finish(Command::new("ldd").arg(agent), "")?;
    let told = String::from_utf8_lossy(&[ldd.stdout, ldd.stderr].concat()).into_owned();
    ensure!(
        told.contains("not a dynamic executable") || told.contains("statically linked"),
        "{told}"
    );
    Ok(())
}

fn oldest_kernel(lab: &Lab) -> Result<()> {
    let agent = &lab.binaries().agent;
    let mut version = Command::new(agent);
    let text = command::run(version.args(["version", "--format", "json"]))?;
    let said: serde_json::Value = serde_json::from_str(&text)?;
    let said = said["minimal_kernel"].as_str().unwrap_or_default();
    // The oldest one that anybody asked for is 3.10.
    let mut numbers = said.split('.').map(str::parse::<u32>);
    let (major, minor) = (numbers.next().transpose()?, numbers.next().transpose()?);
    ensure!(
        (major, minor) <= (Some(3), Some(10)) && minor.is_some(),
        "{said}"
    );
    let told = command::run(Command::new("file").arg("--dereference").arg(agent))?;
    ensure!(told.contains(&format!("for GNU/Linux {said},")), "{told}");
    let told = command::run(Command::new(agent).arg("version"))?;
    ensure!(
        told.contains(&format!("runs on Linux {said} and later")),
        "{told}"
    );
    Ok(())
}

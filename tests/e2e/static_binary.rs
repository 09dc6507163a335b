//! The agent runs on hosts of any age, so it brings everything along.

use std::process::Command;

use anyhow::{Result, ensure};
use tests::lab::Lab;
use tests::lab::command;
use tests::lab::needs::Need;

use crate::case::Case;

pub(crate) const CASES: &[Case] = &[Case {
    name: "static_binary::the_agent_needs_no_library_of_the_host",
    needs: &[Need::Program("file"), Need::Program("ldd")],
    alone: false,
    run: no_library,
}];

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

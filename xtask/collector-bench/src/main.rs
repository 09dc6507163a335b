//! `cargo xtask bench collector`: what a collector takes for a fleet of simulated agents.
//!
//! A real `waybill-collector serve`, real TLS, and one identity and one connection for each host;
//! all agents are in this process. The collector's own figures are read from `/proc`.

#![forbid(unsafe_code)]

mod agents;
mod arguments;
mod clickhouse;
mod kills;
mod nodes;
#[allow(dead_code, reason = "tests have clients with certificates as well")]
#[path = "../../../collector/tests/suite/support/pki.rs"]
mod pki;
mod progress;
mod questions;
mod report;
mod sections;
mod server;
mod tables;
mod topologies;
#[allow(dead_code, unreachable_pub, reason = "labs wait in more ways")]
#[path = "../../../tests/src/lab/wait.rs"]
mod wait;

use std::io;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;

use arguments::{Arguments, Format};

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    if let Some(kills) = arguments.kills {
        return kills::run(&arguments, kills);
    }
    if arguments.clickhouse {
        return clickhouse::run(&arguments);
    }
    if let Some(store) = &arguments.topologies {
        let fleet = (
            *arguments.agents.first().context("no fleet")?,
            arguments.edges,
        );
        topologies::run(store, fleet, &mut io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    if arguments.tables {
        tables::run(&arguments, &mut io::stdout().lock())?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut fleets = Vec::new();
    for (at, agents) in arguments.agents.iter().enumerate() {
        let is_last = at + 1 == arguments.agents.len();
        fleets.push(sections::fleet(&arguments, *agents, is_last)?);
    }
    let report = report::Report::of(fleets);
    let out = &mut io::stdout().lock();
    match arguments.format {
        Format::Table => report.table(out)?,
        Format::Json => report.json(out)?,
    }
    Ok(if report.is_missed() {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

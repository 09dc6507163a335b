//! `cargo xtask bench collector`: what a collector takes for a fleet of simulated agents.
//!
//! A real `waybill-collector serve`, real TLS, and one identity and one connection for each host;
//! all agents are in this process. The collector's own figures are read from `/proc`.

#![forbid(unsafe_code)]

mod agents;
#[allow(dead_code, reason = "tests have clients with certificates as well")]
#[path = "../../tests/suite/support/pki.rs"]
mod pki;
mod questions;
mod report;
mod sections;
mod server;

use std::io;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};

#[derive(Debug, Parser)]
#[command(about = "What a collector takes for a fleet of simulated agents", long_about = None)]
struct Arguments {
    /// Sizes of the fleet; the last one is also measured with a grown store.
    #[arg(long, value_delimiter = ',', default_value = "100,1000", value_parser = clap::value_parser!(u32).range(2..=2000))]
    agents: Vec<u32>,
    /// Edges of each agent that change in each interval.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=2000))]
    edges: u32,
    /// Batches of each kind that are measured, at least.
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u32).range(100..))]
    batches: u32,
    /// Minutes for growing the store.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(..=60))]
    grow_minutes: u64,
    /// Size of the store, MiB, at which it is grown.
    #[arg(long, default_value_t = 2048)]
    grow_mib: u64,
    /// How it is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// The program that is measured.
    #[arg(long)]
    collector: std::path::PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
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

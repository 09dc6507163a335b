#![forbid(unsafe_code)]
//! Measures the batch format against others on the same rows, trains its dictionaries and blesses
//! its golden files.
//!
//! `cargo xtask bench wire` runs it without a command; it then exits with 1 while a goal is missed.

mod bless;
mod columns;
mod compare;
mod cost;
mod measure;
mod report;
mod train;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(about, long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// How the comparison is printed.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// Number of hosts, each with rows of its own.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    hosts: u64,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compares the formats; the default.
    Compare,
    /// Prints what each column of the batches of an hour costs.
    Columns,
    /// Trains the dictionary of that number and writes it below `wire/dictionaries`.
    Train {
        /// A new number, or that of a dictionary which no release has used.
        id: u16,
    },
    /// Writes the golden files below `wire/golden` anew.
    Bless,
    /// Writes the rows of one host as JSON lines, or as the batch they are sealed into.
    Rows {
        /// Which host.
        #[arg(default_value_t = 1)]
        seed: u64,
        /// Number of rows.
        #[arg(default_value_t = 1000)]
        rows: usize,
        /// The sealed batch instead.
        #[arg(long)]
        sealed: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Json,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let out = &mut io::stdout().lock();
    let result = run(&arguments, out);
    let closed = |error: &anyhow::Error| {
        let io = error.downcast_ref::<io::Error>();
        io.is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    };
    match result {
        // Whoever read the output has seen enough.
        Err(error) if closed(&error) => Ok(ExitCode::SUCCESS),
        other => other,
    }
}

fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<ExitCode> {
    match &arguments.command {
        None | Some(Command::Compare) => {
            let report = measure::measure(arguments.hosts)?;
            match arguments.format {
                Format::Table => report::table(&report, out)?,
                Format::Json => report::json(&report, out)?,
            }
            if report.goals().iter().any(|goal| !goal.is_met()) {
                return Ok(ExitCode::FAILURE);
            }
        }
        Some(Command::Columns) => columns::print(arguments.hosts, out)?,
        Some(Command::Train { id }) => train::train(*id, &wire_folder()?, out)?,
        Some(Command::Bless) => bless::bless(&wire_folder()?, out)?,
        Some(Command::Rows { seed, rows, sealed }) => {
            let batch = fleet::interval(*seed, &fleet::BENCH, fleet::Mix::interval(*rows)).added;
            let bytes = if *sealed {
                wire::encode(&batch)
            } else {
                compare::json::lines(&batch)
            };
            out.write_all(&bytes)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The source folder of the crate `wire`.
fn wire_folder() -> Result<PathBuf> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../wire");
    folder
        .canonicalize()
        .with_context(|| format!("find {}", folder.display()))
}

//! `cargo xtask bench`: the figures behind the promises, one command each.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{child, deps, idle, web, workspace};

/// Options of `bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    figure: Figure,
}

/// What is measured.
#[derive(clap::Subcommand)]
enum Figure {
    /// Bytes of the same rows in our format and in the common ones; fails while the goal is missed
    Wire,
    /// Precision and recall of each kind of evidence for an edge, in simulated fleets; fails where an
    /// edge claims more than is true, or a number that claims to be exact is not
    Join,
    /// CPU, disk and memory of a collector for fleets of simulated agents, and how long questions
    /// take meanwhile; fails while a goal is missed
    Collector(Passed),
    /// How long the web page takes to show something and to answer, for 5 and for 5,000 services, and
    /// what its tab takes after an hour of live mode; fails while a goal is missed (needs npm, Chromium)
    Page(Passed),
    /// Size of the shipped agent, its memory and its CPU share with nothing to do (needs root)
    Idle(idle::Args),
    /// CPU share of agents without eBPF under 1,000 new connections per second (needs root)
    Observe(Lab),
    /// What calls that are none of its business cost beside an agent in each mode (needs root)
    Tax(Lab),
    /// CPU share of an agent at each level of its governor, beside one without a budget (needs root)
    Governor(Lab),
    /// What following listeners costs, in an interval and for each connection (needs root)
    Listener(Lab),
}

/// Options of a figure that a program of its own reads.
#[derive(clap::Args)]
struct Passed {
    /// Passed on: collector takes --agents, --edges, --batches, --grow-minutes, --grow-mib, --tables, --kills,
    /// --clickhouse,
    /// --format; page takes --sites, --minutes, --beats
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Options of figures that are measured in a lab.
#[derive(clap::Args)]
struct Lab {
    /// Measure the developer's build: its figures are not those of the shipped agent
    #[arg(long)]
    debug: bool,
    /// Passed on: observe takes --hooks, --per-second, --seconds; tax --rounds, --batches, --format; governor --idle,
    /// --per-second, --rounds; listener --listeners, --accepts, --intervals, --rounds
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Measures one figure.
///
/// # Errors
/// When the build fails or the measurement cannot be made.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    match &args.figure {
        Figure::Wire => {
            child::become_program(&mut child::cargo(&["run", "--release", "-p", "wire-bench"]))
        }
        Figure::Join => child::become_program(&mut child::cargo(&[
            "run",
            "--release",
            "-p",
            "collector",
            "--example",
            "join",
        ])),
        Figure::Collector(passed) => collector(passed),
        Figure::Page(passed) => page(passed),
        Figure::Idle(args) => idle::run(args),
        Figure::Observe(args) => in_lab("waybill-load", args),
        Figure::Tax(args) => in_lab("waybill-tax", args),
        Figure::Governor(args) => in_lab("waybill-governed", args),
        Figure::Listener(args) => in_lab("waybill-listening", args),
    }
}

/// Builds the page and the collector with it, and becomes what opens it.
fn page(passed: &Passed) -> Result<ExitCode> {
    web::run()?;
    let (binaries, mut bench) = built("page-bench")?;
    let web = workspace::root().join("collector/web");
    child::become_program(
        bench
            .arg("--collector")
            .arg(binaries.join("waybill-collector"))
            .arg("--web")
            .arg(web)
            .args(&passed.args),
    )
}

/// Builds the collector and its load, and becomes the load.
fn collector(passed: &Passed) -> Result<ExitCode> {
    let (binaries, mut bench) = built("collector-bench")?;
    child::become_program(
        bench
            .arg("--collector")
            .arg(binaries.join("waybill-collector"))
            .args(&passed.args),
    )
}

/// Builds the collector as it ships and what measures it: their folder, and that program.
fn built(program: &str) -> Result<(PathBuf, Command)> {
    let arguments = [
        "build",
        "--release",
        "-p",
        "collector",
        "--bins",
        "-p",
        "collector-bench",
    ];
    child::run(&mut child::cargo(&arguments))?;
    let binaries = workspace::binaries("release")?;
    let bench = Command::new(binaries.join(program));
    Ok((binaries, bench))
}

/// Builds the product and the program that measures it, and becomes that program.
fn in_lab(program: &str, args: &Lab) -> Result<ExitCode> {
    // Standard output belongs to the figures: they may be read by a program.
    deps::run_aside()?;
    let mut build = child::cargo(&[
        "build",
        "--bins",
        "-p",
        "agent",
        "-p",
        "collector",
        "-p",
        "tests",
    ]);
    let profile = if args.debug { "debug" } else { "release" };
    if !args.debug {
        build.arg("--release");
    }
    child::run(&mut build)?;
    let binaries = workspace::binaries(profile)?;
    child::become_program(
        Command::new(binaries.join(program))
            .args(&args.args)
            .env("WAYBILL_BIN_DIR", binaries),
    )
}

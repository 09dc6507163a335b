//! `cargo xtask test`: every test, and one line at the end that a program can read.

mod tally;

use std::io::{self, Read, Write};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};

use crate::stage::{say, stage};
use crate::{child, deps};
use tally::Tally;

/// Options of `test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the tests whose name contains this
    filter: Option<String>,
    /// Run only these: everything but end to end (`unit`), or agent and collector in network
    /// namespaces (`e2e`)
    #[arg(long, value_enum)]
    only: Option<Part>,
}

/// A part of the tests that can be run alone.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Part {
    /// Unit, property, golden and documentation tests of every crate.
    Unit,
    /// The trials of crate `tests`: the shipped programs, real networks, real clients.
    E2e,
}

/// Runs the tests; the last line of standard output is `N passed, N failed, N skipped`.
///
/// # Errors
/// Only when nothing can be written: whatever else goes wrong is counted as a failed test and
/// told before that line.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut total = Tally::default();
    if let Err(error) = run_stages(args, &mut total) {
        total.failed += 1;
        say(&format!("{error:#}"))?;
    }
    if total.is_empty() {
        total.failed += 1;
        say("no test was run")?;
    }
    if !total.skips.is_empty() {
        say("skipped, and why:")?;
        for skip in &total.skips {
            say(&format!("  {skip}"))?;
        }
    }
    if !total.failures.is_empty() {
        say("failed:")?;
        for failure in &total.failures {
            say(&format!("  {failure}"))?;
        }
    }
    say(&total.to_string())?;
    Ok(if total.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn run_stages(args: &Args, total: &mut Tally) -> Result<()> {
    let wanted = |part| args.only.is_none_or(|only| only == part);
    stage("tools of this machine", deps::run)?;
    stage("build", || {
        // End-to-end trials start the programs themselves, so these must be built as well.
        child::run(&mut child::cargo(&["build", "--workspace", "--bins"]))?;
        child::run(&mut child::cargo(&["test", "--workspace", "--no-run"]))
    })?;
    if wanted(Part::Unit) {
        tests_of(
            "unit tests",
            &["--workspace", "--exclude", "tests"],
            args,
            total,
        )?;
    }
    if wanted(Part::E2e) {
        tests_of("end-to-end tests", &["-p", "tests"], args, total)?;
    }
    Ok(())
}

/// Runs `cargo test` on `packages`, shows its output as it comes, and adds what it counted.
fn tests_of(name: &str, packages: &[&str], args: &Args, total: &mut Tally) -> Result<()> {
    let mut command = child::cargo(&["test", "--no-fail-fast"]);
    command.args(packages).args(&args.filter);
    stage(name, || {
        let (tally, succeeded) = tallied(&mut command)?;
        say(&format!("== {name}: {tally}"))?;
        let told = tally.failed > 0;
        total.add(tally);
        if !succeeded && !told {
            // A test binary that was killed prints no summary.
            total.failed += 1;
            total
                .failures
                .push(format!("{name}: a test program ended without a result"));
        }
        Ok(())
    })
}

/// Runs a command, copies its standard output at once and counts the results in it.
fn tallied(command: &mut Command) -> Result<(Tally, bool)> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("start cargo test")?;
    let mut output = child
        .stdout
        .take()
        .context("read the output of cargo test")?;
    let mut tally = Tally::default();
    let mut line = Vec::new();
    let mut chunk = [0; 4096];
    let mut out = io::stdout().lock();
    loop {
        let read = output
            .read(&mut chunk)
            .context("read the output of cargo test")?;
        if read == 0 {
            break;
        }
        // Not by line: the name of a running test is seen before its result.
        out.write_all(&chunk[..read])?;
        out.flush()?;
        for &byte in &chunk[..read] {
            if byte == b'\n' {
                tally.line(&String::from_utf8_lossy(&line));
                line.clear();
            } else {
                line.push(byte);
            }
        }
    }
    tally.line(&String::from_utf8_lossy(&line));
    drop(out);
    let status = child.wait().context("wait for cargo test")?;
    Ok((tally, status.success()))
}

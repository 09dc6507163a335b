//! `cargo xtask matrix`: builds what is shipped and what tries it, then becomes the matrix.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::stage::say;
use crate::test::Tally;
use crate::{child, deps, rootfs, workspace};

/// Options of `matrix`.
#[derive(clap::Args)]
// The program that is started explains its own options.
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Passed on; without a command of its own it is `run`. `cargo xtask matrix --help` lists all
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Builds agent and collector as they are shipped, the guest and the matrix, and runs it.
///
/// # Errors
/// When a tool is missing or the build fails; the matrix's own exit code is passed on.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    // Standard output belongs to the matrix: it may be read by a program (--format json).
    deps::run_aside()?;
    child::run(&mut child::cargo(&["build", "-p", "compat-matrix"]))?;
    let mut matrix = Command::new(program()?);
    matrix
        .current_dir(workspace::root())
        .args(words(&args.args));
    if runs(&args.args) {
        matrix.env("WAYBILL_BIN_DIR", build()?);
    }
    // Ctrl-C must reach the guests' own parent, so nothing may stand between.
    child::become_program(&mut matrix)
}

/// The matrix's own program.
///
/// # Errors
/// When cargo does not say where it builds.
pub(crate) fn program() -> Result<PathBuf> {
    Ok(workspace::binaries("debug")?.join("compat-matrix"))
}

/// Builds the matrix, and what it puts into a guest; returns the folder of these programs.
///
/// # Errors
/// When a build fails.
pub(crate) fn build() -> Result<PathBuf> {
    child::run(&mut child::cargo(&["build", "-p", "compat-matrix"]))?;
    let profile = rootfs::build_agent(true)?;
    // Guests translate what they run, so what tries the agent is optimised as well. Apart from
    // the agent, which must be built as the documents say.
    let guest = ["build", "--release", "-p", "matrix-guest"];
    child::run(&mut child::cargo(&guest))?;
    rootfs::strip_built(&["matrix-guest"])?;
    workspace::binaries(profile)
}

/// Runs the required kernels and counts: every cell is a test, and a kernel that could not be
/// had or never was ready is one that could not run here.
///
/// A kernel that failed runs once more, alone, and that is said: beside other work an emulated
/// machine can be too slow for any deadline.
///
/// # Errors
/// When a build fails, or the matrix leaves no result.
pub(crate) fn tally(total: &mut Tally) -> Result<()> {
    let programs = build()?;
    for outcome in outcomes(&programs, &[])? {
        let id = outcome["id"].as_str().unwrap_or("?").to_owned();
        if outcome["status"] != "fail" {
            count(&outcome, total);
            continue;
        }
        say(&format!("== {id} failed; once more, alone"))?;
        for again in outcomes(&programs, &["--jobs", "1", "--kernel", &id])? {
            let now = again["status"].as_str().unwrap_or("?");
            say(&format!("== {id}: {now} at the second run"))?;
            count(&again, total);
        }
    }
    Ok(())
}

/// What the matrix found.
fn outcomes(programs: &Path, selection: &[&str]) -> Result<Vec<Value>> {
    let output = workspace::root().join("target/compat-matrix/outcomes.json");
    std::fs::remove_file(&output).ok();
    let mut matrix = Command::new(program()?);
    matrix
        .current_dir(workspace::root())
        .args(["run", "--format", "json", "--output"])
        .arg(&output)
        .args(selection)
        .env("WAYBILL_BIN_DIR", programs)
        .stdin(Stdio::null());
    let status = matrix.status().context("start the matrix")?;
    let text = std::fs::read_to_string(&output)
        .with_context(|| format!("the matrix left no result ({status})"))?;
    serde_json::from_str(&text).context("read the matrix's result")
}

/// Counts one kernel's outcome.
fn count(outcome: &Value, total: &mut Tally) {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let id = text(&outcome["id"]);
    if let Some(why) = outcome["infrastructure"].as_str() {
        total.skip(&format!("kernels::{id}: {why}"));
        return;
    }
    let cells = outcome["cells"].as_array();
    for cell in cells.into_iter().flatten() {
        let name = format!("kernels::{id}::{}", text(&cell["name"]));
        match cell["status"].as_str() {
            Some("pass") => total.passed += 1,
            Some("skip") => total.skip(&format!("{name}: {}", text(&cell["reason"]))),
            _ => total.fail(&format!("{name}: {}", text(&cell["reason"]))),
        }
    }
}

/// What the matrix is asked to do: `run` unless something else is said.
fn words(args: &[OsString]) -> Vec<OsString> {
    let named = args.first().is_some_and(|first| {
        let first = first.to_string_lossy();
        !first.starts_with('-') || matches!(&*first, "--help" | "-h" | "--version" | "-V")
    });
    let run = (!named).then(|| OsString::from("run"));
    run.into_iter().chain(args.iter().cloned()).collect()
}

/// Whether guests will be started, which is what the shipped programs are needed for.
fn runs(args: &[OsString]) -> bool {
    words(args).first().is_some_and(|first| first == "run")
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{Tally, count, runs, words};

    fn given(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn without_a_command_the_matrix_runs() {
        assert_eq!(words(&given("")), given("run"));
        assert_eq!(
            words(&given("--suite all --format json")),
            given("run --suite all --format json")
        );
        assert!(runs(&given("--kernel x.rpm")));
    }

    #[test]
    fn cells_are_counted_and_a_kernel_without_a_result_is_skipped() {
        let outcome = serde_json::json!({"id": "k", "infrastructure": null, "cells": [
            {"name": "edges/a", "status": "pass", "reason": ""},
            {"name": "edges/b", "status": "fail", "reason": "38 of 40"},
            {"name": "edges/c", "status": "skip", "reason": "no IPVS"},
        ]});
        let mut total = Tally::default();
        count(&outcome, &mut total);
        count(
            &serde_json::json!({"id": "l", "infrastructure": "no mirror"}),
            &mut total,
        );
        assert_eq!((total.passed, total.failed, total.skipped), (1, 1, 2));
        assert_eq!(total.failures, ["kernels::k::edges/b: 38 of 40"]);
        assert_eq!(total.skips[1], "kernels::l: no mirror");
    }

    #[test]
    fn another_command_and_a_question_for_help_are_passed_on() {
        for line in ["list", "bless --suite all", "--help"] {
            assert_eq!(words(&given(line)), given(line));
            assert!(!runs(&given(line)));
        }
    }
}

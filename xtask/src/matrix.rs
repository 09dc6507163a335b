//! `cargo xtask matrix`: builds what is shipped and what tries it, then becomes the matrix.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;

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
    let mut matrix = Command::new(workspace::binaries("debug")?.join("compat-matrix"));
    matrix
        .current_dir(workspace::root())
        .args(words(&args.args));
    if runs(&args.args) {
        let profile = rootfs::build_agent(true)?;
        // Guests translate what they run, so what tries the agent is optimised as well. Apart
        // from the agent, which must be built as the documents say.
        child::run(&mut child::cargo(&[
            "build",
            "--release",
            "-p",
            "matrix-guest",
        ]))?;
        matrix.env("WAYBILL_BIN_DIR", workspace::binaries(profile)?);
    }
    // Ctrl-C must reach the guests' own parent, so nothing may stand between.
    child::become_program(&mut matrix)
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

    use super::{runs, words};

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
    fn another_command_and_a_question_for_help_are_passed_on() {
        for line in ["list", "bless --suite all", "--help"] {
            assert_eq!(words(&given(line)), given(line));
            assert!(!runs(&given(line)));
        }
    }
}

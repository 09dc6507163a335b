//! `cargo xtask demo`: builds what the demo needs, then becomes it.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{child, deps, workspace};

/// Options of `demo`.
#[derive(clap::Args)]
// The program that is started explains its own options.
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Passed on to the demo; `cargo xtask demo --help` lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Builds agent, collector and demo, and runs the demo.
///
/// # Errors
/// When a tool is missing or the build fails; the demo's own exit code is passed on.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    start(&args.args)
}

/// Runs the demo with these arguments.
///
/// # Errors
/// As of [`run`].
pub(crate) fn start(args: &[OsString]) -> Result<ExitCode> {
    // Standard output belongs to the demo: it may be read by a program (--format json).
    deps::run_aside()?;
    // The same selection as for the tests, so that neither builds anew what the other built.
    child::run(&mut child::cargo(&["build", "--bins"]))?;
    let binaries = workspace::binaries("debug")?;
    // Ctrl-C must end in the demo's own clean-up, so nothing may stand between.
    child::become_program(
        Command::new(binaries.join("waybill-demo"))
            .args(args)
            .env("WAYBILL_BIN_DIR", binaries),
    )
}

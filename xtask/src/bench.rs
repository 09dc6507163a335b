//! `cargo xtask bench`: the figures behind the promises, one command each.

use std::process::ExitCode;

use anyhow::Result;

use crate::{child, idle};

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
    /// Precision and recall of each kind of evidence for an edge, in simulated fleets
    Join,
    /// Size of the shipped agent, its memory and its CPU share with nothing to do (needs root)
    Idle(idle::Args),
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
        Figure::Idle(args) => idle::run(args),
    }
}

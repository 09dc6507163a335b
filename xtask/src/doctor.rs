//! `cargo xtask doctor`: the agent's own report about this machine.

use std::ffi::OsString;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::{child, rootfs, workspace};

/// Options of `doctor`.
#[derive(clap::Args)]
// The program that is started explains its own options.
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Passed on to `waybill-agent doctor`, for example `--format json`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<OsString>,
}

/// Builds the agent and runs its `doctor`.
///
/// # Errors
/// When the build fails; the doctor's own exit code is passed on.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let profile = rootfs::build_agent(false)?;
    child::become_program(
        Command::new(workspace::binaries(profile)?.join("waybill-agent"))
            .arg("doctor")
            .args(&args.args),
    )
}

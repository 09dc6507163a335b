//! `cargo xtask userland`: the agent in the file systems of several releases of Debian.

pub(crate) mod roots;

use std::process::ExitCode;

use anyhow::Result;

use crate::stage::stage;
use crate::{deps, test};

/// Makes the file systems (about 210 MB each, once), then runs the trials in them.
///
/// # Errors
/// When a tool is missing, or no mirror has a release.
pub(crate) fn run() -> Result<ExitCode> {
    stage("tools of this machine", deps::run)?;
    let all = roots::all()?;
    test::run_with(&test::Args::userland(), &[("WAYBILL_USERLANDS", &all)])
}

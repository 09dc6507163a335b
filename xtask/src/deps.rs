//! `cargo xtask deps`: what the build, the labs and the checks need of this machine.

use std::process::Command;

use anyhow::Result;

use crate::{child, workspace};

/// Installs what is missing, or says what it is. Does nothing when all is there.
///
/// # Errors
/// When something is missing and could not be installed.
pub(crate) fn run() -> Result<()> {
    child::run(&mut Command::new(workspace::root().join("ci/deps")))
}

/// The same with the script's words on standard error, for commands whose output is a document.
///
/// # Errors
/// When something is missing and could not be installed.
pub(crate) fn run_aside() -> Result<()> {
    child::run(Command::new(workspace::root().join("ci/deps")).stdout(std::io::stderr()))
}

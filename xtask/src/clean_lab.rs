//! `cargo xtask clean-lab`: removes what labs of killed processes left behind.
//!
//! Every lab does that by itself when it starts; this is for whoever starts no other.

use std::process::ExitCode;

use anyhow::Result;

use crate::demo;

/// Removes namespaces, cgroups and directories whose process is gone; living labs are left alone.
///
/// # Errors
/// When the build fails; the demo's own exit code is passed on.
pub(crate) fn run() -> Result<ExitCode> {
    demo::start(&["--clean".into()])
}

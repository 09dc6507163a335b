//! A process beside the agent that keeps what the agent must not have, and can do nothing else.

use std::ffi::CStr;
use std::os::fd::RawFd;

use anyhow::{Context as _, Result};
use nix::sys::prctl;

use super::{privilege, seccomp};
use crate::plan::HelperNeeds;

/// Confines the calling process, a copy of the agent that was made while that had one thread:
/// closes every descriptor but the standard ones and `keep`, then drops what it does not need. It
/// stays in the view of the agent that made it.
///
/// # Errors
/// Names the step that failed.
pub fn confine(name: &CStr, needs: &HelperNeeds, keep: &[RawFd]) -> Result<()> {
    prctl::set_name(name).context("name the process")?;
    privilege::close_all_but(keep)?;
    privilege::limit_resources()?;
    privilege::drop_all_but(needs.capability_set(), needs.user)?;
    // Not read back: it may not look at itself any more; `doctor` does.
    seccomp::install(&needs.seccomp).context("filter system calls")
}

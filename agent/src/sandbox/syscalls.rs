//! Filters on system calls, whatever they allow.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch};

use super::thread::on_a_thread;

/// Rules of one call; none of them means that any arguments will do.
pub(crate) type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Tries the kernel with a filter that allows everything, on a thread that ends then.
///
/// # Errors
/// The kernel refuses it.
pub fn try_seccomp() -> Result<()> {
    on_a_thread("trial", || {
        let refused = SeccompAction::Errno(Errno::EPERM as u32);
        // Any number that no kernel has.
        let rules = Rules::from([(i64::from(i32::MAX), Vec::new())]);
        apply(&compile(rules, SeccompAction::Allow, refused)?)
    })
}

/// A call of another architecture ends the process: this program makes none. One of x32 has a
/// number that no table holds.
pub(crate) fn compile(
    rules: Rules,
    others: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).context("name the architecture")?;
    let filter = SeccompFilter::new(rules, others, listed, arch).context("state the filter")?;
    BpfProgram::try_from(filter).context("compile the filter")
}

/// Puts a filter in force for the calling thread, for good.
pub(crate) fn apply(program: &BpfProgram) -> Result<()> {
    match seccompiler::apply_filter(program) {
        Ok(()) => Ok(()),
        // Its own words hide the kernel's.
        Err(seccompiler::Error::Seccomp(error)) => Err(error).context("seccomp(2)"),
        Err(error) => Err(error).context("install the filter"),
    }
}

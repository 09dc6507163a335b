//! Network namespaces, addressed by name.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use nix::sched::CloneFlags;

use super::command;

/// Where iproute2 keeps named namespaces.
pub const DIRECTORY: &str = "/run/netns";

/// The file that stands for the namespace `name`.
#[must_use]
pub fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

/// Creates the namespace `name` with its loopback up.
///
/// # Errors
/// Those of `ip`, for example without privilege.
pub fn create(name: &str) -> Result<()> {
    command::run(Command::new("ip").args(["netns", "add", name]))?;
    command::run(Command::new("ip").args(["-n", name, "link", "set", "lo", "up"]))?;
    Ok(())
}

/// Removes the namespace `name`; devices within go with it.
///
/// # Errors
/// Those of `ip`.
pub fn delete(name: &str) -> Result<()> {
    command::run(Command::new("ip").args(["netns", "del", name])).map(drop)
}

/// Names of all namespaces that begin with `prefix`.
#[must_use]
pub fn list(prefix: &str) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(DIRECTORY) else {
        // Nobody ever made one.
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect()
}

/// Runs lines of `ip` commands in the namespace `name`.
///
/// # Errors
/// Those of `ip`.
pub fn ip(name: &str, batch: &str) -> Result<()> {
    command::run_with_input(Command::new("ip").args(["-n", name, "-batch", "-"]), batch)
        .with_context(|| batch.trim().to_owned())
        .map(drop)
}

/// Runs `work` in a thread of its own that has joined the namespace `name`.
///
/// Processes must not be started there: their parent-death signal follows the thread.
///
/// # Errors
/// When the namespace cannot be joined, and the errors of `work`.
pub fn inside<T: Send>(name: &str, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let file = std::fs::File::open(path(name)).with_context(|| format!("open namespace {name}"))?;
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, || {
                nix::sched::setns(file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("join namespace {name}"))?;
                work()
            })?
            .join()
            .map_err(|_| anyhow!("panic inside namespace {name}"))?
    })
}

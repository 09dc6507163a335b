//! `cargo xtask rootfs`: the directory that the agent is confined to.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rootfs::Manifest;

use crate::{child, stage, workspace};

/// Options of `rootfs`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The directory to make; it must be empty or not exist yet
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Put in the agent as it is shipped, instead of the developer's build
    #[arg(long)]
    release: bool,
}

/// Builds the agent and assembles its jail.
///
/// # Errors
/// When the build fails, the directory is not empty, or the file system refuses.
pub(crate) fn run(args: &Args) -> Result<()> {
    let profile = build_agent(args.release)?;
    assemble(profile, &args.out)?;
    stage::say(&format!("made {}", args.out.display()))
}

/// Where programs are as they are shipped: without what debuggers read, which stays in `release`.
pub(crate) const SHIPPED: &str = "release/shipped";

/// Strips these programs, built in `release`, into [`SHIPPED`].
///
/// # Errors
/// When nothing was built there, or strip fails.
pub(crate) fn strip_built(programs: &[&str]) -> Result<()> {
    let (built, shipped) = (
        workspace::binaries("release")?,
        workspace::binaries(SHIPPED)?,
    );
    std::fs::create_dir_all(&shipped).with_context(|| format!("make {}", shipped.display()))?;
    for name in programs {
        strip(&built.join(name), &shipped.join(name))?;
    }
    Ok(())
}

/// Copies a program without what debuggers read.
///
/// # Errors
/// When strip fails.
pub(crate) fn strip(from: &Path, to: &Path) -> Result<()> {
    let mut strip = std::process::Command::new("strip");
    child::run(strip.arg("-o").arg(to).arg(from))
}

/// Builds the agent, as a developer runs it or as it is shipped; returns the profile's folder.
///
/// # Errors
/// When the build fails.
pub(crate) fn build_agent(shipped: bool) -> Result<&'static str> {
    if shipped {
        child::run(&mut child::cargo_build_shipped(&workspace::root())?)?;
        strip_built(&["waybill-agent", "waybill-collector"])?;
        return Ok(SHIPPED);
    }
    child::run(&mut child::cargo(&["build", "--bin", "waybill-agent"]))?;
    Ok("debug")
}

/// Assembles the jail with the agent that was built in `profile`.
///
/// # Errors
/// As of [`rootfs::assemble`].
pub(crate) fn assemble(profile: &str, out: &Path) -> Result<()> {
    let programs = workspace::binaries(profile)?;
    rootfs::assemble(&Manifest::current()?, &programs, out, modified()?)
}

/// The time of everything in the jail: `SOURCE_DATE_EPOCH`, or the beginning of Unix time.
fn modified() -> Result<SystemTime> {
    let seconds = match std::env::var("SOURCE_DATE_EPOCH") {
        Ok(text) => text.parse().context("SOURCE_DATE_EPOCH is in seconds")?,
        Err(_) => 0,
    };
    Ok(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}
